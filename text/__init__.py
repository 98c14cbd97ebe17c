"""Text to symbol ids: symbols, cleaners, grapheme-to-phoneme conversion, sentence chunks."""

from text.sequence import check_text, ids_to_text, phones_to_ids, text_to_ids
from text.symbols import PAD, SILENCES, SYMBOL_TO_ID, SYMBOLS

__all__ = [
    "PAD",
    "SILENCES",
    "SYMBOLS",
    "SYMBOL_TO_ID",
    "check_text",
    "ids_to_text",
    "phones_to_ids",
    "text_to_ids",
]
