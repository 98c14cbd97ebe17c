"""English text to ARPAbet phones with stress, offline.

    python -c "from text.g2p import EnglishG2P; print(*EnglishG2P()('Kids are talking by the door.'), sep='\\n')"

Where a word's phones come from, in this order: the user's lexicon, the homograph rules (text/homographs.py), CMUdict's
first pronunciation, letters for acronyms, parts of compounds and suffixes, and a neural model for the rest.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from errors import UserError
from text.homographs import Homographs, Neighbours
from text.lexicon import KNOWN_PHONES, read_cmudict, read_lexicon, split_phones
from text.sequence import check_text
from text.tokens import Token, tokenize
from text.words import Word, pause, phones_of, settle_pauses

if TYPE_CHECKING:
    from text.neural import NeuralG2P

__all__ = ["EnglishG2P", "Word", "phones_of"]

_SUFFIX = re.compile(r"(.+)('s|'d|'ll|'ve|'re|'m|n't)", re.IGNORECASE)
_SIBILANTS = ("S", "Z", "SH", "ZH", "CH", "JH")
_VOICELESS = ("P", "T", "K", "F", "TH")
_SUFFIX_PHONES = {
    "'ll": ("AH0", "L"),
    "'ve": ("AH0", "V"),
    "'re": ("ER0",),
    "'m": ("AH0", "M"),
    "n't": ("AH0", "N", "T"),
}
_CONTEXT = 40  # words and pauses to each side that a homograph rule looks at, at most
_SENTENCE_END = re.compile(r"[.!?]")


class EnglishG2P:
    """Grapheme-to-phoneme conversion.

    Raises UserError for a missing or malformed lexicon and for missing dictionary files (with the command that
    installs them). Reads CMUdict at once (10 ms) and the neural model with the first unknown word.
    """

    def __init__(self, lexicon_path: str | Path | None = None) -> None:
        self._lexicon = read_lexicon(Path(lexicon_path)) if lexicon_path is not None else {}
        self._dictionary = read_cmudict()
        self._homographs = Homographs()
        self._guesses: dict[str, tuple[str, ...]] = {}  # the neural model is slow; texts repeat their words

    @cached_property
    def _neural(self) -> NeuralG2P:
        from text.neural import NeuralG2P  # NumPy: only where a word needs it

        return NeuralG2P()

    def __call__(self, text: str) -> list[Word]:
        """Words of a text in order. Punctuation becomes pauses (`sp`), none at the start or end.

        A stretch with nothing speakable comes back as a Word without phones and source `unspeakable`.
        Raises UserError for an empty text, unclosed braces and unknown phones in braces.
        """
        check_text(text)
        tokens = self._split_hyphens(tokenize(text))
        shouted = not any(character.islower() for token in tokens if token.kind == "word" for character in token.text)
        words = [
            pause(token.text) if token.kind == "pause" else self._word(tokens, index, shouted)
            for index, token in enumerate(tokens)
        ]
        return settle_pauses(words)

    def _split_hyphens(self, tokens: list[Token]) -> list[Token]:
        split: list[Token] = []
        for token in tokens:
            key = token.text.lower()
            if token.kind != "word" or "-" not in key or key in self._lexicon or key in self._dictionary:
                split.append(token)
            else:
                split += [Token(part, "word") for part in token.text.split("-")]
        return split

    def _word(self, tokens: list[Token], index: int, shouted: bool) -> Word:
        token = tokens[index]
        if token.kind == "unspeakable":
            return Word(token.text, (), "unspeakable")
        if token.kind == "phones":
            phones = tuple(token.text.split())
            for phone in phones:
                if phone not in KNOWN_PHONES:
                    raise UserError(f"unknown phone {phone!r} in {{{token.text}}}; expected ARPAbet such as AA1 or B")
            return Word("{" + token.text + "}", phones, "given")
        for spelling in _without_quotes(token.text):
            found = self._known(spelling, tokens, index, shouted)
            if found:
                return Word(spelling, *found)
        spelling = token.text.strip("'")
        return Word(spelling, *self._unknown(spelling, shouted))

    def _known(self, text: str, tokens: list[Token], index: int, shouted: bool) -> tuple[tuple[str, ...], str] | None:
        """Phones and source of a word that needs no guessing."""
        key = text.lower()
        if key in self._lexicon:
            return self._lexicon[key], "lexicon"
        if key in self._homographs:
            return self._homographs(key, _neighbours(tokens, index, shouted)), "homograph"
        if text == "A" and not shouted and _neighbours(tokens, index, shouted).capital:  # vitamin A
            return self.spell("A"), "spelled"
        if key in self._dictionary:
            return split_phones(self._dictionary[key]), "dictionary"
        return None

    def _anywhere(self, text: str, shouted: bool) -> tuple[tuple[str, ...], str]:
        """Phones and source of a part of a word."""
        return self._known(text, [Token(text, "word")], 0, shouted) or self._unknown(text, shouted)

    def _unknown(self, text: str, shouted: bool) -> tuple[tuple[str, ...], str]:
        """Phones and source of a word that neither lexicon nor dictionary has."""
        if "." in text:
            return self.spell(text), "spelled"
        suffixed = _SUFFIX.fullmatch(text)
        if suffixed:
            phones, source = self._anywhere(suffixed.group(1), shouted)
            return phones + _suffix_phones(suffixed.group(2).lower(), phones), source
        if "'" in text:  # rock'n'roll
            parts = [self._anywhere(part, shouted)[0] for part in text.split("'") if part]
            return tuple(phone for part in parts for phone in part), "compound"
        if re.fullmatch("[A-Z]{2,}s", text):  # URLs
            phones = self.spell(text[:-1])
            return phones + _suffix_phones("'s", phones), "spelled"
        if _is_acronym(text, shouted):
            return self.spell(text), "spelled"
        parts = [self._anywhere(part, shouted)[0] for part in _camel_case(text)]
        if parts:
            return tuple(phone for part in parts for phone in part), "compound"
        return self._guess(text.lower()), "neural"

    def _guess(self, word: str) -> tuple[str, ...]:
        if word not in self._guesses:
            self._guesses[word] = self._neural(word) or self.spell(word)
        return self._guesses[word]

    def spell(self, letters: str) -> tuple[str, ...]:
        """Letter by letter; CMUdict has the letters' names with a dot (the word `a` is no letter's name)."""
        names = (self._dictionary[f"{letter}."] for letter in letters.lower() if letter.isalpha())
        return tuple(phone for name in names for phone in split_phones(name))


def _without_quotes(text: str) -> list[str]:
    """A word as it stands ('tis, dogs'), then without apostrophes that may be quotation marks."""
    return list(dict.fromkeys((text, text.rstrip("'"), text.lstrip("'"), text.strip("'"))))


def _is_acronym(text: str, shouted: bool) -> bool:
    """Capitals among small letters; where all is in capitals, short words and those without a vowel letter."""
    if len(text) < 2 or not text.isupper():
        return False
    return not shouted or len(text) <= 4 or not set(text) & set("AEIOUY")


def _camel_case(text: str) -> list[str]:
    """'PyTorch' -> ['Py', 'Torch']; nothing where a word has no inner capital or a part would be one letter."""
    parts = re.findall("[A-Z]+(?![a-z])|[A-Z]?[a-z]+", text)
    return parts if len(parts) > 1 and all(len(part) > 1 for part in parts) else []


def _suffix_phones(suffix: str, phones: tuple[str, ...]) -> tuple[str, ...]:
    """'s and 'd sound as the phone before them has it: cats, dogs, horses."""
    last = phones[-1] if phones else ""
    if suffix == "'s":
        return ("IH0", "Z") if last in _SIBILANTS else ("S",) if last in _VOICELESS else ("Z",)
    if suffix == "'d":
        return ("IH0", "D") if last in ("T", "D") else ("D",)
    return _SUFFIX_PHONES[suffix]


def _neighbours(tokens: list[Token], index: int, shouted: bool) -> Neighbours:
    """The words around one, lower case: up to the next pauses, and of the whole sentence."""
    before, sentence_before = _run(tokens, range(index - 1, max(index - _CONTEXT, 0) - 1, -1))
    after, sentence_after = _run(tokens, range(index + 1, min(index + _CONTEXT, len(tokens))))
    sentence = (*reversed(sentence_before), tokens[index].text.lower(), *sentence_after)
    capital = not shouted and bool(sentence_before) and tokens[index].text[:1].isupper()
    return Neighbours(tuple(reversed(before)), tuple(after), sentence, capital)


def _run(tokens: list[Token], indices: Iterable[int]) -> tuple[list[str], list[str]]:
    """Words met in the given direction before the first pause, and before the first pause that ends a sentence."""
    clause: list[str] = []
    sentence: list[str] = []
    in_clause = True
    for index in indices:
        if tokens[index].kind == "pause":
            in_clause = False
            if _SENTENCE_END.search(tokens[index].text):
                break
            continue
        word = tokens[index].text.lower().strip("'")
        sentence.append(word)
        if in_clause:
            clause.append(word)
    return clause, sentence
