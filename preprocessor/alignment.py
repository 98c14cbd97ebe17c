"""Forced alignments: a TextGrid's phones tier -> phones and their durations in mel frames."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from errors import UserError
from preprocessor.textgrid_reader import Interval, read_tiers

SILENCES = ("sil", "sp", "spn")
TIER = "phones"
LONGEST = 1e6  # seconds, 11 days: what comes later was not meant, and may not even be counted in frames


@dataclass(frozen=True)
class Alignment:
    """The spoken part of an utterance. An alignment without speech has no phones, and start = end = 0."""

    phones: tuple[str, ...]  # neither begins nor ends with a silence
    durations: npt.NDArray[np.int64]  # [phones] mel frames; 0 is possible for very short phones
    start: float  # seconds: the recording's part that the phones cover
    end: float


def read_alignment(path: Path, sampling_rate: int, hop_length: int, fill_gaps: bool = False) -> Alignment:
    """Read the `phones` tier of a TextGrid (long or short form).

    Silences (sil, sp, spn) before the first phone are skipped and after the last one cut; inner ones are kept. A phone
    lasts round(end * sampling_rate / hop_length) - round(start * sampling_rate / hop_length) frames, halves rounded to
    even. Intervals without a label count for nothing, as in the original; with `fill_gaps` those between phones become
    pauses ("sp"), as Montreal Forced Aligner 2 and later mean them, without which all later phones would lie too early.

    Raises UserError naming the file when it is missing or no TextGrid, has no phones tier, or when its times are
    negative, reversed or overlap.
    """
    intervals = trim(read_intervals(path))
    if not intervals:
        return Alignment((), np.zeros(0, dtype=np.int64), 0.0, 0.0)
    frames_per_second = sampling_rate / hop_length
    if fill_gaps:
        intervals = _fill(intervals, frames_per_second)
    times = np.array([(start, end) for start, end, _ in intervals])  # [phones, 2] seconds
    frames = np.round(times * sampling_rate / hop_length).astype(np.int64)
    phones = tuple(label for _, _, label in intervals)
    return Alignment(phones, frames[:, 1] - frames[:, 0], intervals[0][0], intervals[-1][1])


def read_intervals(path: Path, name: str = TIER) -> list[Interval]:
    """The labelled intervals of one tier, in order; silences that bear a label are among them.

    Raises UserError like read_alignment.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such TextGrid") from error
    except OSError as error:
        raise UserError(f"{path}: not a usable TextGrid ({error})") from error
    tiers = read_tiers(content)
    if tiers is None:
        return _read_any_form(path, content, name)
    if name not in tiers:
        raise UserError(f"{path}: no `{name}` tier, only {', '.join(tiers)}")
    return _check(tiers[name], path)


def _read_any_form(path: Path, content: bytes, name: str) -> list[Interval]:
    from praatio import textgrid

    try:
        _refuse_damaged(content)
        grid = textgrid.openTextgrid(str(path), includeEmptyIntervals=False, reportingMode="silence")
    except Exception as error:  # a reader of foreign files: praatio raises its own errors, ValueError, IndexError …
        raise UserError(f"{path}: not a usable TextGrid ({error or type(error).__name__})") from error
    if name not in grid.tierNames:
        raise UserError(f"{path}: no `{name}` tier, only {', '.join(grid.tierNames) or 'none at all'}")
    tier = grid.getTier(name)
    if not isinstance(tier, textgrid.IntervalTier):
        raise UserError(f"{path}: the `{name}` tier holds points, not intervals")
    intervals = [(float(start), float(end), label.strip()) for start, end, label in tier.entries]
    return _check([interval for interval in intervals if interval[2]], path)


def _refuse_damaged(content: bytes) -> None:
    """What praatio reads without a word in the long form: fewer intervals than announced, a minus sign."""
    announced = sum(int(count) for count in re.findall(rb"intervals: size = (\d+)", content))
    found = len(re.findall(rb"intervals \[\d+\]:?", content))
    if found < announced:
        raise ValueError(f"cut off: {found} intervals of {announced}")
    if re.search(rb"x(min|max) = -\s*[\d.]*[1-9]", content):
        raise ValueError("a negative time")


def _check(intervals: list[Interval], path: Path) -> list[Interval]:
    previous = 0.0
    for start, end, label in intervals:
        if not end < LONGEST:
            raise UserError(f"{path}: {label} ends at {end:g} s; no recording is that long")
        if not (start >= previous - 1e-6 and end > start):
            raise UserError(
                f"{path}: {label} at {start:g}-{end:g} s is reversed or overlaps what ends at {previous:g} s"
            )
        previous = end
    return intervals


def trim(intervals: list[Interval]) -> list[Interval]:
    """From the first phone to the last; none where there are only silences."""
    spoken = [index for index, (_, _, label) in enumerate(intervals) if label not in SILENCES]
    return intervals[spoken[0] : spoken[-1] + 1] if spoken else []


def _fill(intervals: list[Interval], frames_per_second: float) -> list[Interval]:
    filled = intervals[:1]
    for interval in intervals[1:]:
        gap_start, gap_end = filled[-1][1], interval[0]
        if round(gap_end * frames_per_second) > round(gap_start * frames_per_second):  # halves to even, as numpy's
            filled.append((gap_start, gap_end, "sp"))
        filled.append(interval)
    return filled
