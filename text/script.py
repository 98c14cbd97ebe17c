"""What languages with a script of their own share: English words, pauses and phones in braces among their text."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from errors import UserError
from text.lexicon import KNOWN_PHONES, read_lexicon
from text.sequence import check_text, split_braces
from text.words import Word, pause, settle_pauses, shorten

if TYPE_CHECKING:
    from text.g2p import EnglishG2P

_LATIN = r"(?:[A-Za-z]\.){2,}|[A-Za-zÀ-ÖØ-öø-ɏ]+(?:[ '’&-]+[A-Za-zÀ-ÖØ-öø-ɏ]+)*"
_PAUSE = r"--+|[,.;:!?()\[\]。、…—–【】〔〕！？，；：（）]+"
_SILENT = r"[\s\"'‘’“”„«»‹›《》〈〉「」『』·・•~〜/|*_`^<>-]+"  # written, never heard


class ScriptG2P:
    """Base of such a language. It gives `script`, `own_phones`, `expected`, and how to `normalize` and `pronounce`.

    Raises UserError for a missing or malformed lexicon. Words in Latin letters are spoken as English ones
    (ARPAbet phones), unless the user's lexicon has them.
    """

    script: str  # regular expression of a stretch that `pronounce` takes
    own_phones: frozenset[str]
    expected: str  # these phones, in messages

    def __init__(self, lexicon_path: str | Path | None = None) -> None:
        self._phones = self.own_phones | KNOWN_PHONES
        self.lexicon = {} if lexicon_path is None else read_lexicon(Path(lexicon_path), self._phones, self.expected)
        self._piece = re.compile(
            f"(?P<script>{self.script})|(?P<latin>{_LATIN})|(?P<pause>{_PAUSE})|(?P<silent>{_SILENT})|(?P<rest>.)",
            re.DOTALL,
        )

    def normalize(self, text: str) -> str:
        """Numbers and symbols in words of the language. The text is NFKC: full-width letters and digits are ASCII."""
        raise NotImplementedError

    def pronounce(self, stretch: str) -> list[Word]:
        """Words of a stretch of the script without punctuation."""
        raise NotImplementedError

    def __call__(self, text: str) -> list[Word]:
        """Words of a text in order; see text.words.G2P."""
        check_text(text)
        words: list[Word] = []
        for part, braced in split_braces(text):
            words += [self._given(part)] if braced else self._plain(part)
        return settle_pauses(words)

    def _given(self, part: str) -> Word:
        phones = tuple(part.split())
        if "{" in part or not phones:
            raise UserError(f"braces that hold no phones: {shorten('{' + part + '}')}; expected {self.expected}")
        for phone in phones:
            if phone not in self._phones:
                raise UserError(f"unknown phone {phone!r} in {{{shorten(part)}}}; expected {self.expected}")
        return Word("{" + " ".join(phones) + "}", phones, "given")

    def _plain(self, part: str) -> Iterator[Word]:
        text = unicodedata.normalize("NFKC", part)
        if "{" in text or "}" in text:
            raise UserError(f"a brace without its partner in {shorten(text.strip())!r}; phones stand in {{…}}")
        lost = ""
        for match in self._piece.finditer(self.normalize(text)):
            if match.lastgroup == "rest":
                lost += match.group()
                continue
            if lost:
                yield Word(lost, (), "unspeakable")
                lost = ""
            if match.lastgroup == "script":
                yield from self.pronounce(match.group())
            elif match.lastgroup == "latin":
                yield from self._latin(match.group())
            elif match.lastgroup == "pause":
                yield pause(match.group())
        if lost:
            yield Word(lost, (), "unspeakable")

    @cached_property
    def _english(self) -> EnglishG2P:
        from text.g2p import EnglishG2P  # CMUdict: only where a text needs it

        return EnglishG2P()

    def _latin(self, stretch: str) -> Iterator[Word]:
        """English words, one letter by its name, and what the user's lexicon says of them."""
        waiting: list[str] = []
        for word in [*stretch.split(), ""]:
            known = self.lexicon.get(word.lower())
            if word and known is None:
                waiting.append(word)
                continue
            if waiting:
                yield from self._english_words(" ".join(waiting))
                waiting = []
            if known is not None:
                yield Word(word, known, "lexicon")

    def _english_words(self, text: str) -> list[Word]:
        if len(text) == 1 and text.isascii():
            return [Word(text, self._english.spell(text), "spelled")]
        return self._english(text)
