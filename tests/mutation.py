"""Inputs for parsers that almost make sense: files of the real kind, damaged in ways that parsers stumble over.

Everything is drawn from a `random.Random`, so that a number tells the input again.
"""

import json
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

# what lengths, counts and offsets of binary formats are made of
NUMBERS = (0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 2**63 - 1, 2**64 - 1)
PIECES = (  # what text formats may stumble over
    b"\0", b"\n", b"\r", b"\r\n", b"\t", b" ", b"|", b"/", b"\\", b"..", b"../../", b'"', b"'", b"{", b"}", b"[", b"]",
    b":", b",", b"#", b"-", b"%", b"\x1b[31m", b"\x7f", b"\x85", b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff", b"\xc3",
    b"\xed\xa0\x80", "\u2028".encode(), "\u202e".encode(), "é".encode(), "e\u0301".encode(), "😀".encode(),
    "你好".encode(), "안녕".encode(), "ſ".encode(), b"K", "İ".encode(), "٣".encode(), "²".encode(), b"CON", b"nul",
    b"a" * 300, b"9" * 400, b"-1", b"1e999", b"nan", b"Infinity", b"0x", b"NULL", b"true", b"~", b"&a", b"*a", b"!!",
)  # fmt: skip
WORDS = ("", "a", "../../evil", "/etc/evil", "a|b", "a\nb", "a\0b", "nul", "😀", "\ud800", "x" * 5000, "zh", "none")


def mutated(seeds: Sequence[bytes], pieces: Sequence[bytes], random: Random) -> bytes:
    """One of the seeds after one to six mutations."""
    data = bytearray(random.choice(seeds))
    for _ in range(random.choice((1, 1, 1, 2, 3, 6))):
        random.choice(_MUTATIONS)(data, seeds, pieces, random)
    return bytes(data)


def _span(data: bytearray, random: Random) -> slice:
    start = random.randrange(len(data) + 1)
    return slice(start, min(len(data), start + random.choice((1, 2, 4, 8, 40, 400))))


def _flip(data: bytearray, seeds: Sequence[bytes], pieces: Sequence[bytes], random: Random) -> None:
    if data:
        data[random.randrange(len(data))] ^= 1 << random.randrange(8)


def _replace(data: bytearray, seeds: Sequence[bytes], pieces: Sequence[bytes], random: Random) -> None:
    if data:
        data[random.randrange(len(data))] = random.randrange(256)


def _number(data: bytearray, seeds: Sequence[bytes], pieces: Sequence[bytes], random: Random) -> None:
    size, place = random.choice((1, 2, 4, 8)), random.randrange(len(data) + 1)
    value = random.choice(NUMBERS) % 256**size
    data[place : place + size] = value.to_bytes(size, random.choice(("little", "big")))


def _delete(data: bytearray, seeds: Sequence[bytes], pieces: Sequence[bytes], random: Random) -> None:
    del data[_span(data, random)]


def _repeat(data: bytearray, seeds: Sequence[bytes], pieces: Sequence[bytes], random: Random) -> None:
    span = _span(data, random)
    data[span.start : span.start] = data[span] * random.choice((1, 1, 2, 50))


def _insert(data: bytearray, seeds: Sequence[bytes], pieces: Sequence[bytes], random: Random) -> None:
    place = random.randrange(len(data) + 1)
    data[place:place] = random.choice(random.choice((pieces, PIECES)) or PIECES)


def _overwrite(data: bytearray, seeds: Sequence[bytes], pieces: Sequence[bytes], random: Random) -> None:
    data[_span(data, random)] = random.choice(random.choice((pieces, PIECES)) or PIECES)


def _cut(data: bytearray, seeds: Sequence[bytes], pieces: Sequence[bytes], random: Random) -> None:
    del data[random.randrange(len(data) + 1) :]


def _splice(data: bytearray, seeds: Sequence[bytes], pieces: Sequence[bytes], random: Random) -> None:
    other = random.choice(seeds)
    data[random.randrange(len(data) + 1) :] = other[random.randrange(len(other) + 1) :]


_MUTATIONS: tuple[Callable[[bytearray, Sequence[bytes], Sequence[bytes], Random], None], ...] = (
    _flip, _replace, _number, _delete, _repeat, _insert, _insert, _overwrite, _cut, _splice,
)  # fmt: skip


def mutated_tree(value: Any, random: Random) -> Any:
    """A copy of a tree of dicts and lists with one to three of its parts replaced, removed or given twice."""
    for _ in range(random.choice((1, 1, 2, 3))):
        value = _changed(value, random)
    return value


def _changed(value: Any, random: Random) -> Any:
    inner = isinstance(value, dict | list) and len(value) > 0
    if not inner or random.random() < 0.15:
        return anything(random)
    copy = dict(value) if isinstance(value, dict) else list(value)
    keys = list(copy) if isinstance(copy, dict) else list(range(len(copy)))
    key = random.choice(keys)
    action = random.random()
    if action < 0.15:
        del copy[key]
    elif action < 0.3 and isinstance(copy, dict):
        copy[random.choice((*WORDS, *map(str, keys)))] = copy.pop(key)
    elif action < 0.3:
        assert isinstance(copy, list)
        copy.insert(random.randrange(len(copy) + 1), copy[key])
    else:
        copy[key] = _changed(copy[key], random)
    return copy


def anything(random: Random) -> Any:
    """Some value that JSON has."""
    simple = (None, True, False, 0, 1, -1, 2**31, 2**70, 1.5, -0.0, 1e308, float("nan"), float("inf"), *WORDS)
    kind = random.random()
    if kind < 0.7:
        return random.choice(simple)
    if kind < 0.8:
        return [anything(random) for _ in range(random.randrange(4))]
    if kind < 0.9:
        return {random.choice(WORDS): anything(random) for _ in range(random.randrange(3))}
    nested: Any = []
    for _ in range(random.choice((2, 50))):
        nested = [nested] if random.random() < 0.5 else {"a": nested}
    return nested


def as_json(value: Any) -> bytes:
    """As a hostile program would write it."""
    return json.dumps(value).encode()
