"""What a corpus is to the rest of the project. One module per corpus knows its folders and file names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from errors import UserError

AUDIO_SUFFIXES = (".wav", ".flac")  # compared in lower case


@dataclass(frozen=True)
class Utterance:
    """One recording of a corpus."""

    audio_path: Path
    name: str  # file name of everything made from it, without suffix; begins with the emotion
    text: str  # as spoken
    speaker: str
    emotion: str | None = None
    intensity: str | None = None
    statement: str | None = None  # which sentence was spoken
    sex: str | None = None  # "male" or "female"


@dataclass(frozen=True)
class Scan:
    """What was found in a corpus's folder."""

    utterances: Sequence[Utterance]  # sorted by speaker, then name; never empty
    left_out: Mapping[str, int]  # kind of recording that is no use here ("song") -> how many


class Corpus(Protocol):
    """The interface that one module per corpus implements. None of it reads audio."""

    def scan(self, folder: Path) -> Scan:
        """List the recordings under `folder`.

        Raises UserError when the folder is missing or holds none, when a file is named against the corpus's rules, or
        when two recordings would get one name.
        """

    def statement(self, name: str) -> str | None:
        """Which sentence an utterance of this name speaks; None when the name does not say."""

    def sex(self, speaker: str) -> str | None:
        """ "male", "female", or None where unknown."""


def get_corpus(name: str) -> Corpus:
    """The module for `preprocess.corpus`; UserError with the known ones when there is none."""
    from preprocessor.ravdess import Ravdess

    known: dict[str, type[Corpus]] = {"RAVDESS": Ravdess}
    if name not in known:
        raise UserError(f"unknown corpus {name!r}; known: {', '.join(known)}")
    return known[name]()


def refuse_duplicates(utterances: Sequence[Utterance]) -> None:
    """Raise UserError when two recordings would write the same files."""
    seen: dict[tuple[str, str], Path] = {}
    for utterance in utterances:
        first = seen.setdefault((utterance.speaker, utterance.name), utterance.audio_path)
        if first != utterance.audio_path:
            raise UserError(
                f"{first} and {utterance.audio_path.name} are the same recording by name ({utterance.name}); "
                "remove one of them"
            )
