"""Archives of strangers into a folder of ours.

What an archive says is not believed: a member whose name leads out of the folder, that is anything but a file or a
folder, or that is there twice, and an archive that grows beyond what it may, are refused.
Since no link is ever made, a name without `..` cannot lead out of the folder.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import re
import stat
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

from tqdm import tqdm

from errors import UserError

CHUNK = 1 << 20  # bytes
RATIO = 20  # times its size an archive of recordings may hold; silence compresses well, but not like this
SLACK = 10_000_000  # bytes on top, for small archives of text
MOST_MEMBERS = 2_000_000
MAGIC = {b"PK": "zip", b"\x1f\x8b": "gz", b"BZ": "bz2", b"\xfd7": "xz"}


@dataclass(frozen=True)
class Unpacked:
    """What an archive held."""

    files: int
    bytes: int


def most_bytes(archive: Path, announced: int | None) -> int:
    """What an archive may unpack to: `announced` is what its publisher's amounts to, if that is known."""
    by_ratio = RATIO * archive.stat().st_size + SLACK
    return by_ratio if announced is None else min(by_ratio, 2 * announced)


def unpack(archive: Path, tree: Path, top: str, limit: int, room: int) -> Unpacked:
    """Unpack a zip or tar archive into the new folder `tree`, leaving out the folder `top` that it may begin with.

    Raises UserError that names the archive and the member when one of the rules above is broken, when more than `limit`
    bytes come out, more than the `room` that there is on the disk, or when the archive is damaged; OSError when the
    disk refuses. `tree` is then half full: it is the caller's to remove.
    """
    tree.mkdir(parents=True)
    writer = _Writer(archive, tree, top, limit, room)
    kind = _kind(archive)
    try:
        with tqdm(desc=f"unpack {archive.name}", unit="B", unit_scale=True, disable=None) as writer.bar:
            if kind == "zip":
                _unpack_zip(archive, writer)
            else:
                _unpack_tar(archive, kind, writer)
    except UserError:
        raise
    except Exception as error:  # a foreign file may fail anywhere in the readers; what the disk says has a number
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise writer.refusal(f"is damaged ({str(error)[:200] or type(error).__name__})") from error
    if not writer.files:
        raise writer.refusal("holds no file")
    return Unpacked(writer.files, writer.bytes)


def _kind(archive: Path) -> str:
    with archive.open("rb") as file:
        head = file.read(512)
    if head[257:262] == b"ustar":
        return "tar"
    kind = MAGIC.get(head[:2])
    if kind is None:
        raise UserError(f"{archive} is neither a zip nor a tar archive")
    return kind


def _unpack_zip(archive: Path, writer: _Writer) -> None:
    with zipfile.ZipFile(archive) as source:
        members = source.infolist()
        total = sum(member.file_size for member in members)
        writer.expect(total)
        if writer.bar is not None:
            writer.bar.total = total
        for member in members:
            mode = stat.S_IFMT(member.external_attr >> 16)
            if mode not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise writer.refusal("is a link or a device", member.orig_filename)
            if member.flag_bits & 1:
                raise writer.refusal("is encrypted", member.orig_filename)
            if member.is_dir():
                writer.folder(member.orig_filename)
                continue
            try:
                with source.open(member) as stream:
                    writer.file(member.orig_filename, stream, member.file_size)
            except NotImplementedError as error:
                raise writer.refusal(f"cannot be unpacked ({error})", member.orig_filename) from error


def _unpack_tar(archive: Path, kind: str, writer: _Writer) -> None:
    openers: dict[str, Callable[..., Any]] = {"gz": gzip.open, "bz2": bz2.open, "xz": lzma.open, "tar": open}
    with openers[kind](archive, "rb") as plain:
        counted = cast("IO[bytes]", _Counted(plain, writer))
        with tarfile.open(fileobj=counted, mode="r|", bufsize=CHUNK) as source:
            while (member := source.next()) is not None:
                cast("Any", source).members.clear()  # else tarfile keeps every one of them
                if member.isdir():
                    writer.folder(member.name)
                    continue
                stream = source.extractfile(member) if member.isreg() and not member.issparse() else None
                if stream is None:
                    raise writer.refusal("is a link, a device or another kind of thing", member.name)
                writer.file(member.name, stream, member.size)


class _Counted:
    """A stream that refuses to become longer than the writer may write: tar headers can be bombs, too."""

    def __init__(self, stream: IO[bytes], writer: _Writer) -> None:
        self.stream, self.writer, self.bytes = stream, writer, 0

    def read(self, size: int) -> bytes:
        data = self.stream.read(size)
        self.bytes += len(data)
        self.writer.expect(self.bytes)
        return data


class _Writer:
    """Writes members below a folder, after looking at them."""

    def __init__(self, archive: Path, tree: Path, top: str, limit: int, room: int) -> None:
        self.archive, self.tree, self.top, self.limit, self.room = archive, tree, top, limit, room
        self.members = self.files = self.bytes = 0
        self.bar: tqdm | None = None

    def refusal(self, why: str, name: str = "") -> UserError:
        member = f"member {name!r} " if name else ""
        return UserError(f"{self.archive}: {member}{why}; nothing of it was unpacked")

    def expect(self, total: int) -> None:
        """Refuse what would become larger than is allowed, or than there is room for."""
        if total > self.limit:
            raise self.refusal(f"unpacks to more than {self.limit:,} bytes, far too many for an archive of its size")
        if total > self.room:
            raise self.refusal(f"needs more than the {self.room:,} bytes that the disk has to spare; free space")

    def path(self, name: str) -> Path:
        self.members += 1
        if self.members > MOST_MEMBERS:
            raise self.refusal(f"holds more than {MOST_MEMBERS:,} members")
        parts = [part for part in name.split("/") if part not in ("", ".")]
        outside = name.startswith("/") or ".." in parts or re.match(r"[A-Za-z]:", name)
        if outside or "\\" in name or "\0" in name or not name:
            raise self.refusal("has a name that leads, or may lead, out of the folder", name or "(nameless)")
        return self.tree.joinpath(*(parts[1:] if parts[:1] == [self.top] else parts))

    def folder(self, name: str) -> None:
        path = self.path(name)
        if path.exists() and not path.is_dir():
            raise self.refusal("is there twice", name)
        path.mkdir(parents=True, exist_ok=True)

    def file(self, name: str, stream: IO[bytes], size: int) -> None:
        path = self.path(name)
        self.expect(self.bytes + size)
        done = 0
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            target = path.open("xb")
        except (FileExistsError, NotADirectoryError) as error:
            raise self.refusal("is there twice", name) from error
        with target:
            while chunk := stream.read(CHUNK):  # raises where less comes than the size says
                done += len(chunk)
                self.expect(self.bytes + done)
                target.write(chunk)
                if self.bar is not None:
                    self.bar.update(len(chunk))
        self.files += 1
        self.bytes += done
