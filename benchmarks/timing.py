"""Taking times: of calls in this process, and of whole processes."""

from __future__ import annotations

import ctypes
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from benchmarks.rows import Timing

ROOT = Path(__file__).resolve().parent.parent
MOST_CALLS = 10_000  # in one round
RSS_UNIT = 1 if sys.platform == "darwin" else 1024  # bytes that ru_maxrss counts in
MEGABYTE = 1e6
PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h


def repeat(
    call: Callable[[], object], rounds: int, least: float, synchronise: Callable[[], None], warm: bool = False
) -> Timing:
    """Seconds of one call, once per round. A round is as many calls as take `least` seconds.

    `synchronise` waits until a GPU has finished. Unless `warm`, a first call, which may build caches, is not counted.
    """
    if not warm:
        call()
    synchronise()
    wall: list[float] = []
    cpu: list[float] = []
    calls = 0
    while len(wall) < rounds:
        began, began_cpu = time.perf_counter(), time.process_time()
        for _ in range(calls or 1):
            call()
        synchronise()
        taken, taken_cpu = time.perf_counter() - began, time.process_time() - began_cpu
        if not calls:  # the first one tells how many make a round
            calls = max(1, min(MOST_CALLS, round(least / max(taken, 1e-9))))
            if calls > 1:
                continue
        wall.append(taken / calls)
        cpu.append(taken_cpu / calls)
    return Timing(wall, cpu)


@dataclass(frozen=True)
class Finished:
    """A process that has ended well."""

    wall: float  # seconds from its start to its end
    cpu: float  # seconds, those of its children included
    peak: float  # MB that the largest of it and its children held in memory
    output: str


class ScriptError(Exception):
    """A measured process ended with an error; the message is its last line."""


def run_process(command: Sequence[str | Path]) -> Finished:
    """Run to the end; raises ScriptError with the last line of its error output where it fails.

    The caller should be a small process: Linux counts the memory of whoever starts a program into that program's peak.
    """
    adopt_orphans()
    with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as errors:
        begin = time.perf_counter()
        process = subprocess.Popen(list(map(str, command)), stdout=output, stderr=errors, cwd=ROOT)
        try:
            _, status, usage = os.wait4(process.pid, 0)
            wall = time.perf_counter() - begin
            process.returncode = os.waitstatus_to_exitcode(status)
            usages = [usage, *_orphans()]
        except BaseException:
            process.terminate()
            process.wait()
            raise
        output.seek(0)
        errors.seek(0)
        if process.returncode:
            raise ScriptError(f"{command[1]} ended with code {process.returncode}: {last_line(errors.read())}")
        cpu = sum(each.ru_utime + each.ru_stime for each in usages)
        return Finished(wall, cpu, max(each.ru_maxrss for each in usages) * RSS_UNIT / MEGABYTE, output.read())


def adopt_orphans() -> None:
    """From now on, processes whose parent has ended become children of this one (Linux): a script need not wait for
    its workers, and what they used would be lost."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _orphans() -> list[resource.struct_rusage]:
    """What the processes used that a finished script has left behind; waits until they end, too, but not for ever."""
    found, deadline = [], time.monotonic() + 10.0
    while time.monotonic() < deadline:
        try:
            process, _, usage = os.wait4(-1, os.WNOHANG)
        except ChildProcessError:  # there are none
            break
        if process:
            found.append(usage)
        else:
            time.sleep(0.005)
    return found


def last_line(text: str) -> str:
    """The last line that says something; "" without one."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else ""


def run_script(name: str, *arguments: str | Path) -> Finished:
    """Run one of the project's scripts."""
    return run_process([sys.executable, ROOT / name, *arguments])


def timing_of(runs: Sequence[Finished]) -> Timing:
    """Of the same process, once per round."""
    return Timing([run.wall for run in runs], [run.cpu for run in runs])
