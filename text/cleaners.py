"""Text cleaning for models trained on letters, as the LJSpeech recipes do it (the golden file holds its wording)."""

import re

_ABBREVIATIONS = (
    ("mrs", "misess"),  # sic: the spelling that published models were trained on
    ("mr", "mister"),
    ("dr", "doctor"),
    ("st", "saint"),
    ("co", "company"),
    ("jr", "junior"),
    ("maj", "major"),
    ("gen", "general"),
    ("drs", "doctors"),
    ("rev", "reverend"),
    ("lt", "lieutenant"),
    ("hon", "honorable"),
    ("sgt", "sergeant"),
    ("capt", "captain"),
    ("esq", "esquire"),
    ("ltd", "limited"),
    ("col", "colonel"),
    ("ft", "fort"),
)
ABBREVIATIONS = dict(_ABBREVIATIONS)  # without their dot


def to_ascii(text: str) -> str:
    """Nearest ASCII spelling ('café' -> 'cafe', '“' -> '\"'); what has none, lone surrogates included, disappears."""
    from unidecode import unidecode

    return str(unidecode(re.sub("[\ud800-\udfff]", "", text)))


def expand_abbreviations(text: str) -> str:
    """'dr.' -> 'doctor', in any case."""
    for short, long in _ABBREVIATIONS:
        text = re.sub(rf"\b{short}\.", long, text, flags=re.IGNORECASE)
    return text


def english_cleaners(text: str) -> str:
    """ASCII, lower case, numbers and abbreviations in words, white space collapsed to single spaces (not stripped)."""
    from text.numbers import expand_numbers

    text = to_ascii(text).lower()
    return re.sub(r"\s+", " ", expand_abbreviations(expand_numbers(text)))


CLEANERS = {"english_cleaners": english_cleaners}
