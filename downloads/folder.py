"""A corpus's folder: what download.py put there, and how it gets there whole.

`.download.json` in the folder lists the parts that are in place. A corpus is unpacked elsewhere on the same disk and
renamed into place, so the folder is missing or whole, whenever the process dies.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from downloads.archives import Archive
from errors import UserError
from utils.files import write_json

MARKER = ".download.json"


def missing_parts(target: Path, archives: Sequence[Archive], grows: bool) -> list[Archive]:
    """Those of `archives` that are not in place yet.

    Raises UserError when `target` is in the way: not a folder, filled by somebody else, no longer what was put there,
    or holding parts that these cannot be added to.
    """
    if not target.exists() or (target.is_dir() and not any(target.iterdir())):
        return list(archives)
    if not target.is_dir():
        raise UserError(f"{target} is not a folder; choose another one with --to DIR")
    marker = _read_marker(target)
    if not marker:
        raise UserError(
            f"{target} is not empty and was not filled by download.py; use what is there, or remove it, or choose "
            "another folder with --to DIR"
        )
    there = marker["parts"]
    missing = [archive for archive in archives if archive.part not in there]
    if missing and not grows:
        flags = " ".join(f"--part {part}" for part in [*there, *(archive.part for archive in missing)])
        raise UserError(
            f"{target} holds {', '.join(there)} in folders that {missing[0].part} shares; remove it and load them "
            f"together ({flags}), or choose another folder with --to DIR"
        )
    found = _count(target) - 1  # the marker
    if found < marker["files"]:
        raise UserError(
            f"{target} holds {found:,} files, but {marker['files']:,} were unpacked there; remove it to start anew"
        )
    return missing


def merge(tree: Path, other: Path) -> int:
    """Move what `other` holds into `tree`; how many files came to be. Both are working folders.

    Of documentation at the top (README, speakers.tsv), which each archive of a corpus may carry, the first one stays.
    Raises UserError when another file is in both and differs.
    """
    moved = 0
    for path in sorted(path for path in other.rglob("*") if path.is_file()):
        inside = path.relative_to(other)
        place = tree / inside
        if place.exists():
            if len(inside.parts) > 1 and place.read_bytes() != path.read_bytes():
                raise UserError(
                    f"{inside} is in two of the archives, and not the same; load them to two folders (--to)"
                )
            continue
        place.parent.mkdir(parents=True, exist_ok=True)
        path.rename(place)
        moved += 1
    return moved


def put_in_place(tree: Path, target: Path, parts: Mapping[str, Any]) -> None:
    """Rename `tree` to `target`, or its entries into `target` where other parts are in place; `parts` for the marker.

    Raises UserError when a folder of that name is there already and was not put there by an interrupted run.
    """
    _sync()
    marker = _read_marker(target)
    if not marker:
        write_json(tree / MARKER, {"files": _count(tree), "parts": parts})
        tree.rename(target)  # over an empty folder, too
        return
    folders = sorted(path.name for path in tree.iterdir() if path.is_dir())
    for name in folders:
        if (target / name).exists() and name not in marker.get("adding", []):
            raise UserError(f"{target / name} is in the way; remove it, or choose another folder with --to DIR")
    files = marker["files"] + sum(_count(tree / name) for name in folders)
    write_json(target / MARKER, {**marker, "adding": folders})
    for path in sorted(tree.iterdir()):
        if not (target / path.name).exists():
            path.rename(target / path.name)
    write_json(target / MARKER, {"files": files, "parts": {**marker["parts"], **parts}})


@contextmanager
def locked(work: Path) -> Iterator[None]:
    """Hold `work` against another download.py; the folder goes afterwards if nothing is left in it.

    Raises UserError when another process holds it.
    """
    work.mkdir(parents=True, exist_ok=True)
    lock = work / "lock"
    with lock.open("w") as handle:
        try:
            import fcntl

            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except ImportError:  # not on Windows
            pass
        except BlockingIOError as error:
            raise UserError(f"another download.py is at work in {work}; wait for it to end") from error
        try:
            yield
        finally:
            lock.unlink(missing_ok=True)
            with suppress(OSError):
                work.rmdir()


def _read_marker(target: Path) -> dict[str, Any]:
    """What is in place: how many files, and the parts; {} where that is not known."""
    try:
        marker = json.loads((target / MARKER).read_text(encoding="utf-8"))
        adding = marker.get("adding", [])
        whole = isinstance(marker["files"], int) and isinstance(marker["parts"], dict) and isinstance(adding, list)
        return marker if whole else {}
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return {}


def _count(folder: Path) -> int:
    """Files below `folder`."""
    return sum(len(files) for _, _, files in os.walk(folder))


def _sync() -> None:
    """What was unpacked reaches the disk before its folder gets the name that says it is whole."""
    if hasattr(os, "sync"):
        os.sync()
