"""Running the `mfa` command: finding it, passing on what it says, ending it, and reading what went wrong."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from errors import UserError
from utils.files import write_text

INSTALL = "conda create -n aligner -c conda-forge montreal-forced-aligner && conda activate aligner"
LAST = 6  # lines of a failed run that the error quotes
PATIENCE = 10.0  # seconds that MFA has to end after Ctrl-C
DECORATION = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|[│╭╮╰╯─┏┓┗┛━┃]")  # colours and frames of its messages
PROGRESS = re.compile(r"\d%\|")  # tqdm's bars


def find_mfa() -> str:
    """The executable. Raises UserError with the way to install it."""
    path = shutil.which("mfa")
    if path is None:
        raise UserError(
            f"Montreal Forced Aligner is not installed: no `mfa` on the PATH; run: {INSTALL} (or put the bin folder of "
            "its environment on the PATH), or use --aligner pocketsphinx"
        )
    return path


def run_mfa(command: Sequence[str], work: Path, log: Path, model: str) -> list[str]:
    """Run MFA in `work`, printing what it says as it comes; returns that and what it left in output_errors.txt.

    Raises UserError with its last lines when it fails; `log` then has all of them. However this ends, no process of
    it is left.
    """
    log.unlink(missing_ok=True)
    environment = os.environ | {"NO_COLOR": "1", "TERM": "dumb", "COLUMNS": "200", "PYTHONUNBUFFERED": "1"}
    said: list[str] = []
    try:
        # A session of its own: MFA starts processes, and all of them must end with it.
        process = subprocess.Popen(
            command, cwd=work, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, encoding="utf-8", errors="replace", start_new_session=True,
        )  # fmt: skip
    except OSError as error:
        raise UserError(f"cannot run {command[0]}: {error.strerror or error}; install it again: {INSTALL}") from error
    try:
        assert process.stdout is not None
        for line in process.stdout:
            if (plain := _plain(line, work)) and not PROGRESS.search(plain):
                said.append(plain)
                print(f"mfa: {plain}", flush=True)
        code = process.wait()
    except BaseException:
        _end(process)
        raise
    if code != 0:
        write_text(log, "".join(f"{line}\n" for line in said))
        raise UserError(_failure(command, code, said, log, model))
    with suppress(OSError):
        said += (work / "output" / "output_errors.txt").read_text(encoding="utf-8", errors="replace").splitlines()
    return [_plain(line, work) for line in said]


def _plain(line: str, work: Path) -> str:
    """Without decoration and without the name of our folder, which will be gone."""
    return DECORATION.sub("", line).replace(f"{work}{os.sep}", "").strip()


def _end(process: subprocess.Popen[str]) -> None:
    """Ask the whole session to end as Ctrl-C would, then make it."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGINT)
    with suppress(subprocess.TimeoutExpired, KeyboardInterrupt):
        process.wait(PATIENCE)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _failure(command: Sequence[str], code: int, said: Sequence[str], log: Path, model: str) -> str:
    last = " / ".join(said[-LAST:]) or "it said nothing"
    fetch = "" if model.endswith(".zip") else f"; its model: mfa model download acoustic {model}"
    return f"mfa align failed (exit code {code}): {last}; all it said is in {log}{fetch}"


def reason_for(name: str, said: Sequence[str]) -> str | None:
    """The first line that MFA said about a recording, by its file's name; None where it said nothing."""
    whole = re.compile(rf"(?<![\w-]){re.escape(name)}(?![\w-])")
    return next((line for line in said if whole.search(line)), None)
