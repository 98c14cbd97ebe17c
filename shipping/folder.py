"""The folder as a whole: it appears complete or not at all, is not too large, and lists its own digests."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from errors import UserError
from utils.files import write_text
from utils.shipped import ACOUSTIC, CONFIG
from utils.weights import SUMS

LARGEST = 20_000_000  # bytes of all files: what a clone of the repository is made to carry


@contextmanager
def whole_folder(path: Path, replace: bool) -> Iterator[Path]:
    """Yield an empty folder beside `path`; on success it is renamed to `path`, on any failure it is removed.

    What a killed process left behind is removed by the next one. Raises UserError where `path` is in the way: not
    empty without `replace`, or something that export.py did not write.
    """
    _check_target(path, replace)
    temporary = path.parent / f".{path.name}.{os.getpid()}.tmp"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_leftovers(path)
        temporary.mkdir()
        yield temporary
        if path.exists() and any(path.iterdir()):
            old = path.parent / f".{path.name}.{os.getpid()}.old.tmp"
            path.rename(old)
            temporary.rename(path)
            shutil.rmtree(old)
        else:
            temporary.rename(path)  # over an empty folder, too
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror or error}; free space or permissions?") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def finish(folder: Path) -> int:
    """Write SHA256SUMS of all files; returns how many bytes they have. Raises UserError where these are too many."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    sums = [
        f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.relative_to(folder).as_posix()}\n" for path in files
    ]
    write_text(folder / SUMS, "".join(sums))
    sizes = {path: path.stat().st_size for path in [*files, folder / SUMS]}
    total = sum(sizes.values())
    if total > LARGEST:
        most = max(sizes, key=lambda path: sizes[path])
        raise UserError(
            f"the folder would have {total / 1e6:.1f} MB, more than {LARGEST / 1e6:.0f} MB; the largest file is "
            f"{most.relative_to(folder)} ({sizes[most] / 1e6:.1f} MB): store halves (--half) or ship a smaller vocoder"
        )
    return total


def _check_target(path: Path, replace: bool) -> None:
    if not path.exists():
        return
    if not path.is_dir():
        raise UserError(f"{path} is not a folder; choose another --output")
    if not any(path.iterdir()):
        return
    if not all((path / name).is_file() for name in (ACOUSTIC, CONFIG)):
        raise UserError(f"{path} holds other things than shipped weights; choose another --output")
    if not replace:
        raise UserError(f"{path} holds shipped weights already; --replace them, or choose another --output")


def _remove_leftovers(path: Path) -> None:
    """Folders of processes that no longer live."""
    for left in path.parent.glob(f".{path.name}.*.tmp"):
        number = re.fullmatch(r"\.(\d+)(?:\.old)?\.tmp", left.name.removeprefix(f".{path.name}"))
        if number is None:
            continue
        with suppress(PermissionError):  # somebody else's, alive
            try:
                os.kill(int(number[1]), 0)
            except ProcessLookupError:
                shutil.rmtree(left, ignore_errors=True)
