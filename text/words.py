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


def pause(text: str) -> Word:
    """Punctuation that is heard as a short silence."""
    return Word(text, ("sp",), "pause")


def settle_pauses(words: Iterable[Word]) -> list[Word]:
    """Without the pauses at the start and the end; of neighbouring ones the last stays, just before its next word."""
    settled: list[Word] = []
    waiting: Word | None = None
    voiced = False
    for word in words:
        if word.source == "pause":
            waiting = word
            continue
        if word.phones:
            if waiting is not None and voiced:
                settled.append(waiting)
            waiting, voiced = None, True
        settled.append(word)
    return settled


def phones_of(words: Iterable[Word]) -> list[str]:
    """All phones in order, short pauses `sp` included; raises UserError where there are none."""
    words = list(words)
    phones = [phone for word in words for phone in word.phones]
    if not phones:
        shown = shorten(" ".join(word.text for word in words))
        raise UserError(f"nothing to speak in {shown!r}; give at least one word in the language that is spoken")
    return phones


def shorten(text: str, limit: int = 60) -> str:
    """`text`, cut to `limit` characters, for messages."""
    return text if len(text) <= limit else text[: limit - 1] + "…"
