"""Tones as they are spoken one after the other: the third tone, 一 and 不."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

_DIGITS = "零一二三四五六七八九幺"
_ORDINAL_AFTER_ONE = ("月", "号", "楼", "班", "等", "级", "年级")  # 一月 is January, 一楼 the ground floor
_PRONOUNS = "我你您"
_NO_VERBS = tuple("我你您他她它们谁这那就也都还又从再才并")
_DIRECTIONS = ("出来", "起来", "下去", "下来", "过来", "过去", "上来", "上去", "进去", "出去", "回来", "回去")


@dataclass
class Syllable:
    """One syllable of a stretch that is spoken without a pause; `pinyin` ends with its tone, 5 for the neutral one."""

    text: str  # its character; with erhua two
    pinyin: str
    first: bool  # begins a word
    last: bool  # ends one

    @property
    def tone(self) -> str:
        return self.pinyin[-1]

    @tone.setter
    def tone(self, tone: str) -> None:
        self.pinyin = self.pinyin[:-1] + tone


def apply_sandhi(syllables: Sequence[Syllable]) -> None:
    """Change the tones of `syllables` from those of the dictionary to those that are heard."""
    for index, syllable in enumerate(syllables):
        if syllable.text == "一" and syllable.tone == "1":
            syllable.tone = _yi(syllables, index)
        elif syllable.text == "不" and syllable.tone == "4":
            syllable.tone = _bu(syllables, index)
    start = 0
    while start < len(syllables):
        end = start
        while end < len(syllables) and syllables[end].tone == "3":
            end += 1
        if end - start > 1:
            _third_tones(syllables[start:end])
        start = max(end, start + 1)


def _text(syllables: Sequence[Syllable], index: int) -> str:
    return syllables[index].text if 0 <= index < len(syllables) else ""


def _yi(syllables: Sequence[Syllable], index: int) -> str:
    """1 where it counts in order, is one digit of several or ends a word; else 2 before 4 and 4 before 1, 2, 3."""
    before, after = _text(syllables, index - 1), _text(syllables, index + 1)
    if not after or (syllables[index].last and not syllables[index].first):
        return "1"
    if before and before == after:  # 看一看
        return "5"
    decimal = (before == "点" and _text(syllables, index - 2) in tuple(_DIGITS) and after != "刻") or (
        after == "点"
        and _text(syllables, index + 2) in tuple(_DIGITS)
        and "分" not in [_text(syllables, index + ahead) for ahead in (3, 4, 5)]  # 一点五, but 一点五分
    )
    ordinal = before in ("第", "初", "月", "十") or after in (*_ORDINAL_AFTER_ONE, "十")
    if decimal or ordinal or before in tuple(_DIGITS) or after in tuple(_DIGITS):
        return "1"
    if after + _text(syllables, index + 2) == "年级":
        return "1"
    following = "4" if after == "个" else syllables[index + 1].tone
    return "2" if following == "4" else "4"


def _bu(syllables: Sequence[Syllable], index: int) -> str:
    """2 before 4, neutral where something may or can't be done (好不好, 去不了, 想不起来), else 4."""
    if index + 1 == len(syllables):
        return "4"
    after = syllables[index + 1]
    before = _text(syllables, index - 1)
    verb = before and before not in _NO_VERBS
    if before == after.text or (before and after.pinyin == "liao3"):
        return "5"
    if verb and after.text + _text(syllables, index + 2) in _DIRECTIONS:
        return "5"
    return "2" if after.tone == "4" else "4"


def _third_tones(run: Sequence[Syllable]) -> None:
    """Of third tones in a row, all but the last of each foot become second tones.

    Two in a row are always a foot. In longer runs words of several syllables are feet, others pair up; one that is
    left over joins the foot before it (水果很: 2 2 3) or stays by itself where there is none (很了解: 3 2 3).
    """
    feet = [run] if len(run) == 2 else _feet(run)
    for foot in feet:
        for syllable in foot[:-1]:
            syllable.tone = "2"


def _feet(run: Sequence[Syllable]) -> list[list[Syllable]]:
    feet: list[list[Syllable]] = []
    open_foot = False  # the last foot may still take one syllable
    for index, syllable in enumerate(run):
        if not syllable.first:
            if index == 0:
                feet.append([syllable])  # the rest of a word that began before the run
            else:
                feet[-1].append(syllable)
            open_foot = False
        elif syllable.last:
            alone = index == 0 and len(run) % 2 == 1 and syllable.text in tuple(_PRONOUNS)  # 我 很好
            if open_foot:
                feet[-1].append(syllable)
                open_foot = False
            else:
                feet.append([syllable])
                open_foot = not alone
        else:
            feet.append([syllable])
            open_foot = False
    return _join_single(feet, run)


def _join_single(feet: list[list[Syllable]], run: Sequence[Syllable]) -> list[list[Syllable]]:
    joined: list[list[Syllable]] = []
    for foot in feet:
        if joined and len(foot) == 1 and joined[-1][-1].last and len(joined[-1]) > 1:
            joined[-1] += foot
        else:
            joined.append(foot)
    return joined
