"""One process per device: alone, spawned on this machine, or started by torchrun on several."""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor

from errors import UserError
from utils.devices import choose_devices


@dataclass(frozen=True)
class Process:
    rank: int
    world: int
    device: torch.device

    @property
    def is_first(self) -> bool:
        """The process that writes files and speaks to the user."""
        return self.rank == 0

    def sum(self, tensor: Tensor) -> Tensor:
        """Sum of `tensor` over all processes, in place."""
        if self.world > 1:
            dist.all_reduce(tensor)
        return tensor


def launch(work: Callable[..., int], device: str, *arguments: Any) -> int:
    """Run `work(process, *arguments)` on every chosen device and return its exit code.

    Under torchrun (WORLD_SIZE is set) this process is one of many already. Otherwise one device runs here, several
    are spawned.
    """
    if "WORLD_SIZE" in os.environ:
        return _join(work, arguments, device)
    devices = choose_devices(device)
    if len(devices) == 1:
        if devices[0].type == "cuda":
            torch.cuda.set_device(devices[0])
        return work(Process(0, 1, devices[0]), *arguments)
    return _spawn(work, arguments, devices)


def _spawn(work: Callable[..., int], arguments: tuple[Any, ...], devices: list[torch.device]) -> int:
    """Start one process per device and wait for all. They end together: with one exit code, or by the first error."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{free.getsockname()[1]}"
    context = mp.spawn(_spawned, (devices, address, work, arguments), len(devices), join=False)
    # Ctrl-C reaches the workers by itself: they save and end. SIGTERM reaches this process alone, so it is passed on.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: _pass_on(context.pids()))
    logging.getLogger("torch.multiprocessing.spawn").setLevel(logging.ERROR)  # the error itself is told, once
    try:
        while not context.join():
            pass
    except mp.ProcessExitedException as error:
        return int(error.exit_code)
    return 0


def _pass_on(pids: list[int | None]) -> None:
    for pid in pids:
        if pid is not None:
            os.kill(pid, signal.SIGTERM)


def _join(work: Callable[..., int], arguments: tuple[Any, ...], device: str) -> int:
    rank, world = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    use_gpu = device != "cpu" and torch.cuda.is_available()
    own = torch.device("cuda", int(os.environ["LOCAL_RANK"])) if use_gpu else torch.device("cpu")
    return _run(work, arguments, Process(rank, world, own), "env://")


def _spawned(
    rank: int, devices: list[torch.device], address: str, work: Callable[..., int], arguments: tuple[Any, ...]
) -> None:
    try:
        code = _run(work, arguments, Process(rank, len(devices), devices[rank]), address)
    except UserError as error:
        if rank == 0:
            print(f"error: {error}", file=sys.stderr)
        code = 2
    if code:
        sys.exit(code)


def _run(work: Callable[..., int], arguments: tuple[Any, ...], process: Process, address: str) -> int:
    if process.device.type == "cuda":
        torch.cuda.set_device(process.device)
    backend = "nccl" if process.device.type == "cuda" else "gloo"
    dist.init_process_group(backend, init_method=address, rank=process.rank, world_size=process.world)
    try:
        return work(process, *arguments)
    finally:
        dist.destroy_process_group()
