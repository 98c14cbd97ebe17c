"""Training on a GPU: steps per second in every precision, beside the original's way of working, and idle time."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable
from typing import Any

import torch

from benchmarks.bench import Bench, SkipError
from benchmarks.rows import Timing
from benchmarks.step import PRECISIONS, make_trainer
from utils.files import write_text

STEPS = 50  # in a round
PROFILED = 20  # steps


def require(_: Bench) -> None:
    """Skips what needs it where there is no GPU."""
    if not torch.cuda.is_available():
        raise SkipError("no GPU here (PyTorch sees no CUDA device)")


def gpu(bench: Bench) -> None:
    """The real loop, with its loader; then the original's with its own."""
    named = bench.settings.device
    device = bench.device(torch.device(named if named.startswith("cuda:") else "cuda:0"))
    torch.cuda.set_device(device)
    speeds = {}
    for dtype, name in PRECISIONS.items():
        torch.cuda.reset_peak_memory_stats()
        trainer = make_trainer(bench.settings, dtype, device)
        loop = iter(trainer.loader)
        taken = steps(bench, lambda: trainer.train_step([next(loop)]))  # noqa: B023
        speeds[name] = add(bench, f"ours, whole step with loader, {name}", taken)
        peak = torch.cuda.max_memory_allocated() / 1e6
        bench.plain(f"ours, device memory, {name}", [peak], "MB")
        profile(bench, f"ours-{name.split()[0]}", lambda: trainer.train_step([next(loop)]))  # noqa: B023
    theirs = against_original(bench, device)
    speeds |= compiled(bench, device)
    for name, speed in speeds.items():
        bench.plain(f"ours, {name}, over the original's way of working", [speed / theirs], "×", "goal on an H200: 15")


def compiled(bench: Bench, device: torch.device) -> dict[str, float]:
    """Steps per second in bfloat16 with torch.compile, where the trainer offers it; what compiling costs."""
    from config.schema import TrainConfig

    if "compile" not in TrainConfig.model_fields:
        return {}
    speeds = {}
    for mode in ("default", "reduce-overhead"):
        overrides = (f"train.compile={mode}", "train.pad_multiple=[64, 8]")
        trainer = make_trainer(bench.settings, torch.bfloat16, device, *overrides)
        loop = iter(trainer.loader)
        name = f"bf16 autocast, compile={mode}"
        begin = time.perf_counter()
        for _ in range(2 * trainer.state.sampler.batches):  # every shape is compiled, and recorded as a graph
            trainer.train_step([next(loop)])
        bench.synchronise()
        bench.plain(f"ours, {name}: its first two epochs", [time.perf_counter() - begin], "s", "compiling included")
        taken = steps(bench, lambda: trainer.train_step([next(loop)]))  # noqa: B023
        speeds[name] = add(bench, f"ours, whole step with loader, {name}", taken)
        profile(bench, f"ours-bf16-{mode}", lambda: trainer.train_step([next(loop)]))  # noqa: B023
    return speeds


def against_original(bench: Bench, device: torch.device) -> float:
    """Steps per second of the original's way of working in float32."""
    from benchmarks.original import OriginalModel
    from benchmarks.original_loop import batches, make_optimizer, train_step

    torch.cuda.reset_peak_memory_stats()
    trainer = make_trainer(bench.settings, torch.float32, torch.device("cpu"))
    model = OriginalModel(trainer.state.model).to(device).train()
    optimizer = make_optimizer(model)
    loop = batches(trainer.state.train_set, bench.settings.work / "features", bench.settings.batch_size)
    taken = steps(bench, lambda: train_step(model, optimizer, next(loop), device))
    speed = add(bench, "original's way of working, with its loader, fp32", taken)
    bench.plain("original's way of working, device memory", [torch.cuda.max_memory_allocated() / 1e6], "MB")
    profile(bench, "original", lambda: train_step(model, optimizer, next(loop), device))
    return speed


def steps(bench: Bench, call: Callable[[], object]) -> Timing:
    """Seconds of a step; the GPU is waited for at the end of a round, not after each step."""
    number = 5 if bench.settings.quick else STEPS
    for _ in range(10):  # loading processes start, kernels are chosen
        call()
    wall, cpu = [], []
    for _ in range(bench.settings.rounds):
        bench.synchronise()
        began, began_cpu = time.perf_counter(), time.process_time()
        for _ in range(number):
            call()
        bench.synchronise()
        wall.append((time.perf_counter() - began) / number)
        cpu.append((time.process_time() - began_cpu) / number)
    return Timing(wall, cpu)


def add(bench: Bench, name: str, taken: Timing) -> float:
    """A row; returns steps per second."""
    speed = 1 / statistics.median(taken.wall)
    bench.timed(name, taken, f"{speed:.1f} steps/s")
    return speed


def profile(bench: Bench, name: str, call: Callable[[], object]) -> None:
    """A row with the share of time in which the GPU has nothing to do, and the profile's tables beside the report."""
    from torch.profiler import ProfilerActivity
    from torch.profiler import profile as record

    with record(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as recorded:
        for _ in range(PROFILED):
            call()
        torch.cuda.synchronize()
    events: Any = recorded.events()
    on_gpu = torch.autograd.DeviceType.CUDA
    spans = [(each.time_range.start, each.time_range.end) for each in events if each.device_type == on_gpu]
    share = idle_share(spans)
    bench.plain(f"{name}: GPU idle, share of time", [100 * share], "%", f"profile of {PROFILED} steps")
    averages = recorded.key_averages()
    tables = [averages.table(sort_by=key, row_limit=30) for key in ("self_device_time_total", "self_cpu_time_total")]
    waits = {each.key: each.count for each in averages if "Synchronize" in each.key or each.key == "aten::item"}
    head = f"{PROFILED} steps; GPU idle {100 * share:.1f}% of the time between its first and its last work\n"
    head += "waits for the device: " + (", ".join(f"{key} {count}" for key, count in waits.items()) or "none") + "\n\n"
    write_text(bench.settings.output / f"profile-{name}.txt", head + "\n".join(tables))


def idle_share(spans: Iterable[tuple[float, float]]) -> float:
    """Share of the time from the first start to the last end that none of the (start, end) spans covers."""
    ordered = sorted(spans)
    if not ordered:
        return 1.0
    busy, reached = 0.0, ordered[0][0]
    for start, end in ordered:
        busy += max(0.0, end - max(start, reached))
        reached = max(reached, end)
    whole = reached - ordered[0][0]
    return 1.0 - busy / whole if whole > 0 else 0.0
