"""requirements*.lock: every package of requirements*.txt and all that they need, with hashes. `make lock` runs this.

    python -m preflight.locking

- requirements.lock: what runs, but for torch.
- requirements-torch.lock: torch and the CUDA packages that it brings, as PyPI has them. They are apart because other
  indexes have builds of the same version (2.1.0+cpu) with other hashes: what is downloaded decides which one can be
  checked.
- requirements-dev.lock: what tests, evaluation and clusters need besides.

uv (pinned in requirements-lock.txt) resolves them for CPython 3.10, 3.11 and 3.12 on every platform at once, from PyPI.
What PyPI has only as source is built, with build tools that no lock covers: `Distance`, needed by g2p_en, everywhere,
and pocketsphinx 5.1.1 on Python 3.10 and 3.12, where it needs a C compiler.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from errors import UserError
from utils.cli import run
from utils.files import write_text
from utils.packages import ROOT, normal

LOCK, TORCH_LOCK, DEV_LOCK = "requirements.lock", "requirements-torch.lock", "requirements-dev.lock"
SOURCES = ("requirements-dev.txt", "requirements-eval-weights.txt")  # the first includes all others but the second
INDEX = "https://pypi.org/simple"
OLDEST = "3.10"
_ABOUT = {
    LOCK: "Everything that requirements.txt leads to, but for torch: requirements-torch.lock",
    TORCH_LOCK: "torch as PyPI has it, and the CUDA packages that it needs on Linux; the rest is in requirements.lock",
    DEV_LOCK: "What requirements-dev.txt and requirements-eval-weights.txt need besides requirements.lock",
}


@dataclass(frozen=True)
class Locked:
    """One version of a package; there may be several, for different Pythons."""

    name: str
    version: str
    text: str  # as it stands in the file: marker, hashes, and who needs it
    needed_by: tuple[str, ...]  # packages, or "-r FILE"

    @property
    def pin(self) -> str:
        """Name, version and marker, without hashes."""
        return self.text.splitlines()[0].rstrip(" \\")

    @property
    def comes_with_torch(self) -> bool:
        """Whether other indexes have other builds of it, or none."""
        return self.name in ("torch", "triton") or self.name.startswith(("nvidia-", "cuda-"))


def parse(text: str) -> list[Locked]:
    """The packages of a lock file. Raises ValueError for one without a hash."""
    found = []
    for block in re.split(r"^(?=[a-zA-Z0-9])", text, flags=re.MULTILINE)[1:]:
        match = re.match(r"([\w.-]+)==([^\s;]+)", block)
        if match is None or "--hash=sha256:" not in block:
            raise ValueError(f"no pinned version and hash in {block.splitlines()[0]!r}")
        via = re.search(r"^ +# via(.*(?:\n +# .*)*)", block, re.MULTILINE)
        needed_by = [line.strip(" #") for line in via[1].splitlines()] if via else []
        found.append(Locked(normal(match[1]), match[2], block.rstrip() + "\n", tuple(filter(None, needed_by))))
    return found


def read_lock(file: str, root: Path = ROOT) -> list[Locked]:
    """The packages of one of the project's lock files. Raises UserError where there is none."""
    try:
        return parse((root / file).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"cannot read {file} ({error}); make it again: make lock") from error


def runtime_names(packages: Sequence[Locked]) -> set[str]:
    """Names of those that requirements.txt leads to."""
    names = {each.name for each in packages if "-r requirements.txt" in each.needed_by}
    while more := {each.name for each in packages if not names.isdisjoint(each.needed_by)} - names:
        names |= more
    return names


def compile_all() -> dict[str, str]:
    """Resolve anew; the text of each lock file. Raises UserError where uv is missing or finds no solution."""
    packages = parse(_uv(SOURCES[0]))
    alone = parse(_uv(SOURCES[1], "--no-deps"))  # needs a compiler otherwise, see the file
    runtime = runtime_names(packages)
    chosen = {
        LOCK: [each for each in packages if each.name in runtime and not each.comes_with_torch],
        TORCH_LOCK: [each for each in packages if each.comes_with_torch],
        DEV_LOCK: [each for each in packages if each.name not in runtime and not each.comes_with_torch] + alone,
    }
    return {file: _header(file) + "".join(each.text for each in chosen[file]) for file in chosen}


def _header(file: str) -> str:
    how = "Made by `make lock`, see preflight/locking.py. The hashes are those of every file that PyPI has."
    return f"# {_ABOUT[file]}.\n# {how}\n"


def _uv(source: str, *flags: str) -> str:
    uv = Path(sys.executable).with_name("uv")
    if not uv.exists():
        raise UserError("uv is missing; run: make lock, or pip install -r requirements-lock.txt")
    with tempfile.TemporaryDirectory(prefix="lock-") as folder:
        output = Path(folder) / "all.lock"
        command = [str(uv), "pip", "compile", source, "--universal", "--python-version", OLDEST, "--generate-hashes"]
        command += [
            "--no-header",
            "--no-config",
            "--default-index",
            INDEX,
            "--quiet",
            "--output-file",
            str(output),
            *flags,
        ]
        # the environment may name other indexes; what is locked is what everyone can get
        clean = {key: value for key, value in os.environ.items() if not re.match(r"UV_.*(INDEX|LINKS)", key)}
        result = subprocess.run(command, cwd=ROOT, env=clean, capture_output=True, text=True, check=False)
        if result.returncode:
            reason = " ".join(result.stderr.split())[:1000]
            raise UserError(f"uv cannot resolve {source}: {reason}; change the pins in it")
        return output.read_text(encoding="utf-8")


def main(argv: Sequence[str] | None = None) -> int:
    """Write the lock files."""
    for file, text in compile_all().items():
        write_text(ROOT / file, text)
        print(f"wrote {file}: {len(parse(text))} packages")
    return 0


if __name__ == "__main__":
    run(main)
