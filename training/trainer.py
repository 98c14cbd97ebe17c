"""Training of the acoustic model: micro-batches, steps, logs, validation."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader

from acoustic import mel_centres
from config import Config
from dataset import Batch, collate
from model import LossCounts, Losses, TrainingLoss, learning_rate
from training.loop import Loop, RunningMeans, Schedule
from training.precision import Precision, step_seed
from training.processes import Process
from training.reference_augmentation import ReferenceAugmenter
from training.samples import SampleWriter
from training.signals import ignore_in_worker
from training.state import TrainState
from training.trouble import BadSteps, Statistics, is_finite, judge, update, update_scale
from training.validation import batches_by_length, correct_emotions, run_model, true_prosody, validate
from utils.tracking import Tracker

GPU_WORKERS = 4  # processes that load batches for a GPU
LOOK_AT = (
    "look at the features of these utterances (preprocess.py --force makes them anew) and at the learning rate "
    "(train.optimizer.lr_scale), then go on from the last checkpoint: --restore_step latest"
)
SHOWN = ("total", "mel_last", "emotion", "duration")  # in the progress bar


class Trainer(Loop):
    """The acoustic model's training."""

    def __init__(self, config: Config, process: Process, use_amp: bool, restore_step: int | None) -> None:
        self.config = config
        self.process = process
        due = config.train.step
        self.schedule = Schedule(due.total_step, due.save_step, Path(config.train.path.log_path), SHOWN)
        self.precision = Precision.choose(use_amp, config.train.optimizer.amp_dtype, process.device).agreed(process)
        self.state = TrainState(config, process, self.precision)
        self.means = RunningMeans(process.device)
        if restore_step is not None:
            self.means.go_on(self.state.load(restore_step))
        loss = config.train.loss
        self.loss = TrainingLoss(
            loss.alpha, loss.beta, loss.mel_normalization, loss.emotion, loss.gamma, loss.delta, loss.epsilon
        )
        self._distributed = process.distribute(self.state.model)
        self.model = self._distributed
        if config.train.compile != "none":
            mode = None if config.train.compile == "default" else config.train.compile
            self.model = torch.compile(self._distributed, mode=mode, dynamic=False)  # type: ignore[assignment]
        self._augmenter = ReferenceAugmenter(
            config.train.emotion.augment, mel_centres(config.preprocess), config.train.pad_multiple[0]
        )
        self.bad_steps = BadSteps(
            config.train.optimizer.max_bad_steps, "train.optimizer.max_bad_steps", LOOK_AT, process.rank, process.world
        )
        self._statistics = Statistics(self.state.model)
        self._samples: SampleWriter | None = None  # its vocoder is loaded when the first sample is due
        self.loader: DataLoader[Batch] = DataLoader(
            self.state.train_set,  # type: ignore[arg-type] # collate turns its items into batches
            batch_sampler=self.state.sampler,
            collate_fn=partial(collate, multiples=config.train.pad_multiple),
            num_workers=_workers(config.train.num_workers, process.device),
            worker_init_fn=ignore_in_worker,
            pin_memory=process.device.type == "cuda",
        )
        self._batches: Iterator[Batch] = iter(())  # until the run begins

    @property
    def step(self) -> int:
        """Optimiser steps done."""
        return self.state.step

    def begin(self) -> None:
        """Start loading batches."""
        self.model.train()
        self._batches = iter(self.loader)

    def advance(self, stop_number: int) -> tuple[dict[str, Tensor], int]:
        """One step with the next micro-batches."""
        return self.train_step(self._micro_batches(self._batches), stop_number)

    def save(self) -> Path:
        """Write the checkpoint of the present step."""
        return self.state.save(self.means.content())

    def train_step(self, batches: list[Batch], stop_number: int = 0) -> tuple[dict[str, Tensor], int]:
        """One optimiser step over `grad_acc_step` micro-batches; returns its metrics and the number of the signal that
        this or any other process had received when it began (0: none).

        The loss is divided by the counts of all micro-batches of all processes: the gradient is that of one batch.
        """
        state, process = self.state, self.process
        question = process.ask_to_stop(stop_number)
        torch.manual_seed(step_seed(self.config.train.seed, state.step, process.rank))
        changes, given = [self._augmenter.draw(batch.mel_lengths) for batch in batches], batches
        batches = [
            change(batch.to(process.device)) if change else batch.to(process.device)
            for batch, change in zip(batches, changes, strict=True)
        ]
        rate = self._set_learning_rate()
        stacked = [LossCounts.of(batch.mel_lengths, batch.phone_lengths, batch.emotions).stacked() for batch in batches]
        counts = LossCounts.from_stacked(process.sum(torch.stack(stacked).sum(0)))
        metrics: dict[str, Tensor] = {}
        self._statistics.keep()
        for index, batch in enumerate(batches):
            for name, value in self._backward(batch, counts, synchronise=index == len(batches) - 1).items():
                metrics[name] = metrics[name] + value if name in metrics else value
        state.scaler.unscale_(state.optimizer)
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), self.config.train.optimizer.grad_clip_thresh)
        if process.world > 1:
            metrics = dict(zip(metrics, process.sum(torch.stack(list(metrics.values()))).unbind(), strict=True))
        verdict = judge(metrics["total"], norm, state.scaler)
        update(state.optimizer, verdict.skip)
        update_scale(state.scaler, verdict.bad)
        state.optimizer.zero_grad(set_to_none=True)
        self._statistics.restore(verdict.skip)
        state.step += 1
        state.running.update(state.step, verdict.skip)
        self.bad_steps.add(state.step, verdict.bad, partial(self._culprits, given))
        metrics |= {"gradient_norm": norm, "learning_rate": torch.tensor(rate)}
        return metrics, question.answer()

    def _backward(self, batch: Batch, counts: LossCounts, synchronise: bool) -> dict[str, Tensor]:
        """Forward and backward of one micro-batch; its share of each loss and of the emotion accuracy."""
        rate = self.config.train.emotion.soft_token_rate
        use_soft = torch.rand(len(batch.names), device=self.process.device) < rate
        last = synchronise or not isinstance(self._distributed, DistributedDataParallel)
        with nullcontext() if last else self._distributed.no_sync():  # type: ignore[operator]
            with self.precision.autocast(self.process.device):
                output = run_model(self.model, batch, use_soft)
            losses = self.loss(
                output, batch.mels, output.durations, batch.emotions, counts, true_prosody(batch), batch.intensities
            )
            # DistributedDataParallel averages gradients over processes; the counts already cover all of them
            self.state.scaler.scale(losses.total * self.process.world).backward()
        shares = {name: value.detach() for name, value in losses.named().items()}
        return shares | {"emotion_accuracy": correct_emotions(output, batch) / counts.labelled.clamp(min=1)}

    def _culprits(self, batches: list[Batch]) -> list[str]:
        """Utterances of these batches whose loss or gradient is not finite when they are alone."""
        model, device, train_set = self.state.model, self.process.device, self.state.train_set
        numbers = {speaker: number for number, speaker in enumerate(self.state.ids.speakers)}
        rows = {(numbers[entry.speaker], entry.name): index for index, entry in enumerate(train_set.entries)}
        found = []
        model.eval()  # no dropout, no statistics of a batch of one
        for batch in batches:
            for key in zip(batch.speakers.tolist(), batch.names, strict=True):
                one = collate([train_set[rows[key]]]).to(device)
                with self.precision.autocast(device):
                    output = run_model(model, one, every_block=True)
                counts = LossCounts.of(one.mel_lengths, one.phone_lengths, one.emotions)
                losses = self.loss(
                    output, one.mels, output.durations, one.emotions, counts, true_prosody(one), one.intensities
                )
                if not is_finite(losses.total, model.parameters()):
                    found.append(f"{train_set.entries[rows[key]].speaker}/{key[1]}")
        model.train()
        return found

    def _set_learning_rate(self) -> float:
        optimizer = self.config.train.optimizer
        rate = learning_rate(
            self.state.step + 1,
            self.config.model.transformer.encoder_hidden,
            optimizer.warm_up_step,
            optimizer.anneal_steps,
            optimizer.anneal_rate,
            optimizer.lr_scale,
        )
        for group in self.state.optimizer.param_groups:
            group["lr"] = rate
        return rate

    def _micro_batches(self, batches: Iterator[Batch]) -> list[Batch]:
        return list(itertools.islice(batches, self.config.train.optimizer.grad_acc_step))

    def report(self, tracker: Tracker, means: RunningMeans, bar: Any) -> None:
        """Logs, validation and samples where this step is due for them."""
        step, due = self.state.step, self.config.train.step
        end = step == due.total_step
        if step % due.log_step == 0 or end:
            tracker.scalars("train", step, _tagged(means.take()) | {"bad_steps": float(self.bad_steps.total)})
        if step % due.val_step == 0 or end:
            result = self.validate()
            tracker.scalars("val", step, _tagged(result))
            bar.write(f"step {step}: val " + ", ".join(f"{name} {value:.4f}" for name, value in result.items()))
        if step % due.synth_step == 0 or end:
            if self._samples is None:
                self._samples = SampleWriter(self.config, self.state.val_set, self.process.device)
            self._samples.write(self.state.running.module, self.precision, tracker, step)
        if step % due.log_step == 0:
            tracker.flush()

    def validate(self) -> dict[str, float]:
        """Validation losses and, with labels, emotion accuracy, under the same names as the training ones."""
        loader = batches_by_length(self.state.val_set, self.config.train.optimizer.batch_size)
        result = validate(self.state.running.module, loader, self.loss, self.precision, self.process.device)
        losses = {name: float(value) for name, value in result.losses.named().items()}
        heard = {} if result.emotion_accuracy is None else {"emotion_accuracy": result.emotion_accuracy}
        return losses | heard


def _workers(number: int | str, device: torch.device) -> int:
    """A CPU needs its cores for the steps, and a batch costs it 1% of one; a GPU must not wait for batches."""
    if number == "auto":
        return GPU_WORKERS if device.type == "cuda" else 0
    return int(number)


def _tagged(values: dict[str, float]) -> dict[str, float]:
    """loss/… for losses, the rest under its own name: the same tags in train and val."""
    losses = {field.name for field in fields(Losses)}
    return {f"loss/{name}" if name in losses else name: value for name, value in values.items()}
