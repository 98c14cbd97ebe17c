"""Mandarin text to pinyin initials and finals with tones, offline.

    python -c "from text.mandarin import MandarinG2P; print(*MandarinG2P()('银行行长2点来。'), sep='\\n')"

Where a word's reading comes from, in this order: the user's lexicon, text/mandarin_words.txt, the phrases of pypinyin,
rules for single characters with several readings (text/mandarin_readings.py), pypinyin's readings of characters. Tones
are those that are heard (text/mandarin_tones.py).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from errors import UserError
from text.lexicon import read_words
from text.mandarin_numbers import expand_numbers
from text.mandarin_readings import NUMERALS, RULES, SURNAMES, USUAL
from text.mandarin_tones import Syllable, apply_sandhi
from text.pinyin import numbered, syllable_phones
from text.script import ScriptG2P
from text.symbols import PINYIN, SILENCES
from text.words import Word

_HANZI = "〇\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U000323af"
_MEASURES = "个只种分点名行条位次回下口头面家门手天"
_LONGEST = 10  # characters of a word of the dictionaries


@dataclass
class _Segment:
    """A word of the stretch that is pronounced."""

    text: str
    source: str
    syllables: list[Syllable]
    phones: tuple[str, ...] = ()  # given by the user's lexicon, else made of the syllables


class MandarinG2P(ScriptG2P):
    """Grapheme-to-phoneme conversion. Loads the dictionaries at once (~0.2 s).

    Raises UserError for a missing or malformed lexicon and where pypinyin is not installed.
    """

    script = f"[{_HANZI}]+"
    own_phones = frozenset(PINYIN) | frozenset(SILENCES)
    expected = "pinyin initials and finals with a tone such as zh ong1, or ARPAbet"

    def __init__(self, lexicon_path: str | Path | None = None) -> None:
        super().__init__(lexicon_path)
        try:
            from pypinyin.phrases_dict import phrases_dict
            from pypinyin.pinyin_dict import pinyin_dict
        except ImportError as error:
            raise UserError("pypinyin is not installed; run: pip install -r requirements.txt") from error
        self._phrases: dict[str, list[list[str]]] = phrases_dict
        self._characters: dict[int, str] = pinyin_dict
        self._words = read_words("mandarin_words.txt")
        self._longest = max(_LONGEST, *map(len, self.lexicon), 0)

    def normalize(self, text: str) -> str:
        """Numbers in characters; spaces between characters are dropped."""
        return re.sub(rf"(?<=[{_HANZI}])\s+(?=[{_HANZI}])", "", expand_numbers(text))

    def pronounce(self, stretch: str) -> list[Word]:
        """The words of a stretch of characters."""
        segments = self._read(self._split(stretch))
        spoken: list[Syllable] = []
        for segment in segments:  # tones run on through words, but not through what the user's lexicon gives
            if segment.phones:
                apply_sandhi(spoken)
                spoken = []
            spoken += segment.syllables
        apply_sandhi(spoken)
        return [_word(segment) for segment in segments]

    def _split(self, stretch: str) -> list[str]:
        """The fewest words; of several such splits the one whose last words are longest. The user's words go first."""
        costs = [(0.0, 0)]  # of the characters so far, and where their last word begins
        for end in range(1, len(stretch) + 1):
            costs.append(
                min(
                    (costs[start][0] + self._cost(stretch[start:end], stretch[max(start - 1, 0) : start]), start)
                    for start in range(max(0, end - self._longest), end)
                )
            )
        words = []
        end = len(stretch)
        while end:
            start = costs[end][1]
            words.append(stretch[start:end])
            end = start
        return words[::-1]

    def _cost(self, word: str, before: str) -> float:
        if word in self.lexicon:
            return 0.1 * 0.9 ** len(word)
        if len(word) == 1:
            return 1.0
        if word not in self._words and word not in self._phrases:
            return float("inf")
        counted = word[0] in _MEASURES and before in tuple(NUMERALS)  # 三种|花, not 三|种花
        return (0.9 if word in self._words else 1.0) + 2 * counted

    def _read(self, words: list[str]) -> list[_Segment]:
        segments: list[_Segment] = []
        stretch, end = "".join(words), 0
        for word in words:
            start, end = end, end + len(word)
            if word in self.lexicon:
                segments.append(_Segment(word, "lexicon", [], self.lexicon[word]))
                continue
            if word == "儿" and segments and segments[-1].syllables and _can_be_rhotic(segments[-1].syllables[-1]):
                _make_rhotic(segments[-1])
                continue
            readings, source = self._readings(word, stretch[max(start - 2, 0) : start], stretch[end : end + 2])
            segments.append(_Segment(word, source, _syllables(word, readings)))
            if word[-1] == "儿" and len(word) > 1 and readings[-1] == "er5":  # pypinyin's mark of erhua
                last = segments[-1].syllables.pop()
                segments[-1].text = segments[-1].text[:-1]
                _make_rhotic(segments[-1])
                segments[-1].syllables[-1].last = last.last
        return segments

    def _readings(self, word: str, before: str, after: str) -> tuple[list[str], str]:
        if self._words.get(word):
            return self._words[word], "dictionary"
        if word in self._phrases:
            return [_citation(*pair) for pair in zip(word, self._phrases[word], strict=True)], "dictionary"
        if len(word) > 1:
            return [reading for character in word for reading in self._usual(character)], "dictionary"
        if word in SURNAMES and before[-1:] == "姓":
            return [SURNAMES[word]], "rules"
        ruled = RULES[word](before, after) if word in RULES else None
        if ruled is not None:
            return [ruled], "rules"
        return self._usual(word), "character"

    def _usual(self, character: str) -> list[str]:
        """The usual reading of a character, nothing for one that pypinyin does not know."""
        if character in USUAL:
            return [USUAL[character]]
        known = self._characters.get(ord(character))
        return [numbered(known.partition(",")[0])] if known else []


def _citation(character: str, readings: list[str]) -> str:
    """The first reading of a character in a phrase, 一 and 不 with the tones that they have by themselves."""
    reading = numbered(readings[0])
    return {"一yi": "yi1", "不bu": "bu4"}.get(character + reading[:-1], reading)


def _syllables(word: str, readings: list[str]) -> list[Syllable]:
    """One syllable per character, but one for a character with the 儿 that colours it."""
    texts = list(word)
    if len(readings) < len(texts):
        texts = re.findall("..?" if len(readings) == 1 else ".儿?", word)
    texts += [""] * (len(readings) - len(texts))
    count = len(readings)
    return [
        Syllable(text, pinyin, index == 0, index == count - 1)
        for index, (text, pinyin) in enumerate(zip(texts, readings, strict=False))
    ]


def _can_be_rhotic(syllable: Syllable) -> bool:
    return bool(syllable_phones(syllable.pinyin)) and syllable.pinyin[-2] != "r"


def _make_rhotic(segment: _Segment) -> None:
    """花 + 儿: one syllable, huar1."""
    syllable = segment.syllables[-1]
    segment.text += "儿"
    syllable.text += "儿"
    syllable.pinyin = f"{syllable.pinyin[:-1]}r{syllable.tone}"


def _word(segment: _Segment) -> Word:
    phones = segment.phones or tuple(
        phone for syllable in segment.syllables for phone in syllable_phones(syllable.pinyin)
    )
    return Word(segment.text, phones, segment.source if phones else "unspeakable")
