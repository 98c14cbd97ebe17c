"""stats.json: what the corpus amounts to, and the settings that it was made with."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from math import sqrt
from typing import Any

from config.schema import PreprocessConfig
from preprocessor.facts import NOTHING, Facts
from preprocessor.features import Features, Skipped, Sums
from preprocessor.split import Key
from utils.metadata import NO_EMOTION, Entry


def statistics(
    config: PreprocessConfig,
    facts: Mapping[Key, Facts],
    kept: Sequence[Features],
    skipped: Sequence[Skipped],
    val: int,
    split: Mapping[str, Any],
) -> dict[str, Any]:
    """The content of stats.json. `kept` is not empty; mel values are natural logarithms, energies linear.

    The parts by dataset are those of joined datasets; "none" counts utterances without an emotion label.
    """
    values = config.preprocessing
    seconds_per_frame = values.stft.hop_length / values.audio.sampling_rate
    frames = sum(item.frames for item in kept)
    longest = max(kept, key=lambda item: item.frames)
    longest_text = max(kept, key=lambda item: len(item.entry.phones))

    def parts(name_of: Callable[[Entry], str]) -> dict[str, Any]:
        groups: dict[str, list[Features]] = {}
        for item in kept:
            groups.setdefault(name_of(item.entry), []).append(item)
        return {name: _part(groups[name], seconds_per_frame) for name in sorted(groups)}

    return {
        "utterances": len(kept),
        "train": len(kept) - val,
        "val": val,
        "skipped": len(skipped),
        "skipped_by_kind": _counts(item.kind for item in skipped),
        "datasets": parts(lambda entry: facts.get(entry.key, NOTHING).dataset or config.dataset),
        "languages": parts(lambda entry: entry.language),
        "emotions": parts(lambda entry: entry.emotion or NO_EMOTION),
        "speakers": _counts(item.entry.speaker for item in kept),
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


def _part(items: Sequence[Features], seconds_per_frame: float) -> dict[str, Any]:
    return {
        "utterances": len(items),
        "hours": round(sum(item.frames for item in items) * seconds_per_frame / 3600, 4),
        "speakers": len({item.entry.speaker for item in items}),
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
