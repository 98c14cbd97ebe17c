"""One utterance: recording, text and alignment -> mel spectrogram, durations and what the corpus's statistics need.

Each utterance is computed on its own: in a batch of several, the last bits of the matrix products depend on who else
is in it, and a file made again alone would differ from the one made with its neighbours.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from audio import is_silent, load
from audio.pitch import fundamental
from errors import UserError
from preprocessor.outputs import NPY_HEADER, write_array
from preprocessor.records import Features, Record, Skipped, Sums, parse
from preprocessor.spoken import Spoken, UnusableError, by_text, by_textgrid
from utils.metadata import Entry

if TYPE_CHECKING:
    from audio.mel import MelSpectrogram
    from deepspeaker import SpeakerEmbedder

PITCH_CONTEXT = 20  # frames on either side
PITCH_SPEED = 4  # 21 instead of 160 ms for a recording of RAVDESS
PRELOAD = ("torch", "numpy", "soundfile", "soxr")


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
    pitched: bool = False  # whether the fundamental frequency is wanted, too


@dataclass(frozen=True)
class Places:
    """Folders; all but the output hold one folder per speaker."""

    raw: Path
    textgrids: Path
    output: Path  # holds mel/, duration/ and pitch/


@dataclass(frozen=True)
class Wanted:
    """One utterance to make features of, or to look whether they are still good."""

    speaker: str
    name: str
    language: str  # code
    line: str | None = None  # what features.jsonl says of it


@dataclass(frozen=True)
class Block:
    """One worker's task: a few utterances. Small and picklable."""

    wanted: Sequence[Wanted]
    places: Places
    settings: FeatureSettings
    digest: str  # of the settings


def check_block(block: Block) -> list[str]:
    """The lines of `block` that still hold: same settings, files as they were, features there."""
    return [item.line for item in block.wanted if item.line is not None and _holds(block, item, item.line)]


def _holds(block: Block, item: Wanted, line: str) -> bool:
    try:
        record = parse(line)
    except (ValueError, TypeError, KeyError):
        return False
    if isinstance(record.outcome, Skipped):  # a file's permissions or a full disk may have been the reason
        return False
    if (record.settings, record.language) != (block.digest, item.language):
        return False
    if record.source != _stamps(block, item):
        return False
    output, made = block.places.output, record.outcome
    size = NPY_HEADER + 4 * made.frames * block.settings.n_mels
    if _size(f"{output}/mel/{mel_name(item.speaker, item.name)}") != size:
        return False
    pitch = f"{output}/pitch/{pitch_name(item.speaker, item.name)}"
    if block.settings.pitched and _size(pitch) != NPY_HEADER + 4 * made.frames:
        return False
    lasting = NPY_HEADER + 8 * len(made.entry.phones)
    durations = f"{output}/duration/{duration_name(item.speaker, item.name)}"
    return not block.settings.aligned or _size(durations) == lasting


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size  # noqa: PTH116 - for every file
    except (OSError, ValueError):
        return -1


def _stamps(block: Block, item: Wanted) -> list[list[int] | None]:
    stamps: list[list[int] | None] = []
    recording, lab, textgrid = _files(block, item)
    for path in (recording, lab, textgrid) if block.settings.aligned else (recording, lab):
        try:
            status = os.stat(path)  # noqa: PTH116
            stamps.append([status.st_size, status.st_mtime_ns])
        except (OSError, ValueError):  # ValueError: a name that no file can have
            stamps.append(None)
    return stamps


def _files(block: Block, item: Wanted) -> tuple[str, str, str]:
    recording = f"{block.places.raw}/{item.speaker}/{item.name}"
    return f"{recording}.wav", f"{recording}.lab", f"{block.places.textgrids}/{item.speaker}/{item.name}.TextGrid"


def build_block(block: Block) -> list[str]:
    """Write features of every utterance; return their lines of features.jsonl.

    mel/{speaker}-mel-{name}.npy [T, n_mels] float32, duration/{speaker}-duration-{name}.npy [phones] int64 and, where
    wanted, pitch/{speaker}-pitch-{name}.npy [T] float32 (Hz, 0 = unvoiced).

    T equals the sum of the durations; where the alignment is to be learned there are none. Nothing is written for an
    utterance that is skipped.
    """
    with _one_thread():
        return [_line(block, item) for item in block.wanted]


def _line(block: Block, item: Wanted) -> str:
    stamps = _stamps(block, item)  # before reading: a file that changes meanwhile will be noticed
    outcome: Features | Skipped
    try:
        outcome = _build(block, item)
    except UnusableError as problem:
        outcome = Skipped(problem.kind, problem.detail)
    return Record(item.speaker, item.name, block.digest, stamps, item.language, outcome).line()


def mel_name(speaker: str, name: str) -> str:
    """What an utterance's mel spectrogram is called in mel/."""
    return f"{speaker}-mel-{name}.npy"


def duration_name(speaker: str, name: str) -> str:
    """What an utterance's durations are called in duration/."""
    return f"{speaker}-duration-{name}.npy"


def pitch_name(speaker: str, name: str) -> str:
    """What an utterance's fundamental frequency is called in pitch/."""
    return f"{speaker}-pitch-{name}.npy"


def _build(block: Block, item: Wanted) -> Features:
    settings, output = block.settings, block.places.output
    recording, lab, textgrid = map(Path, _files(block, item))
    text = _read_text(lab)
    wav = _read_recording(recording, settings.sampling_rate)
    rate, hop = settings.sampling_rate, settings.hop_length
    if settings.aligned:
        spoken = by_textgrid(textgrid, len(wav), rate, hop)
    else:
        spoken = by_text(lab, text, item.language, settings.lexicon_path, wav, rate, hop)
    mel, energy = _mel(wav, spoken, settings)
    assert len(mel) == spoken.frames
    if settings.pitched:
        write_array(output / "pitch" / pitch_name(item.speaker, item.name), _pitch(wav, spoken, settings))
    embedding = None
    if settings.embedder_weights is not None:
        embedding = _embedder(settings.embedder_weights)(wav, rate).astype("<f4")
    if spoken.durations is not None:
        write_array(output / "duration" / duration_name(item.speaker, item.name), spoken.durations)
    write_array(output / "mel" / mel_name(item.speaker, item.name), mel)
    entry = Entry(item.name, item.speaker, spoken.phones, text, item.language)
    coded = None if embedding is None else base64.b64encode(embedding.tobytes()).decode()
    return Features(entry, len(mel), sums(mel), sums(energy), coded)


def sums(values: npt.NDArray[Any]) -> Sums:
    """Of an array of any shape that is not empty."""
    wide = values.astype(np.float64)
    return Sums(wide.size, float(wide.sum()), float((wide * wide).sum()), float(wide.min()), float(wide.max()))


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
    with torch.inference_mode():
        log_mel, energy = _front_end(settings)(torch.from_numpy(part)[None])
    return log_mel[0, : spoken.frames].numpy(), energy[0, : spoken.frames].numpy()


def _pitch(wav: npt.NDArray[np.float32], spoken: Spoken, settings: FeatureSettings) -> npt.NDArray[np.float32]:
    """Hz at the centre of every frame [T], 0 where there is no voice; what surrounds the spoken part is heard, too."""
    hop = settings.hop_length
    before = min(PITCH_CONTEXT, spoken.start // hop)
    part = wav[spoken.start - before * hop : spoken.end + PITCH_CONTEXT * hop]
    f0 = fundamental(part, settings.sampling_rate, hop / settings.sampling_rate, PITCH_SPEED)[before:]
    pitch = np.zeros(spoken.frames, dtype=np.float32)
    size = min(len(pitch), len(f0))
    pitch[:size] = f0[:size]
    return pitch


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
