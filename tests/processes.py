"""Running the scripts as users do: real processes."""

import os
import re
import subprocess
import sys
import time
from pathlib import Path

from tests.paths import ROOT

ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "PYTHONDONTWRITEBYTECODE": "1"}


def command(script: str, *arguments: object) -> list[str]:
    return [sys.executable, str(ROOT / script), *map(str, arguments)]


def with_overrides(overrides: list[str]) -> list[str]:
    return [part for override in overrides for part in ("--set", override)]


def run_script(script: str, *arguments: object, timeout: float = 300, **variables: str) -> subprocess.CompletedProcess:
    """`variables` of the environment are set beside the usual ones."""
    return subprocess.run(
        command(script, *arguments), capture_output=True, text=True, timeout=timeout, env=ENVIRONMENT | variables,
        check=False,
    )  # fmt: skip


def assert_refused(result: subprocess.CompletedProcess, *patterns: str) -> None:
    """Exit code 2 and exactly one line on standard error, in which every pattern is found."""
    lines = result.stderr.strip().splitlines()
    assert result.returncode == 2, result.stderr
    assert len(lines) == 1, result.stderr
    assert "Traceback" not in result.stderr
    for pattern in patterns:
        assert re.search(pattern, lines[0]), f"{pattern!r} is not in {lines[0]!r}"


def assert_ok(result: subprocess.CompletedProcess) -> None:
    assert result.returncode == 0, result.stderr[-3000:]


def wait_for(condition, seconds=60):
    """Until the condition holds; fails when it never does."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.005)


def processes_with(marker: str) -> list[int]:
    """Ids of the processes that have a variable of that name in their environment."""
    found = []
    for environment in Path("/proc").glob("[0-9]*/environ"):
        try:
            if marker.encode() in environment.read_bytes():
                found.append(int(environment.parent.name))
        except OSError:
            continue
    return found
