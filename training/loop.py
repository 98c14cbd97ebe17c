"""The loop of every trainer: steps until the last one or a signal, logs, checkpoints."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from training.processes import Process
from training.signals import StopSignal
from training.trouble import BadSteps
from utils.cli import progress_interval
from utils.tracking import Tracker

PROGRESS_STEPS = 10  # optimiser steps between two updates of the progress bar's losses


class RunningMeans:
    """Sums of a step's metrics, kept on the device: reading them is what waits for it. Values that are not finite, of
    steps that changed nothing, are left out."""

    def __init__(self, device: torch.device) -> None:
        self._sums: dict[str, Tensor] = {}
        self._counts: dict[str, Tensor] = {}
        self._device = device

    def add(self, metrics: dict[str, Tensor]) -> None:
        """Metrics of one step: scalar tensors."""
        for name, each in metrics.items():
            value, zero = each.detach().float(), torch.zeros((), device=self._device)
            finite = torch.isfinite(value)
            self._sums[name] = self._sums.get(name, zero) + torch.where(finite, value, 0.0)
            self._counts[name] = self._counts.get(name, zero) + finite

    def take(self) -> dict[str, float]:
        """Means since the last call, of what was ever finite."""
        counts = {name: float(count) for name, count in self._counts.items()}
        means = {name: float(value) / counts[name] for name, value in self._sums.items() if counts[name]}
        self._sums, self._counts = {}, {}
        return means

    def content(self) -> dict[str, Tensor]:
        """For a checkpoint: per name the sum and the number of values so far, [2] float32."""
        return {name: torch.stack([value, self._counts[name]]).cpu() for name, value in self._sums.items()}

    def go_on(self, content: dict[str, Tensor]) -> None:
        """From what a checkpoint holds, so that the next point of a curve is the mean that it would have been. What has
        not that form is left out."""
        fitting = {name: pair for name, pair in content.items() if isinstance(pair, Tensor) and pair.shape == (2,)}
        self._sums = {name: pair[0].float().to(self._device) for name, pair in fitting.items()}
        self._counts = {name: pair[1].float().to(self._device) for name, pair in fitting.items()}


@dataclass(frozen=True)
class Schedule:
    """What a loop needs to know of a configuration."""

    total_step: int
    save_step: int  # steps between two checkpoints
    log_path: Path
    shown: tuple[str, ...]  # metrics in the progress bar, where a step has them


class Loop(ABC):
    """Trains until `total_step` or a signal. Only the first process writes anything."""

    process: Process
    schedule: Schedule
    means: RunningMeans  # of the metrics since the last log
    bad_steps: BadSteps

    @property
    @abstractmethod
    def step(self) -> int:
        """Optimiser steps done."""

    @abstractmethod
    def begin(self) -> None:
        """Called once, before the first step of this run."""

    @abstractmethod
    def advance(self, stop_number: int) -> tuple[dict[str, Tensor], int]:
        """One optimiser step; its metrics, and the number of the signal that this or any other process had received
        when it began (0: none)."""

    @abstractmethod
    def report(self, tracker: Tracker, means: RunningMeans, bar: Any) -> None:
        """Logs, validation and samples where this step is due for them."""

    @abstractmethod
    def save(self) -> Path:
        """Write the checkpoint of the present step."""

    def run(self, stop: StopSignal) -> Path | None:
        """Train; returns the last checkpoint written (None if nothing was left to do)."""
        first, total = self.process.is_first, self.schedule.total_step
        tracker = Tracker(self.schedule.log_path, self.step) if first else None
        means = self.means
        saved: Path | None = None
        due = False  # a checkpoint
        bar = tqdm(
            total=total,
            initial=self.step,
            disable=not first,
            unit="step",
            dynamic_ncols=True,
            mininterval=progress_interval(),
        )
        try:
            self.begin()
            while self.step < total:
                metrics, stop_number = self.advance(stop.number)
                stop.agree(stop_number)
                means.add(metrics)
                bar.update()
                if self.step % PROGRESS_STEPS == 0 and first:
                    shown = {name: f"{float(metrics[name]):.3f}" for name in self.schedule.shown if name in metrics}
                    bar.set_postfix(shown, refresh=False)
                last = stop_number > 0 or self.step == total
                due = due or self.step % self.schedule.save_step == 0
                if due:
                    self.bad_steps.settle()
                if tracker is not None:
                    self.report(tracker, means, bar)
                    if due or last:  # once there is a checkpoint nobody logs these steps again
                        tracker.flush()
                # Steps in trouble may go back to weights that an earlier one has spoilt: these are not to be the latest
                if last or (due and not self.bad_steps.in_a_row):
                    saved, due = self.save() if tracker is not None else None, False
                if last:
                    break
        finally:
            bar.close()
            if tracker is not None:
                tracker.close()
        return saved


def say_end(loop: Loop, saved: Path | None, command: str, signal_number: int, total_key: str, then: str) -> None:
    """Tell the user what came of a run: `saved` and the number of the signal that stopped it (0: none), and what to do
    `then`. `command` goes on with the run, `total_key` is the configuration value that ended it."""
    if saved is None:
        print(f"nothing to do: step {loop.step} of {loop.schedule.total_step} is reached ({total_key})")
    elif signal_number:
        print(f"stopped at step {loop.step}, saved {saved}; go on with: {command} --restore_step {loop.step}")
    else:
        print(f"done at step {loop.step}, saved {saved}; {then}")
