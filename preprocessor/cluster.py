"""Workers on other machines: a Dask cluster that somebody started, for example

    dask scheduler                                              # on one machine; prints its address
    dask worker tcp://host:8786 --nworkers 16 --nthreads 1      # on each of the machines

They must see the project and the data under the same names (a shared file system) and have the same packages;
both are checked. A worker that dies costs nothing but the chunks it had: Dask gives them to another one.
"""

from __future__ import annotations

import hashlib
import logging
import os
import pickle
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError, Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from errors import UserError
from utils.files import write_text

Item = TypeVar("Item")
Result = TypeVar("Result")

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("numpy", "torch", "soundfile", "soxr", "praatio")  # whose version may show in the results
CODE_FOLDERS = ("audio", "config", "deepspeaker", "preprocessor", "text", "utils")
CONNECT_SECONDS = 10.0
WORKERS_SECONDS = 30.0  # for the first worker to appear
PROBE_SECONDS = 10.0  # for a new file to appear on another machine


class Cluster:
    """A connected cluster; `connected` makes it."""

    def __init__(self, client: Any, address: str) -> None:
        self._client, self._address = client, address
        # Not pure: the same arguments may give another result later, since files change.
        self._executor = client.get_executor(pure=False, retries=0)
        self._work = remote_work()
        self._folder = os.fspath(Path.cwd())  # relative paths mean to the workers what they mean to the script
        self._width, self._counted = 1, -1e9

    def submit(self, function: Callable[[Item], Result], items: Sequence[Item]) -> Future[list[Result]]:
        """Have some worker apply the function to each of the items."""
        payload = pickle.dumps((function, items))  # the scheduler, which need not have the project, only passes it on
        future: Future[list[Result]] = self._executor.submit(self._work, os.fspath(ROOT), self._folder, payload)
        return future

    def width(self) -> int:
        """How many workers there are; they may come and go."""
        if time.monotonic() - self._counted > 2.0:
            self._width, self._counted = max(1, len(self._client.nthreads())), time.monotonic()
        return self._width

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Turn what can go wrong with a cluster into UserError."""
        from distributed import KilledWorker
        from distributed.comm import CommClosedError

        try:
            yield
        except KilledWorker as error:
            raise UserError(
                f"{self._address}: several workers died at the same task (out of memory?): {error}"
            ) from error
        except (CancelledError, CommClosedError, TimeoutError) as error:
            raise UserError(
                f"{self._address}: the connection to the Dask scheduler was lost; run the command again to go on "
                "from here"
            ) from error
        except ImportError as error:
            raise UserError(
                f"{self._address}: a worker cannot import the project ({error}); start the workers where {ROOT} is "
                "seen under that name, with the packages of requirements.txt"
            ) from error


def remote_work() -> Callable[[str, str, bytes], list[Any]]:
    """What a cluster's worker does with one chunk: a function that is sent as code, being local to this one. Who has
    not imported anything of the project yet could not look up its name."""

    def work(root: str, folder: str, payload: bytes) -> list[Any]:
        import pickle
        import sys

        if root not in sys.path:
            sys.path.insert(0, root)
        from preprocessor.parallel import apply_alone

        function, items = pickle.loads(payload)
        return apply_alone(folder, function, items)

    return work


@contextmanager
def connected(address: str, written: Path) -> Iterator[Cluster]:
    """The cluster at a scheduler's address (tcp://host:8786).

    written: the folder that the workers will write to; it need not exist. Raises UserError when nobody answers, when
    there is no worker, or when a worker does not see `written`, runs several threads or has other packages or code.
    """
    client = _connect(address)
    try:
        _check(client, address, written)
        yield Cluster(client, address)
    finally:
        with suppress(Exception):  # a scheduler that is gone has nothing to say any more
            client.close(timeout=2)


def _connect(address: str) -> Any:
    try:
        from distributed import Client
    except ImportError as error:
        raise UserError(
            f"--cluster needs Dask, which is not installed ({error}); run pip install -r requirements-cluster.txt"
        ) from error
    for name in ("distributed", *logging.root.manager.loggerDict):
        if name.partition(".")[0] == "distributed":
            logging.getLogger(name).setLevel(logging.CRITICAL)  # errors reach the user as one line
    try:
        return Client(address, timeout=CONNECT_SECONDS, set_as_default=False)
    except (OSError, ValueError, TimeoutError) as error:
        raise UserError(
            f"--cluster {address}: no Dask scheduler answers there ({error}); start one with: dask scheduler"
        ) from error


def _check(client: Any, address: str, written: Path) -> None:
    try:
        client.wait_for_workers(1, timeout=WORKERS_SECONDS)
    except TimeoutError as error:
        raise UserError(
            f"--cluster {address}: the scheduler has no worker; start some with: dask worker {address} --nthreads 1"
        ) from error
    for worker, threads in client.nthreads().items():
        if threads != 1:
            raise UserError(
                f"--cluster {address}: the worker {worker} runs {threads} threads; start it with --nthreads 1 and as "
                "many --nworkers as it has cores"
            )
    folder = next(path for path in (written.absolute(), *written.absolute().parents) if path.is_dir())
    _probe(client, address, folder)


def _probe(client: Any, address: str, folder: Path) -> None:
    """Every worker must read what is written here, and what it writes must be found here."""
    mark = uuid.uuid4().hex
    question = Question(folder, mark)
    unshared = "; the machines need a shared file system, with the project and the data under the same names"
    try:
        write_text(folder / f".{mark}.tmp.probe", mark)
        payload = pickle.dumps((answer, [question]))
        try:
            answers = client.run(remote_work(), os.fspath(ROOT), os.fspath(Path.cwd()), payload)
        except (ImportError, AttributeError, OSError) as error:
            raise UserError(f"--cluster {address}: a worker cannot start on the work ({error}){unshared}") from error
        for worker, (said,) in answers.items():
            who = f"--cluster {address}: the worker {worker}"
            if said.problem is not None:
                raise UserError(f"{who} does not see what is written to {folder} ({said.problem}){unshared}")
            if not _appears(folder / said.file):
                raise UserError(f"{who} writes to {folder} what is not to be found here{unshared}")
            for package, version in versions().items():
                if said.versions[package] != version:
                    raise UserError(
                        f"{who} has {package} {said.versions[package]}, this machine {version}; install the same "
                        "requirements.txt on all of them"
                    )
            if said.code != code_digest():
                raise UserError(f"{who} has imported other code of this project than is here now; start it again")
    finally:
        for path in folder.glob(f".{mark}*"):
            path.unlink(missing_ok=True)


@dataclass(frozen=True)
class Question:
    """To a worker: do you see the file of that mark?"""

    folder: Path
    mark: str


@dataclass(frozen=True)
class Answer:
    """What a worker saw."""

    problem: str | None
    file: str  # name of the one that it wrote
    versions: Mapping[str, str]
    code: str  # digest of the project's files when the worker imported them


def answer(question: Question) -> Answer:
    """A worker's part of `_probe`."""
    problem, name = None, f".{question.mark}.{uuid.uuid4().hex}.tmp.probe"
    try:
        if _appears(question.folder / f".{question.mark}.tmp.probe"):
            (question.folder / name).write_text(question.mark, encoding="utf-8")
        else:
            problem = "no such file"
    except OSError as error:
        problem = error.strerror or str(error)
    return Answer(problem, name, versions(), CODE)


def versions() -> dict[str, str]:
    """Of what decides the results."""
    from importlib import metadata

    found = {"Python": ".".join(map(str, sys.version_info[:2]))}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = "none"
    return found


def code_digest() -> str:
    """Of the project's files that workers import."""
    files = sorted(path for package in CODE_FOLDERS for path in (ROOT / package).glob("**/*.py"))
    return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()


CODE = code_digest()  # workers live long and import once


def _appears(path: Path) -> bool:
    """Network file systems may show a new file a little later."""
    deadline = time.monotonic() + PROBE_SECONDS
    while not path.exists():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True
