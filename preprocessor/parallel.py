"""One function over many items on several cores or machines, results in order, no process left behind.

The work goes through an executor as of concurrent.futures: this machine's processes, or a Dask cluster's workers
(preprocessor/cluster.py). A bounded number of chunks is under way at any time, so that the number of items does not
matter: `items` may be a generator, and what is yielded may be dropped.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import AbstractContextManager, nullcontext
from itertools import chain, islice
from multiprocessing.connection import wait
from multiprocessing.context import BaseContext
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from errors import UserError
from utils.cli import end_soon

if TYPE_CHECKING:
    from preprocessor.cluster import Cluster

Item = TypeVar("Item")
Result = TypeVar("Result")

ONE_AT_A_TIME = threading.Lock()  # the working directory and torch's number of threads belong to the process
FINISH_SECONDS = 10  # after SIGTERM, for a worker to finish what it is writing
AHEAD = 4  # chunks under way per worker: enough that none waits while the first of them takes long


def workers(address: str | None, written: Path) -> AbstractContextManager[Cluster | None]:
    """What `ordered_map` takes as `cluster`: the one at a scheduler's address, ready to write to a folder; for None
    there is none, and this machine does the work. Raises UserError as preprocessor.cluster.connected."""
    if address is None:
        return nullcontext()
    from preprocessor.cluster import connected

    return connected(address, written)


def ordered_map(
    function: Callable[[Item], Result],
    items: Iterable[Item],
    jobs: int,
    preload: Sequence[str] = (),
    chunk: int = 1,
    cluster: Cluster | None = None,
) -> Iterator[Result]:
    """Yield function(item) for every item, in the order of `items`, computed by `jobs` processes or by `cluster`.

    `function` is a module-level function. `preload` names the slow third-party imports it needs. Workers of this
    machine end with the parent however it ends, SIGKILL included. Raises UserError when a worker dies; a cluster gives
    its work to another one first.

    Workers are forked from a server process that has imported `preload` and started no thread: a plain fork would copy
    the locks of numpy's and torch's thread pools in whatever state they are, and spawn would import torch per worker.
    """
    chunks = _chunks(items, chunk)
    if cluster is not None:
        with cluster.errors():
            yield from _in_order(lambda part: cluster.submit(function, part), chunks, cluster.width)
        return
    first = list(islice(chunks, jobs))
    if len(first) <= 1:
        yield from map(function, chain.from_iterable(chain(first, chunks)))
        return
    method = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
    context = multiprocessing.get_context(method)
    if method == "forkserver":
        context.set_forkserver_preload(list(preload))
        _start_server(context)
    pool = ProcessPoolExecutor(len(first), mp_context=context, initializer=_start_worker)
    try:
        yield from _in_order(lambda part: pool.submit(apply, function, part), chain(first, chunks), lambda: len(first))
    except BrokenProcessPool as error:
        # the pool sends the others SIGTERM, with which they take their time
        for process in multiprocessing.active_children():
            process.kill()
        raise UserError("a worker process died (out of memory?); try again with a smaller --jobs") from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def apply(function: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
    """What a worker does with one chunk."""
    return [function(item) for item in items]


def apply_alone(folder: str, function: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
    """`apply` in a process that may have several threads: one of them at a time, in `folder`."""
    with ONE_AT_A_TIME:
        os.chdir(folder)
        return apply(function, items)


def _chunks(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    iterator = iter(items)
    while part := list(islice(iterator, size)):
        yield part


def _in_order(
    submit: Callable[[list[Item]], Future[list[Result]]], chunks: Iterable[list[Item]], width: Callable[[], int]
) -> Iterator[Result]:
    pending: deque[Future[list[Result]]] = deque()
    for part in chunks:
        pending.append(submit(part))
        while len(pending) > AHEAD * width():
            yield from pending.popleft().result()
    while pending:
        yield from pending.popleft().result()


def _start_server(context: BaseContext) -> None:
    """Start what workers are forked from. A terminal's Ctrl-C goes to it and to them as well, at any moment of their
    imports, and so may SIGTERM. Both are the parent's to handle: they inherit a mask that keeps them away. Returns when
    the imports are done; a server that is still at them when this process is interrupted has no workers and is
    killed."""
    from multiprocessing import forkserver, resource_tracker

    resource_tracker.ensure_running()  # first: starting it ends the mask
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        forkserver.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    try:
        ready = context.Process(target=_nothing)  # type: ignore[attr-defined]
        ready.start()
        ready.join()
    except KeyboardInterrupt:
        pid = getattr(forkserver._forkserver, "_forkserver_pid", None)
        if pid is not None:
            os.kill(pid, signal.SIGKILL)
        raise


def _nothing() -> None:
    """What the first process does that a new server forks."""


def _start_worker() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # where there are no masks
    signal.signal(signal.SIGTERM, _finish)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    parent = multiprocessing.parent_process()
    assert parent is not None
    threading.Thread(target=_die_with, args=(parent.sentinel,), daemon=True).start()


def _finish(number: int, _: object) -> None:
    """Sent to all processes, SIGTERM makes the parent end the workers after what they are at; sent to one worker alone,
    it ends that one somewhat later."""
    end_soon(FINISH_SECONDS, 128 + number)


def _die_with(sentinel: int) -> None:
    """Without this a worker whose parent was killed would wait for the next task for ever."""
    wait([sentinel])
    os._exit(1)
