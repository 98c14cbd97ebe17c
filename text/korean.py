"""Korean text to phones, offline: Hangul syllables taken apart, and changed where they meet.

    python -c "from text.korean import KoreanG2P; print(*KoreanG2P()('국물 3개 주세요.'), sep='\\n')"

Phones are consonants before the vowel (ko_g, ko_kk, …), vowels (ko_a, …) and the seven consonants that can close a
syllable (ko_K ko_N ko_T ko_L ko_M ko_P ko_NG). The rules are the regular ones of the Standard Pronunciation Rules
(표준 발음법); what depends on the word and not on its sounds stands in text/korean_words.txt, or is not known.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import pairwise

from text.korean_numbers import expand_numbers
from text.lexicon import read_words
from text.script import ScriptG2P
from text.symbols import SILENCES
from text.words import Word

_ONSETS = "ㄱㄲㄴㄷㄸㄹㅁㅂㅃㅅㅆㅇㅈㅉㅊㅋㅌㅍㅎ"
_VOWELS = "ㅏㅐㅑㅒㅓㅔㅕㅖㅗㅘㅙㅚㅛㅜㅝㅞㅟㅠㅡㅢㅣ"
_CODAS = ("", *"ㄱㄲㄳㄴㄵㄶㄷㄹㄺㄻㄼㄽㄾㄿㅀㅁㅂㅄㅅㅆㅇㅈㅊㅋㅌㅍㅎ")


def _named(jamo: str, names: str) -> dict[str, str]:
    return dict(zip(jamo, (f"ko_{name}" for name in names.split()), strict=True))


_ONSET_PHONES = _named(_ONSETS.replace("ㅇ", ""), "g kk n d tt r m b pp s ss j jj ch k t p h")
_VOWEL_PHONES = _named(_VOWELS, "a ae ya yae eo e yeo ye o wa wae oe yo u wo we wi yu eu ui i")
_CODA_PHONES = _named("ㄱㄴㄷㄹㅁㅂㅇ", "K N T L M P NG")

# what a coda is where nothing takes its end over (rules 8 to 11)
_NEUTRAL = {
    **dict.fromkeys("ㄲㅋㄳㄺ", "ㄱ"),
    **dict.fromkeys("ㅅㅆㅈㅊㅌㅎ", "ㄷ"),
    **dict.fromkeys("ㅍㅄㄿ", "ㅂ"),
    **dict.fromkeys("ㄵㄶ", "ㄴ"),
    **dict.fromkeys("ㄼㄽㄾㅀ", "ㄹ"),
    "ㄻ": "ㅁ",
}
_SPLIT = {  # codas of two consonants before a vowel (rule 14)
    "ㄳ": "ㄱㅆ",
    "ㄵ": "ㄴㅈ",
    "ㄺ": "ㄹㄱ",
    "ㄻ": "ㄹㅁ",
    "ㄼ": "ㄹㅂ",
    "ㄽ": "ㄹㅆ",
    "ㄾ": "ㄹㅌ",
    "ㄿ": "ㄹㅍ",
    "ㅄ": "ㅂㅆ",
}
_WITHOUT_H = {"ㅎ": "", "ㄶ": "ㄴ", "ㅀ": "ㄹ"}
_ASPIRATED = dict(zip("ㄱㄷㅂㅈ", "ㅋㅌㅍㅊ", strict=True))
_TENSE = dict(zip("ㄱㄷㅂㅅㅈ", "ㄲㄸㅃㅆㅉ", strict=True))
_BEFORE_H = {  # coda before ㅎ: what stays, what follows (rule 12)
    **dict.fromkeys("ㄱㄲㅋㄳ", ("", "ㅋ")),
    **dict.fromkeys("ㄷㅅㅆㅊㅌ", ("", "ㅌ")),
    **dict.fromkeys("ㅂㅍㅄ", ("", "ㅍ")),
    "ㅈ": ("", "ㅊ"),
    "ㄵ": ("ㄴ", "ㅊ"),
    "ㄺ": ("ㄹ", "ㅋ"),
    "ㄼ": ("ㄹ", "ㅍ"),
}
_NASAL = dict(zip("ㄱㄷㅂ", "ㅇㄴㅁ", strict=True))

EXCEPTIONS = {word: respelling for word, (respelling,) in read_words("korean_words.txt").items()}
_RESPELLED = re.compile("|".join(sorted(EXCEPTIONS, key=len, reverse=True)))
_STEPPED = re.compile("밟(?=[가-깋나-닣다-딯사-싷자-짛])")  # 밟다 [밥따], other ㄼ keep their ㄹ
# after an ending in ㄹ (할, 갈, 먹을): nouns that lean on it begin with a tense consonant (rule 27)
_DEPENDENT = re.compile(
    "(?:수|줄|데|바|지|적|듯|것|거|게|건|걸|겁|만큼|뿐)(?:[가는도은을이]|밖에|야|예요|다|입니다|니다|이다|으로)?"
)


@dataclass
class _Syllable:
    onset: str
    vowel: str
    coda: str


class KoreanG2P(ScriptG2P):
    """Grapheme-to-phoneme conversion. Raises UserError for a missing or malformed lexicon."""

    script = "[가-힣]+(?: +[가-힣]+)*"
    own_phones = frozenset([*_ONSET_PHONES.values(), *_VOWEL_PHONES.values(), *_CODA_PHONES.values(), *SILENCES])
    expected = "Korean phones such as ko_g, ko_a, ko_K, or ARPAbet"

    def normalize(self, text: str) -> str:
        """Numbers in Hangul."""
        return re.sub(r"\s+", " ", expand_numbers(text))

    def pronounce(self, stretch: str) -> list[Word]:
        """The words of a stretch; sounds change within words, and after 할, 갈 … at their beginning."""
        words: list[Word] = []
        ends_in_l = False
        for text in stretch.split():
            if text in self.lexicon:
                words.append(Word(text, self.lexicon[text], "lexicon"))
            else:
                syllables = pronounce_word(text)
                if ends_in_l and _DEPENDENT.fullmatch(text):
                    syllables[0].onset = _TENSE.get(syllables[0].onset, syllables[0].onset)
                words.append(Word(text, tuple(phone for syllable in syllables for phone in _phones(syllable)), "rules"))
            ends_in_l = _take_apart(text[-1]).coda == "ㄹ"
        return words


def pronounce_word(text: str) -> list[_Syllable]:
    """The syllables of a word of Hangul as they are spoken."""
    spelled = _RESPELLED.sub(lambda match: EXCEPTIONS[match.group()], text)
    syllables = [_take_apart(character) for character in _STEPPED.sub("밥", spelled)]
    for syllable in syllables:  # rule 5
        if syllable.vowel == "ㅢ" and syllable.onset != "ㅇ":
            syllable.vowel = "ㅣ"
        elif syllable.vowel == "ㅕ" and syllable.onset in "ㅈㅉㅊ":
            syllable.vowel = "ㅓ"
    for left, right in pairwise(syllables):
        left.coda, right.onset = _meet(left.coda, right.onset, right.vowel)
        if right.vowel == "ㅕ" and right.onset in "ㅈㅉㅊ":  # 붙여 [부처]
            right.vowel = "ㅓ"
    syllables[-1].coda = _NEUTRAL.get(syllables[-1].coda, syllables[-1].coda)
    return syllables


def _take_apart(character: str) -> _Syllable:
    onset, rest = divmod(ord(character) - ord("가"), len(_VOWELS) * len(_CODAS))
    vowel, coda = divmod(rest, len(_CODAS))
    return _Syllable(_ONSETS[onset], _VOWELS[vowel], _CODAS[coda])


def _phones(syllable: _Syllable) -> list[str]:
    onset = [] if syllable.onset == "ㅇ" else [_ONSET_PHONES[syllable.onset]]
    coda = [_CODA_PHONES[syllable.coda]] if syllable.coda else []
    return [*onset, _VOWEL_PHONES[syllable.vowel], *coda]


def _meet(coda: str, onset: str, vowel: str) -> tuple[str, str]:
    """The coda of a syllable and the onset of the next as they are spoken; `vowel` is the next one's."""
    if coda in ("ㄷ", "ㅌ", "ㄾ") and vowel in "ㅣㅕ" and (onset == "ㅇ" or (onset == "ㅎ" and coda == "ㄷ")):
        return ("ㄹ" if coda == "ㄾ" else ""), ("ㅈ" if coda == "ㄷ" and onset == "ㅇ" else "ㅊ")  # rule 17
    if coda in _WITHOUT_H:
        rest = _WITHOUT_H[coda]
        if onset in ("ㄱ", "ㄷ", "ㅈ"):
            return rest, _ASPIRATED[onset]
        if onset == "ㅅ":
            return rest, "ㅆ"
        coda = rest or ("" if onset == "ㅇ" else coda)
    if onset == "ㅎ" and coda in _BEFORE_H:
        return _BEFORE_H[coda]
    if onset == "ㅇ":
        if coda in _SPLIT:
            return _SPLIT[coda][0], _SPLIT[coda][1]
        return (coda, onset) if coda in ("", "ㅇ") else ("", coda)
    if coda == "ㄺ" and onset == "ㄱ":  # 맑게 [말께]
        return "ㄹ", "ㄲ"
    closed = _NEUTRAL.get(coda, coda)
    if onset in _TENSE and (closed in _NASAL or coda in ("ㄵ", "ㄻ", "ㄼ", "ㄾ")):  # rules 23 to 25
        return closed, _TENSE[onset]
    if closed in _NASAL and onset in "ㄴㅁㄹ":  # rules 18, 19
        return _NASAL[closed], "ㄴ" if onset == "ㄹ" else onset
    if closed in ("ㅁ", "ㅇ") and onset == "ㄹ":
        return closed, "ㄴ"
    if {closed, onset} == {"ㄴ", "ㄹ"}:  # rule 20
        return "ㄹ", "ㄹ"
    return closed, onset
