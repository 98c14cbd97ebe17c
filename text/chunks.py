"""Long texts in pieces of a length that the model has seen: sentences, then clauses, then a fixed number of words."""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import pairwise

from text.cleaners import ABBREVIATIONS

# a word is anything between white space; phones in braces are one word whatever is inside
_WORD = re.compile(r"(?:\{[^{}]*\}|\S)+")
# without spaces a word is a character with what is written close to it, or a run of others (a number, an English word)
_IDEOGRAPH = "〇\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U000323af"
_OPENING = r"“‘«《〈「『（(\["
_CLOSE = rf"(?:(?![{_OPENING}{{}}])[^\w\s])*"  # punctuation after a word
_CHARACTER = re.compile(
    rf"\s*(?:\{{[^{{}}]*\}}{_CLOSE}|[{_OPENING}]*[{_IDEOGRAPH}]{_CLOSE}|(?:(?![{_IDEOGRAPH}{{}}。！？])\S)+{_CLOSE}|\S)"
)
_END_MARKS = ".!?…。！？"
_CLOSING = "\"'”’»)]"
_CLAUSE_END = re.compile(r"(?:[,;:)\]…、，；：]|--|[—–])[\"'”’»]*$|^-$")

_TITLES = frozenset(ABBREVIATIONS) - {"co", "jr", "esq", "ltd"} | {
    "ms",
    "prof",
    "messrs",
    "vs",
    "no",
    "fig",
    "e.g",
    "i.e",
}
_MAY_END = frozenset({"co", "jr", "esq", "ltd", "inc", "corp", "etc", "a.m", "p.m"})  # an end only before a capital


def split_sentences(text: str, max_words: int = 40, spaced: bool = True) -> list[str]:
    """Chunks of at most `max_words` words, in order, together every word of the text exactly once.

    `" ".join(chunks)` equals the text but for white space (white space inside braces is kept). Sentences end at . ! ? …
    unless the dot belongs to a title, an initial or a decimal number. Sentences too long are split after , ; : ) or a
    dash, clauses too long into equal parts. A chunk without a letter or digit joins the one before it, even if that
    then has more words. An empty text gives no chunks.

    `spaced` False is for languages written without spaces: characters count as words.
    """
    if max_words < 1:
        raise ValueError(f"max_words must be at least 1, got {max_words}")
    words = (_WORD if spaced else _CHARACTER).findall(text)
    chunks: list[list[str]] = []
    for sentence in _split_after(words, _ends_sentence):
        chunks += _fit(sentence, max_words)
    joint = " " if spaced else ""
    return [joint.join(chunk).strip() for chunk in _join_silent(chunks)]


def _split_after(words: list[str], ends: Callable[[str, str], bool]) -> list[list[str]]:
    """Split after each word for which `ends(word, next word)` holds."""
    parts: list[list[str]] = [[]]
    for index, word in enumerate(words):
        parts[-1].append(word)
        if index + 1 < len(words) and ends(word, words[index + 1]):
            parts.append([])
    return parts if words else []


def _ends_sentence(word: str, following: str) -> bool:
    word, following = word.strip(), following.lstrip()
    unquoted = word.rstrip(_CLOSING)
    mark = unquoted[len(unquoted.rstrip(_END_MARKS)) :]
    if not mark:
        return False
    first = following.lstrip("\"'“‘«([")[:1]
    if word[-1] in "\"'”’»" or mark.startswith(("..", "…")):
        return not first.islower()  # "Really?" he said; well... maybe
    if unquoted != word or mark != ".":
        return True
    name = word[:-1].lstrip("\"'“‘«([")
    stem = name.lower()
    if stem in _TITLES or (len(name) == 1 and name.isupper() and name != "I"):  # No. 5, J. Smith
        return False
    if stem in _MAY_END or re.fullmatch(r"(?:\w\.)+\w", stem):  # etc. U.S.
        return first.isupper()
    return True


def _fit(sentence: list[str], max_words: int) -> list[list[str]]:
    """The clauses of a sentence, as many per chunk as fit; clauses too long in equal parts."""
    if len(sentence) <= max_words:
        return [sentence]
    chunks: list[list[str]] = []
    for clause in _split_after(sentence, lambda word, _: _CLAUSE_END.search(word) is not None):
        if chunks and len(chunks[-1]) + len(clause) <= max_words:
            chunks[-1] += clause
        else:
            count = -(-len(clause) // max_words)
            bounds = [len(clause) * part // count for part in range(count + 1)]
            chunks += [clause[start:end] for start, end in pairwise(bounds)]
    return chunks


def _join_silent(chunks: list[list[str]]) -> list[list[str]]:
    """Chunks with nothing to say join a neighbour: alone, they could not be synthesized."""
    joined: list[list[str]] = []
    for chunk in chunks:
        silent = not any(character.isalnum() for word in chunk for character in word)
        if joined and (silent or not any(character.isalnum() for word in joined[-1] for character in word)):
            joined[-1] += chunk
        else:
            joined.append(list(chunk))
    return joined
