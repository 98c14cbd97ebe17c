"""Two processes that choose different precisions, and what they agree on: `python -m tests.agreeing`."""

import os
import sys

import torch

from training.precision import Precision
from training.processes import Process, launch


def work(process: Process, first: str, second: str) -> int:
    """Print this process's precision after agreeing."""
    own = Precision(getattr(torch, first if process.is_first else second))
    os.write(1, f"{own.agreed(process).name}\n".encode())  # at once: two processes write here
    return 0


def advice() -> str:
    """Nothing to go on with."""
    return ""


if __name__ == "__main__":
    sys.exit(launch(work, "cpu:2", *sys.argv[1:], timeout=60, advice=advice))
