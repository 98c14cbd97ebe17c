"""stats.json: what the corpus amounts to, and the settings that it was made with."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import inf, sqrt
from typing import Any

from config.schema import PreprocessConfig
from preprocessor.facts import Facts
from preprocessor.records import Features, Skipped, Sums
from utils.metadata import NO_EMOTION


@dataclass
class Part:
    """Some of the utterances."""

    utterances: int = 0
    frames: int = 0
    speakers: set[str] = field(default_factory=set)

    def add(self, made: Features) -> None:
        """Count one in."""
        self.utterances += 1
        self.frames += made.frames
        self.speakers.add(made.entry.speaker)

    def as_json(self, seconds_per_frame: float) -> dict[str, Any]:
        """Its place in stats.json."""
        hours = round(self.frames * seconds_per_frame / 3600, 4)
        return {"utterances": self.utterances, "hours": hours, "speakers": len(self.speakers)}


@dataclass
class Moments:
    """Mean, population standard deviation and range of all values together."""

    count: int = 0
    total: float = 0.0
    squares: float = 0.0
    low: float = inf
    high: float = -inf

    def add(self, part: Sums) -> None:
        """Count some values in."""
        self.count += part.count
        self.total += part.total
        self.squares += part.squares
        self.low, self.high = min(self.low, part.low), max(self.high, part.high)

    def as_json(self) -> dict[str, float]:
        """Rounded to six places."""
        mean = self.total / self.count
        deviation = sqrt(max(0.0, self.squares / self.count - mean * mean))
        return {
            name: round(value, 6)
            for name, value in {"mean": mean, "std": deviation, "min": self.low, "max": self.high}.items()
        }


class Statistics:
    """Of the utterances that are shown to it one by one; what it keeps grows with the speakers, not with them."""

    def __init__(self, config: PreprocessConfig) -> None:
        self._config = config
        self.kept = 0
        self.frames = 0
        self.skipped: Counter[str] = Counter()  # kind -> how many
        self.first_reason = "they are gone"  # why the first of them was skipped
        self.speakers: Counter[str] = Counter()  # in the order of the utterances
        self.sexes: dict[str, str | None] = {}  # of every speaker
        self.emotions: dict[str, Part] = {}  # "none" counts utterances without an emotion label
        self._datasets: dict[str, Part] = {}
        self._languages: dict[str, Part] = {}
        self._phones = 0
        self.longest: Features | None = None
        self._longest_text: Features | None = None
        self._mel, self._energy = Moments(), Moments()

    def add(self, outcome: Features | Skipped, facts: Facts) -> None:
        """Count an utterance in."""
        if isinstance(outcome, Skipped):
            self.first_reason = self.first_reason if self.skipped else outcome.detail
            self.skipped[outcome.kind] += 1
            return
        entry = outcome.entry
        self.kept += 1
        self.frames += outcome.frames
        self.speakers[entry.speaker] += 1
        self.sexes[entry.speaker] = facts.sex or self.sexes.get(entry.speaker)
        self._datasets.setdefault(facts.dataset or self._config.dataset, Part()).add(outcome)
        self._languages.setdefault(entry.language, Part()).add(outcome)
        self.emotions.setdefault(entry.emotion or NO_EMOTION, Part()).add(outcome)
        self._phones += len(entry.phones)
        if self.longest is None or outcome.frames > self.longest.frames:
            self.longest = outcome
        if self._longest_text is None or len(entry.phones) > len(self._longest_text.entry.phones):
            self._longest_text = outcome
        self._mel.add(outcome.mel)
        self._energy.add(outcome.energy)

    @property
    def seconds_per_frame(self) -> float:
        """Of the mel spectrograms."""
        values = self._config.preprocessing
        return values.stft.hop_length / values.audio.sampling_rate

    def as_json(self, val: int, split: Mapping[str, Any]) -> dict[str, Any]:
        """The content of stats.json; some utterance must have been kept. Mel values are natural logarithms, energies
        linear. The parts by dataset are those of joined datasets."""
        longest, longest_text, seconds = self.longest, self._longest_text, self.seconds_per_frame
        assert longest is not None and longest_text is not None
        return {
            "utterances": self.kept,
            "train": self.kept - val,
            "val": val,
            "skipped": sum(self.skipped.values()),
            "skipped_by_kind": dict(sorted(self.skipped.items())),
            "datasets": _parts(self._datasets, seconds),
            "languages": _parts(self._languages, seconds),
            "emotions": _parts(self.emotions, seconds),
            "speakers": dict(sorted(self.speakers.items())),
            "hours": round(self.frames * seconds / 3600, 4),
            "frames": self.frames,
            "phones": self._phones,
            "longest_utterance": {
                "name": longest.entry.name,
                "frames": longest.frames,
                "seconds": round(longest.frames * seconds, 3),
            },
            "longest_text": {"name": longest_text.entry.name, "phones": len(longest_text.entry.phones)},
            "mel": self._mel.as_json(),
            "energy": self._energy.as_json(),
            "split": dict(split),
            "settings": self._config.preprocessing.model_dump(mode="json"),
        }


def _parts(groups: Mapping[str, Part], seconds_per_frame: float) -> dict[str, Any]:
    return {name: groups[name].as_json(seconds_per_frame) for name in sorted(groups)}
