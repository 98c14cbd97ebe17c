"""Pinyin syllables to the initials and finals of the symbol table, as the lexicon of AISHELL-3's recipes spells them.

zhong1 -> zh ong1    zhi1 -> zh iii1    zi1 -> z ii1    jiu3 -> j iou3    ju1 -> j v1    dui4 -> d uei4
yi1 -> y i1          you3 -> y iou3     wo3 -> w uo3    yuan2 -> y van2   huar1 -> h ua1 rr    er4 -> e4 rr
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

from text.symbols import PINYIN, PINYIN_INITIALS

_SYLLABLE = re.compile("([a-zê]+?)(r?)([1-5])")
_INITIALS = sorted(PINYIN_INITIALS, key=len, reverse=True)  # zh before z
_MARKS = {"\u0304": "1", "\u0301": "2", "\u030c": "3", "\u0300": "4"}  # macron, acute, caron, grave
_INTERJECTIONS = {"ê": "ei", "n": "en", "ng": "en", "m": "en", "hm": "hen", "hng": "heng"}  # nearest in the table
_AFTER_Y = {"a": "ia", "an": "ian", "ang": "iang", "ao": "iao", "e": "ie", "o": "iou", "ong": "iong", "ou": "iou"}
_AFTER_W = {"a": "ua", "ai": "uai", "an": "uan", "ang": "uang", "ei": "uei", "en": "uen", "eng": "uen", "o": "uo"}
_CONTRACTED = {"ui": "uei", "un": "uen", "iu": "iou", "ue": "ve"}
_PHONES = frozenset(PINYIN)


@lru_cache(maxsize=4096)
def numbered(marked: str) -> str:
    """'zhòng' -> 'zhong4', 'lǚ' -> 'lv3', 'de' -> 'de5' (5 is the neutral tone)."""
    letters, tone = "", "5"
    for character in unicodedata.normalize("NFD", marked):
        tone = _MARKS.get(character, tone)
        if character == "\u0308":
            letters = letters[:-1] + "v"  # ü
        elif character == "\u0302":
            letters = letters[:-1] + "ê"
        elif character not in _MARKS:
            letters += character
    return letters + tone


@lru_cache(maxsize=4096)
def syllable_phones(syllable: str) -> tuple[str, ...]:
    """Phones of a syllable with its tone, nothing for what is no syllable. An r before the tone is erhua (`rr`)."""
    match = _SYLLABLE.fullmatch(syllable)
    if match is None:
        return ()
    letters, rhotic, tone = match.groups()
    letters = _INTERJECTIONS.get(letters, letters)
    initial = next((initial for initial in _INITIALS if letters.startswith(initial)), "")
    final = _final(initial, letters[len(initial) :])
    phones = (*([initial] if initial else []), final + tone, *(["rr"] if rhotic else []))
    return phones if _PHONES.issuperset(phones) else ()


def _final(initial: str, final: str) -> str:
    if initial == "y":
        final = _AFTER_Y.get(final, final)
    elif initial == "w":
        return _AFTER_W.get(final, final)
    if final == "i":
        return "ii" if initial in ("z", "c", "s") else "iii" if initial in ("zh", "ch", "sh", "r") else "i"
    if initial in ("j", "q", "x", "y") and final.startswith("u"):
        return "v" + final[1:]  # ü is written u where no u can stand
    return _CONTRACTED.get(final, final)
