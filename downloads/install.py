"""A corpus from its archives: room, load, verify, unpack, put in place.

Beside the corpus's folder stands `<folder>.download` while this works: archives as `.part` while they load, under
their own name when their checksum is right, and `unpacking`. It goes at the end; after an interruption it is what the
next run goes on from. An archive that somebody put there by hand is verified and used, too.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from tqdm import tqdm

from downloads.archives import Archive
from downloads.folder import locked, merge, missing_parts, put_in_place
from downloads.server import Network
from downloads.transfer import Wanted, load, remove_note
from downloads.unpack import Unpacked, most_bytes, unpack
from errors import UserError

CHUNK = 1 << 20  # bytes
RESERVE = 256 << 20  # bytes that stay free


@dataclass(frozen=True)
class Installed:
    """What is in place now."""

    target: Path
    files: int  # put there by this run; 0: all of it was there already
    bytes: int


def install(
    archives: Sequence[Archive], target: Path, network: Network, grows: bool = False, keep_archives: bool = False
) -> Installed:
    """Bring the archives' content to `target`. What an earlier run left is used.

    Raises UserError when something is in the way, the disk is short, the server refuses, a checksum is wrong or an
    archive is hostile or damaged. `target` is then what it was.
    """
    target = Path(os.path.realpath(target))  # a link to another disk is followed, and the work done there
    work = target.with_name(f"{target.name}.download")
    try:
        if not missing_parts(target, archives, grows):
            return Installed(target, 0, 0)
        with locked(work):
            missing = missing_parts(target, archives, grows)
            result = _install(missing, target, work, network) if missing else Installed(target, 0, 0)
            if not keep_archives:
                for archive in missing:
                    (work / archive.file).unlink()
            return result
    except OSError as error:
        where = error.filename or work
        raise UserError(
            f"cannot write {where}: {error.strerror or error}; free space or permissions? --to DIR is another place"
        ) from error


def _install(missing: Sequence[Archive], target: Path, work: Path, network: Network) -> Installed:
    unpacking = work / "unpacking"
    _remove(unpacking)
    room = _Room(missing, work)
    room.check()
    for archive in missing:
        _fetch(archive, work, network, room)
    try:
        parts = _unpack_all(missing, work, unpacking, room)
        put_in_place(unpacking / "0", target, {part: asdict(size) for part, size in parts.items()})
    finally:
        _remove(unpacking)
    return Installed(target, sum(size.files for size in parts.values()), sum(size.bytes for size in parts.values()))


def _fetch(archive: Archive, work: Path, network: Network, room: _Room) -> None:
    """Have the archive in `work` with the right checksum."""
    path = work / archive.file
    part = work / f"{archive.file}.part"
    if path.exists():
        _verify(path, archive)
        return
    tqdm.write(f"{archive.file} from {archive.url}")
    load(Wanted(archive.url, archive.file, archive.size), part, network, lambda size: room.check(archive, size))
    _verify(part, archive)
    part.rename(path)
    remove_note(part)


def _verify(path: Path, archive: Archive) -> None:
    """Raise UserError, and remove the file, unless it is what the publisher lists."""
    algorithm, _, expected = archive.checksum.partition(":")
    size = path.stat().st_size
    digest = hashlib.new(algorithm, usedforsecurity=False)
    with (
        path.open("rb") as file,
        tqdm(total=size, desc=f"verify {archive.file}", unit="B", unit_scale=True, disable=None) as bar,
    ):
        while chunk := file.read(CHUNK):
            digest.update(chunk)
            bar.update(len(chunk))
    got = digest.hexdigest()
    if got == expected and archive.size in (None, size):
        return
    path.unlink()
    remove_note(path)
    raise UserError(
        f"{archive.file} from {archive.url} is not the archive that was expected: its {algorithm} is {got} "
        f"({size:,} bytes) instead of {expected}; it was removed, the same command loads it again"
    )


def _unpack_all(missing: Sequence[Archive], work: Path, unpacking: Path, room: _Room) -> dict[str, Unpacked]:
    """Unpack every archive and merge them in `unpacking`/0; what each part came to."""
    parts = {}
    for number, archive in enumerate(missing):
        path = work / archive.file
        tree = unpacking / str(number)
        size = unpack(path, tree, archive.top, most_bytes(path, archive.unpacked), room.free())
        files = size.files if number == 0 else merge(unpacking / "0", tree)
        parts[archive.part] = Unpacked(files, size.bytes)
    return parts


class _Room:
    """Whether the disk can take what is still to come."""

    def __init__(self, archives: Sequence[Archive], work: Path) -> None:
        self.archives, self.work = archives, work
        self.sizes = {archive.file: archive.size for archive in archives}

    def check(self, archive: Archive | None = None, size: int | None = None) -> None:
        """Raise UserError when it cannot. `size` is what the server says of `archive`."""
        if archive is not None and size is not None:
            self.sizes[archive.file] = size
        needed = 0
        for each in self.archives:
            size = self.sizes[each.file] or each.unpacked or 0
            needed += max(0, size - self._loaded(each)) + (each.unpacked or size)
        if needed > self.free() or not self.free():
            raise UserError(
                f"the disk is short: {human(needed)} are needed to load and unpack "
                f"{', '.join(each.file for each in self.archives)}, but {human(self.free())} are free in "
                f"{self.work.parent}; free space, or choose another disk with --to DIR"
            )

    def free(self) -> int:
        """Bytes that may be written. The rest is for whoever else is at work on the disk."""
        return max(0, shutil.disk_usage(self.work.parent).free - RESERVE)

    def _loaded(self, archive: Archive) -> int:
        paths = (self.work / archive.file, self.work / f"{archive.file}.part")
        return sum(path.stat().st_size for path in paths if path.exists())


def human(size: int) -> str:
    """1_234_567 -> "1.2 MB"."""
    value, units = float(size), iter(("bytes", "kB", "MB", "GB", "TB"))
    unit = next(units)
    while value >= 999.95 and unit != "TB":
        value, unit = value / 1000, next(units)
    return f"{value:,.0f} {unit}" if unit == "bytes" else f"{value:,.1f} {unit}"


def _remove(tree: Path) -> None:
    if tree.is_dir():
        shutil.rmtree(tree)
