"""What became of the recordings: each TextGrid looked at as its readers will, and the figures of a whole corpus."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from errors import UserError
from preprocessor.align_tasks import Task
from preprocessor.alignment import SILENCES, read_intervals, trim
from preprocessor.pocketsphinx_aligner import speed_of
from preprocessor.pronunciation import Fit, fit
from preprocessor.speech_span import LOUD_PAUSE_DB, loudest_pause, speech_span
from preprocessor.spoken import TOLERANCE
from text.sequence import phones_to_ids

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

SHORT_MS, LONG_MS = 30, 300  # phones outside are worth a look


@dataclass(frozen=True)
class Examined:
    """A TextGrid that could be read. Times are milliseconds, `start` and `end` seconds."""

    start: float  # of the first phone
    end: float  # of the last
    phones: int  # pauses do not count
    short: int  # phones under SHORT_MS
    long: int  # phones over LONG_MS
    longest: int
    loud_pause: float | None  # dB relative to the phones, if louder than LOUD_PAUSE_DB: a word may be lost in it
    speed: float | None  # below 1: it was slowed down for it; None: not made by pocketsphinx_aligner
    problem: str | None  # why it does not fit its recording or its text
    other: bool  # the words' phones are not those that synthesis uses


@dataclass(frozen=True)
class Outcome:
    """What became of one recording."""

    name: str  # speaker/name
    failure: str | None = None  # why it is left out
    kept: bool = False  # its TextGrid existed before this run
    grid: Examined | None = None  # None: left out
    start_error: float | None = None  # milliseconds, |first phone's start - start of loud audio|
    end_error: float | None = None


@dataclass
class Report:
    """Outcomes of a whole corpus. What `as_json` returns depends on the files alone, not on how often it was run."""

    outcomes: list[Outcome] = field(default_factory=list)

    @property
    def aligned(self) -> list[tuple[Outcome, Examined]]:
        """Recordings with a TextGrid, in the order of the corpus."""
        return [(outcome, outcome.grid) for outcome in self.outcomes if outcome.grid is not None]

    @property
    def failed(self) -> dict[str, str]:
        """Recordings without one, and the reasons."""
        return {outcome.name: outcome.failure for outcome in self.outcomes if outcome.failure is not None}

    @property
    def misfits(self) -> dict[str, str]:
        """TextGrids that do not fit their recording or its text."""
        return {outcome.name: grid.problem for outcome, grid in self.aligned if grid.problem is not None}

    @property
    def retried(self) -> dict[str, float]:
        """Recordings that were slowed down to be aligned, and the speed that worked."""
        return {
            outcome.name: round(grid.speed, 2)
            for outcome, grid in self.aligned
            if grid.speed is not None and grid.speed < 1
        }

    @property
    def loud_pauses(self) -> dict[str, float]:
        """Recordings with a pause as loud as speech, and its level in dB relative to the phones."""
        return {
            outcome.name: round(grid.loud_pause, 1) for outcome, grid in self.aligned if grid.loud_pause is not None
        }

    def as_json(self) -> dict[str, object]:
        """For align.json."""
        grids = [grid for _, grid in self.aligned]
        return {
            "recordings": len(self.outcomes),
            "aligned": len(grids),
            "phones": sum(grid.phones for grid in grids),
            f"phones_under_{SHORT_MS}_ms": sum(grid.short for grid in grids),
            f"phones_over_{LONG_MS}_ms": sum(grid.long for grid in grids),
            "median_start_error_ms": _median([outcome.start_error for outcome, _ in self.aligned]),
            "median_end_error_ms": _median([outcome.end_error for outcome, _ in self.aligned]),
            "other_pronunciations": sum(grid.other for grid in grids),
            "retried": self.retried,
            "loud_pauses": self.loud_pauses,
            "failed": self.failed,
            "misfits": self.misfits,
        }


def _median(values: Sequence[float | None]) -> float | None:
    known = sorted(value for value in values if value is not None)
    return round(known[len(known) // 2], 1) if known else None


def examine(path: Path, task: Task, wav: npt.NDArray[np.float32], sampling_rate: int) -> Examined:
    """Read a TextGrid that is meant for `task`, whose recording is `wav` [samples].

    Raises UserError where it cannot be read; what is wrong with one that can is its `problem`.
    """
    intervals = trim(read_intervals(path))
    spoken = [interval for interval in intervals if interval[2] not in SILENCES]
    if not spoken:
        raise UserError(f"{path}: no phones but silences")
    lengths = [round(end * 1000) - round(start * 1000) for start, end, _ in spoken]
    phones = [label for _, _, label in spoken]
    pause = loudest_pause(wav, sampling_rate, [(start, end) for start, end, _ in spoken])
    fits = fit(phones, lambda: _spelled(path), task.words, task.language)
    return Examined(
        start=spoken[0][0],
        end=spoken[-1][1],
        phones=len(spoken),
        short=sum(length < SHORT_MS for length in lengths),
        long=sum(length > LONG_MS for length in lengths),
        longest=max(lengths),
        loud_pause=None if pause is None or pause < LOUD_PAUSE_DB else pause,
        speed=speed_of([start for start, _, _ in spoken]),
        problem=_problem(phones, spoken[-1][1], len(wav) / sampling_rate, fits if task.words else Fit.SAME),
        other=fits is Fit.OTHER,
    )


def _spelled(path: Path) -> list[str]:
    """The labels of the `words` tier; none where there is no usable one."""
    try:
        return [label for _, _, label in read_intervals(path, "words") if label not in SILENCES]
    except UserError:
        return []


def _problem(phones: Sequence[str], end: float, seconds: float, fits: Fit) -> str | None:
    if end > seconds + TOLERANCE:
        return f"ends at {end:g} s, but the recording at {seconds:g} s"
    try:
        phones_to_ids(phones)
    except UserError as error:
        return str(error)
    return "its phones are not those of the text's pronunciation" if fits is Fit.NONE else None


def describe(task: Task, wav: npt.NDArray[np.float32], sampling_rate: int, kept: bool) -> Outcome:
    """The outcome of a recording whose TextGrid is there."""
    try:
        grid = examine(task.textgrid_path, task, wav, sampling_rate)
    except UserError as error:
        return Outcome(task.label, failure=f"{error}; remove it or use --force")
    span = speech_span(wav, sampling_rate)
    return Outcome(
        task.label,
        kept=kept,
        grid=grid,
        start_error=None if span is None else abs(grid.start - span[0]) * 1000,
        end_error=None if span is None else abs(grid.end - span[1]) * 1000,
    )
