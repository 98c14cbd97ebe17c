"""Parsers of users' text files under a fuzzer that sees which code an input reaches (requirements-fuzz.txt)."""

import re
import subprocess
import sys

import pytest

from tests.fuzzing import memory_folder
from tests.parsers_text import TEXT_PARSERS
from tests.paths import ROOT
from tests.processes import ENVIRONMENT

pytest.importorskip("atheris", reason="not installed: pip install -r requirements-fuzz.txt")


def fuzz(name: str, *flags: str, timeout: float) -> tuple[int, int]:
    """Inputs tried, and pieces of code reached."""
    with memory_folder() as folder:
        command = [sys.executable, "-m", "tests.coverage_fuzzer", name, str(folder), *flags]
        result = subprocess.run(
            command,
            cwd=ROOT,
            env=ENVIRONMENT,
            capture_output=True,
            timeout=timeout,
            check=False,
            text=True,
            errors="replace",
        )
        crashes = [path.read_bytes()[:2000] for path in folder.glob("*-*") if path.is_file()]
    assert result.returncode == 0 and not crashes, f"{crashes}\n{result.stderr[-3000:]}"
    reached = [int(number) for number in re.findall(r"cov: (\d+)", result.stderr)]
    return int(re.findall(r"Done (\d+) runs", result.stderr)[-1]), max(reached)


def test_inputs_that_reach_new_code_are_taken_or_refused():
    tried, reached = fuzz("metadata", "-runs=2000", "-seed=1", timeout=200)
    assert tried >= 2000 and reached > 50


@pytest.mark.slow
@pytest.mark.parametrize("name", TEXT_PARSERS)
def test_a_minute_of_inputs_that_reach_new_code(name):
    tried, reached = fuzz(name, "-max_total_time=60", "-seed=2", timeout=400)
    print(f"\n{name}: {tried:,} inputs in 60 s, coverage {reached}")
    assert tried > 500
