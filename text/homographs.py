# ruff: noqa: SIM905 - word lists are read and changed as text
"""One spelling, two pronunciations: which one, decided by the neighbouring words.

Most pairs come from the file homographs.en of the package g2p_en (verb against noun or adjective). It has mistakes, put
right here, and lacks the words whose two readings are no verb/noun pair or that matter most; those have rules below.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from errors import UserError
from text.context import (
    BE,
    DETERMINERS,
    DO,
    HAVE,
    MODALS,
    OBJECT_STARTS,
    Role,
    is_plural,
    role,
    without_adverbs,
)
from text.lexicon import KNOWN_PHONES, read_package_text

Phones = tuple[str, ...]

# the file has verb and noun the wrong way round
_SWAPPED = frozenset(
    "articulate blessed certificate dogged exploit exploits fragment imprint learned misuse mouth object pontificate "
    "precipitate predicate rebel segment subcontract torment".split()
)
# both readings are wrong, equal or too rare in the file: the dictionary knows better
_LEFT_TO_DICTIONARY = frozenset(
    "accents baths closer complex counterbalance counterbalances diagnoses inverse mandate misconduct mouths prefix "
    "prefixes presage presages processes processing quadruple quadruples unused used read document documents".split()
)
_CORRECTED = {"refuse": ("R IH0 F Y UW1 Z", "R EH1 F Y UW2 S")}
_USUALLY_VERBS = frozenset("collect convert invite permit produce recall refuse resume rewrite suspect use".split())


@dataclass(frozen=True)
class Neighbours:
    """Where a word stands. Words are lower case, apostrophes kept."""

    before: tuple[str, ...]  # of the same clause, nearest last
    after: tuple[str, ...]  # of the same clause, nearest first
    sentence: tuple[str, ...]  # all words of the sentence
    capital: bool = False  # written with a capital inside the sentence


@dataclass(frozen=True)
class _Pair:
    verb: Phones
    other: Phones
    undecided: Phones

    def __call__(self, word: str, place: Neighbours) -> Phones:
        found = role(word, place.before, place.after)
        return {Role.VERB: self.verb, Role.OTHER: self.other, Role.UNDECIDED: self.undecided}[found]


class Homographs:
    """Looks up words with two pronunciations.

    Raises UserError where homographs.en is missing or malformed.
    """

    def __init__(self) -> None:
        self._rules: dict[str, Callable[[str, Neighbours], Phones]] = dict(_file_pairs())
        self._rules.update(_RULES)

    def __contains__(self, word: str) -> bool:
        return word in self._rules

    def __call__(self, word: str, place: Neighbours) -> Phones:
        """Phones of a lower-case homograph at its place in the text."""
        return self._rules[word](word, place)


def _file_pairs() -> dict[str, _Pair]:
    """WORD|PRONUNCIATION1|PRONUNCIATION2|POS: the first where the part of speech is POS, else the second."""
    pairs = {}
    for number, line in enumerate(read_package_text("g2p_en", "homographs.en").splitlines(), start=1):
        if line.startswith("#") or not line.strip():
            continue
        fields = line.split("|")
        if len(fields) != 4:
            raise UserError(f"homographs.en of g2p_en, line {number}: expected 4 fields, got {len(fields)}; use 2.1.0")
        word = fields[0].lower()
        if word in _LEFT_TO_DICTIONARY:
            continue
        first, second = (tuple(text.split()) for text in _CORRECTED.get(word, fields[1:3]))
        if not KNOWN_PHONES.issuperset(first + second):
            raise UserError(f"homographs.en of g2p_en, line {number}: not all ARPAbet phones; use g2p_en 2.1.0")
        if (fields[3] == "N") != (word in _SWAPPED):
            first, second = second, first
        pairs[word] = _Pair(first, second, undecided=first if word in _USUALLY_VERBS else second)
    return pairs


# ------------------------------------------------------------------------------- words with rules of their own


@dataclass(frozen=True)
class _Cued:
    """`cued` where a neighbour is one of the given words (or, if `verb`, where the word is a verb), else `usual`."""

    usual: Phones
    cued: Phones
    previous: frozenset[str] = frozenset()
    following: frozenset[str] = frozenset()
    anywhere: frozenset[str] = frozenset()
    verb: bool = False

    def __call__(self, word: str, place: Neighbours) -> Phones:
        words = without_adverbs(place.before)
        hit = (
            (words and words[-1] in self.previous)
            or (place.after and place.after[0] in self.following)
            or not self.anywhere.isdisjoint(place.sentence)
            or (self.verb and role(word, place.before, place.after) is Role.VERB)
        )
        return self.cued if hit else self.usual


def _cued(
    usual: str, cued: str, previous: str = "", following: str = "", anywhere: str = "", verb: bool = False
) -> _Cued:
    return _Cued(
        tuple(usual.split()),
        tuple(cued.split()),
        frozenset(previous.split()),
        frozenset(following.split()),
        frozenset(anywhere.split()),
        verb,
    )


_PAST_MARKERS = frozenset("yesterday ago last once earlier was were had did then when said went came sat told".split())


def _read(word: str, place: Neighbours) -> Phones:
    """Past and participle 'red' after have and be, after he/she/it/a name, or where the sentence tells of the past."""
    present, past = ("R", "IY1", "D"), ("R", "EH1", "D")
    words = without_adverbs(place.before)
    previous = words[-1] if words else ""
    if not previous:  # Read it! Read by millions, it …
        return past if place.after[:1] == ("by",) else present
    if previous in HAVE or previous in BE or previous in ("well", "widely", "being", "get", "got"):
        return past
    if previous in ("to", "go", "come") or previous in DETERMINERS or any(w in MODALS or w in DO for w in words[-4:]):
        return present
    if any(earlier in HAVE for earlier in words[-3:-1]):  # Have you read it?
        return past
    if previous in ("he", "she", "it"):
        return past
    told = not _PAST_MARKERS.isdisjoint(place.sentence) or any(
        len(w) > 4 and w.endswith("ed") for w in place.sentence if w != "need"
    )
    if told:
        return past
    if previous in ("i", "you", "we", "they", "and", "who", "or", "them", "him", "us", "me") or is_plural(previous):
        return present
    return past if place.after and place.after[0] in OBJECT_STARTS else present


def _used(word: str, place: Neighbours) -> Phones:
    """'used to' is 'yoost' unless a passive ('is used to make')."""
    passive, habit = ("Y", "UW1", "Z", "D"), ("Y", "UW1", "S", "T")
    if not place.after or place.after[0] != "to":
        return passive
    words = without_adverbs(place.before)
    if not words or (words[-1] not in BE and words[-1] not in ("get", "got", "getting")):
        return habit
    target = place.after[1] if len(place.after) > 1 else ""
    return habit if target in OBJECT_STARTS or target in ("", "that") or target.endswith("ing") else passive


def _bow(word: str, place: Neighbours) -> Phones:
    bend, weapon = ("B", "AW1"), ("B", "OW1")
    taken = any(w in ("take", "takes", "took", "taking") for w in place.before[-3:])
    ship = place.after[:2] == ("of", "the")
    down = bool(place.after) and place.after[0] in ("down", "to", "out", "before")
    return bend if taken or ship or down or role(word, place.before, place.after) is Role.VERB else weapon


def _wound(word: str, place: Neighbours) -> Phones:
    """Past of 'to wind' before up, around, …, unless an article makes it the injury."""
    turned = place.after and place.after[0] in ("up", "around", "round", "down", "through", "its", "back", "tightly")
    noun = place.before and place.before[-1] in DETERMINERS
    return ("W", "AW1", "N", "D") if turned and not noun else ("W", "UW1", "N", "D")


def _polish(word: str, place: Neighbours) -> Phones:
    return tuple(("P OW1 L IH0 SH" if place.capital else "P AA1 L IH0 SH").split())


_BE = " ".join(BE)
_LIVE_AFTER = (
    f"a an the this our his her their {_BE} go goes going went broadcast broadcasts broadcasting recorded "
    + ("streamed streaming aired performed performing perform play played sang sing first last your my")
)
_LIVE_BEFORE = (
    "music concert concerts show shows broadcast broadcasts audience coverage stream streams performance performances "
    "tv television recording recordings wire wires album band entertainment from animals"
)
_SPLIT = "up down apart off out through open away"

_RULES: dict[str, Callable[[str, Neighbours], Phones]] = {
    "read": _read,
    "used": _used,
    "bow": _bow,
    "wound": _wound,
    "polish": _polish,
    "live": _cued("L IH1 V", "L AY1 V", previous=_LIVE_AFTER, following=_LIVE_BEFORE),
    "lives": _cued("L AY1 V Z", "L IH1 V Z", following="in here there with alone on at near by next across", verb=True),
    "lead": _cued(
        "L IY1 D",
        "L EH1 D",
        previous="of with melted molten liquid contains contain containing",
        following="pipe pipes paint poisoning pencil pencils weight weights bullet bullets acid glass balloon mine ore",
    ),
    "wind": _cued("W IH1 N D", "W AY1 N D", following="up down back", verb=True),
    "winds": _cued("W IH1 N D Z", "W AY1 N D Z", following="through around along up down its", verb=True),
    "tear": _cued("T IH1 R", "T EH1 R", following=f"{_SPLIT} in", verb=True),
    "tears": _cued("T IH1 R Z", "T EH1 R Z", following=_SPLIT, verb=True),
    "bows": _cued("B OW1 Z", "B AW1 Z", following="down to out before", verb=True),
    "minute": _cued(
        "M IH1 N AH0 T",
        "M AY0 N UW1 T",
        following="detail details amount amounts quantity quantities particle particles difference differences traces",
    ),
    "dove": _cued("D AH1 V", "D OW1 V", previous="i he she we they who", following="into in down under headfirst off"),
    "bass": _cued("B EY1 S", "B AE1 S", anywhere="fish fishing sea lake river caught grilled striped fishermen"),
    "content": _cued(
        "K AA1 N T EH0 N T",
        "K AH0 N T EH1 N T",
        previous=f"{_BE} feel feels felt seem seems seemed",
        following="with to",
    ),
    "invalid": _cued("IH0 N V AE1 L AH0 D", "IH1 N V AH0 L AH0 D", following="chair was has"),
    # as an adjective it sounds like the verb: only the noun (a big upset) differs
    "upset": _cued("AH0 P S EH1 T", "AH1 P S EH2 T", previous="a an the this big major huge biggest"),
    "mouth": _cued("M AW1 TH", "M AW1 DH", verb=True),
}
