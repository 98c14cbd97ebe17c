"""Every parser that meets users' files, as a function of a file's bytes, with what it may be fed.

`attempt` is what all fuzz tests share: whatever the bytes are, the parser takes them or raises UserError, in time.
"""

import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from errors import UserError
from tests.mutation import as_json, mutated, mutated_tree

SECONDS = 20.0  # that an input of some kilobytes may take at most, on a busy machine


@dataclass(frozen=True)
class Parser:
    """One of them."""

    name: str
    read: Callable[[bytes, Path], object]  # the file's bytes, and an empty folder of its own, kept between inputs
    seeds: Sequence[bytes]  # files that are right, or nearly
    pieces: Sequence[bytes] = ()  # of which such files are made
    trees: Sequence[Any] = ()  # where the format is JSON: what the files say
    write: Callable[[Any], bytes] = field(default=as_json)  # a tree as a file

    def input(self, number: int) -> bytes:
        """The `number`-th input, the same on every machine."""
        random = Random(f"{self.name}/{number}")
        if self.trees and random.random() < 0.7:
            return self.write(mutated_tree(random.choice(self.trees), random))
        return mutated(self.seeds, self.pieces, random)


def attempt(parser: Parser, data: bytes, folder: Path) -> bool:
    """Whether the parser takes the bytes. Whatever it raises but UserError goes to the caller."""
    begin = time.monotonic()
    taken = True
    try:
        parser.read(data, folder)
    except UserError as error:
        taken = False
        assert len(str(error).splitlines()) == 1 and str(error).isprintable(), f"not one line: {str(error)!r}"
    assert time.monotonic() - begin < SECONDS, "too slow"
    return taken


def run(parser: Parser, numbers: range, folder: Path) -> int:
    """Feed it these inputs; how many it took. A failure tells the input, to be kept as a regression test."""
    taken = 0
    for number in numbers:
        data = parser.input(number)
        try:
            taken += attempt(parser, data, folder)
        except Exception as error:
            raise AssertionError(f"{parser.name}, input {number}: {error!r:.500} for {data[:3000]!r}") from error
    return taken


@contextmanager
def memory_folder() -> Iterator[Path]:
    """A new folder in memory where the system has such: files are made ten times as fast as on a disk."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
        yield Path(folder)


def put(data: bytes, path: Path) -> Path:
    """The file with that content."""
    try:
        path.write_bytes(data)
    except FileNotFoundError:
        path.parent.mkdir(parents=True)
        path.write_bytes(data)
    return path


def inside(name: str) -> bool:
    """Whether a file of that name lies in whatever folder it is to be put into, and can exist."""
    return name not in ("", ".", "..") and "/" not in name and "\0" not in name and len(name.encode()) <= 255
