"""The languages that can be spoken: a module each, and one line here.

    python -c "from text.languages import get_g2p; print(*get_g2p('zh')('我们2点见。'), sep='\\n')"

A new language is a module with a class `(lexicon_path) -> G2P` (text/words.py says what that returns) and a line in
LANGUAGES. What it needs beyond the base table's symbols stands in that line; lines are only ever added at the end,
because the ids of those symbols, and with them the embedding rows of trained models, go by the order of the lines.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from errors import UserError
from text.words import G2P


@dataclass(frozen=True)
class Language:
    """What has to be known of a language before its module is imported."""

    name: str
    module: str  # imported with the first text in this language
    factory: str  # its class or function: (lexicon_path: str | Path | None) -> G2P
    symbols: tuple[str, ...] = ()  # phones that the base table of text/symbols.py lacks
    spaced: bool = True  # words are separated by spaces
    chunk: int = 40  # words (characters, where they are not) that are spoken at once


LANGUAGES: dict[str, Language] = {
    "en": Language("English", "text.g2p", "EnglishG2P"),
    "zh": Language("Mandarin", "text.mandarin", "MandarinG2P", spaced=False, chunk=80),
}


def check_languages(codes: Iterable[str]) -> None:
    """Raise UserError naming the known codes for a language that there is no module for."""
    for code in codes:
        if code not in LANGUAGES:
            known = ", ".join(f"{known} ({language.name})" for known, language in LANGUAGES.items())
            raise UserError(f"unknown language {code!r}; known: {known}")


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
