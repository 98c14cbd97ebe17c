"""Workers on other machines: a Dask cluster that somebody started, for example

    dask scheduler                                              # on one machine; prints its address
    dask worker tcp://host:8786 --nworkers 16 --nthreads 1      # on each of the machines

They must see the project and the data under the same names (a shared file system) and have the same packages;
both are checked. A worker that dies costs nothing but the chunks it had: Dask gives them to another one.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError, Future
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

from errors import UserError
from utils.files import write_text

Item = TypeVar("Item")
Result = TypeVar("Result")

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("numpy", "torch", "soundfile", "soxr", "praatio")  # whose version may show in the results
CONNECT_SECONDS = 10.0
WORKERS_SECONDS = 30.0  # for the first worker to appear
PROBE_SECONDS = 10.0  # for a new file to appear on another machine
ONE_AT_A_TIME = threading.Lock()  # the working directory belongs to the process


class Cluster:
    """A connected cluster; `connected` makes it."""

    def __init__(self, client: Any, address: str) -> None:
        self._client, self._address = client, address
        # Not pure: the same arguments may give another result later, since files change.
        self._executor = client.get_executor(pure=False, retries=0)
        self._folder = os.fspath(Path.cwd())
        self._width, self._counted = 1, -1e9

    def submit(self, function: Callable[[Item], Result], items: Sequence[Item]) -> Future[list[Result]]:
        """Have some worker apply the function to each of the items."""
        future: Future[list[Result]] = self._executor.submit(work, self._folder, function, items)
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


def work(folder: str, function: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
    """What a cluster's worker does with one chunk; relative paths mean what they mean to the script."""
    with ONE_AT_A_TIME:
        os.chdir(folder)
        return [function(item) for item in items]


@contextmanager
def connected(address: str | None, written: Path) -> Iterator[Cluster | None]:
    """The cluster at a scheduler's address (tcp://host:8786); None gives None: this machine does the work.

    written: the folder that the workers will write to; it need not exist. Raises UserError when nobody answers, when
    there is no worker, or when a worker does not see `written`, runs several threads or has other packages.
    """
    if address is None:
        yield None
        return
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
    logging.getLogger("distributed").setLevel(logging.CRITICAL)  # errors reach the user as one line
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
    _show_project(client, address)
    folder = next(path for path in (written.absolute(), *written.absolute().parents) if path.is_dir())
    _probe(client, address, folder)


def _show_project(client: Any, address: str) -> None:
    """Have every worker, also one that comes later, find the project's modules."""
    import cloudpickle
    from distributed import WorkerPlugin

    class Project(WorkerPlugin):
        """Sent as code, not by its name: who lacks the project could not look that up."""

        def __init__(self, root: str) -> None:
            self.root = root

        def setup(self, worker: Any) -> None:
            import os
            import sys

            if not os.path.isdir(self.root):  # noqa: PTH112
                raise FileNotFoundError(self.root)
            if self.root not in sys.path:
                sys.path.insert(0, self.root)

    module = sys.modules[__name__]
    cloudpickle.register_pickle_by_value(module)
    try:
        client.register_plugin(Project(os.fspath(ROOT)), name="cross-speaker-emotion-transfer")
    except FileNotFoundError as error:
        raise UserError(
            f"--cluster {address}: a worker does not see the project's folder {ROOT}; the machines need a shared file "
            "system"
        ) from error
    finally:
        cloudpickle.unregister_pickle_by_value(module)


def _probe(client: Any, address: str, folder: Path) -> None:
    """Every worker must read what is written here, and what it writes must be found here."""
    mark = uuid.uuid4().hex
    question = folder / f".{mark}.tmp.probe"
    try:
        write_text(question, mark)
        answers: Mapping[str, dict[str, Any]] = client.run(look, os.fspath(folder), mark)
        for worker, said in answers.items():
            if said["problem"] is not None:
                raise UserError(
                    f"--cluster {address}: the worker {worker} does not see what is written to {folder} "
                    f"({said['problem']}); the machines need a shared file system"
                )
            if not _appears(folder / said["answer"]):
                raise UserError(
                    f"--cluster {address}: what the worker {worker} writes to {folder} is not to be found here; the "
                    "machines need a shared file system"
                )
            for package, version in versions().items():
                if said["versions"][package] != version:
                    raise UserError(
                        f"--cluster {address}: the worker {worker} has {package} {said['versions'][package]}, this "
                        f"machine {version}; install the same requirements.txt on all of them"
                    )
    finally:
        for path in folder.glob(f".{mark}*"):
            path.unlink(missing_ok=True)


def look(folder: str, mark: str) -> dict[str, Any]:
    """A worker's part of `_probe`."""
    answer = f".{mark}.{uuid.uuid4().hex}.tmp.probe"
    said: dict[str, Any] = {"problem": None, "answer": answer, "versions": versions()}
    try:
        if not _appears(Path(folder) / f".{mark}.tmp.probe"):
            said["problem"] = "no such file"
        else:
            (Path(folder) / answer).write_text(mark, encoding="utf-8")
    except OSError as error:
        said["problem"] = error.strerror or str(error)
    return said


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


def _appears(path: Path) -> bool:
    """Network file systems may show a new file a little later."""
    deadline = time.monotonic() + PROBE_SECONDS
    while not path.exists():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True
