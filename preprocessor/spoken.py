"""What an utterance speaks and where: from its TextGrid, or from its text where training learns the alignment."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from audio.trim import loud_span
from errors import UserError
from preprocessor.alignment import read_alignment
from text import SILENCE, phones_to_ids
from text.words import phones_of

if TYPE_CHECKING:
    from text.words import G2P

TOLERANCE = 0.02  # seconds by which an alignment may end after the recording: rounding to 10 or 12.5 ms frames


class UnusableError(Exception):
    """Why an utterance is skipped: its kind, which the summary counts by, and one line with file and value."""

    def __init__(self, kind: str, detail: str) -> None:
        super().__init__(kind, detail)
        self.kind, self.detail = kind, detail


@dataclass(frozen=True)
class Spoken:
    """Phones and the part of the recording that they cover."""

    phones: tuple[str, ...]  # known to the symbol table
    durations: npt.NDArray[np.int64] | None  # [phones] mel frames; None: the model is to find them
    start: int  # samples
    end: int
    frames: int  # mel frames of that part


def by_textgrid(path: Path, samples: int, sampling_rate: int, hop_length: int) -> Spoken:
    """As the TextGrid says, for a recording of so many samples. Raises UnusableError."""
    if not path.is_file():
        raise UnusableError("no TextGrid", f"{path} does not exist")
    try:
        alignment = read_alignment(path, sampling_rate, hop_length, fill_gaps=True)
    except UserError as error:
        raise UnusableError("unusable TextGrid", str(error)) from error
    frames, seconds = int(alignment.durations.sum()), samples / sampling_rate
    if not frames:
        raise UnusableError("empty alignment", f"{path}: no phones but silences, or all shorter than a frame")
    if alignment.end > seconds + max(TOLERANCE, hop_length / sampling_rate):
        raise UnusableError(
            "TextGrid longer than the recording",
            f"{path}: the last phone ends at {alignment.end:.2f} s, the recording at {seconds:.2f} s",
        )
    _refuse_unknown(alignment.phones, path)
    start, end = (int(sampling_rate * time) for time in (alignment.start, alignment.end))
    return Spoken(alignment.phones, alignment.durations, start, end, frames)


def by_text(
    lab: Path,
    text: str,
    language: str,
    lexicon_path: str | None,
    wav: npt.NDArray[np.float32],
    sampling_rate: int,
    hop_length: int,
) -> Spoken:
    """The phones that synthesis would speak, in the part of the recording that is loud. Raises UnusableError.

    What of the silence around it remains is a phone of its own at either end, SILENCE: without them the first and the
    last phone would last as long as the silence happens to.
    """
    try:
        phones = (SILENCE, *phones_of(reader(language, lexicon_path)(text)), SILENCE)
    except UserError as error:
        raise UnusableError("unspeakable text", f"{lab}: {error}") from error
    _refuse_unknown(phones, lab)
    start, end = loud_span(wav, sampling_rate)
    frames = (end - start) // hop_length + 1
    if frames < len(phones):
        raise UnusableError(
            "too short for its text", f"{lab}: {len(phones)} phones in {(end - start) / sampling_rate:.2f} s of speech"
        )
    return Spoken(phones, None, start, end, frames)


@lru_cache(maxsize=8)
def reader(language: str, lexicon_path: str | None) -> G2P:
    """The language's grapheme-to-phoneme conversion, loaded once per process."""
    from text.languages import get_g2p

    return get_g2p(language, lexicon_path)


def _refuse_unknown(phones: tuple[str, ...], source: Path) -> None:
    try:
        phones_to_ids(phones)
    except UserError as error:
        raise UnusableError("unknown phone", f"{source}: {error}") from error
