"""Raw English text to tokens that grapheme-to-phoneme conversion can speak: words, pauses, phones given in braces.

Unlike `cleaners`, which keeps the wording that published letter models were trained on, this keeps capitals (they tell
acronyms) and reads decimals digit by digit, £ and € as money, times, decades and % & + = @ # as words.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from errors import UserError
from text.cleaners import ABBREVIATIONS, to_ascii
from text.numbers import cardinal, digits_in_words, ordinal, year_or_cardinal
from text.sequence import split_braces
from text.words import shorten


@dataclass(frozen=True)
class Token:
    text: str  # as written, but ASCII; a number is already words
    kind: Literal["word", "pause", "phones", "unspeakable"]


_UNITS = {"$": ("dollar", "dollars", "cent", "cents"), "€": ("euro", "euros", "cent", "cents")} | {
    "£": ("pound", "pounds", "penny", "pence")
}
_MONEY = re.compile(
    r"([$£€]) ?([0-9]+(?:,[0-9]+)*)(?:\.([0-9]+))?(?:\s+(hundred|thousand|million|billion|trillion)\b)?", re.IGNORECASE
)
_SYMBOLS = str.maketrans(
    {
        "$": " dollars ",
        "£": " pounds ",
        "€": " euros ",
        "%": " percent ",
        "&": " and ",
        "+": " plus ",
        "=": " equals ",
        "°": " degrees ",
        "×": " times ",
    }
)
_SHORT = ABBREVIATIONS | {
    "mrs": "Mrs",  # the dictionary has it; "misess" is for letter models
    "ms": "Ms",
    "prof": "professor",
    "inc": "incorporated",
    "corp": "corporation",
    "dept": "department",
    "vs": "versus",
    "etc": "et cetera",
}
_PHRASES = ((r"\be\.g\.", "for example"), (r"\bi\.e\.", "that is"), (r"\bph\.d\.?", "PhD"))
_FRACTIONS = {"1/2": "one half", "1/3": "one third", "2/3": "two thirds", "1/4": "a quarter", "3/4": "three quarters"}

# km, mp3: such letters are spelled, not read
_LETTERS_AT_DIGITS = re.compile("(?<![a-z])[b-df-hj-np-tv-xz]{1,3}(?=[0-9])|(?<=[0-9])[b-df-hj-np-tv-xz]{1,3}(?![a-z])")

_PIECE = re.compile(
    r"(?P<word>(?:[A-Za-z]\.){2,}(?:[A-Za-z]\b)?|'?[A-Za-z]+(?:['-][A-Za-z]+)*'?)"  # U.S.A., 'tis, mother-in-law, kids'
    r"|(?P<pause>--+|[,.;:!?()\[\]]+)"
)


def tokenize(text: str) -> list[Token]:
    """Tokens in the order of the text; neighbouring pauses are one token.

    Whatever holds nothing speakable (an emoji, a lone symbol) becomes an `unspeakable` token, so that it can be
    reported. Raises UserError for braces that are empty or don't close.
    """
    tokens: list[Token] = []
    for part, braced in split_braces(text):
        if not braced:
            tokens += _plain_tokens(part)
        elif "{" in part or not part.strip():
            raise UserError(f"braces that hold no phones: {shorten('{' + part + '}')}; expected {{AA1 B …}}")
        else:
            tokens.append(Token(" ".join(part.split()), "phones"))
    merged: list[Token] = []
    for token in tokens:
        if token.kind == "pause" and merged and merged[-1].kind == "pause":
            token = Token(merged.pop().text + token.text, "pause")
        merged.append(token)
    return merged


def _plain_tokens(text: str) -> Iterator[Token]:
    text = unicodedata.normalize("NFKC", text)
    if "{" in text or "}" in text:
        raise UserError(f"a brace without its partner in {shorten(text.strip())!r}; phones are written {{AA1 B …}}")
    for raw in _MONEY.sub(_money_in_words, text).split():
        yield from _pieces(raw)


def _pieces(raw: str) -> Iterator[Token]:
    """The tokens of a stretch without white space."""
    spoken = to_ascii(raw.translate(_SYMBOLS))
    if spoken.strip() == "-":
        yield Token("-", "pause")
        return
    if re.fullmatch(r"[A-HJ-Z]\.", spoken):  # an initial: J. Smith
        yield Token(spoken[0], "word")
        return
    spoken = numbers_in_words(_expand(spoken))
    pieces = [
        Token(match.group(), "word" if match.lastgroup == "word" else "pause") for match in _PIECE.finditer(spoken)
    ]
    lost = any(character.isalnum() for character in raw) and not any(piece.kind == "word" for piece in pieces)
    yield from pieces
    if lost or not pieces:
        yield Token(raw, "unspeakable")


def _expand(spoken: str) -> str:
    """Addresses and abbreviations in words."""
    if "@" in spoken or "://" in spoken or spoken.lower().startswith("www."):
        spoken = re.sub(r"(?<=[A-Za-z0-9])\.(?=[A-Za-z0-9])", " dot ", spoken).replace("://", " ")
        spoken = re.sub(r"/(?=.)", " slash ", spoken).replace("@", " at ")
    for pattern, words in _PHRASES:
        spoken = re.sub(pattern, words, spoken, flags=re.IGNORECASE)
    spoken = re.sub(r"\bDr\b(?!\.)", "doctor", spoken)
    return re.sub(r"\b([A-Za-z]+)\.", lambda match: _SHORT.get(match.group(1).lower(), match.group()), spoken)


def _money_in_words(match: re.Match[str]) -> str:
    """'$3.50' -> '3 dollars 50 cents', '£1.5 million' -> '1.5 million pounds'; the digits are worded later."""
    one, many, one_small, many_small = _UNITS[match.group(1)]
    whole = match.group(2).replace(",", "").lstrip("0") or "0"
    fraction, scale = match.group(3), match.group(4)
    if scale or (fraction and len(fraction) > 2):
        amount = whole + (f".{fraction}" if fraction else "")
        return f" {amount} {scale + ' ' if scale else ''}{many} "
    small = int(fraction.ljust(2, "0")) if fraction else 0
    spoken = []
    if whole != "0" or not small:
        spoken.append(f"{whole} {one if whole == '1' else many}")
    if small:
        spoken.append(f"{small} {one_small if small == 1 else many_small}")
    return f" {' '.join(spoken)} "


def numbers_in_words(text: str) -> str:
    """Every digit of an ASCII stretch without white space in words, without commas (they would become pauses)."""
    if not re.search("[0-9]", text):
        return text
    if text in _FRACTIONS:
        return _FRACTIONS[text]
    text = re.sub(r"#(?=[0-9])", "number ", text)
    text = re.sub(r"(?<![0-9:.])([0-9]{1,2}):([0-9]{2})(?![0-9:])((?i:[ap]m)?)", _time_in_words, text)
    text = re.sub(r"(?<=[0-9]),(?=[0-9]{3}(?![0-9]))", "", text)
    text = re.sub(r"(?<![0-9])([0-9]+0)'?s\b", lambda match: f" {_decade(match.group(1))} ", text)
    text = re.sub(r"^([0-9]+)-([0-9]+)(?![-0-9])", _range, text)
    text = re.sub(r"(?<![0-9A-Za-z])-(?=\.?[0-9])", " minus ", text)
    text = re.sub(r"\.([0-9]+)", lambda match: f" point {digits_in_words(match.group(1))} ", text)
    text = re.sub(r"(?<=[0-9])/(?=[0-9])", " slash ", text)
    text = re.sub(r"(?<![0-9])([0-9]+)(?i:st|nd|rd|th)\b", lambda match: f" {_plain(ordinal(match.group(1)))} ", text)
    text = _LETTERS_AT_DIGITS.sub(lambda match: match.group().upper(), text)
    return re.sub(r"[0-9]+", lambda match: f" {_number(match.group())} ", text)


def _plain(words: str) -> str:
    return words.replace(",", "")


def _number(digits: str) -> str:
    if len(digits) > 1 and digits.startswith("0"):  # 007
        return digits_in_words(digits)
    return _plain(year_or_cardinal(digits))


def _decade(digits: str) -> str:
    words = _number(digits)
    return words[:-1] + "ies" if words.endswith("y") else words + "s"


def _range(match: re.Match[str]) -> str:
    first, second = match.groups()
    return f"{first} {second}" if (len(first), len(second)) == (3, 4) else f"{first} to {second}"  # 555-1234: a phone


def _time_in_words(match: re.Match[str]) -> str:
    hour, minute, half = match.groups()
    rest = ("oh " if minute[0] == "0" else "") + cardinal(minute)
    if minute == "00":
        rest = "" if half else "o'clock"
    return f" {cardinal(hour)} {rest} {half.upper()} "
