"""One process per device: alone, spawned on this machine, or started by torchrun on several."""

from __future__ import annotations

import logging
import os
import signal
import sys
import traceback
import warnings
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from typing import Any, cast

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor, nn
from torch.distributed.rendezvous import rendezvous

from errors import UserError
from training.peers import JOIN_SECONDS, LOST, LostProcessError, Peers, is_connection_error, tell
from training.signals import kept_back
from utils.devices import choose_devices

GRACE_SECONDS = 10  # for spawned processes to end by themselves, and again after SIGTERM, once one of them is lost
# Between two looks at the processes. Signals may come upon any thread, but are handled in this one and wake only what
# the thread that got them waits for.
HEAR_SECONDS = 0.5
PEERS = "peers"  # prefix of what Peers keeps in the store


class Question:
    """A number put to all processes; their greatest is fetched later, without making any device wait."""

    def __init__(self, number: int, group: dist.ProcessGroup | None) -> None:
        self._number = torch.tensor([number], dtype=torch.int32)
        self._work = None if group is None else dist.all_reduce(self._number, dist.ReduceOp.MAX, group, async_op=True)

    def answer(self) -> int:
        """The greatest number; waits until every process has asked."""
        if self._work is not None:
            self._work.wait()
        return int(self._number)


@dataclass(frozen=True)
class Process:
    rank: int
    world: int
    device: torch.device
    peers: Peers | None = None  # None: alone
    control: dist.ProcessGroup | None = None  # on the CPU, beside the one that the tensors on the device take
    launcher: int = 0  # pid of what started this process; 0: nothing whose end matters

    @property
    def is_first(self) -> bool:
        """The process that writes files and speaks to the user."""
        return self.rank == 0

    def sum(self, tensor: Tensor) -> Tensor:
        """Sum of `tensor` over all processes, in place."""
        if self.world > 1:
            dist.all_reduce(tensor)
        return tensor

    def ask_to_stop(self, number: int) -> Question:
        """Let all know of the signal received (0: none). One whose launcher has died takes that for SIGTERM."""
        if not number and self.launcher and os.getppid() != self.launcher:
            number = signal.SIGTERM
        return Question(number, self.control)

    def must_agree(self, what: str, value: str) -> None:
        """Raise UserError in every process unless all have the same `value`."""
        if self.peers is not None:
            self.peers.compare(what, value)

    def wait_for_all(self) -> None:
        """Return when every process has come here."""
        if self.control is not None:
            dist.all_reduce(torch.zeros(1), group=self.control)

    def distribute(self, model: nn.Module) -> nn.Module:
        """The model whose backward pass averages gradients over processes, and whose statistics are those of all."""
        if self.world == 1:
            return model
        for module in model.modules():
            if hasattr(module, "synchronised"):
                module.synchronised = True  # type: ignore[assignment]
        # Gradients of channels-last convolutions are copied into their bucket: a few kilobytes, no news to a user
        warnings.filterwarnings("ignore", "Grad strides do not match bucket view strides")
        # Buffers are equal everywhere without being sent: they are constants, or statistics of all processes' batches
        device_ids = [self.device] if self.device.type == "cuda" else None
        return nn.parallel.DistributedDataParallel(
            model, device_ids=device_ids, forward_sync_buffers=False, gradient_as_bucket_view=True
        )


@dataclass(frozen=True)
class Launch:
    """How to run `work(process, *arguments)` on several devices, and what to say when one of them is lost."""

    work: Callable[..., int]
    arguments: tuple[Any, ...]
    timeout: int  # seconds that processes wait for each other
    advice: Callable[[], str]  # how to go on


def launch(work: Callable[..., int], device: str, *arguments: Any, timeout: int, advice: Callable[[], str]) -> int:
    """Run `work(process, *arguments)` on every chosen device and return its exit code.

    Under torchrun (WORLD_SIZE is set) this process is one of many already. Otherwise one device runs here, several
    are spawned. Where several run, all end when one does: with the work's exit code, 2 after a UserError in any of
    them, LOST after one was killed or hung for `timeout` seconds; one line tells what happened, and `advice()`.
    """
    if "WORLD_SIZE" in os.environ:
        return _join(Launch(work, arguments, timeout, advice), device)
    devices = choose_devices(device)
    if len(devices) == 1:
        if devices[0].type == "cuda":
            torch.cuda.set_device(devices[0])
        return work(Process(0, 1, devices[0]), *arguments)
    return _spawn(Launch(work, arguments, timeout, advice), devices)


def _spawn(plan: Launch, devices: list[torch.device]) -> int:
    """Start one process per device and wait for all. They end together: with one exit code, or by the first error."""
    store = dist.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)  # here: it outlives every process
    early: list[int] = []
    for asked in (signal.SIGINT, signal.SIGTERM):
        signal.signal(asked, lambda number, _: early.append(number))
    with kept_back():  # in the processes that are started now it waits for their StopSignal
        context = mp.spawn(_spawned, (devices, store.port, plan), len(devices), join=False)
    for asked in (signal.SIGINT, signal.SIGTERM):
        signal.signal(asked, lambda number, _: _pass_on(context.pids(), number))
    for number in early:
        _pass_on(context.pids(), number)
    logging.getLogger("torch.multiprocessing.spawn").setLevel(logging.CRITICAL)  # we tell it ourselves, once
    code = _first_failure(context.processes, dist.PrefixStore(PEERS, store), plan)
    try:
        while not context.join(grace_period=GRACE_SECONDS):  # ends those that do not end by themselves
            pass
    except mp.ProcessExitedException:
        pass
    return code


def _first_failure(processes: list[BaseProcess], store: dist.Store, plan: Launch) -> int:
    """Exit code for the first process that fails, told at once if it was killed; 0 when all have ended well."""
    running = {process.sentinel: index for index, process in enumerate(processes)}
    while running:
        for sentinel in wait(list(running), HEAR_SECONDS):
            index = running.pop(cast(int, sentinel))
            processes[index].join()
            code = processes[index].exitcode or 0
            if -code in (signal.SIGTERM, signal.SIGINT):
                return 128 - code  # asked to end before there was anything to save
            if code < 0:
                who = f"process {index} of {len(processes)} (pid {processes[index].pid})"
                by = signal.strsignal(-code) or f"signal {-code}"
                tell(store, f"{who} was killed ({by}); {plan.advice()}", after_progress=True)
                return LOST
            if code:
                return code
    return 0


def _pass_on(pids: list[int | None], number: int) -> None:
    for pid in pids:
        if pid is not None:
            with suppress(ProcessLookupError):  # ended by itself
                os.kill(pid, number)


def _spawned(rank: int, devices: list[torch.device], port: int, plan: Launch) -> None:
    """A terminal's Ctrl-C reaches the parent alone, for this process has its own group; the parent passes it on."""
    if hasattr(os, "setpgrp"):
        os.setpgrp()
    store = dist.TCPStore("127.0.0.1", port, timeout=timedelta(seconds=JOIN_SECONDS))
    try:
        code = _run(plan, store, rank, len(devices), devices[rank])
    except KeyboardInterrupt:  # the second one, or the end of peers that had it
        if rank == 0:
            print("interrupted", file=sys.stderr)
        code = 128 + signal.SIGINT
    except Exception:  # a bug of ours: its traceback, whichever process the launcher looks at first
        traceback.print_exc()
        code = 1
    if code:
        sys.exit(code)


def _join(plan: Launch, device: str) -> int:
    rank, world = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    own = _own_device(device, int(os.environ.get("LOCAL_RANK", rank)))
    try:
        store, _, _ = next(rendezvous("env://", rank, world, timeout=timedelta(seconds=JOIN_SECONDS)))
    except dist.DistError as error:
        place = f"{os.environ.get('MASTER_ADDR')}:{os.environ.get('MASTER_PORT')}"
        raise UserError(f"cannot reach {place}, where the processes meet: {str(error).splitlines()[0]}") from error
    return _run(plan, store, rank, world, own)


def _own_device(name: str, local_rank: int) -> torch.device:
    """Of the devices that `--device` allows on this machine, the one of its `local_rank`-th process."""
    devices = choose_devices(name)
    if devices[0].type == "cpu":
        return devices[0]
    if local_rank >= len(devices):
        raise UserError(
            f"--device {name}: this machine has {len(devices)} such GPUs and more processes; "
            f"start it with torchrun --nproc_per_node {len(devices)}"
        )
    return devices[local_rank]


def _run(plan: Launch, store: dist.Store, rank: int, world: int, device: torch.device) -> int:
    """One process's whole life: join, work, leave together."""
    on_gpu = device.type == "cuda"
    if on_gpu:
        torch.cuda.set_device(device)
    peers = Peers(dist.PrefixStore(PEERS, store), rank, world)
    timeout = timedelta(seconds=plan.timeout)
    try:
        dist.init_process_group(
            "nccl" if on_gpu else "gloo",
            store=dist.PrefixStore("group", store),
            rank=rank,
            world_size=world,
            timeout=timeout,
            device_id=device if on_gpu else None,  # NCCL connects now, on this device, not at the first step
        )
        control = dist.new_group(backend="gloo", timeout=timeout) if world > 1 else None
        peers.start()
        process = Process(rank, world, device, peers, control, os.getppid())
        code = plan.work(process, *plan.arguments)
        process.wait_for_all()  # whoever left early would make the launcher end those who still save
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    except Exception as error:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # the launcher's, for it may know sooner: there is more to tell
        code = _failed(error, peers, plan)
        if on_gpu:  # a communicator whose peer is lost may never be destroyed
            sys.stdout.flush()
            os._exit(code)
    finally:
        peers.close()
        if dist.is_initialized():
            dist.destroy_process_group()
    return code


def _failed(error: Exception, peers: Peers, plan: Launch) -> int:
    """Tell the others and the user; returns the exit code. What is a bug of ours is raised again."""
    if isinstance(error, LostProcessError) or is_connection_error(error):
        text = str(error) if isinstance(error, LostProcessError) else peers.missing(error)
        peers.tell(f"{text}; {plan.advice()}", after_progress=True)
        return LOST
    if isinstance(error, UserError):
        peers.leave(str(error))
        peers.tell(str(error))
        return 2
    peers.leave(f"{type(error).__name__}: {error}")
    raise error
