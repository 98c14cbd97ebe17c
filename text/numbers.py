# ruff: noqa: SIM905 - word lists are read and changed as text
"""Numbers in words, spelled as `inflect` spells them, and their expansion inside a text.

Written out here because importing inflect costs seconds (it type-checks itself); the tests hold the two equal.
`expand_numbers` reads numbers the way the LJSpeech recipes do: the golden file holds that wording, oddities included.
"""

import re

_ONES = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen"
).split()
_TENS = "_ _ twenty thirty forty fifty sixty seventy eighty ninety".split()
_SCALES = (
    "_ thousand million billion trillion quadrillion quintillion sextillion septillion octillion nonillion decillion"
).split()
MAX_DIGITS = 3 * len(_SCALES)  # longer numbers are read digit by digit

_ORDINALS = {
    "one": "first",
    "two": "second",
    "three": "third",
    "five": "fifth",
    "eight": "eighth",
    "nine": "ninth",
    "twelve": "twelfth",
}


def _below_hundred(value: int) -> str:
    if value < 20:
        return _ONES[value]
    tens, ones = divmod(value, 10)
    return f"{_TENS[tens]}-{_ONES[ones]}" if ones else _TENS[tens]


def _below_thousand(value: int, link: str) -> str:
    hundreds, rest = divmod(value, 100)
    if not hundreds:
        return _below_hundred(rest)
    return f"{_ONES[hundreds]} hundred{link}{_below_hundred(rest)}" if rest else f"{_ONES[hundreds]} hundred"


def digits_in_words(digits: str) -> str:
    """'105' -> 'one zero five'."""
    return " ".join(_ONES[int(digit)] for digit in digits)


def cardinal(digits: str, link: str = " ") -> str:
    """'12345' -> 'twelve thousand, three hundred forty-five'; `link` (' ' or ' and ') stands before tens and ones.

    More than 36 digits are read one by one.
    """
    digits = digits.lstrip("0") or "0"
    if len(digits) > MAX_DIGITS:
        return digits_in_words(digits)
    value = int(digits)
    if value < 1000:
        return _below_thousand(value, link)
    value, last = divmod(value, 1000)
    parts: list[str] = []
    for scale in _SCALES[1:]:
        value, group = divmod(value, 1000)
        if group:
            parts.insert(0, f"{_below_thousand(group, link)} {scale}")
    words = ", ".join(parts)
    if not last:
        return words
    return f"{words}{', ' if last >= 100 else link}{_below_thousand(last, link)}"


def ordinal(digits: str) -> str:
    """'101' -> 'one hundred and first'."""
    words = cardinal(digits, link=" and ")
    head, separator, last = re.fullmatch(r"(.*?)([ -]?)([a-z]+)", words).groups()  # type: ignore[union-attr]
    if last in _ORDINALS:
        last = _ORDINALS[last]
    elif last.endswith("y"):
        last = last[:-1] + "ieth"
    else:
        last += "th"
    return f"{head}{separator}{last}"


def year_or_cardinal(digits: str) -> str:
    """Numbers strictly between 1000 and 3000 are read as years ('1999' -> 'nineteen ninety-nine'), others plainly."""
    digits = digits.lstrip("0") or "0"
    if len(digits) != 4 or not 1000 < int(digits) < 3000:
        return cardinal(digits)
    century, year = divmod(int(digits), 100)
    if century == 20 and year < 10:
        return f"two thousand {_ONES[year]}" if year else "two thousand"
    if not year:
        return f"{_below_hundred(century)} hundred"
    return f"{_below_hundred(century)} {'oh ' if year < 10 else ''}{_below_hundred(year)}"


def _without_leading_zeros(digits: str) -> str:
    return digits.replace(",", "").lstrip("0")  # '' when the amount is nothing


def _expand_dollars(match: re.Match[str]) -> str:
    amount = match.group(1)
    parts = amount.split(".")
    if len(parts) > 2:  # $1.2.3: no amount of money
        return f"{amount} dollars"
    dollars = _without_leading_zeros(parts[0])
    cents = _without_leading_zeros(parts[1]) if len(parts) == 2 else ""
    spoken = []
    if dollars:
        spoken.append(f"{dollars} dollar{'' if dollars == '1' else 's'}")
    if cents:
        spoken.append(f"{cents} cent{'' if cents == '1' else 's'}")
    return ", ".join(spoken) or "zero dollars"


def expand_numbers(text: str) -> str:
    """Every number of an ASCII text in words: amounts in $ and £, decimals, ordinals, years, plain numbers."""
    text = re.sub(r"[0-9][0-9,]+[0-9]", lambda match: match.group().replace(",", ""), text)
    text = re.sub(r"£([0-9,]*[0-9]+)", r"\1 pounds", text)
    text = re.sub(r"\$([0-9.,]*[0-9]+)", _expand_dollars, text)
    text = re.sub(r"(?<![0-9])([0-9]+)\.([0-9]+)", r"\1 point \2", text)
    text = re.sub(r"(?<![0-9])([0-9]+)(?:st|nd|rd|th)", lambda match: ordinal(match.group(1)), text)
    return re.sub(r"[0-9]+", lambda match: year_or_cardinal(match.group()), text)
