"""What every language's grapheme-to-phoneme conversion returns: words with their phones."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeAlias

from errors import UserError


@dataclass(frozen=True)
class Word:
    """One word and how it is spoken; `str()` gives the line `kids -> K IH1 D Z (dictionary)`."""

    text: str  # as written or as spoken; numbers are words already
    phones: tuple[str, ...]  # of the language's phones, or `sp`; empty where nothing can be spoken
    source: str  # who says so: lexicon, dictionary, rules, …; given (in braces); pause; unspeakable

    def __str__(self) -> str:
        return f"{self.text} -> {' '.join(self.phones) or '(nothing)'} ({self.source})"


G2P: TypeAlias = Callable[[str], list[Word]]
"""Text to its words in order. Punctuation becomes pauses (`sp`), none at the start or end; a stretch that cannot be
spoken is a Word without phones and source `unspeakable`. Raises UserError, and nothing else, for an unusable text."""


def phones_of(words: Iterable[Word]) -> list[str]:
    """All phones in order, short pauses `sp` included; raises UserError where there are none."""
    words = list(words)
    phones = [phone for word in words for phone in word.phones]
    if not phones:
        shown = shorten(" ".join(word.text for word in words))
        raise UserError(f"nothing to speak in {shown!r}; give at least one word that the language can spell out")
    return phones


def shorten(text: str, limit: int = 60) -> str:
    """`text`, cut to `limit` characters, for messages."""
    return text if len(text) <= limit else text[: limit - 1] + "…"
