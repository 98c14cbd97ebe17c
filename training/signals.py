"""Ctrl-C and SIGTERM: finish the step, save, say how to go on."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def kept_back() -> Iterator[None]:
    """Ctrl-C waits until the end of the block, and in processes that are started within it until their StopSignal:
    where it comes while libraries are being imported, it ends in anything but an orderly way."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    from multiprocessing import resource_tracker

    resource_tracker.ensure_running()  # first: starting it lets Ctrl-C in
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


class StopSignal:
    """Remembers the first SIGINT or SIGTERM; a second one ends the process the ordinary way.

    As a context manager it restores the previous handlers.
    """

    def __init__(self) -> None:
        self.number = 0  # of the signal received; 0 = none
        self._previous: dict[int, object] = {}

    def __enter__(self) -> StopSignal:
        for number in (signal.SIGINT, signal.SIGTERM):
            self._previous[number] = signal.signal(number, self._receive)
        if hasattr(signal, "pthread_sigmask"):
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})  # see kept_back
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    def _receive(self, number: int, _: FrameType | None) -> None:
        self.number = number
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)

    def agree(self, number: int) -> None:
        """Take over the signal that another process received (0: none)."""
        self.number = self.number or number

    @property
    def exit_code(self) -> int:
        """128 + signal number, as shells report it; 0 without a signal."""
        return 128 + self.number if self.number else 0


def ignore_in_worker(_: int) -> None:
    """`worker_init_fn` of data loaders: the trainer decides when to end, and it needs them for the step it is in.

    Ctrl-C on a terminal and torchrun's SIGTERM go to whole process groups, so these processes have groups of their own.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(os, "setpgrp"):
        os.setpgrp()
