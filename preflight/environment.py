"""Python, packages, torch, disks and permissions. Imports only the standard library until packages are known to be."""

from __future__ import annotations

import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from preflight.findings import NOTE, OK, PROBLEM, Finding
from utils.packages import PYTHONS, RUNTIME, Difference, differences, listed, pins, remedy

GIGABYTE = 2**30
LEAST, ENOUGH = 1, 10  # gigabytes free: below the first a run will break off, below the second it may
OPTIONAL = {
    "requirements-eval.txt": "the emotion judge of evaluate.py",
    "requirements-eval-weights.txt": "the speaker similarity of evaluate.py",
    "requirements-cluster.txt": "--cluster",
}


def check_python() -> Iterator[Finding]:
    """The interpreter's version."""
    version = platform.python_version()
    if PYTHONS[0] <= sys.version_info[:2] <= PYTHONS[1]:
        yield Finding(OK, "Python", f"{version}, {sys.executable}")
        return
    oldest, newest = (".".join(map(str, each)) for each in PYTHONS)
    how = f"run: make clean, then make PYTHON=python{newest} setup"
    yield Finding(PROBLEM, "Python", f"{version}; the packages are pinned for {oldest} to {newest}", how)


def check_packages() -> Iterator[Finding]:
    """Everything that requirements.txt pins."""
    wrong = differences()
    if wrong:
        yield Finding(PROBLEM, "packages", listed(wrong, 5), remedy())
    else:
        yield Finding(OK, "packages", f"{len(pins(RUNTIME))} installed as pinned in {RUNTIME}")


def check_optional_packages() -> Iterator[Finding]:
    """What single features need besides. Never a problem: each says so itself where it is missed."""
    for file, purpose in OPTIONAL.items():
        wrong = differences(file)
        if wrong:
            flags = "--no-deps " if file == "requirements-eval-weights.txt" else ""
            how = f"run: pip install {flags}-r {file}"
            yield Finding(NOTE, f"packages for {purpose}", listed(wrong), how)
        else:
            yield Finding(OK, f"packages for {purpose}", f"as pinned in {file}")


def check_torch() -> Iterator[Finding]:
    """The build, and the devices that it finds."""
    import torch

    build = f"CUDA {torch.version.cuda}" if torch.version.cuda else "CPU only"
    threads = f"{torch.get_num_threads()} threads of {os.cpu_count()} cores"
    names = [torch.cuda.get_device_properties(index) for index in range(torch.cuda.device_count())]
    gpus = ", ".join(f"cuda:{i} {gpu.name} {gpu.total_memory / GIGABYTE:.0f} GB" for i, gpu in enumerate(names))
    yield Finding(
        OK, "torch", f"{torch.__version__} ({build}); {threads}; {gpus or 'no GPU, training runs on the CPU'}"
    )
    if gpus or shutil.which("nvidia-smi") is None:
        return
    if torch.version.cuda is None:
        wanted = Difference("torch", pins(RUNTIME).get("torch", ""), None).wanted
        how = f"run: pip install --force-reinstall torch=={wanted} --index-url https://pypi.org/simple"
        yield Finding(NOTE, "torch", "there is an NVIDIA driver, but this build is for CPUs", how)
    else:
        yield Finding(NOTE, "torch", "there is an NVIDIA driver, but no GPU to be seen", "see: nvidia-smi")


def existing(folder: Path) -> Path:
    """`folder`, or the nearest of those above it that is there."""
    folder = folder.absolute()
    return next(each for each in (folder, *folder.parents) if each.exists())


def check_disks(folders: Mapping[str, Path]) -> Iterator[Finding]:
    """Free space where things are written: configuration key -> folder."""
    disks: dict[int, list[str]] = {}
    for key, folder in folders.items():
        disks.setdefault(existing(folder).stat().st_dev, []).append(key)
    for keys in disks.values():
        place = folders[keys[0]]
        free = shutil.disk_usage(existing(place)).free / GIGABYTE
        text = f"{free:.1f} GB free for {', '.join(str(folders[key]) for key in keys)}"
        if free >= ENOUGH:
            yield Finding(OK, "disk", text)
            continue
        how = f"free some, or write elsewhere: --set {keys[0]}=FOLDER"
        yield Finding(PROBLEM if free < LEAST else NOTE, "disk", text, how)


def check_writable(folders: Mapping[str, Path]) -> Iterator[Finding]:
    """A file is made and removed where each folder is, or would come to be."""
    fine = []
    for key, folder in folders.items():
        place = existing(folder)
        how = f"run: chmod u+w {place}, or write elsewhere: --set {key}=FOLDER"
        try:
            if not place.is_dir():
                raise NotADirectoryError(20, "is a file", str(place))
            with tempfile.TemporaryFile(dir=place):
                fine.append(str(folder))
        except OSError as error:
            yield Finding(PROBLEM, "permissions", f"cannot write to {folder} ({place}: {error.strerror})", how)
    if fine:
        yield Finding(OK, "permissions", f"can write to {', '.join(fine)}")
