"""Missing, broken and other packages than the pinned: one line that says what to run, from every script."""

import importlib.metadata
import subprocess
import sys

import pytest

from tests.paths import ROOT
from tests.processes import ENVIRONMENT, assert_refused, command
from utils.packages import Difference, differences, explain, normal, pins

# what gets each script to its first import of a package
ARGUMENTS = {
    "download": ["--dataset", "RAVDESS"],
    "prepare_align": ["--dataset", "RAVDESS"],
    "align": ["--dataset", "RAVDESS"],
    "preprocess": ["--dataset", "RAVDESS"],
    "train": ["--dataset", "RAVDESS"],
    "train_vocoder": ["--dataset", "RAVDESS"],
    "synthesize": ["--mode", "batch", "--source", "list.txt"],
    "evaluate": ["--dataset", "RAVDESS", "--restore_step", "latest"],
    "export": ["--dataset", "RAVDESS", "--restore_step", "latest"],
    "demo": [],
    "make_sample_corpus": ["--output", "made"],
}


@pytest.fixture(scope="module")
def bare(tmp_path_factory):
    """Run a script with a Python of its own, in which nothing is installed, in an empty folder."""
    folder = tmp_path_factory.mktemp("bare")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder / "venv")], check=True)
    (folder / "empty").mkdir()

    def run(script, *arguments):
        call = [str(folder / "venv" / "bin" / "python"), str(ROOT / script), *map(str, arguments)]
        result = subprocess.run(call, env=ENVIRONMENT, capture_output=True, text=True, timeout=60, cwd=folder / "empty")
        assert [*(folder / "empty").iterdir()] == []
        return result

    return run


@pytest.mark.parametrize("script", sorted(ARGUMENTS))
def test_a_bare_python_is_told_what_to_install(bare, script):
    result = bare(f"{script}.py", *ARGUMENTS[script])
    assert_refused(
        result, rf"^error: the package \w+ is missing; run: make setup.* {script}.py …; or: pip install -r req"
    )


@pytest.mark.parametrize("script", ["pipeline", "benchmark"])
def test_so_is_who_runs_several_scripts(bare, script, tmp_path):
    result = bare(f"{script}.py", *(["--only", "step", "--output", tmp_path] if script == "benchmark" else []))
    assert result.returncode == (1 if script == "benchmark" else 2)
    assert "Traceback" not in result.stderr
    assert "error: the package " in result.stderr and "is missing; run: make setup" in result.stderr


@pytest.mark.parametrize(
    ("module", "content", "said"),
    [
        (
            "yaml",
            "raise ImportError('libyaml.so.2: cannot open shared object file')",
            r"PyYAML cannot be used.*libyaml",
        ),
        ("pydantic", "import pydantic_core_of_another_world", r"package pydantic_core_of_another_world is missing"),
        ("yaml", "class SafeLoader: pass", r"'SafeLoader' has no attribute.*; PyYAML is 1\.0 instead of"),
        ("tqdm", "auto = None", r"package tqdm cannot be used \(.*cannot import name.*; tqdm is 1\.0 instead of"),
    ],
    ids=["broken", "incomplete", "other content", "other names"],
)
def test_broken_and_other_packages_are_named(tmp_path, module, content, said):
    """Stand-ins on PYTHONPATH, with metadata of a version that nobody pinned."""
    name = {"yaml": "PyYAML"}.get(module, module)
    (tmp_path / f"{module}.py").write_text(content)
    (tmp_path / f"{name}-1.0.dist-info").mkdir()
    (tmp_path / f"{name}-1.0.dist-info" / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    result = subprocess.run(
        command("preprocess.py", "--dataset", "RAVDESS"),
        env=ENVIRONMENT | {"PYTHONPATH": str(tmp_path)}, capture_output=True, text=True, check=False, cwd=tmp_path,
    )  # fmt: skip
    assert_refused(result, said, "pip install -r requirements.txt")


def test_the_environment_that_tests_is_the_pinned_one():
    assert differences() == []


def test_differences_are_exactly_the_pins_that_do_not_hold(monkeypatch):
    """Against a metadata folder of our own: one package as pinned, one of another version, the rest missing."""
    wanted = pins("requirements.txt")
    there = {"torch": wanted["torch"] + "+cpu", "numpy": "1.26.4"}

    def version(name):
        if name not in there:
            raise importlib.metadata.PackageNotFoundError(name)
        return there[name]

    monkeypatch.setattr(importlib.metadata, "version", version)
    found = {each.name: each for each in differences()}
    assert set(found) == set(wanted) - {"torch"}
    assert found["numpy"] == Difference("numpy", wanted["numpy"], "1.26.4")
    assert str(found["PyYAML"]) == "PyYAML is missing"


def test_bugs_of_our_own_keep_their_traceback():
    for statement in (
        "import utils.nowhere",
        "from utils.files import nothing_there",
        "import audio.nowhere",
        "''.nope",
    ):
        with pytest.raises((ImportError, AttributeError)) as caught:
            exec(statement)
        assert explain(caught.value) is None, statement


def test_pins_are_read_as_pip_reads_them(tmp_path):
    text = "# comment\n-r other.txt\nPyYAML==6.0.3 # for files\n\n  torch==2.1.0\n"
    (tmp_path / "requirements.txt").write_text(text)
    assert pins("requirements.txt", tmp_path) == {"PyYAML": "6.0.3", "torch": "2.1.0"}
    assert pins("nowhere.txt", tmp_path) == {}
    assert normal("PyYAML_x.y--z") == "pyyaml-x-y-z"
