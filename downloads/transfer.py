"""One file into a `.part` file with which the next attempt, or the next run, goes on.

Beside it `.part.json` says what the bytes are a part of (URL, ETag, Last-Modified, size), so that a file which changed
on the server in between is loaded anew instead of being patched together from two.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from tqdm import tqdm

from downloads.server import AgainError, Network, RangeError, ask, content_length, content_range, read
from errors import UserError
from utils.files import write_json

CHUNK = 1 << 18  # bytes
CHECK_EVERY = 1 << 26  # bytes between two looks at the free space
PROGRESS = 1 << 16  # bytes; an attempt that brought as many ends a series of failures
FIRST_WAIT, LONGEST_WAIT = 0.5, 60.0  # seconds before the next attempt; doubled by each failure
CHANGED = "the file on the server is not the one that was begun"


@dataclass(frozen=True)
class Wanted:
    """A file to load."""

    url: str
    name: str  # for the eye
    size: int | None  # bytes, where it is known beforehand


def load(wanted: Wanted, part: Path, network: Network, announce: Callable[[int | None], None]) -> None:
    """Load a file into `part`, going on with what is there.

    `announce` is called with the file's size (None: unknown) before its first byte and now and then after; it raises
    UserError where there is no room. Raises UserError when the server refuses, offers another size than is wanted, or
    fails more often in a row than `network.retries` allows. What was loaded stays in any case.
    """
    failures = 0
    while True:
        before = _length(part)
        try:
            _attempt(wanted, part, network, announce)
            return
        except AgainError as again:
            failures = 1 if _length(part) - before >= PROGRESS else failures + 1
            if failures > network.retries:
                raise UserError(
                    f"{wanted.url}: {again}, {failures} times in a row; try again later: the same command goes on from "
                    f"the {_length(part):,} bytes that are loaded"
                ) from again
            wait = min(FIRST_WAIT * 2 ** (failures - 1) if again.wait is None else again.wait, LONGEST_WAIT)
            tqdm.write(f"{wanted.name}: {again}; failure {failures}, going on in {wait:g} s")
            time.sleep(wait)


def remove_note(part: Path) -> None:
    """Forget what the bytes in `part` are a part of."""
    _note(part).unlink(missing_ok=True)


def _attempt(wanted: Wanted, part: Path, network: Network, announce: Callable[[int | None], None]) -> None:
    note = _read_note(part)
    known = wanted.size or note.get("size")
    have = _length(part)
    if known is not None and have == known:
        return
    try:
        response = ask(wanted.url, have, _validator(note, wanted.url), network)
    except RangeError as error:
        if error.total == have:  # nothing is missing
            return
        _restart(part)
        raise AgainError(CHANGED) from error
    with response:
        start, total = _place(response, wanted, part, have, note)
        announce(total)
        if start == 0:
            if have:
                tqdm.write(f"{wanted.name}: the server does not go on where this ended; from the beginning")
            _restart(part)
            _write_note(part, wanted.url, response, total)
        _receive(response, wanted, part, start, total or wanted.size, announce)


def _validator(note: dict[str, Any], url: str) -> str | None:
    """What If-Range may carry: a strong ETag, else the date; none for another server's copy of the file."""
    if note.get("url") != url:
        return None
    etag = note.get("etag")
    return etag if etag and not etag.startswith("W/") else note.get("modified")


def _place(response: Any, wanted: Wanted, part: Path, have: int, note: dict[str, Any]) -> tuple[int, int | None]:
    """Where the body begins in the file, and how long the whole file is (None: unknown)."""
    start, total = 0, content_length(response)
    if response.status == 206:
        found = content_range(response)
        etags = (note.get("etag"), response.headers.get("ETag"))
        other = note.get("url") == wanted.url and None not in etags and etags[0] != etags[1]
        sizes = (note.get("size"), found and found[1])
        if not found or found[0] != have or other or (None not in sizes and sizes[0] != sizes[1]):
            _restart(part)
            raise AgainError(CHANGED)
        start, total = have, found[1] or note.get("size")
    elif response.status != 200:
        raise UserError(f"{wanted.url}: the server answers {response.status} instead of the file")
    if None not in (wanted.size, total) and total != wanted.size:
        raise UserError(
            f"{wanted.url}: the server offers {total:,} bytes, but {wanted.name} has {wanted.size:,}; another mirror?"
        )
    return start, total


def _receive(
    response: Any, wanted: Wanted, part: Path, start: int, total: int | None, announce: Callable[[int | None], None]
) -> None:
    done = start
    with (
        part.open("r+b", buffering=0) as file,
        tqdm(total=total, initial=start, desc=wanted.name, unit="B", unit_scale=True, disable=None) as bar,
    ):
        file.seek(start)
        while chunk := read(response, CHUNK):
            done += len(chunk)
            if total is not None and done > total:
                raise UserError(f"{wanted.url}: the server sends more than the {total:,} bytes of {wanted.name}")
            _write(file, chunk, part)
            bar.update(len(chunk))
            if done // CHECK_EVERY != (done - len(chunk)) // CHECK_EVERY:
                announce(total)
        os.fsync(file.fileno())
    if total is not None and done < total:
        raise AgainError(f"the connection ended at {done:,} of {total:,} bytes")


def _write(file: IO[bytes], chunk: bytes, part: Path) -> None:
    view = memoryview(chunk)
    try:
        while view:
            view = view[file.write(view) :]
    except OSError as error:
        raise UserError(
            f"cannot write {part}: {error.strerror or error}; free space, or choose another disk with --to DIR; what "
            "was loaded is kept"
        ) from error


def _note(part: Path) -> Path:
    return part.with_name(f"{part.name}.json")


def _read_note(part: Path) -> dict[str, Any]:
    try:
        note = json.loads(_note(part).read_text(encoding="utf-8"))
        kinds = {"url": str, "etag": str, "modified": str, "size": int}
        return {key: note[key] for key, kind in kinds.items() if type(note.get(key)) is kind}
    except (OSError, ValueError, AttributeError, RecursionError):
        return {}


def _write_note(part: Path, url: str, response: Any, total: int | None) -> None:
    etag, modified = response.headers.get("ETag"), response.headers.get("Last-Modified")
    write_json(_note(part), {"url": url, "etag": etag, "modified": modified, "size": total})


def _length(part: Path) -> int:
    try:
        return part.stat().st_size
    except FileNotFoundError:
        return 0


def _restart(part: Path) -> None:
    """Empty the file and forget what it was."""
    remove_note(part)
    with part.open("wb"):
        pass
