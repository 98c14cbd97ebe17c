"""Many small files written so that a killed process leaves each of them whole or absent."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy.typing as npt

from audio.files import make_whole
from errors import UserError

NPY_HEADER = 128  # bytes, of the arrays of one or two dimensions that are written here


def write_bytes(path: Path, content: bytes) -> bool:
    """Write by way of a temporary name in the same folder; whether it was necessary. UserError when that fails.

    A file that holds `content` already is left alone; a different one is removed first, since ext4 flushes to disk
    when a name is taken over. Unlike utils.files.atomic_path it does not wait for the disk: that would double the time
    of thousands of files that can be made again, and the index files written after them with atomic_path are what
    counts.
    """
    try:
        try:
            if os.stat(path).st_size == len(content) and path.read_bytes() == content:  # noqa: PTH116 - for every file
                return False
            path.unlink()
        except FileNotFoundError:
            pass
        make_whole(path, content)
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror or error}; free space or permissions?") from error
    return True


def write_array(path: Path, array: npt.NDArray[Any]) -> None:
    """Write one .npy file like write_bytes, the same bytes as numpy.save's."""
    write_bytes(path, npy_header(array) + array.tobytes())


def npy_header(array: npt.NDArray[Any]) -> bytes:
    """What stands before the numbers of a C-contiguous array in an .npy file of version 1.0: NPY_HEADER bytes."""
    form = f"{{'descr': '{array.dtype.str}', 'fortran_order': False, 'shape': {array.shape}, }}"
    return b"\x93NUMPY\x01\x00" + (NPY_HEADER - 10).to_bytes(2, "little") + form.encode().ljust(NPY_HEADER - 11) + b"\n"


def make_folder(path: Path) -> None:
    """Create a folder and its parents; UserError when that is not possible."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot create {path}: {error.strerror or error}") from error


def remove_temporaries(folders: Iterable[Path]) -> None:
    """Remove what a killed run left behind in folders of ours: names like .stem.XXXX.tmp.wav."""
    for folder in folders:
        try:
            with os.scandir(folder) as entries:
                left = [entry.path for entry in entries if entry.name[0] == "." and ".tmp." in entry.name]
        except (FileNotFoundError, NotADirectoryError):
            continue
        for path in left:
            Path(path).unlink(missing_ok=True)
