"""Training: batches, the step and its parts, and the same step in the original's way of working."""

from __future__ import annotations

import itertools
import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import nn

from benchmarks.bench import Bench, Settings
from benchmarks.rows import Timing
from benchmarks.timing import repeat
from dataset import Batch
from training.processes import Process
from training.sampler import LengthBucketSampler
from training.trainer import Trainer
from training.validation import run_model

if TYPE_CHECKING:
    from config import Config

STEPS = 8  # different batches in a round
PARTS = ("forward and losses", "backward", "optimiser and clipping")
PRECISIONS = {torch.float32: "fp32", torch.bfloat16: "bf16 autocast", torch.float16: "fp16 AMP"}


def make_trainer(
    settings: Settings, dtype: torch.dtype, device: torch.device, *overrides: str, ours: bool = False
) -> Trainer:
    """A run of the original's model or, with `ours`, of RAVDESS's default, at its start, that computes in `dtype`."""
    config = settings.config(f"train.optimizer.batch_size={settings.batch_size}", *overrides, ours=ours)
    config = _in_precision(config, dtype)
    trainer = Trainer(config, Process(0, 1, device), dtype != torch.float32, None)
    trainer.model.train()
    return trainer


def _in_precision(config: Config, dtype: torch.dtype) -> Config:
    names = {torch.float16: "float16", torch.bfloat16: "bfloat16", torch.float32: "auto"}
    optimizer = config.train.optimizer.model_copy(update={"amp_dtype": names[dtype]})
    return config.model_copy(update={"train": config.train.model_copy(update={"optimizer": optimizer})})


def in_this_process() -> str:
    """Override: no processes that load batches."""
    return "train.num_workers=0"


def first_batches(trainer: Trainer, number: int) -> list[Batch]:
    """The first ones of a run."""
    return list(itertools.islice(iter(trainer.loader), number))


def frames_of(batches: list[Batch]) -> str:
    """How much work they are, in words."""
    valid = statistics.mean(int(batch.mel_lengths.sum()) for batch in batches)
    return f"{len(batches[0].names)} utterances, {valid:,.0f} frames that are no padding"


def data(bench: Bench) -> None:
    """Reading and padding batches; the sampler's padding; how long training waits for data."""
    device = bench.device()
    settings = bench.settings
    count = 4 if settings.quick else 32
    bench.calibrate()
    trainer = make_trainer(settings, torch.float32, device, in_this_process())
    batches = iter(trainer.loader)
    epoch = trainer.state.sampler.batches
    for name in ("first epoch", "later epochs"):
        taken = repeat(partial(next, batches), max(1, min(count, epoch - 3)), 0.0, bench.synchronise)
        bench.timed(f"next batch, {name}", taken, f"{1 / statistics.median(taken.wall):.0f} batches/s and process")
        for _ in range(epoch):
            next(batches)
    sampler, lengths = trainer.state.sampler, trainer.state.train_set.lengths
    shares = [valid_share(sampler, lengths, epoch) for epoch in range(1 if settings.quick else 5)]
    bench.plain("frames that are padding", [100 - 100 * share for share in shares], "%", "batches of an epoch")
    trainer = make_trainer(settings, torch.float32, device)
    loading = f"train.num_workers={trainer.config.train.num_workers}"
    bench.plain("waiting for data, share of step", waiting(bench, trainer, count), "%", loading)


def valid_share(sampler: LengthBucketSampler, lengths: list[int], epoch: int) -> float:
    """Share of an epoch's batches that is no padding, in frames."""
    batches = sampler.epoch(epoch)
    valid = sum(lengths[index] for batch in batches for index in batch)
    return valid / sum(len(batch) * max(lengths[index] for index in batch) for batch in batches)


def waiting(bench: Bench, trainer: Trainer, steps: int) -> list[float]:
    """Per cent of each step's time spent on waiting for its batch."""
    batches, shares = iter(trainer.loader), []
    for step in range(steps + 2):
        begin = time.perf_counter()
        batch = next(batches)
        ready = time.perf_counter()
        trainer.train_step([batch])
        bench.synchronise()
        if step >= 2:  # the first ones start the workers
            shares.append(100 * (ready - begin) / (time.perf_counter() - begin))
    return shares


def step(bench: Bench) -> None:
    """Whole steps of the original's model in every precision, and the parts of one; then our default's whole step."""
    device = bench.device()
    dtypes = [torch.float32, torch.bfloat16] + ([torch.float16] if device.type == "cuda" else [])
    trainers = {dtype: make_trainer(bench.settings, dtype, device, in_this_process()) for dtype in dtypes}
    batches = first_batches(trainers[torch.float32], 1 if bench.settings.quick else STEPS)
    fast = [dtype for dtype in dtypes if not emulated(dtype, device)]
    bench.calibrate()
    whole = bench.interleaved({dtype: partial(train, trainers[dtype], batches) for dtype in fast})
    for dtype, taken in whole.items():
        each = taken.per(len(batches))
        note = f"{frames_of(batches)}; {1 / statistics.median(each.wall):.1f} steps/s"
        bench.timed(f"whole step, {PRECISIONS[dtype]}", each, note)
    for dtype in fast[:2]:
        bench.calibrate()
        for name, taken in parts(bench, trainers[dtype], batches).items():
            bench.timed(f"{name}, {PRECISIONS[dtype]}", taken)
    for dtype in set(dtypes) - set(fast):
        taken = bench.time(partial(train, trainers[dtype], batches[:1]), rounds=1)
        bench.timed(f"whole step, {PRECISIONS[dtype]}", taken, "emulated: this processor has no bfloat16 products")
    bf16_losses(bench, device)
    default = make_trainer(bench.settings, torch.float32, device, in_this_process(), ours=True)
    batches = first_batches(default, len(batches))  # the same, with pitch
    taken = bench.time(partial(train, default, batches), len(batches), 1 if bench.settings.quick else 3)
    sizes = f"{default.config.model.decoder.decoder_hidden} channels, prosody"
    bench.timed("whole step, our default model, fp32", taken, sizes)
    if device.type == "cuda":
        bench.plain("peak device memory", [torch.cuda.max_memory_allocated() / 1e6], "MB")


def train(trainer: Trainer, batches: list[Batch]) -> None:
    """A step on each batch."""
    for batch in batches:
        trainer.train_step([batch])


def emulated(dtype: torch.dtype, device: torch.device) -> bool:
    """Whether bfloat16 is slower than float32 here: processors without such products."""
    return dtype == torch.bfloat16 and device.type == "cpu" and not torch.ops.mkldnn._is_mkldnn_bf16_supported()


def parts(bench: Bench, trainer: Trainer, batches: list[Batch]) -> dict[str, Timing]:
    """Forward with losses, backward, and optimiser with gradient clipping: seconds each for a batch."""
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in PARTS}
    for turn in range(bench.settings.rounds + 1):
        laps = [_laps(bench, trainer, batch) for batch in batches]
        if turn:  # the first one warms up
            for index, name in enumerate(PARTS):
                wall = statistics.mean(lap[index + 1][0] - lap[index][0] for lap in laps)
                cpu = statistics.mean(lap[index + 1][1] - lap[index][1] for lap in laps)
                found[name].append((wall, cpu))
    return {name: Timing([wall for wall, _ in each], [cpu for _, cpu in each]) for name, each in found.items()}


def _laps(bench: Bench, trainer: Trainer, batch: Batch) -> list[tuple[float, float]]:
    """One step: wall and CPU clocks before it and after each of PARTS."""

    def clocks() -> tuple[float, float]:
        bench.synchronise()
        return time.perf_counter(), time.process_time()

    device = trainer.process.device
    batch = batch.to(device)
    laps = [clocks()]
    with trainer.precision.autocast(device):
        output = run_model(trainer.model, batch)
    losses = trainer.loss(output, batch.mels, output.durations, batch.emotions)
    laps.append(clocks())
    losses.total.backward()
    laps.append(clocks())
    nn.utils.clip_grad_norm_(trainer.model.parameters(), trainer.config.train.optimizer.grad_clip_thresh)
    trainer.state.optimizer.step()
    trainer.state.optimizer.zero_grad(set_to_none=True)
    laps.append(clocks())
    return laps


def bf16_losses(bench: Bench, device: torch.device) -> None:
    """What bfloat16 does to the losses: the same steps from the same start in both precisions, the last losses."""
    ends: dict[torch.dtype, float] = {}
    steps = 2 if bench.settings.quick else 8 if emulated(torch.bfloat16, device) else 40
    for dtype in (torch.float32, torch.bfloat16):
        trainer = make_trainer(bench.settings, dtype, device, in_this_process())
        totals = [trainer.train_step([batch])[0]["total"] for batch in first_batches(trainer, steps)]
        ends[dtype] = statistics.mean(float(total) for total in totals[-4:])
    change = 100 * (ends[torch.bfloat16] / ends[torch.float32] - 1)
    kept, values = min(4, steps), f"{ends[torch.float32]:.4f} fp32, {ends[torch.bfloat16]:.4f} bf16"
    note = f"total loss, mean of the last {kept} of {steps} steps: {values}"
    bench.plain("loss under bf16 autocast, change", [change], "%", note)


def original(bench: Bench) -> None:
    """The same batches as ours first, so that the ratio is of the work alone; then its own whole loop with its data."""
    from benchmarks.original import OriginalModel
    from benchmarks.original_loop import batches, make_optimizer, train_step

    device = bench.device()
    settings = bench.settings
    trainer = make_trainer(settings, torch.float32, device, in_this_process())
    own = first_batches(trainer, 1 if settings.quick else 2)
    model = OriginalModel(trainer.state.model).to(device).train()
    optimizer = make_optimizer(model)
    same = [as_inputs(batch) for batch in own]
    loop = batches(trainer.state.train_set, settings.work / "features", settings.batch_size)
    calls: dict[str, Callable[[], object]] = {
        "ours": partial(train, trainer, own),
        "same": lambda: [train_step(model, optimizer, batch, device) for batch in same],
        "loop": lambda: train_step(model, optimizer, next(loop), device),
    }
    bench.calibrate()
    taken = bench.interleaved(calls, 1 if settings.quick else 4)
    ours, theirs = taken["ours"].per(len(own)), taken["same"].per(len(own))
    bench.timed("ours, whole step", ours, frames_of(own))
    bench.timed("original's way of working, same batches", theirs, times(theirs, ours))
    note = f"{times(taken['loop'], ours)}; longer padding, and reading from disk included"
    bench.timed("original's way of working, its own batches", taken["loop"], note)


def times(slow: Timing, fast: Timing) -> str:
    """How much more time and CPU time one takes, in words."""
    wall, cpu = (statistics.median(a) / statistics.median(b) for a, b in ((slow.wall, fast.wall), (slow.cpu, fast.cpu)))
    return f"{wall:.1f}× the time of ours, {cpu:.1f}× the CPU time"


def as_inputs(batch: Batch) -> dict[str, torch.Tensor]:
    """What the original's step takes."""
    assert batch.durations is not None
    return {
        "phones": batch.phones,
        "phone_lengths": batch.phone_lengths,
        "speakers": batch.speakers,
        "emotions": batch.emotions,
        "mels": batch.mels,
        "mel_lengths": batch.mel_lengths,
        "durations": batch.durations,
    }
