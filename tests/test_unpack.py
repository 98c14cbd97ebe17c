"""Archives of every kind come out as they went in, and hostile ones not at all."""

import hashlib
import io
import os
import stat
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pytest

from downloads.archives import Archive
from downloads.install import install
from downloads.server import Network
from downloads.unpack import most_bytes, unpack
from errors import UserError
from tests.small_corpus import tree

CONTENT = {"README": b"read me", "Actor_01/a.wav": b"\0\1" * 3000, "Actor_01/deep/er/b.wav": b"b", "empty.txt": b""}
PLENTY = 10**12


def write_zip(path: Path, members: dict[str, bytes], top: str = "") -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(top + name, content)
    return path


def write_tar(path: Path, members: dict[str, bytes], top: str = "", mode: Any = "w") -> Path:
    with tarfile.open(path, mode) as archive:
        for name, content in members.items():
            member = tarfile.TarInfo(top + name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def refused(archive: Path, tmp_path: Path, match: str) -> None:
    """By install, with the archive put there by hand, so that all of download.py but the network has a part in it.

    Nothing but the work folder with the archive may be there afterwards that was not there before.
    """
    target = tmp_path / "data" / "RAVDESS"
    work = target.with_name("RAVDESS.download")
    work.mkdir(parents=True)
    content = archive.read_bytes()
    (work / archive.name).write_bytes(content)
    entry = Archive("speech", archive.name, "https://x/", f"md5:{hashlib.md5(content).hexdigest()}", None, None)
    before = everything(tmp_path)
    for _ in range(2):  # the second time must not find it in place
        with pytest.raises(UserError, match=match) as refusal:
            install([entry], target, Network())
        assert str(work / archive.name) in str(refusal.value)
        assert everything(tmp_path) == before


def everything(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Every name below `folder` with its type and content."""
    return {
        str(path.relative_to(folder)): (stat.S_IFMT(path.lstat().st_mode), path.read_bytes() if path.is_file() else b"")
        for path in folder.rglob("*")
    }


@pytest.mark.parametrize("top", ["", "LJSpeech-1.1/", "./LJSpeech-1.1/"])
@pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz", "tar.bz2", "tar.xz"])
def test_every_kind_of_archive_gives_the_same_tree(tmp_path, kind, top):
    path = tmp_path / f"archive.{kind}"
    if kind == "zip":
        write_zip(path, CONTENT, top)
    else:
        write_tar(path, CONTENT, top, f"w:{kind.removeprefix('tar').lstrip('.')}")
    found = unpack(path, tmp_path / "tree", "LJSpeech-1.1", most_bytes(path, None), PLENTY)
    assert tree(tmp_path / "tree") == CONTENT
    assert (found.files, found.bytes) == (len(CONTENT), sum(map(len, CONTENT.values())))


def test_folders_and_modes_of_the_archive_are_not_ours(tmp_path):
    """setuid, write-only and the like stay in the archive; empty folders come out."""
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        for name, kind in (("empty/", tarfile.DIRTYPE), ("run", tarfile.REGTYPE)):
            member = tarfile.TarInfo(name)
            member.type, member.mode, member.uid = kind, 0o6777 if kind == tarfile.REGTYPE else 0, 12345
            archive.addfile(member, io.BytesIO())
    unpack(tmp_path / "a.tar", tmp_path / "tree", "", PLENTY, PLENTY)
    assert (tmp_path / "tree" / "empty").is_dir()
    status = (tmp_path / "tree" / "run").stat()
    assert status.st_mode & 0o7111 == 0 and status.st_uid == os.getuid()


NAMES = [
    "../evil", "a/../../evil", "a/..", "..", "/ABSOLUTE/evil", "//ABSOLUTE/evil", "C:/evil", "c:evil", "..\\evil",
    "a\\..\\..\\evil", "\\\\host\\evil",
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_no_member_leaves_the_folder(tmp_path, kind, name):
    outside = tmp_path / "outside"
    outside.mkdir()
    name = name.replace("/ABSOLUTE", str(outside))
    members = {"a/good.wav": b"good", name: b"evil"}
    path = tmp_path / f"evil.{kind}"
    write_zip(path, members) if kind == "zip" else write_tar(path, members)
    refused(path, tmp_path, "leads, or may lead, out of the folder")


def test_a_name_with_a_nul_is_refused(tmp_path):
    """What follows the NUL would be cut off by some and not by others."""
    path = write_zip(tmp_path / "evil.zip", {"good.wav": b"x", "evilX.wav": b"x"})
    path.write_bytes(path.read_bytes().replace(b"evilX", b"evil\0"))
    refused(path, tmp_path, "out of the folder")


@pytest.mark.parametrize("link", ["/etc", "..", "good.wav"])
@pytest.mark.parametrize("kind", ["zip", "symlink", "hardlink"])
def test_links_are_refused_before_anything_goes_through_them(tmp_path, kind, link):
    path = tmp_path / f"evil.{kind}"
    if kind == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("good.wav", b"good")
            member = zipfile.ZipInfo("door")
            member.external_attr = (stat.S_IFLNK | 0o777) << 16
            archive.writestr(member, link)
            archive.writestr("door/evil", b"evil")
    else:
        write_tar(path, {"good.wav": b"good"})
        with tarfile.open(path, "a") as archive:
            member = tarfile.TarInfo("door")
            member.type, member.linkname = tarfile.SYMTYPE if kind == "symlink" else tarfile.LNKTYPE, link
            archive.addfile(member)
            evil = tarfile.TarInfo("door/evil")
            evil.size = 4
            archive.addfile(evil, io.BytesIO(b"evil"))
    refused(path, tmp_path, "'door' is a link")


@pytest.mark.parametrize("kind", [tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE, tarfile.GNUTYPE_SPARSE])
def test_devices_and_their_like_are_refused(tmp_path, kind):
    path = tmp_path / "evil.tar"
    with tarfile.open(path, "w", format=tarfile.GNU_FORMAT) as archive:
        member = tarfile.TarInfo("null")
        member.type, member.devmajor, member.devminor = kind, 1, 3
        archive.addfile(member)
    refused(path, tmp_path, "'null' is a link, a device or another kind of thing")


def test_a_device_in_a_zip_and_an_encrypted_member_are_refused(tmp_path):
    for name, mode, flags, said in (("null", stat.S_IFCHR, 0, "link or a device"), ("a", 0, 1, "encrypted")):
        folder = tmp_path / name
        folder.mkdir()
        member = zipfile.ZipInfo(name)
        member.external_attr = mode << 16
        with zipfile.ZipFile(folder / "evil.zip", "w") as archive:
            archive.writestr(member, b"x")
        data = bytearray((folder / "evil.zip").read_bytes())
        data[data.index(b"PK\1\2") + 8] |= flags
        (folder / "evil.zip").write_bytes(data)
        refused(folder / "evil.zip", folder, said)


@pytest.mark.parametrize("kind", ["zip", "tar.gz", "tar.bz2", "pax header"])
def test_bombs_are_refused_before_they_fill_anything(tmp_path, kind):
    zeros = bytes(64_000_000)
    path = tmp_path / f"bomb.{kind.partition('.')[0]}"
    if kind == "zip":
        write_zip(path, {"good.wav": b"x", "zeros.wav": zeros})
    elif kind == "pax header":
        with tarfile.open(path, "w:gz", format=tarfile.PAX_FORMAT) as archive:
            member = tarfile.TarInfo("good.wav")
            member.pax_headers = {"comment": "0" * len(zeros)}
            archive.addfile(member)
    else:
        write_tar(path, {"zeros.wav": zeros}, mode=f"w:{kind[4:]}")
    assert path.stat().st_size < 100_000
    refused(path, tmp_path, "far too many for an archive of its size")


def test_a_zip_that_lies_about_a_size_is_refused(tmp_path):
    """The listing says 10 bytes, the member has more: reading ends there, and the checksum of the member is wrong."""
    path = write_zip(tmp_path / "evil.zip", {"zeros.wav": bytes(5_000_000)})
    data = path.read_bytes()
    size = (5_000_000).to_bytes(4, "little")
    path.write_bytes(data.replace(size, (10).to_bytes(4, "little")))
    refused(path, tmp_path, "damaged")


def test_what_the_publisher_announced_is_a_limit_too(tmp_path):
    path = write_zip(tmp_path / "a.zip", {"zeros.wav": bytes(9_000_000)})  # too small to be a bomb by its ratio
    assert most_bytes(path, None) > 9_000_000 > most_bytes(path, 1_000_000)
    with pytest.raises(UserError, match="more than 2,000,000 bytes"):
        unpack(path, tmp_path / "tree", "", most_bytes(path, 1_000_000), PLENTY)


@pytest.mark.parametrize("kind", ["zip", "tar.gz"])
def test_an_archive_that_the_disk_has_no_room_for_is_refused(tmp_path, kind):
    path = tmp_path / f"a.{kind}"
    members = {"a.wav": os.urandom(50_000), "b.wav": os.urandom(50_000)}
    write_zip(path, members) if kind == "zip" else write_tar(path, members, mode="w:gz")
    with pytest.raises(UserError, match="more than the 60,000 bytes that the disk has to spare"):
        unpack(path, tmp_path / "tree", "", PLENTY, 60_000)


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("names", [("a.wav", "a.wav"), ("a", "a/b"), ("a/b", "a"), ("a/b", "./a//b")])
def test_a_name_that_is_there_twice_is_refused(tmp_path, names):
    path = tmp_path / "evil.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.writestr(name, b"x")
    refused(path, tmp_path, "is there twice")


@pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz", "tar.bz2", "tar.xz"])
def test_a_damaged_archive_is_one_line(tmp_path, kind):
    path = tmp_path / f"a.{kind}"
    members = {f"{number}.wav": os.urandom(30_000) for number in range(4)}
    write_zip(path, members) if kind == "zip" else write_tar(path, members, mode=f"w:{kind[4:]}")
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    refused(path, tmp_path, "damaged")
    path.write_bytes(data[:50_000] + bytes(200) + data[50_200:])
    if kind != "tar":  # has no checksum of its own
        with pytest.raises(UserError, match="damaged"):
            unpack(path, tmp_path / "tree", "", PLENTY, PLENTY)


@pytest.mark.parametrize("content", [b"", b"<html>please log in</html>", b"PK\5\6" + bytes(18)])
def test_what_is_no_archive_or_an_empty_one_is_refused(tmp_path, content):
    path = tmp_path / "page.zip"
    path.write_bytes(content)
    refused(path, tmp_path, "neither a zip nor a tar|holds no file")
