"""Whether a TextGrid holds a text: its phones are a pronunciation of the words, or its words are those words.

TextGrids made elsewhere rarely have the pronunciations that synthesis uses: Montreal Forced Aligner chooses between a
dictionary's variants by ear (DH AH0, DH AH1, DH IY0; AA1 R, ER0), and its dictionaries are not quite CMUdict.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from enum import Enum
from functools import lru_cache

from preprocessor.align_tasks import SpokenWord
from text.lexicon import Dictionary, read_cmudict, split_phones

ENGLISH = "en"


class Fit(Enum):
    """How a TextGrid's phones relate to a text."""

    SAME = "the phones that synthesis uses"
    OTHER = "another pronunciation of the same words"
    NONE = "not this text"


def fit(phones: Sequence[str], spelled: Callable[[], Sequence[str]], words: Sequence[SpokenWord], language: str) -> Fit:
    """Compare a TextGrid's phones (without silences) and word labels with the words of a text.

    Another pronunciation is one that differs in stress or takes a word's other variants in CMUdict. Where the phones
    are none that we know, the words decide, letter by letter: `spelled` reads them, and returns none where the
    TextGrid has none.
    """
    if not words:
        return Fit.NONE
    if list(phones) == [phone for word in words for phone in word.phones]:
        return Fit.SAME
    if _is_a_reading(tuple(without_stress(phone) for phone in phones), words, language):
        return Fit.OTHER
    letters = _letters(spelled())
    return Fit.OTHER if letters and letters == _letters(word.text for word in words) else Fit.NONE


def _is_a_reading(phones: tuple[str, ...], words: Sequence[SpokenWord], language: str) -> bool:
    """Whether `phones` can be cut into one variant per word, stress aside."""
    ends = {0}
    for word in words:
        variants = _variants(word, language)
        ends = {
            end + len(variant) for end in ends for variant in variants if phones[end : end + len(variant)] == variant
        }
    return len(phones) in ends


@lru_cache(maxsize=65536)
def _variants(word: SpokenWord, language: str) -> frozenset[tuple[str, ...]]:
    found = [word.phones]
    if language == ENGLISH:
        dictionary = _dictionary()
        keys = [word.text, *(f"{word.text}({number})" for number in range(2, 10))]
        found += [split_phones(dictionary[key]) for key in keys if key in dictionary]
    return frozenset(tuple(without_stress(phone) for phone in phones) for phones in found)


@lru_cache(maxsize=1)
def _dictionary() -> Dictionary:
    return read_cmudict()


def without_stress(phone: str) -> str:
    """Without ARPAbet's stress; tones of other languages matter."""
    return phone.rstrip("012") if phone[:1].isupper() else phone


def _letters(words: Iterable[str]) -> str:
    """ "can't", "do" -> "cantdo": dictionaries cut words at apostrophes and hyphens in their own ways."""
    return "".join(letter for word in words for letter in word.lower() if letter.isalnum())
