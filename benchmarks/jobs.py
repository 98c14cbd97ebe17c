"""The groups of measurements and the inputs they need. Each runs in a process of its own: its memory peak is its own,
and where one fails the others go on."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.rows import Growth, Report, Row, Unit
from benchmarks.timing import MEGABYTE, ROOT, RSS_UNIT, last_line

if TYPE_CHECKING:
    from benchmarks.bench import Bench, Settings

SKIPPED = 3  # exit code of a job that cannot run on this machine
PATIENCE = 10.0  # seconds for an interrupted job to end


@dataclass(frozen=True)
class Job:
    """A function of one of this package's modules."""

    place: str  # module:function
    about: str = ""  # what is measured; "" for what only makes inputs
    needs: tuple[str, ...] = ()  # jobs that must have run
    shows_peak: bool = False  # the process is the thing measured, so its memory peak is a row

    def load(self) -> Callable[[Bench], None]:
        """The function."""
        module, _, name = self.place.partition(":")
        function: Callable[[Bench], None] = getattr(importlib.import_module(f"benchmarks.{module}"), name)
        return function


INPUTS = {
    "corpus": Job("inputs:make_corpus"),
    "features": Job("inputs:make_features", needs=("corpus",)),
    "voice": Job("inputs:make_voice"),
    "cuda": Job("gpu:require"),
}
GROUPS = {
    "prepare": Job("scripts:prepare", "prepare_align.py", ("corpus",)),
    "align": Job("scripts:align", "align.py with pocketsphinx", ("corpus",)),
    "preprocess": Job("scripts:preprocess", "preprocess.py", ("features",)),
    "data": Job("step:data", "batches from disk, padding, waiting for data", ("features",)),
    "step": Job("step:step", "training step and its parts, every precision", ("features",), True),
    "original": Job("step:original", "the same step as the original computes it", ("features",), True),
    "acoustic": Job("speech:acoustic", "acoustic model, 1 to 30 s of speech", ("voice",), True),
    "vocoder": Job("speech:vocoders", "each vocoder", ("voice",), True),
    "synthesize": Job("scripts:synthesize", "synthesize.py, whole processes", ("voice",)),
    "text": Job("growth:text", "synthesis of longer and longer texts", ("voice",)),
    "batch": Job("growth:batch", "training step with larger and larger batches", ("features",)),
    "corpora": Job("growth:corpora", "prepare_align.py and preprocess.py on larger and larger corpora", ("features",)),
    "gpu": Job("gpu:gpu", "training on a GPU, against the original's way of working", ("cuda", "features")),
}
JOBS = {**INPUTS, **GROUPS}


class StoppedError(Exception):
    """Ctrl-C; the report holds what was measured."""


def run_jobs(names: list[str], settings: Settings, report: Report, say: Callable[[str], None]) -> None:
    """Run groups and the inputs they need, in order, and gather their findings in `report`.

    A group that fails, or whose inputs could not be made, is listed in `report.failed`. Raises StoppedError at Ctrl-C.
    """
    done: dict[str, bool] = {}
    for name in names:
        say(f"{name}: {GROUPS[name].about}")
        _run_with_needs(name, name, settings, report, done)
        if name in report.failed:
            say(f"{name}: failed: {report.failed[name]}")
        elif name in report.skipped:
            say(f"{name}: skipped: {report.skipped[name]}")


def _run_with_needs(name: str, group: str, settings: Settings, report: Report, done: dict[str, bool]) -> bool:
    """Whether the job and all it needs ended well. `group` is what a failure is told of."""
    if name not in done:
        ready = all(_run_with_needs(need, group, settings, report, done) for need in JOBS[name].needs)
        done[name] = ready and _run(name, group, settings, report)
    if not done[name] and group not in report.skipped:
        report.failed.setdefault(group, f"its input could not be made: {name}")
    return done[name]


def _run(name: str, group: str, settings: Settings, report: Report) -> bool:
    findings = settings.work / f"{name}.jsonl"
    command = [sys.executable, "-m", "benchmarks.worker", name, settings.to_json(), str(findings)]
    threads = {"OMP_NUM_THREADS": str(settings.threads)}
    with tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(command, cwd=ROOT, stderr=errors, stdout=errors, env=os.environ | threads)
        try:
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
        except KeyboardInterrupt:
            _end(process)
            raise StoppedError from None
        finally:
            _collect(findings, report)
        if process.returncode == 0:
            if JOBS[name].shows_peak:
                report.rows.append(Row.plain(name, "peak memory", [usage.ru_maxrss * RSS_UNIT / MEGABYTE], "MB"))
            return True
        if process.returncode in (130, -2):
            raise StoppedError
        errors.seek(0)
        reason = last_line(errors.read()) or f"its process ended with code {process.returncode}"
    (report.skipped if process.returncode == SKIPPED else report.failed)[group] = reason
    return False


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ctrl-C reaches the job by itself when it comes from a terminal; from elsewhere it is told here."""
    process.terminate()
    try:
        process.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _collect(findings: Path, report: Report) -> None:
    if not findings.exists():
        return
    for line in findings.read_text(encoding="utf-8").splitlines():
        finding = json.loads(line)
        value = finding["value"]
        if finding["kind"] == "row":
            report.rows.append(Row(**value))
        elif finding["kind"] == "growth":
            report.growths.append(Growth(**value))
        else:
            report.units.setdefault(findings.stem, []).append(Unit(**value))
