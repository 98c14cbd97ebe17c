"""One function over many items on several cores, results in order, no process left behind."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import wait
from typing import TypeVar

from errors import UserError

Item = TypeVar("Item")
Result = TypeVar("Result")


def ordered_map(
    function: Callable[[Item], Result],
    items: Sequence[Item],
    jobs: int,
    preload: Sequence[str] = (),
    chunk: int = 1,
) -> Iterator[Result]:
    """Yield function(item) for every item, in the order of `items`, computed by `jobs` processes.

    `function` is a module-level function. `preload` names the slow third-party imports it needs. Workers end with the
    parent however it ends, SIGKILL included. Raises UserError when a worker dies.

    Workers are forked from a server process that has imported `preload` and started no thread: a plain fork would copy
    the locks of numpy's and torch's thread pools in whatever state they are, and spawn would import torch per worker.
    """
    jobs = min(jobs, -(-len(items) // chunk))
    if jobs <= 1:
        yield from map(function, items)
        return
    method = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
    context = multiprocessing.get_context(method)
    context.set_forkserver_preload(list(preload))
    pool = ProcessPoolExecutor(jobs, mp_context=context, initializer=_start_worker)
    try:
        yield from pool.map(function, items, chunksize=chunk)
    except BrokenProcessPool as error:
        raise UserError("a worker process died (out of memory?); try again with a smaller --jobs") from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _start_worker() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    parent = multiprocessing.parent_process()
    assert parent is not None
    threading.Thread(target=_die_with, args=(parent.sentinel,), daemon=True).start()


def _die_with(sentinel: int) -> None:
    """Without this a worker whose parent was killed would wait for the next task for ever."""
    wait([sentinel])
    os._exit(1)
