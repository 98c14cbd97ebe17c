"""What two runs have left behind, to be compared: contents of checkpoints, curves."""

from collections import defaultdict
from pathlib import Path

import torch


def equal(left, right) -> bool:
    """Nested dicts and lists of tensors and plain data, bit for bit."""
    if isinstance(left, torch.Tensor):
        return torch.equal(left, right)
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(equal(left[key], right[key]) for key in left)
    if isinstance(left, list):
        return len(left) == len(right) and all(map(equal, left, right))
    return left == right


def logged(folder: Path) -> dict[tuple[str, str, int], list[float]]:
    """(train or val, tag, step) -> every value that was ever logged there."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    values = defaultdict(list)
    for split in ("train", "val"):
        if not (folder / split).is_dir():
            continue
        events = EventAccumulator(str(folder / split), size_guidance={"scalars": 0}, purge_orphaned_data=False)
        events.Reload()
        for tag in events.Tags()["scalars"]:
            for event in events.Scalars(tag):
                values[split, tag, event.step].append(event.value)
    return dict(values)
