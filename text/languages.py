"""The languages that can be spoken: a module each, and an entry here.

    python -c "from text.languages import get_g2p; print(*get_g2p('zh')('我们2点见。'), sep='\\n')"

A new language is a module with a class `(lexicon_path) -> G2P` (text/words.py says what that returns) and an entry in
LANGUAGES. Entries are only ever added at the end: the phones that a language needs beyond the base table get their
ids, and with them the embedding rows of trained models, in the order of the entries.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from errors import UserError
from text.symbols import SYMBOLS
from text.words import G2P


@dataclass(frozen=True)
class Language:
    """What has to be known of a language before its module is imported."""

    name: str
    module: str  # imported with the first text in this language
    factory: str  # its class or function: (lexicon_path: str | Path | None) -> G2P
    phones: str = ""  # those that the base table of text/symbols.py lacks, separated by spaces
    spaced: bool = True  # words are separated by spaces
    chunk: int = 40  # words (characters, where they are not) that are spoken at once


LANGUAGES: dict[str, Language] = {
    "en": Language("English", "text.g2p", "EnglishG2P"),
    "zh": Language("Mandarin", "text.mandarin", "MandarinG2P", spaced=False, chunk=80),
    "ko": Language(
        "Korean",
        "text.korean",
        "KoreanG2P",
        "ko_g ko_kk ko_n ko_d ko_tt ko_r ko_m ko_b ko_pp ko_s ko_ss ko_j ko_jj ko_ch ko_k ko_t ko_p ko_h "
        "ko_a ko_ae ko_ya ko_yae ko_eo ko_e ko_yeo ko_ye ko_o ko_wa ko_wae ko_oe ko_yo ko_u ko_wo ko_we ko_wi ko_yu "
        "ko_eu ko_ui ko_i ko_K ko_N ko_T ko_L ko_M ko_P ko_NG",
        chunk=25,
    ),
}

UNUSED = "<unused>"  # the row after the base table: the original's embedding has it, and its weights must fit


def _numbered() -> Iterator[tuple[str, str]]:
    """Symbol and language code of every id from 0 on."""
    yield from ((symbol, "") for symbol in SYMBOLS)
    yield UNUSED, ""
    for code, language in LANGUAGES.items():
        yield from (("@" + phone, code) for phone in language.phones.split())


_TABLE = tuple(_numbered())
SYMBOL_IDS: dict[str, int] = {symbol: index for index, (symbol, _) in enumerate(_TABLE) if symbol != UNUSED}
"""Ids of the symbols of all languages; those of the base table are the same as in text.symbols.SYMBOL_TO_ID."""
if len(SYMBOL_IDS) != len(_TABLE) - 1:
    raise ValueError("text/languages.py: a phone stands there twice, or is one of the base table")


def symbol_of(index: int) -> str:
    """The symbol of an id; raises UserError for an id that no symbol has."""
    if not 0 <= index < len(_TABLE) or _TABLE[index][0] == UNUSED:
        raise UserError(
            f"symbol id {index} is out of range; ids run from 0 to {len(SYMBOLS) - 1}"
            + (f" and from {len(SYMBOLS) + 1} to {len(_TABLE) - 1}" if len(_TABLE) > len(SYMBOLS) + 1 else "")
        )
    return _TABLE[index][0]


def symbol_count(languages: Sequence[str]) -> int:
    """Embedding rows that a model for these languages needs: up to the last symbol that one of them has of its own.

    361 for languages that the base table serves. Raises UserError for an unknown code.
    """
    check_languages(languages)
    return 1 + max(index for index, (_, code) in enumerate(_TABLE) if not code or code in languages)


def symbol_table(languages: Sequence[str]) -> list[str]:
    """The symbols of these rows, in their order; checkpoints keep it. The base table alone has no unused row."""
    rows = [symbol for symbol, _ in _TABLE[: symbol_count(languages)]]
    return rows[:-1] if rows[-1] == UNUSED else rows


def check_phones(phones: Iterable[str], languages: Sequence[str]) -> None:
    """Raise UserError for a phone of a language that a model for `languages` has no embedding rows for."""
    rows = symbol_count(languages)
    for phone in phones:
        index = SYMBOL_IDS.get("@" + phone)
        if index is not None and index >= rows:
            code = _TABLE[index][1]
            raise UserError(
                f"the phone {phone!r} is {LANGUAGES[code].name}, but preprocess.preprocessing.text.languages is "
                f"[{', '.join(languages)}]; add {code} there before training"
            )


def check_languages(codes: Iterable[str]) -> None:
    """Raise UserError naming the known codes for a language that there is no module for."""
    for code in codes:
        if code not in LANGUAGES:
            known = ", ".join(f"{known} ({language.name})" for known, language in LANGUAGES.items())
            raise UserError(f"unknown language {code!r}; known: {known} (preprocess.preprocessing.text.languages)")


def get_g2p(code: str, lexicon_path: str | Path | None = None) -> G2P:
    """The grapheme-to-phoneme conversion of a language, with the user's pronunciations from `lexicon_path`.

    `{language}` in the path stands for the code, so that a corpus in several languages has a lexicon for each.
    Raises UserError for an unknown code, an unusable lexicon, and a package that is not installed.
    """
    check_languages([code])
    language = LANGUAGES[code]
    if lexicon_path is not None:
        lexicon_path = Path(str(lexicon_path).replace("{language}", code))
    g2p: G2P = getattr(importlib.import_module(language.module), language.factory)(lexicon_path)
    return g2p
