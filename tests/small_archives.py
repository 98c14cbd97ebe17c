"""Small archives on a bad server, and download.py at work on them in a process of its own."""

import hashlib
import io
import subprocess
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from downloads.archives import Archive
from downloads.folder import MARKER
from tests.file_server import FileServer
from tests.processes import ENVIRONMENT, command
from tests.small_corpus import tree

LOCAL = {**ENVIRONMENT, "no_proxy": "127.0.0.1"}


def zipped(members: dict[str, bytes]) -> bytes:
    """A zip archive, not compressed."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def random_zip(seed: int = 1, files: int = 3, size: int = 100_000) -> bytes:
    """An archive of noise: Actor_00/1-0.wav and so on."""
    generator = np.random.default_rng(seed)
    return zipped({f"Actor_{number:02d}/{seed}-{number}.wav": generator.bytes(size) for number in range(files)})


def md5(content: bytes) -> str:
    return f"md5:{hashlib.md5(content).hexdigest()}"


def archive_of(content: bytes, url: str, part: str = "speech", known: bool = True) -> Archive:
    """A line of the table for this content. `known`: its size stands there."""
    return Archive(part, f"{part}.zip", url, md5(content), len(content) if known else None, None)


def corpus(target: Path) -> dict[str, bytes]:
    """What was unpacked into a corpus's folder."""
    return {name: data for name, data in tree(target).items() if name != MARKER}


def arguments(server: FileServer, target: Path, *flags: object) -> list[str]:
    checksum = [] if "--checksum" in flags else ["--checksum", md5(server.files["/a.zip"])]
    url = server.url("/a.zip")
    return command("download.py", "--dataset", "RAVDESS", "--to", target, "--url", url, *checksum, *flags)


def process(server: FileServer, target: Path, *flags: object, **options: Any) -> subprocess.CompletedProcess:
    """download.py for the server's /a.zip, to its end."""
    return subprocess.run(
        arguments(server, target, *flags),
        capture_output=True,
        text=True,
        timeout=120,
        env=LOCAL,
        check=False,
        **options,
    )


def started(server: FileServer, target: Path, *flags: object) -> subprocess.Popen:
    """The same, while it runs."""
    return subprocess.Popen(
        arguments(server, target, *flags), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=LOCAL
    )


def wait_for(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.002)


def loaded(target: Path) -> int:
    """Bytes of /a.zip that a process has so far."""
    part = target.with_name(f"{target.name}.download") / "a.zip.part"
    return part.stat().st_size if part.exists() else 0


def work(target: Path) -> list[str]:
    """What is left of the work, apart from the lock, which the kernel frees."""
    folder = target.with_name(f"{target.name}.download")
    return sorted({path.name for path in folder.iterdir()} - {"lock"}) if folder.exists() else []
