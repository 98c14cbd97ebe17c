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
from preprocessor.outputs import write_array
from preprocessor.spoken import Spoken, UnusableError, by_text, by_textgrid
from utils.metadata import Entry

if TYPE_CHECKING:
    from audio.mel import MelSpectrogram
    from deepspeaker import SpeakerEmbedder

PRELOAD = ("torch", "numpy", "soundfile", "soxr", "praatio.textgrid")


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
    aligned: bool  # by TextGrids; False: no durations, the model will find them
    lexicon_path: str | None  # the user's pronunciations, where the phones come from the text


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


def build_features(task: Task) -> Features | Skipped:
    """Write mel/{speaker}-mel-{name}.npy [T, n_mels] float32 and duration/{speaker}-duration-{name}.npy [phones] int64.

    T equals the sum of the durations; where the alignment is to be learned there are none. Nothing is written for an
    utterance that is skipped.
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
    spoken = _spoken(task, text, wav)
    mel, energy = _mel(wav, spoken, task.settings)
    assert len(mel) == spoken.frames
    embedding = None
    if task.settings.embedder_weights is not None:
        with _one_thread():
            embedding = _embedder(task.settings.embedder_weights)(wav, task.settings.sampling_rate)
    if spoken.durations is not None:
        write_array(duration_path(task.output, task.speaker, task.name), spoken.durations)
    write_array(mel_path(task.output, task.speaker, task.name), mel)
    entry = Entry(task.name, task.speaker, spoken.phones, text, task.language)
    return Features(entry, len(mel), Sums.of(mel), Sums.of(energy), mel.mean(axis=0), embedding)


def _spoken(task: Task, text: str, wav: npt.NDArray[np.float32]) -> Spoken:
    rate, hop = task.settings.sampling_rate, task.settings.hop_length
    if task.settings.aligned:
        return by_textgrid(task.textgrid, len(wav), rate, hop)
    return by_text(task.lab, text, task.language, task.settings.lexicon_path, wav, rate, hop)


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


def _mel(
    wav: npt.NDArray[np.float32], spoken: Spoken, settings: FeatureSettings
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """The spoken part's mel [T, n_mels] and energy [T]."""
    import torch

    part = wav[spoken.start : spoken.end]
    missing = (spoken.frames - 1) * settings.hop_length - len(part)
    if missing > 0:  # an alignment may end a little after the recording
        part = np.pad(part, (0, missing))
    with _one_thread(), torch.inference_mode():
        log_mel, energy = _front_end(settings)(torch.from_numpy(part)[None])
    return log_mel[0, : spoken.frames].numpy(), energy[0, : spoken.frames].numpy()


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
