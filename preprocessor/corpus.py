"""What a corpus is to the rest of the project. One module of preprocessor/corpora/ per corpus knows its layout."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from errors import UserError
from utils.metadata import NO_EMOTION

AUDIO_SUFFIXES = (".wav", ".flac", ".ogg", ".mp3")  # compared in lower case


@dataclass(frozen=True)
class Utterance:
    """One recording of a corpus."""

    audio_path: Path
    key: str  # tells it from the speaker's other recordings of that emotion; a file name's part, without suffix
    text: str  # as spoken
    speaker: str  # a folder's name
    emotion: str | None = None  # lower case, letters only, as the corpus calls it; None: unlabelled
    intensity: str | None = None
    statement: str | None = None  # which of the corpus's repeated sentences was spoken
    sex: Literal["male", "female"] | None = None
    language: str | None = None  # "en", "zh", …; None: the first of preprocess.preprocessing.text.languages
    split: Literal["train", "val", "test"] | None = None  # what the corpus suggests it for
    dataset: str | None = None  # which member of a joined dataset it comes from; corpora leave it alone

    @property
    def name(self) -> str:
        """File name of everything made from it, without suffix: "angry-strong-01-02-Actor_05", "none-LJ001-0001"."""
        return f"{self.emotion or NO_EMOTION}-{self.key}"


@dataclass(frozen=True)
class Scan:
    """What was found in a corpus's folder."""

    utterances: Sequence[Utterance]  # sorted by speaker, then name; never empty
    left_out: Mapping[str, int]  # kind of recording that is no use here ("song") -> how many


@dataclass(frozen=True)
class About:
    """Where a corpus comes from and what may be done with it."""

    title: str
    home: str  # URL
    licence: str
    get: str  # one line: what to download and where to unpack it
    direct: bool = False  # download.py can do that


class Corpus(Protocol):
    """The interface that one module per corpus implements. None of it reads audio.

    The constructor's keyword arguments, all with defaults, are what `preprocess.corpus_options` may hold; it raises
    UserError for a value that makes no sense.
    """

    about: About

    def scan(self, folder: Path) -> Scan:
        """List the recordings under `folder`.

        Raises UserError when the folder is missing or holds none, when a file is named against the corpus's rules, or
        when two recordings would get one name.
        """


# name in preprocess.corpus -> module of preprocessor.corpora and class in it
CORPORA = {
    "RAVDESS": ("ravdess", "Ravdess"),
    "ESD": ("esd", "Esd"),
    "EmoV-DB": ("emov_db", "EmovDb"),
    "CREMA-D": ("crema_d", "CremaD"),
    "TESS": ("tess", "Tess"),
    "SAVEE": ("savee", "Savee"),
    "LJSpeech": ("ljspeech", "LJSpeech"),
    "VCTK": ("vctk", "Vctk"),
    "LibriTTS": ("libritts", "LibriTTS"),
    "generic": ("generic", "Generic"),
}


def get_corpus(name: str, options: Mapping[str, Any] | None = None) -> Corpus:
    """The module for `preprocess.corpus`, made with `preprocess.corpus_options`.

    Raises UserError with the known ones when there is no such corpus or option.
    """
    if name not in CORPORA:
        raise UserError(f"unknown corpus {name!r}; known: {', '.join(CORPORA)}")
    module, kind = CORPORA[name]
    maker: type[Corpus] = getattr(importlib.import_module(f"preprocessor.corpora.{module}"), kind)
    known = list(inspect.signature(maker).parameters)
    for option in options or {}:
        if option not in known:
            raise UserError(
                f"preprocess.corpus_options: {name} has no option {option!r}; known: {', '.join(known) or 'none'}"
            )
    return maker(**(options or {}))


def corpus_folder(folder: Path, about: About) -> Path:
    """Return `folder`; raises UserError that says how to get the corpus when there is no such folder."""
    if not folder.is_dir():
        script = "run python download.py with the same --dataset; or " if about.direct else ""
        raise UserError(
            f"corpus folder {folder} does not exist; {script}{about.get} ({about.home}), or set "
            "preprocess.path.corpus_path, or pass --corpus_path"
        )
    return folder


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


def finished(utterances: Sequence[Utterance], left_out: Mapping[str, int], folder: Path, about: About) -> Scan:
    """The Scan of these utterances, sorted and checked; UserError when there are none or two have one name."""
    if not utterances:
        found = ", ".join(f"{count} of {kind}" for kind, count in left_out.items()) or "no audio file"
        raise UserError(f"{folder} holds no usable recording of {about.title} ({found}); {about.get} ({about.home})")
    refuse_duplicates(utterances)
    return Scan(sorted(utterances, key=lambda item: (item.speaker, item.name)), dict(left_out))
