"""The unit of work that timings are quoted in: calibrate.py of BENCH_DIR, run as it is.

Where it is missing there is no unit: another mix of work would be another unit.
"""

from __future__ import annotations

import io
import json
import os
import runpy
import statistics
import subprocess
import sys
from contextlib import redirect_stdout
from pathlib import Path

from benchmarks.rows import Unit
from benchmarks.timing import ROOT

BENCH_DIR = Path(os.environ.get("BENCH_DIR", ROOT.parent / "shared" / "bench"))
SCRIPT = BENCH_DIR / "calibrate.py"


def available() -> bool:
    """Whether there is a unit."""
    return SCRIPT.is_file()


def measure(threads: int, rounds: int) -> Unit | None:
    """One unit now; None without calibrate.py. In this process where PyTorch is loaded already, else in another."""
    if not available():
        return None
    arguments = ["--threads", str(threads), "--rounds", str(rounds)]
    if "torch" in sys.modules:
        output = io.StringIO()
        own, sys.argv = sys.argv, [str(SCRIPT), *arguments]
        try:
            with redirect_stdout(output):
                runpy.run_path(str(SCRIPT), run_name="__main__")
        finally:
            sys.argv = own
        text = output.getvalue()
    else:
        command = [sys.executable, str(SCRIPT), *arguments]
        text = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
    values = json.loads(text)
    return Unit(wall=values["unit_wall_s"], cpu=values["unit_cpu_s"])


def spread(units: list[Unit]) -> str:
    """Smallest, median and largest CPU seconds of the units, in words."""
    values = sorted(unit.cpu for unit in units)
    return f"{values[0]:.3f} – {values[-1]:.3f} CPU s (median {statistics.median(values):.3f})"
