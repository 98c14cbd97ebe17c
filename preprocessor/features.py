"""One utterance: recording, text and alignment -> mel spectrogram, durations and what the corpus's statistics need."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from audio import is_silent, load
from errors import UserError
from preprocessor.alignment import Alignment, read_alignment
from preprocessor.outputs import write_array
from text import phones_to_ids
from utils.metadata import Entry

if TYPE_CHECKING:
    from audio.mel import MelSpectrogram
    from deepspeaker import SpeakerEmbedder

PRELOAD = ("torch", "numpy", "soundfile", "soxr", "praatio.textgrid")
TOLERANCE = 0.02  # seconds by which an alignment may end after the recording: rounding to 10 or 12.5 ms frames


@dataclass(frozen=True)
class FeatureSettings:
    """What decides the features, apart from recordings and alignments. Rates in Hz, lengths in samples."""

    sampling_rate: int
    filter_length: int
    hop_length: int
    win_length: int
    n_mels: int
    fmin: float
    fmax: float | None
    embedder_weights: Path | None  # None: no speaker embeddings


@dataclass(frozen=True)
class Task:
    """One utterance and where its files lie."""

    speaker: str
    name: str
    recording: Path
    lab: Path
    textgrid: Path
    output: Path  # folder that holds mel/ and duration/
    settings: FeatureSettings
    language: str  # code


@dataclass(frozen=True)
class Sums:
    """Of many numbers: enough for count, mean, standard deviation and range."""

    count: int
    total: float
    squares: float
    low: float
    high: float

    @classmethod
    def of(cls, values: npt.NDArray[Any]) -> Sums:
        """values: any shape, not empty."""
        wide = values.astype(np.float64)
        return cls(wide.size, float(wide.sum()), float((wide * wide).sum()), float(wide.min()), float(wide.max()))


@dataclass(frozen=True)
class Features:
    """A usable utterance. Its mel spectrogram and durations are on disk."""

    entry: Entry
    frames: int  # = sum of the durations
    mel: Sums
    energy: Sums
    mean_mel: npt.NDArray[np.float32]  # [n_mels] mean over time
    embedding: npt.NDArray[np.float32] | None  # [512] of this utterance


@dataclass(frozen=True)
class Skipped:
    """An utterance that cannot be used."""

    speaker: str
    name: str
    kind: str  # "no TextGrid"; what the summary counts by
    detail: str  # one line with file and value


class UnusableError(Exception):
    """Why an utterance is skipped: kind and detail as in Skipped."""

    def __init__(self, kind: str, detail: str) -> None:
        super().__init__(kind, detail)
        self.kind, self.detail = kind, detail


def build_features(task: Task) -> Features | Skipped:
    """Write mel/{speaker}-mel-{name}.npy [T, n_mels] float32 and duration/{speaker}-duration-{name}.npy [phones] int64.

    T equals the sum of the durations. Nothing is written for an utterance that is skipped.
    """
    try:
        return _build(task)
    except UnusableError as problem:
        return Skipped(task.speaker, task.name, problem.kind, problem.detail)


def mel_path(folder: Path, speaker: str, name: str) -> Path:
    """Where an utterance's mel spectrogram lies below the preprocessed folder."""
    return folder / "mel" / f"{speaker}-mel-{name}.npy"


def duration_path(folder: Path, speaker: str, name: str) -> Path:
    """Where an utterance's durations lie below the preprocessed folder."""
    return folder / "duration" / f"{speaker}-duration-{name}.npy"


def _build(task: Task) -> Features:
    text = _read_text(task.lab)
    wav = _read_recording(task.recording, task.settings.sampling_rate)
    alignment = _read_alignment(task.textgrid, len(wav) / task.settings.sampling_rate, task.settings)
    mel, energy = _mel(wav, alignment, task.settings)
    assert len(mel) == alignment.durations.sum()
    embedding = None
    if task.settings.embedder_weights is not None:
        with _one_thread():
            embedding = _embedder(task.settings.embedder_weights)(wav, task.settings.sampling_rate)
    write_array(duration_path(task.output, task.speaker, task.name), alignment.durations)
    write_array(mel_path(task.output, task.speaker, task.name), mel)
    entry = Entry(task.name, task.speaker, alignment.phones, text, task.language)
    return Features(entry, len(mel), Sums.of(mel), Sums.of(energy), mel.mean(axis=0), embedding)


def _read_text(lab: Path) -> str:
    try:
        text = " ".join(lab.read_text(encoding="utf-8-sig").split())
    except (OSError, UnicodeDecodeError) as error:
        raise UnusableError("no text", f"{lab}: {error}") from error
    if not text:
        raise UnusableError("no text", f"{lab}: the file is empty")
    return text


def _read_recording(path: Path, sampling_rate: int) -> npt.NDArray[np.float32]:
    try:
        wav = load(path, sampling_rate)
    except UserError as error:
        raise UnusableError("unreadable recording", str(error)) from error
    if is_silent(wav):
        raise UnusableError("silent recording", f"{path}: nothing above -80 dBFS")
    return wav


def _read_alignment(path: Path, seconds: float, settings: FeatureSettings) -> Alignment:
    if not path.is_file():
        raise UnusableError("no TextGrid", f"{path} does not exist")
    try:
        alignment = read_alignment(path, settings.sampling_rate, settings.hop_length, fill_gaps=True)
    except UserError as error:
        raise UnusableError("unusable TextGrid", str(error)) from error
    if not alignment.durations.sum():
        raise UnusableError("empty alignment", f"{path}: no phones but silences, or all shorter than a frame")
    if alignment.end > seconds + max(TOLERANCE, settings.hop_length / settings.sampling_rate):
        raise UnusableError(
            "TextGrid longer than the recording",
            f"{path}: the last phone ends at {alignment.end:.2f} s, the recording at {seconds:.2f} s",
        )
    try:
        phones_to_ids(alignment.phones)
    except UserError as error:
        raise UnusableError("unknown phone", f"{path}: {error}") from error
    return alignment


def _mel(
    wav: npt.NDArray[np.float32], alignment: Alignment, settings: FeatureSettings
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """The aligned part's mel [T, n_mels] and energy [T], T = the sum of the durations."""
    import torch

    frames = int(alignment.durations.sum())
    start, end = (int(settings.sampling_rate * time) for time in (alignment.start, alignment.end))
    spoken = wav[start:end]
    missing = (frames - 1) * settings.hop_length - len(spoken)
    if missing > 0:  # the alignment ends up to TOLERANCE after the recording
        spoken = np.pad(spoken, (0, missing))
    with _one_thread(), torch.inference_mode():
        log_mel, energy = _front_end(settings)(torch.from_numpy(spoken)[None])
    return log_mel[0, :frames].numpy(), energy[0, :frames].numpy()


@contextmanager
def _one_thread() -> Iterator[None]:
    """Parallelism is over utterances; and one thread adds up in one order, whatever the number of processes."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@lru_cache(maxsize=1)
def _front_end(settings: FeatureSettings) -> MelSpectrogram:
    from audio import MelSpectrogram

    return MelSpectrogram(
        settings.sampling_rate,
        settings.filter_length,
        settings.hop_length,
        settings.win_length,
        settings.n_mels,
        settings.fmin,
        settings.fmax,
    )


@lru_cache(maxsize=1)
def _embedder(weights: Path) -> SpeakerEmbedder:
    import torch

    from deepspeaker import SpeakerEmbedder

    return SpeakerEmbedder.from_keras(weights, torch.device("cpu"))
