"""Writing files so that a half-written one never bears its final name."""

import json
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from errors import UserError

BEGUN = time.time()  # of this process


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success it is renamed to `path`, on any failure it is removed.

    The temporary name ends in `path`'s own suffix, since writers choose their format by it. It starts with a dot, so
    a listing by pattern never meets it. Whoever writes it holds it (flock), so that `remove_abandoned` can tell what a
    killed process has left. Raises UserError where the folder cannot be written or the disk is full.
    """
    handle, name = -1, ""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.stem[:40]}.", suffix=f".tmp{path.suffix}", dir=path.parent)
        if not _hold(handle):
            os.close(handle)
            handle = -1
        os.chmod(name, 0o666 & ~_umask())  # noqa: PTH101 - mkstemp makes private files
        yield Path(name)
        with open(name, "rb") as written:  # noqa: PTH123
            os.fsync(written.fileno())
        Path(name).replace(path)
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror or error}; free space or permissions?") from error
    finally:
        with suppress(OSError):
            if handle >= 0:
                os.close(handle)
        with suppress(OSError):
            if name:
                Path(name).unlink()


def _hold(handle: int) -> bool:
    """Whether nobody else holds this open file; False, too, where the system or its file system has no such locks."""
    try:
        import fcntl

        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (ImportError, OSError):
        return False
    return True


def remove_abandoned(folder: Path, alone: bool = False, below: bool = False) -> None:
    """Remove the temporary files of `atomic_path` that killed processes left in `folder`, or also `below` it.

    Others may be writing there: only files older than this process that nobody holds are taken for left behind. Where
    this process is known to be `alone` in the folder, all are.
    """
    for path in (folder.rglob if below else folder.glob)(".*.tmp.*"):
        with suppress(OSError):
            if not alone:
                if path.stat().st_mtime >= BEGUN:
                    continue
                handle = os.open(path, os.O_RDONLY)
                try:
                    if not _hold(handle):
                        continue
                finally:
                    os.close(handle)
            path.unlink()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text atomically. Lone surrogates, of a name that is no UTF-8, are written as JSON does: \\udcff."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")


def write_json(path: Path, value: Any) -> None:
    """Write JSON atomically: two spaces, non-ASCII kept, a newline at the end. Key order is the caller's."""
    write_text(path, json.dumps(value, ensure_ascii=False, indent=2, allow_nan=False) + "\n")


def read_json(path: Path, made_by: str) -> Any:
    """Read a JSON file; raises UserError naming the file and the command (`made_by`) that makes it."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UserError(f"{path} is missing; run {made_by}") from error
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path} is not readable JSON ({error}); make it again with {made_by}") from error
