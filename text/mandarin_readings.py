"""Characters with several readings that stand alone between the words of the dictionaries: their neighbours decide.

A rule sees the characters before and after (empty at a pause) and returns a reading, or None for the usual one.
"""

from __future__ import annotations

from collections.abc import Callable

Rule = Callable[[str, str], "str | None"]  # text before, text after -> pinyin

NUMERALS = "一二两三四五六七八九十百千万几半多数零"
_POINTING = "这那哪每某各何"
_NOT_LAND = "这那块片的亩种耕扫拖下满遍落在原席随就各两一此外本从离占征土田山荒旱空坡草林沙"
_PLACES = "里上下面方点区带图铁球板址位理是很有了也都"


def _de(before: str, after: str) -> str | None:
    """得: dei3 must, de2 gets, de5 after a verb (跑得快)."""
    if after[:1] in tuple("了过第") and (not before or before[-1] in "我你他她它们谁也都就才又已"):
        return "de2"
    if not before or before[-1] in "我你您他她它们谁就都还总也可又才须必只":
        return "dei3"
    return "de5"


def _le(before: str, _: str) -> str | None:
    """了: liao3 in what can or cannot be done (去不了), else the particle."""
    return "liao3" if len(before) > 1 and before[-1] == "不" else None


def _di(before: str, after: str) -> str | None:
    """地: the particle between an adverb and its verb, else land."""
    return "de5" if before and after and before[-1] not in _NOT_LAND and after[0] not in _PLACES else None


def _zhe(before: str, _: str) -> str | None:
    return "zhao2" if before[-1:] == "不" else None


def _hai(_: str, after: str) -> str | None:
    """还: huan2 gives back."""
    return "huan2" if after[:1] in tuple("我你您他她它给清钱书债款贷了") else None


def _chang(before: str, after: str) -> str | None:
    """长: zhang3 grows, chang2 is long."""
    adverb = before[-1:] in tuple("很太更最挺真多好这那么比较")
    return "zhang3" if not adverb and after[:1] in tuple("得了大在出成满着到") else "chang2"


def _zhi(before: str, _: str) -> str | None:
    """只: zhi1 counts animals and single things."""
    return "zhi1" if before and before[-1] in NUMERALS + _POINTING else None


def _zhong(before: str, after: str) -> str | None:
    """种: zhong4 plants."""
    if before and before[-1] in NUMERALS + _POINTING + "此品":
        return None
    return "zhong4" if after[:1] in tuple("树花地田菜了着下植在粮草的") else None


def _hang(before: str, after: str) -> str | None:
    """行: hang2 is a line; 一行人 are travellers."""
    if before and before[-1] in NUMERALS and (before[-1] != "一" or before[-2:-1] == "第" or after[:1] in "字诗话文"):
        return "hang2" if after[:1] != "人" else None
    return None


def _chong(_: str, after: str) -> str | None:
    """重: chong2 again."""
    return "chong2" if after[:1] in tuple("新复来做写建返逢申温读修排置启装放组走游") else None


def _wei(_: str, after: str) -> str | None:
    """为: wei2 is, before a number."""
    return "wei2" if after and after[0] in NUMERALS + "零负" else None


def _shu(_: str, after: str) -> str | None:
    """数: shu3 counts."""
    return "shu3" if after[:1] in tuple("钱数了一着到") else None


def _tan(_: str, after: str) -> str | None:
    """弹: tan2 plays."""
    return "tan2" if after[:1] in tuple("琴钢吉古奏得了着") else None


def _bei(_: str, after: str) -> str | None:
    """背: bei1 carries on the back."""
    return "bei1" if after[:1] in tuple("着包起") else None


def _jiao(_: str, after: str) -> str | None:
    """教: jiao1 teaches someone, or how to."""
    return "jiao1" if after[:1] in tuple("我你您他她它咱孩人过得不了") else None


RULES: dict[str, Rule] = {
    "得": _de,
    "了": _le,
    "地": _di,
    "着": _zhe,
    "还": _hai,
    "长": _chang,
    "只": _zhi,
    "种": _zhong,
    "行": _hang,
    "重": _chong,
    "为": _wei,
    "数": _shu,
    "弹": _tan,
    "背": _bei,
    "教": _jiao,
}
USUAL = {"谁": "shei2", "种": "zhong3", "个": "ge4", "幺": "yao1", "么": "me5", "们": "men5"}
"""Readings of characters that stand alone where pypinyin puts another one first."""
SURNAMES = {"曾": "zeng1", "单": "shan4", "解": "xie4", "仇": "qiu2", "任": "ren2", "华": "hua4", "查": "zha1"}
"""Readings after 姓."""
