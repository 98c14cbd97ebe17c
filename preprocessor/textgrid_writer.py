"""Forced alignments as TextGrids, in the form Montreal Forced Aligner gives them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from utils.files import atomic_path


@dataclass(frozen=True)
class Interval:
    """One word or phone in time."""

    start: float  # seconds
    end: float  # seconds, later than start
    label: str


def whole_microseconds(samples: int, sampling_rate: int) -> float:
    """A recording's length in seconds for its TextGrid, rounded down: never longer than the recording."""
    return samples * 1_000_000 // sampling_rate / 1_000_000


def fill_silences(intervals: Sequence[Interval], duration: float, ends: str, inside: str) -> list[Interval]:
    """Label every gap so that the intervals cover 0 … duration (seconds) without one.

    Gaps before the first and after the last interval are called `ends`, those between two of them `inside`.
    """
    filled: list[Interval] = []
    time = 0.0
    for interval in intervals:
        if interval.start > time:
            filled.append(Interval(time, interval.start, inside if filled else ends))
        filled.append(interval)
        time = interval.end
    if duration > time:
        filled.append(Interval(time, duration, ends))
    return filled


def write_textgrid(path: Path, words: Sequence[Interval], phones: Sequence[Interval], duration: float) -> None:
    """Write the tiers `words` (silences empty) and `phones` (`sil` at the ends, `sp` inside), atomically.

    words, phones: spoken intervals alone, in order, without overlap, within 0 … duration (seconds, the recording's
    length). Raises UserError where the file cannot be written.
    """
    from praatio import textgrid

    grid = textgrid.Textgrid(0.0, duration)
    for name, spoken, ends, inside in (("words", words, "", ""), ("phones", phones, "sil", "sp")):
        filled = fill_silences(spoken, duration, ends, inside)
        entries = [(interval.start, interval.end, interval.label) for interval in filled]
        grid.addTier(textgrid.IntervalTier(name, entries, 0.0, duration))
    with atomic_path(path) as temporary:
        grid.save(str(temporary), format="long_textgrid", includeBlankSpaces=True)
