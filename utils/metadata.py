"""train.txt and val.txt, speakers.json and emotions.json.

A line of the former is `basename|speaker|{PH PH …}|raw text` where English is spoken, and
`basename|speaker|zh|{PH PH …}|raw text` in another language: its code stands before the phones.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from errors import UserError
from utils.files import atomic_path, read_json, write_json
from utils.names import problem_of, problem_of_pair

MADE_BY = "preprocess.py"
NO_EMOTION = "none"  # what the name of an utterance without an emotion label begins with
ENGLISH = "en"  # the language that metadata lines do not name
EXPECTED = "expected names numbered 0 … n-1"
LANGUAGE = re.compile(r"[a-z]{2,3}(-[A-Za-z0-9]{2,8})*")  # "zh", "pt-BR"


def emotion_of(name: str) -> str | None:
    """The emotion that an utterance's name begins with: "angry-strong-01-02-Actor_05" -> "angry"; None for "none-…"."""
    emotion = name.partition("-")[0]
    return None if emotion == NO_EMOTION else emotion


def intensity_of(name: str, known: Sequence[str]) -> int | None:
    """Number in `known` of the intensity that a word of an utterance's name says, its emotion aside; None if none does:
    "angry-strong-01-02-Actor_05", [normal, strong] -> 1."""
    return next((known.index(word) for word in name.split("-")[1:] if word in known), None)


def read_sexes(path: Path) -> dict[str, str]:
    """Speaker -> "male" or "female", for those of whom speaker-info.txt ("Actor_01|M" per line) says it; {} where there
    is no such file, or none that is text."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return {}
    words = {"M": "male", "F": "female"}
    pairs = (line.split("|")[:2] for line in lines if "|" in line)
    return {name: words[letter.strip()] for name, letter in pairs if letter.strip() in words}


@dataclass(frozen=True)
class Entry:
    """One utterance as the metadata files name it."""

    name: str  # file name without suffix; begins with the emotion, or with "none"
    speaker: str
    phones: tuple[str, ...]  # as in text/symbols.py: ARPAbet with stress, pinyin …, and sp, spn, sil
    text: str  # as spoken, not normalised
    language: str = ENGLISH  # code

    @property
    def emotion(self) -> str | None:
        """None: unlabelled."""
        return emotion_of(self.name)

    @property
    def key(self) -> tuple[str, str]:
        """Speaker and name: what no other utterance has. A name alone may be another speaker's, too."""
        return self.speaker, self.name


def read_metadata(path: Path) -> list[Entry]:
    """Read train.txt or val.txt; as `read_lines`, without the numbers."""
    return list(read_lines(path).values())


def read_lines(path: Path, problems: list[str] | None = None) -> dict[int, Entry]:
    """Line number, from 1 -> what train.txt or val.txt holds there; empty lines are skipped.

    Raises UserError when the file is missing or not UTF-8, or, as "file:line: …", when a line is malformed or names
    an utterance a second time. Given `problems`, such lines are left out and what is wrong with each is put there.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except FileNotFoundError as error:
        raise UserError(f"{path} is missing; run {MADE_BY}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not readable as UTF-8 text ({error}); make it again with {MADE_BY}") from error
    entries: dict[int, Entry] = {}
    keys: set[tuple[str, str]] = set()
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            entry = _parse_line(line.strip(), f"{path}:{number}")
            if entry.key in keys:
                raise UserError(f"{path}:{number}: {entry.name} of {entry.speaker} is listed twice")
        except UserError as error:
            if problems is None:
                raise
            problems.append(str(error))
            continue
        keys.add(entry.key)
        entries[number] = entry
    return entries


def _parse_line(line: str, place: str) -> Entry:
    parts = line.split("|", maxsplit=3)  # the text may hold a bar
    if len(parts) != 4:
        raise UserError(f"{place}: expected basename|speaker|{{PH PH …}}|raw text, got {line[:80]!r}")
    name, speaker, braced, text = parts
    language = ENGLISH
    if LANGUAGE.fullmatch(braced):
        language, (braced, bar, text) = braced, text.partition("|")
        if not bar:
            raise UserError(f"{place}: expected basename|speaker|{language}|{{PH PH …}}|raw text, got {line[:80]!r}")
    problem = problem_of_pair(speaker, name)
    if problem is not None:
        raise UserError(f"{place}: {problem}")
    phones = braced[1:-1].split()
    if not (braced.startswith("{") and braced.endswith("}") and phones):
        raise UserError(f"{place}: expected phones in braces like {{K IH1 D Z}}, got {braced[:80]!r}")
    return Entry(name, speaker, tuple(phones), text, language)


def write_metadata(path: Path, entries: Iterable[Entry]) -> None:
    """Write train.txt or val.txt atomically, in the order given. Line breaks inside a text become spaces."""
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(map(metadata_line, entries))


def metadata_line(entry: Entry) -> str:
    """An utterance's line of train.txt or val.txt, with the line break."""
    fields = [entry.name, entry.speaker, f"{{{' '.join(entry.phones)}}}", " ".join(entry.text.split())]
    if entry.language != ENGLISH:
        fields.insert(2, entry.language)
    return "|".join(fields) + "\n"


@dataclass(frozen=True)
class IdMaps:
    """Numbers of speakers and emotions. They are 0 … n-1 in sorted order of the names, so that runs agree on them."""

    speakers: dict[str, int]
    emotions: dict[str, int]

    @classmethod
    def of(cls, speakers: Iterable[str], emotions: Iterable[str | None]) -> IdMaps:
        """Number the given names, which may repeat; an emotion that is None, of an unlabelled utterance, gets none."""
        return cls(_number(speakers), _number(emotion for emotion in emotions if emotion is not None))

    @classmethod
    def load(cls, folder: Path) -> IdMaps:
        """Read speakers.json and emotions.json; UserError when one is missing or is not a map of names to 0 … n-1."""
        return cls(_read_map(folder / "speakers.json"), _read_map(folder / "emotions.json"))

    def save(self, folder: Path) -> None:
        """Write speakers.json and emotions.json into `folder`."""
        write_json(folder / "speakers.json", self.speakers)
        write_json(folder / "emotions.json", self.emotions)

    def speaker_id(self, name: str) -> int:
        """Number of a speaker; UserError with the known ones otherwise."""
        return _look_up("speaker", name, self.speakers)

    def emotion_id(self, name: str) -> int:
        """Number of an emotion; UserError with the known ones otherwise."""
        return _look_up("emotion", name, self.emotions)


def _number(names: Iterable[str]) -> dict[str, int]:
    return {name: number for number, name in enumerate(sorted(set(names)))}


def _read_map(path: Path) -> dict[str, int]:
    value = read_json(path, MADE_BY)
    problem = problem_of_map(value)
    if problem is not None or not value:
        raise UserError(f"{path}: {problem or f'{EXPECTED}, got none'}; run {MADE_BY}")
    return dict(value)


def problem_of_map(value: object) -> str | None:
    """What keeps `value` from being names numbered 0 … n-1, in words; the names become names of files."""
    if not isinstance(value, dict) or any(type(key) is not str for key in value):
        return f"{EXPECTED}, got {str(value)[:80]}"
    numbers = list(value.values())
    if any(type(number) is not int for number in numbers) or sorted(numbers) != list(range(len(numbers))):
        return f"{EXPECTED}, got {str(value)[:80]}"
    wrong = next((name for name in value if problem_of(name) is not None), None)
    return None if wrong is None else f"{wrong[:60]!r} is no name of a speaker or an emotion: {problem_of(wrong)}"


def _look_up(kind: str, name: str, numbers: dict[str, int]) -> int:
    if name not in numbers:
        raise UserError(f"unknown {kind} {name!r}; known: {', '.join(numbers)}")
    return numbers[name]
