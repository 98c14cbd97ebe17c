"""What there is to align: every recording of raw_data with the words that synthesis would speak for its text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from errors import UserError
from preprocessor.alignment import SILENCES
from preprocessor.facts import NOTHING, read_facts
from text.languages import get_g2p
from text.words import G2P
from utils.names import problem_of_pair


class AlignmentError(Exception):
    """This recording cannot be aligned; the message says why. It is to be left out, not given invented boundaries."""


@dataclass(frozen=True)
class SpokenWord:
    """A word and the pronunciation it is aligned to."""

    text: str
    phones: tuple[str, ...]  # of the language; ARPAbet with stress in English


@dataclass(frozen=True)
class Task:
    """One recording to align. Small and picklable: workers get nothing else."""

    speaker: str
    name: str
    wav_path: Path
    textgrid_path: Path
    text: str
    language: str  # code
    words: tuple[SpokenWord, ...]
    problem: str | None  # why there is nothing to align it to
    force: bool  # replace a TextGrid that exists

    @property
    def label(self) -> str:
        """What reports call it."""
        return f"{self.speaker}/{self.name}"


def find_tasks(
    raw_path: Path, textgrid_root: Path, languages: Sequence[str], lexicon_path: str | None, force: bool
) -> list[Task]:
    """List raw_path/{speaker}/{name}.wav with the words of {name}.lab, sorted by speaker and name.

    languages: codes; the first is that of recordings whose corpus does not say (preprocessor/facts.py).
    A recording without a usable transcript is a task with a `problem`. Raises UserError for an unusable lexicon, and
    for a name that lists and other files can't bear.
    """
    reader = _Reader(lexicon_path)
    facts = read_facts(raw_path)
    tasks = []
    for wav_path in sorted(raw_path.glob("*/*.wav")):
        if wav_path.name.startswith("."):
            continue
        speaker, name = wav_path.parent.name, wav_path.stem
        unnameable = problem_of_pair(speaker, name)
        if unnameable is not None:
            raise UserError(f"{raw_path}: {unnameable}; rename it, or take it away")
        language = facts.get((speaker, name), NOTHING).language or languages[0]
        text, problem = _transcript(wav_path.with_suffix(".lab"))
        words: tuple[SpokenWord, ...] = ()
        if problem is None:
            words, problem = reader.words(text, language)
        textgrid_path = textgrid_root / speaker / f"{name}.TextGrid"
        tasks.append(Task(speaker, name, wav_path, textgrid_path, text, language, words, problem, force))
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


class _Reader:
    """Texts to words in any language; each language is loaded once and each text pronounced once."""

    def __init__(self, lexicon_path: str | None) -> None:
        self._lexicon_path = lexicon_path
        self._languages: dict[str, G2P] = {}
        self._readings: dict[tuple[str, str], tuple[tuple[SpokenWord, ...], str | None]] = {}

    def words(self, text: str, language: str) -> tuple[tuple[SpokenWord, ...], str | None]:
        """The words that synthesis would speak, and what is wrong with them."""
        if language not in self._languages:
            self._languages[language] = get_g2p(language, self._lexicon_path)
        key = language, text
        if key not in self._readings:
            self._readings[key] = _pronounce(self._languages[language], text)
        return self._readings[key]


def _pronounce(g2p: G2P, text: str) -> tuple[tuple[SpokenWord, ...], str | None]:
    """Without the pauses of punctuation: where people really paused, the audio tells."""
    try:
        spoken = [
            SpokenWord(word.text.lower(), tuple(phone for phone in word.phones if phone not in SILENCES))
            for word in g2p(text)
        ]
    except UserError as error:
        return (), str(error)
    words = tuple(word for word in spoken if word.phones)
    return words, None if words else f"nothing to speak in {text!r}"
