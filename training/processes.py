"""One process per device: alone, spawned on this machine, or started by torchrun on several."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor

from errors import UserError


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


def choose_devices(name: str) -> list[torch.device]:
    """`auto`: every visible GPU, else the CPU; `cuda`, `cuda:N`, `cpu`: that. UserError if there is no such device."""
    gpus = torch.cuda.device_count()
    if name == "cpu" or (name == "auto" and not gpus):
        return [torch.device("cpu")]
    if name in ("auto", "cuda") and gpus:
        return [torch.device("cuda", index) for index in range(gpus)]
    kind, _, index = name.partition(":")
    if kind == "cuda" and index.isdigit() and int(index) < gpus:
        return [torch.device("cuda", int(index))]
    known = ", ".join(["auto", "cpu", *(f"cuda:{number}" for number in range(gpus))])
    raise UserError(f"--device {name}: this machine has no such device; choose one of {known}")


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
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{free.getsockname()[1]}"
    codes = mp.get_context("spawn").SimpleQueue()
    context = mp.spawn(_spawned, (len(devices), address, work, arguments, codes), len(devices), join=False)
    while True:  # Ctrl-C reaches the workers as well; they save and end by themselves
        try:
            if context.join():
                return int(codes.get())
        except KeyboardInterrupt:
            continue


def _join(work: Callable[..., int], arguments: tuple[Any, ...], device: str) -> int:
    rank, world = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    use_gpu = device != "cpu" and torch.cuda.is_available()
    own = torch.device("cuda", int(os.environ["LOCAL_RANK"])) if use_gpu else torch.device("cpu")
    return _run(work, arguments, Process(rank, world, own), "env://")


def _spawned(
    rank: int, world: int, address: str, work: Callable[..., int], arguments: tuple[Any, ...], codes: Any
) -> None:
    code = _run(work, arguments, Process(rank, world, torch.device("cuda", rank)), address)
    if rank == 0:
        codes.put(code)


def _run(work: Callable[..., int], arguments: tuple[Any, ...], process: Process, address: str) -> int:
    if process.device.type == "cuda":
        torch.cuda.set_device(process.device)
    backend = "nccl" if process.device.type == "cuda" else "gloo"
    dist.init_process_group(backend, init_method=address, rank=process.rank, world_size=process.world)
    try:
        return work(process, *arguments)
    finally:
        dist.destroy_process_group()
