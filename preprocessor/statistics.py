"""stats.json: what the corpus amounts to, and the settings that it was made with."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from math import sqrt
from typing import Any

from config.schema import PreprocessConfig
from preprocessor.features import Features, Skipped, Sums


def statistics(
    config: PreprocessConfig,
    kept: Sequence[Features],
    skipped: Sequence[Skipped],
    train: int,
    val: int,
    split: Mapping[str, Any],
) -> dict[str, Any]:
    """The content of stats.json. `kept` is not empty; mel values are natural logarithms, energies linear."""
    values = config.preprocessing
    seconds_per_frame = values.stft.hop_length / values.audio.sampling_rate
    frames = sum(item.frames for item in kept)
    longest = max(kept, key=lambda item: item.frames)
    longest_text = max(kept, key=lambda item: len(item.entry.phones))
    return {
        "utterances": len(kept),
        "train": train,
        "val": val,
        "skipped": len(skipped),
        "skipped_by_kind": _counts(item.kind for item in skipped),
        "speakers": _counts(item.entry.speaker for item in kept),
        "emotions": _counts(item.entry.emotion for item in kept),
        "hours": round(frames * seconds_per_frame / 3600, 4),
        "frames": frames,
        "phones": sum(len(item.entry.phones) for item in kept),
        "longest_utterance": {
            "name": longest.entry.name,
            "frames": longest.frames,
            "seconds": round(longest.frames * seconds_per_frame, 3),
        },
        "longest_text": {"name": longest_text.entry.name, "phones": len(longest_text.entry.phones)},
        "mel": _moments([item.mel for item in kept]),
        "energy": _moments([item.energy for item in kept]),
        "split": dict(split),
        "settings": values.model_dump(mode="json"),
    }


def _counts(names: Any) -> dict[str, int]:
    return dict(sorted(Counter(names).items()))


def _moments(parts: Sequence[Sums]) -> dict[str, float]:
    """Mean, population standard deviation and range of all values together."""
    count = sum(part.count for part in parts)
    mean = sum(part.total for part in parts) / count
    variance = max(0.0, sum(part.squares for part in parts) / count - mean * mean)
    low, high = min(part.low for part in parts), max(part.high for part in parts)
    return {
        key: round(value, 6)
        for key, value in zip(("mean", "std", "min", "max"), (mean, sqrt(variance), low, high), strict=True)
    }
