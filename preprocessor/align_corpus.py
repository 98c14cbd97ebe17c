"""Every recording of raw_data to a TextGrid by pocketsphinx, or to a look at the TextGrid that something else made."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from errors import UserError
from preprocessor.align_report import Outcome, describe
from preprocessor.align_tasks import AlignmentError, Task
from preprocessor.outputs import remove_temporaries
from preprocessor.parallel import ordered_map
from preprocessor.pocketsphinx_aligner import LANGUAGE, PocketsphinxAligner

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from preprocessor.cluster import Cluster

PRELOAD = ("pocketsphinx", "numpy", "soxr", "soundfile", "praatio.textgrid")


def remove_leftovers(folder: Path) -> None:
    """Remove what killed runs left half-written in preprocessed_path."""
    remove_temporaries([folder, *(path for path in folder.glob("TextGrid/*") if path.is_dir())])


def align_all(tasks: Sequence[Task], jobs: int, cluster: Cluster | None = None) -> Iterator[Outcome]:
    """Align on `jobs` processes or a cluster; outcomes come in the order of the tasks."""
    return ordered_map(align_one, tasks, jobs, PRELOAD, cluster=cluster)


def align_one(task: Task) -> Outcome:
    """Write one recording's TextGrid, or say why not.

    Raises UserError where the TextGrid cannot be written, never for what is wrong with one recording.
    """
    if task.force and task.language == LANGUAGE:
        task.textgrid_path.unlink(missing_ok=True)  # a file that fails now must not keep its former boundaries
    try:
        wav, sampling_rate = load_recording(task)
    except UserError as error:
        return Outcome(task.label, failure=str(error))
    if task.textgrid_path.exists():
        return describe(task, wav, sampling_rate, kept=True)
    reason = unusable(task, wav)
    if reason is None and task.language != LANGUAGE:
        reason = (
            f"pocketsphinx's model is US English and this is {task.language}; use --aligner mfa with a model of "
            "that language, or --set model.alignment=learned"
        )
    if reason is not None:
        return Outcome(task.label, failure=reason)
    try:
        _write_alignment(task, wav, sampling_rate)
    except AlignmentError as error:
        return Outcome(task.label, failure=str(error))
    return describe(task, wav, sampling_rate, kept=False)


def load_recording(task: Task) -> tuple[npt.NDArray[np.float32], int]:
    """Waveform [samples] and sampling rate in Hz. Raises UserError where that is not possible."""
    import soundfile

    import audio

    wav = audio.load(task.wav_path, None)
    return wav, int(soundfile.info(os.fspath(task.wav_path)).samplerate)


def unusable(task: Task, wav: npt.NDArray[np.float32]) -> str | None:
    """Why no aligner could align this."""
    import audio

    if task.problem is not None:
        return task.problem
    return f"{task.wav_path}: the recording is silent" if audio.is_silent(wav) else None


@lru_cache(maxsize=1)
def _aligner() -> PocketsphinxAligner:
    return PocketsphinxAligner()  # one per process


def _write_alignment(task: Task, wav: npt.NDArray[np.float32], sampling_rate: int) -> None:
    from preprocessor.textgrid_writer import whole_microseconds, write_textgrid

    aligned = _aligner().align(wav, sampling_rate, task.words)
    write_textgrid(task.textgrid_path, aligned.words, aligned.phones, whole_microseconds(len(wav), sampling_rate))


def look_at_all(
    tasks: Sequence[Task], fresh: Iterable[str], failures: Mapping[str, str], jobs: int
) -> Iterator[Outcome]:
    """Outcomes of recordings whose TextGrids something else made, in the order of the tasks.

    fresh: labels of those that this run made; failures: label -> why there is no TextGrid.
    """
    new = set(fresh)
    items = [(task, task.label in new, failures.get(task.label)) for task in tasks]
    return ordered_map(_look_at, items, jobs, PRELOAD, chunk=8)


def _look_at(item: tuple[Task, bool, str | None]) -> Outcome:
    task, new, failure = item
    try:
        wav, sampling_rate = load_recording(task)
    except UserError as error:
        return Outcome(task.label, failure=str(error))
    if task.textgrid_path.exists():
        return describe(task, wav, sampling_rate, kept=not new)
    return Outcome(task.label, failure=failure or unusable(task, wav) or f"there is no {task.textgrid_path}")
