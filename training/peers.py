"""What the processes of a run know of each other: where each one runs, what ended it, who no longer answers."""

from __future__ import annotations

import os
import socket
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import torch.distributed as dist

from errors import UserError
from utils.files import write_json

LOST = 75  # exit code after the loss of another process: EX_TEMPFAIL of sysexits.h, "run it again"
JOIN_SECONDS = 300  # until every process has come; launchers start them within seconds of each other
LOOK_SECONDS = 0.5  # between two looks whether somebody is in trouble
ANSWER_SECONDS = 3.0  # after which a process that does not answer is taken for lost
END_SECONDS = 120  # for the main thread to end after trouble; a GPU may leave it waiting for a dead peer
GLOO = ("gloo/transport", "Timed out waiting", "caused pair closure")  # words by which its errors are known
Answer = TypeVar("Answer")


class LostProcessError(UserError):
    """Another process of the run has died, hangs, or has ended by an error of its own."""


def is_connection_error(error: BaseException) -> bool:
    """Whether torch.distributed reports that another process is gone or silent. For gloo only the text tells."""
    if isinstance(error, dist.DistError):
        return True
    return isinstance(error, RuntimeError) and any(word in str(error) for word in GLOO)


class Peers:
    """The other processes, seen through a key-value store that need not die with any of them.

    A thread answers for this process even while its main thread waits within a collective operation, so that those
    who notice a loss can tell who is lost from who merely waits.
    """

    def __init__(self, store: dist.Store, rank: int, world: int) -> None:
        self.rank, self.world = rank, world
        self._store = store
        self._closing = threading.Event()
        own = f"{socket.gethostname()}, pid {os.getpid()}"
        self.names = [f"process {rank} of {world}" for rank in range(world)]
        self.names = [f"{name} ({at})" for name, at in zip(self.names, self._exchange("at", own), strict=True)]
        self._thread = threading.Thread(target=self._answer, daemon=True, name="peers")

    def start(self) -> None:
        """Answer from now on. Earlier the store may be busy with others' questions."""
        self._thread.start()

    def close(self) -> None:
        """Answer no longer."""
        self._closing.set()
        if self._thread.is_alive():
            self._thread.join()

    def compare(self, what: str, value: str) -> None:
        """Raise UserError in every process unless all have the same `value`."""
        values = self._exchange(what, value)
        other = next((rank for rank, theirs in enumerate(values) if theirs != values[0]), None)
        if other is not None:
            raise UserError(
                f"{what} differs: {values[0]} in {self.names[0]}, {values[other]} in {self.names[other]}; every "
                "machine needs the same configuration, preprocessed data and checkpoints, best in one shared folder"
            )

    def leave(self, reason: str) -> None:
        """Let the others know why this process ends."""
        _try(lambda: self._store.set(f"end/{self.rank}", reason))
        _try(lambda: self._store.set(f"here/{self.rank}", ""))

    def tell(self, text: str, after_progress: bool = False) -> None:
        """Print an error for the user, once per machine, whoever comes first; torchrun repeats it in its summary."""
        if file := os.environ.get("TORCHELASTIC_ERROR_FILE"):
            facts = {"py_callstack": text, "timestamp": str(int(time.time()))}
            write_json(Path(file), {"message": {"message": text, "extraInfo": facts}})
        tell(self._store, text, after_progress)

    def missing(self, error: BaseException) -> str:
        """Who is lost, as far as can be known, after `error` has shown that somebody is. Takes some seconds."""
        answers = _try(self._call)
        if answers is None:
            return f"{self.names[0]}, its launcher or its machine is gone, where the processes meet"
        silent, ended = answers
        told = [f"{self.names[rank]} ended: {reason}" for rank, reason in ended.items()]
        told += [f"{self.names[rank]} no longer answers: killed, hung, or its machine is gone" for rank in silent]
        if not told:
            told = [f"the processes lost each other although all still answer ({str(error).splitlines()[0][:200]})"]
        return "; ".join(told)

    def _call(self) -> tuple[list[int], dict[int, str]]:
        self._store.set("trouble", str(self.rank))
        self._store.set(f"here/{self.rank}", "")
        silent = [rank for rank in range(self.world) if rank != self.rank]
        deadline = time.monotonic() + ANSWER_SECONDS
        while silent and time.monotonic() < deadline:
            silent = [rank for rank in silent if not self._store.check([f"here/{rank}"])]
            time.sleep(0.05)
        return silent, self._ended()

    def _ended(self) -> dict[int, str]:
        ended = [rank for rank in range(self.world) if self._store.check([f"end/{rank}"])]
        return {rank: self._store.get(f"end/{rank}").decode() for rank in ended}

    def _exchange(self, what: str, value: str) -> list[str]:
        """Everybody's value, in the order of ranks."""
        try:
            self._store.set(f"{what}/{self.rank}", value)
            deadline = time.monotonic() + JOIN_SECONDS
            for rank in range(self.world):
                while not self._store.check([f"{what}/{rank}"]):
                    for other, reason in self._ended().items():
                        raise LostProcessError(f"{self.names[other]} ended: {reason}")
                    if time.monotonic() > deadline:
                        raise LostProcessError(f"{self.names[rank]} has not come within {JOIN_SECONDS} s")
                    time.sleep(0.02)
            return [self._store.get(f"{what}/{rank}").decode() for rank in range(self.world)]
        except RuntimeError as error:
            raise LostProcessError(f"the processes' meeting place is gone: {str(error).splitlines()[0]}") from error

    def _answer(self) -> None:
        while not self._closing.wait(LOOK_SECONDS):
            try:
                if self._store.check(["trouble"]):
                    self._store.set(f"here/{self.rank}", "")
                    break
            except RuntimeError:
                return  # without the store nobody can ask; the main thread finds out by itself
        if not self._closing.wait(END_SECONDS):
            self.tell("another process is lost, and this one waited in vain for its device", after_progress=True)
            os._exit(LOST)


def tell(store: dist.Store, text: str, after_progress: bool = False) -> None:
    """Print an error unless another process of this machine has done so; on a new line after a progress bar."""
    if _try(lambda: store.add(f"told/{os.environ.get('GROUP_RANK', '0')}", 1)) in (1, None):
        print(f"{chr(10) * after_progress}error: {text}", file=sys.stderr, flush=True)


def _try(ask: Callable[[], Answer]) -> Answer | None:
    try:
        return ask()
    except RuntimeError:  # the store is gone
        return None
