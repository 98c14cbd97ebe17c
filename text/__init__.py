"""Text to symbol ids: symbols, cleaners, languages and their grapheme-to-phoneme conversion, sentence chunks."""

from text.languages import LANGUAGES, check_languages, check_phones, get_g2p, symbol_count, symbol_table
from text.sequence import check_text, ids_to_text, phones_to_ids, text_to_ids
from text.symbols import PAD, SILENCE, SILENCES, SYMBOL_TO_ID, SYMBOLS

__all__ = [
    "LANGUAGES",
    "PAD",
    "SILENCE",
    "SILENCES",
    "SYMBOLS",
    "SYMBOL_TO_ID",
    "check_languages",
    "check_phones",
    "check_text",
    "get_g2p",
    "ids_to_text",
    "phones_to_ids",
    "symbol_count",
    "symbol_table",
    "text_to_ids",
]
