"""Scripts in sessions of their own, to be killed or interrupted at any moment, and what they may leave behind."""

import contextlib
import os
import random
import re
import signal
import subprocess
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.processes import ENVIRONMENT, command, processes_with, wait_for

DEADLINE = 60  # seconds that anything may take
GONE = 20  # seconds after its death in which all that a script has started must have ended
MOMENTS = ("anywhere", "at work", "writing")
TEMPORARY = re.compile(r"\..*\.tmp\.")  # names of files that are being written


class Script:
    """A running script that leads a session; whatever it starts bears its mark."""

    def __init__(self, told: Path, script: str, *arguments: object) -> None:
        """`told` is a folder for what it prints."""
        told.mkdir(parents=True, exist_ok=True)
        self.mark = f"KILL_HARNESS_{uuid.uuid4().hex}"
        self._out, self._err = told / f"{self.mark}.out", told / f"{self.mark}.err"
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self.process = subprocess.Popen(
                command(script, *arguments),
                env={**ENVIRONMENT, self.mark: "1"}, stdin=subprocess.DEVNULL, stdout=out, stderr=err,
                start_new_session=True,
            )  # fmt: skip

    @property
    def out(self) -> str:
        return self._out.read_text()

    @property
    def err(self) -> str:
        return self._err.read_text()

    @property
    def has_ended(self) -> bool:
        return self.process.poll() is not None

    def until(self, condition: Callable[[], bool], seconds: float = DEADLINE) -> bool:
        """Whether the condition came to hold while the script ran. Looked at every millisecond."""
        deadline = time.monotonic() + seconds
        while not condition():
            if self.has_ended:
                return False
            assert time.monotonic() < deadline, f"waited in vain; {self.err[-2000:]}"
            time.sleep(0.001)
        return True

    def send(self, number: int, to_all: bool = False) -> None:
        """A signal to the script, or to its whole process group, as Ctrl-C on a terminal is."""
        with contextlib.suppress(ProcessLookupError):
            (os.killpg if to_all else os.kill)(self.process.pid, number)

    def end(self, seconds: float = DEADLINE) -> int:
        """Its exit code, once it and all that it started are gone; fails when that takes too long."""
        try:
            code = self.process.wait(seconds)
            wait_for(lambda: not processes_with(self.mark), GONE)
        finally:
            for pid in processes_with(self.mark):  # of a test that fails
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        return code


def files(*folders: Path) -> dict[Path, int]:
    """Every file below the folders, hidden ones included, with its size."""
    found = {}
    for folder in folders:
        for place, _, names in os.walk(folder):
            for name in names:
                path = Path(place) / name
                with contextlib.suppress(FileNotFoundError):
                    found[path] = path.stat().st_size
    return found


def temporaries(*folders: Path) -> list[Path]:
    """What is, or was, being written below the folders, and locks."""
    return [path for path in files(*folders) if TEMPORARY.match(path.name) or path.name.endswith(".lock")]


@dataclass
class Job:
    """A script that is to be killed, and started again, until its work is done."""

    script: str
    arguments: Callable[[], Sequence[object]]  # of the next start
    folder: Path  # below which it writes everything
    seconds: float  # of an unbroken run
    writes: int = 3  # temporary files that pass before a kill in the middle of writing, at most
    delay: float = 0.5  # seconds at work before a kill, at most
    check: Callable[[], None] = lambda: None  # after every kill
    tally: Counter[str] = field(default_factory=Counter)

    def kill_once(self, moments: random.Random) -> bool:
        """Start and kill; False when the script was done first."""
        kind = moments.choice(MOMENTS)
        before = files(self.folder)
        script = Script(self.folder.parent / "told", self.script, *self.arguments())
        if kind == "anywhere":
            wanted = time.monotonic() + moments.uniform(0, self.seconds)
            met = script.until(lambda: time.monotonic() > wanted)
        elif kind == "at work":
            met = script.until(lambda: any(_is_work(path) for path in files(self.folder) if path not in before))
            time.sleep(moments.uniform(0, self.delay))
        else:
            met = self._stop_inside_a_write(script, moments.randint(0, self.writes), set(before))
        killed = met and not script.has_ended
        script.send(signal.SIGKILL, to_all=moments.random() < 0.5)
        script.send(signal.SIGCONT, to_all=True)  # those who were stopped and not killed see that it is gone
        code = script.end()
        if killed and code == -signal.SIGKILL:
            self.tally[kind] += 1
            self.check()
            return True
        assert code in (0, -signal.SIGKILL), script.err
        return False

    def _stop_inside_a_write(self, script: Script, skip: int, seen: set[Path]) -> bool:
        """Stop all processes while a temporary file is there, the `skip`-th one or a later; whether there was one."""
        while True:
            fresh: list[Path] = []

            def met(fresh: list[Path] = fresh) -> bool:
                fresh += [path for path in files(self.folder) if TEMPORARY.match(path.name) and path not in seen]
                return bool(fresh)

            if not script.until(met):
                return False
            seen.update(fresh)
            if skip > 0:
                skip -= len(fresh)
                continue
            script.send(signal.SIGSTOP, to_all=True)
            time.sleep(0.01)
            if any(path.exists() for path in fresh):
                return True
            script.send(signal.SIGCONT, to_all=True)

    def finish(self) -> Script:
        """The last run, to its end."""
        script = Script(self.folder.parent / "told", self.script, *self.arguments())
        assert script.end(300) == 0, script.err
        assert temporaries(self.folder) == []
        return script


def _is_work(path: Path) -> bool:
    return not TEMPORARY.match(path.name) and not path.name.endswith(".lock")


def kill_again_and_again(jobs: Iterator[Job], kills: int, seed: int, at_a_time: int = 10) -> tuple[list[Job], Counter]:
    """Kill `kills` times in all, a job after the other, at most `at_a_time` kills each, and finish every job.

    Returns the jobs and how often was killed at which moments.
    """
    moments, tally, done = random.Random(seed), Counter[str](), []
    while tally.total() < kills:
        job = next(jobs)
        while job.tally.total() < min(at_a_time, kills - tally.total()) and job.kill_once(moments):
            pass
        job.finish()
        done.append(job)
        tally += job.tally
    print(dict(sorted(tally.items())), f"in {len(done)} jobs")
    return done, tally
