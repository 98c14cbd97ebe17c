"""Every recording of raw_data to a TextGrid: what is there, what is done already, one recording, the outcome."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from errors import UserError
from preprocessor.alignment import SILENCES, read_alignment
from preprocessor.parallel import ordered_map
from preprocessor.pocketsphinx_aligner import AlignmentError, PocketsphinxAligner, SpokenWord

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from text.g2p import EnglishG2P

SHORT_MS, LONG_MS = 30, 300  # phones outside are worth a look
MISFIT_SECONDS = 0.05  # a TextGrid may end this much after its recording (formats round differently)


@dataclass(frozen=True)
class Task:
    """One recording to align. Small and picklable: workers get nothing else."""

    name: str  # speaker/name, as reports call it
    wav_path: Path
    textgrid_path: Path
    words: tuple[SpokenWord, ...]
    problem: str | None  # why there is nothing to align it to
    force: bool  # replace a TextGrid that exists


@dataclass(frozen=True)
class Outcome:
    """What became of one recording. Times are milliseconds; pauses do not count as phones."""

    name: str
    failure: str | None = None  # why it is left out
    kept: bool = False  # its TextGrid existed already
    attempts: int = 0  # of this run; more than 1: only slowed audio could be aligned
    misfit: str | None = None  # what is wrong with a TextGrid that was kept
    phones: int = 0
    short: int = 0  # phones under SHORT_MS
    long: int = 0  # phones over LONG_MS
    start_error: float | None = None  # |first phone's start - start of loud audio|
    end_error: float | None = None


@dataclass
class Report:
    """Outcomes of a whole corpus. What `as_json` returns depends on the files alone, not on how often it was run."""

    outcomes: list[Outcome] = field(default_factory=list)

    @property
    def aligned(self) -> list[Outcome]:
        """Outcomes with a TextGrid, in the order of the corpus."""
        return [outcome for outcome in self.outcomes if outcome.failure is None]

    @property
    def failed(self) -> dict[str, str]:
        """Recordings without one, and the reasons."""
        return {outcome.name: outcome.failure for outcome in self.outcomes if outcome.failure is not None}

    @property
    def misfits(self) -> dict[str, str]:
        """Kept TextGrids that do not fit their recording or its text."""
        return {outcome.name: outcome.misfit for outcome in self.aligned if outcome.misfit is not None}

    def as_json(self) -> dict[str, object]:
        """For align.json."""
        aligned = self.aligned
        return {
            "recordings": len(self.outcomes),
            "aligned": len(aligned),
            "phones": sum(outcome.phones for outcome in aligned),
            f"phones_under_{SHORT_MS}_ms": sum(outcome.short for outcome in aligned),
            f"phones_over_{LONG_MS}_ms": sum(outcome.long for outcome in aligned),
            "median_start_error_ms": _median([outcome.start_error for outcome in aligned]),
            "median_end_error_ms": _median([outcome.end_error for outcome in aligned]),
            "failed": self.failed,
            "misfits": self.misfits,
        }


def _median(values: Sequence[float | None]) -> float | None:
    known = sorted(value for value in values if value is not None)
    return round(known[len(known) // 2], 1) if known else None


def find_tasks(raw_path: Path, textgrid_root: Path, lexicon_path: str | None, force: bool) -> list[Task]:
    """List raw_path/{speaker}/{name}.wav with the words of {name}.lab, sorted by speaker and name.

    A recording without a usable transcript is a task with a `problem`. Raises UserError for an unusable lexicon.
    """
    from text.g2p import EnglishG2P

    g2p = EnglishG2P(lexicon_path)
    readings: dict[str, tuple[tuple[SpokenWord, ...], str | None]] = {}  # corpora repeat their texts
    tasks = []
    for wav_path in sorted(raw_path.glob("*/*.wav")):
        if wav_path.name.startswith("."):
            continue
        speaker, name = wav_path.parent.name, wav_path.stem
        text, problem = _transcript(wav_path.with_suffix(".lab"))
        words: tuple[SpokenWord, ...] = ()
        if problem is None:
            if text not in readings:
                readings[text] = _pronounce(g2p, text)
            words, problem = readings[text]
        textgrid_path = textgrid_root / speaker / f"{name}.TextGrid"
        tasks.append(Task(f"{speaker}/{name}", wav_path, textgrid_path, words, problem, force))
    return tasks


def _transcript(path: Path) -> tuple[str, str | None]:
    """Text and what is wrong with it."""
    try:
        text = path.read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        return "", f"there is no transcript {path}; run prepare_align.py"
    except (OSError, UnicodeDecodeError) as error:
        return "", f"cannot read the transcript {path}: {error}"
    return text, None if text else f"the transcript {path} is empty"


def _pronounce(g2p: EnglishG2P, text: str) -> tuple[tuple[SpokenWord, ...], str | None]:
    """The words that synthesis would speak, without its pauses: where people really paused, the audio tells."""
    try:
        spoken = [
            SpokenWord(word.text.lower(), tuple(phone for phone in word.phones if phone not in SILENCES))
            for word in g2p(text)
        ]
    except UserError as error:
        return (), str(error)
    words = tuple(word for word in spoken if word.phones)
    return words, None if words else f"nothing to speak in {text!r}"


def align_all(tasks: Sequence[Task], jobs: int) -> Iterator[Outcome]:
    """Align on `jobs` processes; outcomes come in the order of the tasks."""
    return ordered_map(align_one, tasks, jobs, preload=("pocketsphinx", "soxr", "soundfile"))


def align_one(task: Task) -> Outcome:
    """Write one recording's TextGrid, or say why not.

    Raises UserError where the TextGrid cannot be written, never for what is wrong with one recording.
    """
    import audio

    if task.force:
        task.textgrid_path.unlink(missing_ok=True)  # a file that fails now must not keep its former boundaries
    try:
        wav = audio.load(task.wav_path, None)
        sampling_rate = _sampling_rate(task.wav_path)
    except UserError as error:
        return Outcome(task.name, failure=str(error))
    if task.textgrid_path.exists():
        return _describe(task, wav, sampling_rate, attempts=0)
    if task.problem is not None:
        return Outcome(task.name, failure=task.problem)
    if audio.is_silent(wav):
        return Outcome(task.name, failure=f"{task.wav_path}: the recording is silent")
    try:
        attempts = _write_alignment(task, wav, sampling_rate)
    except AlignmentError as error:
        return Outcome(task.name, failure=str(error))
    return _describe(task, wav, sampling_rate, attempts)


def _sampling_rate(path: Path) -> int:
    import soundfile

    return int(soundfile.info(str(path)).samplerate)


@lru_cache(maxsize=1)
def _aligner() -> PocketsphinxAligner:
    return PocketsphinxAligner()  # one per process


def _write_alignment(task: Task, wav: npt.NDArray[np.float32], sampling_rate: int) -> int:
    from preprocessor.textgrid_writer import write_textgrid

    aligned = _aligner().align(wav, sampling_rate, task.words)
    duration = len(wav) * 1_000_000 // sampling_rate / 1_000_000  # rounded down: never longer than the recording
    write_textgrid(task.textgrid_path, aligned.words, aligned.phones, duration)
    return aligned.attempts


def _describe(task: Task, wav: npt.NDArray[np.float32], sampling_rate: int, attempts: int) -> Outcome:
    """Look at the TextGrid as a reader of it would. `attempts` 0: it was there before."""
    from preprocessor.speech_span import speech_span

    try:
        alignment = read_alignment(task.textgrid_path, sampling_rate=1000, hop_length=1)  # durations in milliseconds
    except UserError as error:
        return Outcome(task.name, failure=f"{error}; remove it or use --force")
    spoken = [
        (phone, int(ms))
        for phone, ms in zip(alignment.phones, alignment.durations, strict=True)
        if phone not in SILENCES
    ]
    span = speech_span(wav, sampling_rate)
    misfit = None
    if alignment.end > len(wav) / sampling_rate + MISFIT_SECONDS:
        misfit = f"ends at {alignment.end:g} s, but the recording at {len(wav) / sampling_rate:g} s"
    elif task.words and [phone for phone, _ in spoken] != [phone for word in task.words for phone in word.phones]:
        misfit = "its phones are not those of the text's pronunciation"
    return Outcome(
        task.name,
        kept=attempts == 0,
        attempts=attempts,
        misfit=misfit,
        phones=len(spoken),
        short=sum(ms < SHORT_MS for _, ms in spoken),
        long=sum(ms > LONG_MS for _, ms in spoken),
        start_error=None if span is None else abs(alignment.start - span[0]) * 1000,
        end_error=None if span is None else abs(alignment.end - span[1]) * 1000,
    )
