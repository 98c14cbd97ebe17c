"""Text and phones to ids of the symbol table, and back."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from errors import UserError
from text.cleaners import CLEANERS
from text.languages import SYMBOL_IDS, symbol_of
from text.words import shorten

_DROPPED = "_~"  # the padding symbol and a former end mark: dropped on purpose wherever they occur in a text


def check_text(text: str) -> str:
    """Return `text` stripped; raises UserError where it is empty or holds nothing that could be spoken."""
    if not text.strip():
        raise UserError('the text is empty; give at least one word, for example --text "Kids are talking by the door"')
    if not any(character.isalnum() for character in text):
        raise UserError(f"nothing to speak in {shorten(text.strip())!r}: it holds no letter and no digit")
    return text.strip()


def split_braces(text: str) -> Iterator[tuple[str, bool]]:
    """'a {AA1 B} c' -> ('a ', False), ('AA1 B', True), (' c', False); the inside of braces is never empty."""
    position = 0
    while (start := text.find("{", position)) >= 0 and (end := text.find("}", start + 2)) >= 0:
        yield text[position:start], False
        yield text[start + 1 : end], True
        position = end + 1
    yield text[position:], False


def clean(text: str, cleaners: Sequence[str]) -> str:
    """Apply the named cleaners in order; raises UserError for an unknown name."""
    for name in cleaners:
        if name not in CLEANERS:
            raise UserError(f"unknown text cleaner {name!r}; known: {', '.join(CLEANERS)}")
        text = CLEANERS[name](text)
    return text


def text_to_ids(text: str, cleaners: Sequence[str] = ("english_cleaners",), *, drop_unknown: bool = False) -> list[int]:
    """Ids of a text's letters after cleaning; phones stand in braces: 'Turn left on {HH AW1 S T AH0 N} Street.'

    `_` and `~` are dropped. Any other symbol or phone that the table lacks raises UserError naming it, because
    ids silently lost no longer match their durations; `drop_unknown` loses them, as the original does.
    """
    ids: list[int] = []
    for part, braced in split_braces(text):
        if braced:
            ids += _ids((f"@{phone}" for phone in part.split()), "phone", drop_unknown)
        else:
            letters = (character for character in clean(part, cleaners) if character not in _DROPPED)
            ids += _ids(letters, "symbol", drop_unknown)
    return ids


def _ids(symbols: Iterable[str], kind: str, drop_unknown: bool) -> list[int]:
    ids = []
    for symbol in symbols:
        index = SYMBOL_IDS.get(symbol)
        if index is not None:
            ids.append(index)
        elif not drop_unknown:
            raise UserError(f"unknown {kind} {shorten(symbol.removeprefix('@')) or symbol!r}; {_KNOWN[kind]}")
    return ids


_KNOWN = {
    "phone": "known are ARPAbet (AA1 B CH …), pinyin (zh ang1 …), the silences sp, spn, sil (text/symbols.py) and "
    "those of text/languages.py",
    "symbol": "known are letters, space and - ! ' ( ) , . : ; ? (text/symbols.py); phones stand in braces, {AA1 B}",
}


def phones_to_ids(phones: Sequence[str]) -> list[int]:
    """Ids of phones: 'AA1' -> the id of '@AA1', 'sp' -> that of '@sp'; raises UserError naming an unknown phone."""
    return _ids((f"@{phone}" for phone in phones), "phone", drop_unknown=False)


def ids_to_text(ids: Iterable[int]) -> str:
    """The symbols of ids, neighbouring phones in one pair of braces; raises UserError for an id out of range."""
    parts = []
    for index in ids:
        symbol = symbol_of(index)
        parts.append("{" + symbol[1:] + "}" if symbol.startswith("@") else symbol)
    return "".join(parts).replace("}{", " ")
