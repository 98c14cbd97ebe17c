"""Installed packages against the pins of requirements*.txt. Standard library only: it must work where nothing is."""

from __future__ import annotations

import importlib.metadata
import re
import sys
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
RUNTIME = "requirements.txt"
OPTIONAL = ("requirements-eval.txt", "requirements-cluster.txt", "requirements-dev.txt")
PYTHONS = ((3, 10), (3, 12))  # oldest and newest minor version that the pins install on
# import name -> distribution, where they differ by more than case, "-" and "_"
DISTRIBUTIONS = {"yaml": "PyYAML", "PIL": "pillow", "sklearn": "scikit-learn", "pyworld": "pyworld-prebuilt"}


@dataclass(frozen=True)
class Difference:
    """A package that is not there as pinned."""

    name: str
    wanted: str  # version
    found: str | None  # None: not installed

    def __str__(self) -> str:
        return (
            f"{self.name} is missing" if self.found is None else f"{self.name} is {self.found} instead of {self.wanted}"
        )


def normal(name: str) -> str:
    """A distribution's name as indexes compare it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def pins(file: str, root: Path = ROOT) -> dict[str, str]:
    """Distribution -> version of one requirements file, without those that it includes; {} where there is no file."""
    try:
        lines = (root / file).read_text(encoding="utf-8").splitlines()
    except OSError:
        return {}
    stated = (line.partition("#")[0].strip().partition("==") for line in lines)
    return {name: version for name, equal, version in stated if equal}


def differences(file: str = RUNTIME) -> list[Difference]:
    """Packages of a requirements file that are missing or of another version. torch 2.1.0+cpu counts as 2.1.0."""
    found = []
    for name, wanted in pins(file).items():
        try:
            version = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            version = None
        if version is None or version.partition("+")[0] != wanted:
            found.append(Difference(name, wanted, version))
    return found


def remedy(file: str = RUNTIME) -> str:
    """The commands that install what a requirements file names, for whoever runs this Python."""
    if Path(sys.prefix).resolve() == (ROOT / ".venv").resolve():  # make takes that for up to date
        return f"run: .venv/bin/python -m pip install -r {file}"
    by_make = "make setup" if file == RUNTIME else "make setup-dev"
    return f"run: {by_make}, and then .venv/bin/python {Path(sys.argv[0]).name} …; or: pip install -r {file}"


def too_old() -> str:
    """What to say about a Python that is older than any that we run on."""
    found, oldest, newest = (".".join(map(str, version)) for version in (sys.version_info[:3], *PYTHONS))
    return f"this is Python {found}; {oldest} to {newest} is needed: make PYTHON=python{newest} setup"


def explain(error: Exception) -> str | None:
    """One line for the user if `error` comes of packages that are missing, broken or not as pinned; else None.

    An ImportError of anything outside the standard library and this project does. So does an AttributeError where
    packages differ from the pins: another version has other names.
    """
    if isinstance(error, ImportError):
        module = (error.name or _raised_in(error)).partition(".")[0]
        if module and not _is_ours(module) and module not in sys.stdlib_module_names:
            return _unusable(module, error)
    wrong = differences() if isinstance(error, (ImportError, AttributeError)) else []
    return f"{_first_line(error)} ({_place(error)}); {listed(wrong)}: {remedy()}" if wrong else None


def listed(wrong: Sequence[Difference], most: int = 3) -> str:
    """The first few differences in words."""
    more = f" and {len(wrong) - most} more are missing or others" if len(wrong) > most else ""
    return ", ".join(map(str, wrong[:most])) + more


def _unusable(module: str, error: ImportError) -> str:
    name = DISTRIBUTIONS.get(module, module)
    files = [file for file in (RUNTIME, *OPTIONAL) if normal(name) in map(normal, pins(file))]
    how = remedy(files[0] if files else RUNTIME)
    if isinstance(error, ModuleNotFoundError):
        return f"the package {name} is missing; {how}"
    wrong = [each for each in differences(files[0]) if normal(each.name) == normal(name)] if files else []
    return f"the package {name} cannot be used ({'; '.join([_first_line(error), *map(str, wrong)])}); {how}"


def _is_ours(module: str) -> bool:
    return (ROOT / module).is_dir() or (ROOT / f"{module}.py").is_file()


def _raised_in(error: Exception) -> str:
    """Name of the module that raised `error`."""
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    return str(frames[-1].f_globals.get("__name__", "")) if frames else ""


def _place(error: Exception) -> str:
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f"{Path(last.filename).name}:{last.lineno}"


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:200]}" if lines else type(error).__name__
