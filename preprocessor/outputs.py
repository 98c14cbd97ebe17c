"""Many small files written so that a killed process leaves each of them whole or absent."""

from __future__ import annotations

import io
import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from errors import UserError


def write_bytes(path: Path, content: bytes) -> None:
    """Write by way of a temporary name in the same folder, which must exist. UserError when that fails.

    A file that holds `content` already is left alone; a different one is removed first, since ext4 flushes to disk
    when a name is taken over. Unlike utils.files.atomic_path it does not wait for the disk: that would double the time
    of thousands of files that can be made again, and the index files written after them with atomic_path are what
    counts.
    """
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.tmp{path.suffix}")
    try:
        if path.exists():
            if path.read_bytes() == content:
                return
            path.unlink()
        temporary.write_bytes(content)
        temporary.replace(path)
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror or error}; free space or permissions?") from error
    finally:
        with suppress(OSError):
            temporary.unlink()


def write_array(path: Path, array: npt.NDArray[Any]) -> None:
    """Write one .npy file like write_bytes."""
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    write_bytes(path, buffer.getvalue())


def make_folder(path: Path) -> None:
    """Create a folder and its parents; UserError when that is not possible."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot create {path}: {error.strerror or error}") from error


def remove_temporaries(folders: Iterable[Path]) -> None:
    """Remove what a killed run left behind in folders of ours: names like .stem.XXXX.tmp.wav."""
    for folder in folders:
        for path in folder.glob(".*.tmp.*"):
            path.unlink(missing_ok=True)
