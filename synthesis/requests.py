"""What is to be spoken, by whom and how: checked before any model is loaded."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from errors import UserError
from text import LANGUAGES, check_phones, check_text, get_g2p, phones_to_ids
from text.chunks import split_sentences
from text.cleaners import to_ascii
from text.words import Word, phones_of
from utils.metadata import Entry, IdMaps, intensity_of, read_lines
from utils.names import problem_of


@dataclass(frozen=True)
class Chunk:
    """A piece of text that is synthesised at once."""

    text: str
    phones: tuple[str, ...]
    words: tuple[Word, ...] = ()  # where each word's phones came from; empty where phones were given


@dataclass(frozen=True)
class Request:
    """One file to be made."""

    name: str  # of the result files, without suffix
    chunks: tuple[Chunk, ...]
    speaker: str
    emotion: str | None  # None: the soft token of `reference`
    reference: Path | None = None
    reference_peak: float = 1.0  # largest |sample| among the recordings of the reference's speaker
    intensity: int | None = None  # number among those that the model knows; None: their mean, or heard in `reference`
    place: str = ""  # "file:line" that asks for it, in batch mode

    @property
    def text(self) -> str:
        """The whole text."""
        return " ".join(chunk.text for chunk in self.chunks)


def single_request(
    text: str,
    speaker: str,
    emotion: str | None,
    reference: Path | None,
    lexicon: str | None,
    name: str | None,
    language: str = "en",
) -> Request:
    """A request from a text of any length in `language` (a code of text.LANGUAGES).

    Raises UserError for an unknown language and for an empty or unspeakable text.
    """
    check_text(text)
    g2p = get_g2p(language, lexicon)
    chunks = []
    for part in split_sentences(text, LANGUAGES[language].chunk, LANGUAGES[language].spaced):
        words = tuple(g2p(part))
        if any(word.phones for word in words):
            chunks.append(Chunk(part, tuple(phones_of(words)), words))
    if not chunks:
        phones_of(g2p(text))  # raises the error that says so
    token = emotion or f"like-{reference.stem if reference else ''}"
    return Request(name or safe_name(f"{speaker}_{token}_{text}"), tuple(chunks), speaker, emotion, reference)


def in_every_emotion(request: Request, ids: IdMaps) -> list[Request]:
    """The same request once for each emotion the model knows; the emotion stands at the end of the name."""
    emotions = sorted(ids.emotions, key=lambda name: ids.emotions[name])
    return [replace(request, emotion=emotion, name=f"{request.name}_{emotion}") for emotion in emotions]


def batch_requests(
    source: Path,
    ids: IdMaps,
    unlabelled: str | None = None,
    languages: Sequence[str] = ("en",),
    intensities: Sequence[str] = (),
    intensity: int | None = None,
    problems: list[str] | None = None,
) -> list[Request]:
    """One request per line of a metadata file: its phones, its speaker, its emotion and intensity; `unlabelled` and
    `intensity` where it has none.

    Raises UserError as `file:line: …` for malformed lines, for a speaker or an emotion the model does not know, for
    phones that no model of these languages has, and for a line without an emotion where `unlabelled` is None. Given
    `problems`, such lines are left out and what is wrong with each is put there, in their order.
    """
    wrong: list[str] = []
    entries = read_lines(source, None if problems is None else wrong)
    if not entries:
        raise UserError(f"{source} lists no utterance" if not wrong else wrong[0])
    if unlabelled is not None:
        ids.emotion_id(unlabelled)
    names = Counter(entry.name for entry in entries.values())
    requests = []
    for number, entry in entries.items():
        emotion, place = entry.emotion or unlabelled, f"{source}:{number}"
        try:
            if emotion is None:
                raise UserError(f"{place}: {entry.name} has no emotion; give it one by --emotion_id")
            _check_entry(entry, emotion, ids, languages, place)
        except UserError as error:
            if problems is None:
                raise
            wrong.append(str(error))
            continue
        name = entry.name if names[entry.name] == 1 else f"{entry.speaker}_{entry.name}"  # speakers may share names
        named = intensity_of(entry.name, intensities)
        strength = intensity if named is None else named
        chunk = Chunk(entry.text, entry.phones)
        requests.append(Request(name, (chunk,), entry.speaker, emotion, intensity=strength, place=place))
    if problems is not None:
        problems += sorted(wrong, key=lambda problem: int(problem.removeprefix(f"{source}:").partition(":")[0]))
    return requests


def _check_entry(entry: Entry, emotion: str, ids: IdMaps, languages: Sequence[str], place: str) -> None:
    try:
        ids.speaker_id(entry.speaker)
        ids.emotion_id(emotion)
        phones_to_ids(entry.phones)
        check_phones(entry.phones, languages)
    except UserError as error:
        raise UserError(f"{place}: {entry.name}: {error}") from error


def safe_name(text: str, limit: int = 60) -> str:
    """A file name without suffix: ASCII letters (other scripts romanised), digits, `_`, `-`; never empty, no path."""
    kept = "".join(c if c.isalnum() or c in "_-" else " " for c in to_ascii(text))
    name = "-".join(kept.split())[:limit].rstrip("-") or "speech"
    return name if problem_of(name) is None else f"speech-{name}"  # Windows has a device called nul


def print_words(words: Sequence[Word]) -> None:
    """One line a word: how it is spoken and who says so."""
    for word in words:
        print(f"  {word}")
