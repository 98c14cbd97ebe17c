"""Running the project's scripts one after another, as a user would."""

from __future__ import annotations

import shlex
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from errors import UserError
from utils.cli import Terminated

ROOT = Path(__file__).resolve().parent.parent


def stage(title: str, command: Sequence[str]) -> None:
    """Run one script (its name and arguments) in the project's folder, and say so.

    Raises UserError where it refuses what it was given; any other failure ends this process with its exit code.
    """
    print(f"\n=== {title}: python {shlex.join(command)}", flush=True)
    begin = time.monotonic()
    process = subprocess.Popen([sys.executable, *command], cwd=ROOT)
    try:
        code = process.wait()
    except KeyboardInterrupt as asked:  # the script has had it, too: let it save and end
        if isinstance(asked, Terminated):  # which came here alone
            process.terminate()
        process.wait()
        raise
    if code == 2:
        raise UserError(f"{command[0]} stopped, see the line above; mend it and run the same command again")
    if code:
        sys.exit(code if code > 0 else 128 - code)
    print(f"=== {time.monotonic() - begin:.1f} s", flush=True)
