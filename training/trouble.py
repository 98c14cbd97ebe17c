"""Numerical trouble: steps whose loss or gradient is not finite change nothing, are counted, and end a run that has
only such."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from tqdm import tqdm

from errors import UserError
from model.functionals import RunningStandardisation
from model.masked_norm import MaskedBatchNormReLU

NAMED = 4  # utterances in a warning


@dataclass(frozen=True)
class Verdict:
    """What is wrong with a step, as 0 or 1 on its device: deciding it makes no host wait."""

    skip: Tensor  # the update must not be made
    bad: Tensor  # and it is trouble: no overflow of float16 loss scaling, which finds a smaller scale by it


def judge(loss: Tensor, norm: Tensor, scaler: torch.amp.GradScaler) -> Verdict:
    """`loss`: of all processes; `norm`: of the gradient, with any loss scaling taken off.

    Gradients that overflow beside a finite loss are what loss scaling is there for, as long as its scale is above 1.
    """
    no_loss, no_gradient = ~torch.isfinite(loss), ~torch.isfinite(norm)
    bad = no_loss | no_gradient
    if scaler.is_enabled():
        bad = no_loss | (no_gradient & (scale_of(scaler, loss) <= 1.0))
    return Verdict((no_loss | no_gradient).float(), bad.float())


def scale_of(scaler: torch.amp.GradScaler, like: Tensor) -> Tensor:
    """The loss scale, without waiting for the device."""
    scaled = scaler.scale(torch.ones((), device=like.device))
    assert isinstance(scaled, Tensor)
    return scaled


def update(optimizer: torch.optim.Optimizer, skip: Tensor) -> None:
    """A step of the optimiser, which leaves weights and its own state alone where `skip` is 1.

    Fused optimisers look at that on the device; for others the host does.
    """
    if not getattr(optimizer, "_step_supports_amp_scaling", False):
        if not bool(skip):
            optimizer.step()
        return
    optimizer.grad_scale, optimizer.found_inf = None, skip  # type: ignore[attr-defined] # as GradScaler.step does
    try:
        optimizer.step()
    finally:
        del optimizer.grad_scale, optimizer.found_inf  # type: ignore[attr-defined]


def update_scale(scaler: torch.amp.GradScaler, bad: Tensor) -> None:
    """Find the next loss scale; trouble, where `bad` is 1, is not mended by a smaller one and leaves it."""
    if not scaler.is_enabled():
        return
    before = scale_of(scaler, bad)
    scaler.update()
    scaler.update(torch.where(bad > 0, before, scale_of(scaler, bad)))


class Statistics:
    """Running statistics of the model's inputs, which the forward pass has changed before the loss is known."""

    def __init__(self, module: nn.Module) -> None:
        norms = [each for each in module.modules() if isinstance(each, (MaskedBatchNormReLU, RunningStandardisation))]
        self._buffers = [buffer for norm in norms for buffer in norm.buffers()]
        self._kept: list[Tensor] = []

    def keep(self) -> None:
        """Before the forward pass."""
        self._kept = [buffer.clone() for buffer in self._buffers]

    @torch.no_grad()
    def restore(self, skip: Tensor) -> None:
        """What was kept, where `skip` is 1."""
        if skip.device.type == "cpu" and not bool(skip):
            return
        for buffer, kept in zip(self._buffers, self._kept, strict=True):
            buffer.copy_(torch.where(skip > 0, kept, buffer))


class BadSteps:
    """Counts steps in trouble, says which utterances bring it about, ends a run after `limit` of them in a row.

    On a GPU the host learns of a step when that is done, a few steps later; nothing waits for it.
    """

    def __init__(self, limit: int, key: str, advice: str, rank: int, world: int) -> None:
        """key: the configuration value for `limit`. Of `world` processes the one with `rank` 0 tells the user of every
        such step; each of the others looks at its own utterances, and tells of the step where one of them does it."""
        self.total = 0
        self.in_a_row = 0
        self._limit, self._key, self._advice, self._rank, self._world = limit, key, advice, rank, world
        self._pending: deque[tuple[int, Tensor, torch.cuda.Event | None, Callable[[], Sequence[str]]]] = deque()

    def add(self, step: int, bad: Tensor, culprits: Callable[[], Sequence[str]]) -> None:
        """Take note of a step's `Verdict.bad`. `culprits` names utterances that bring trouble about by themselves; only
        bad steps call it. Raises UserError after too many."""
        event = None
        if bad.device.type == "cuda":
            bad = bad.to("cpu", non_blocking=True)
            event = torch.cuda.Event()
            event.record()
        self._pending.append((step, bad, event, culprits))
        self.settle(wait=False)

    def settle(self, wait: bool = True) -> None:
        """Learn of all steps that are done, with `wait` of all."""
        while self._pending:
            step, bad, event, culprits = self._pending[0]
            if event is not None:
                if not wait and not event.query():
                    return
                event.synchronize()
            self._pending.popleft()
            if bool(bad):
                self._tell(step, culprits())
            else:
                self.in_a_row = 0

    def _tell(self, step: int, found: Sequence[str]) -> None:
        self.total += 1
        self.in_a_row += 1
        alone = self._world == 1
        own = "the batch" if alone else f"process {self._rank}'s share"
        which = f"brought about by {_listed(found)}" if found else f"no utterance of {own} does it alone"
        if found or self._rank == 0:
            start = "\n" if self._rank else ""  # where the first one's progress bar may stand
            tqdm.write(
                f"{start}warning: step {step}: loss or gradient is not finite; nothing was updated ({self.total} such "
                f"steps, {self.in_a_row} in a row); {which}",
                file=sys.stderr,
            )
        if self.in_a_row >= self._limit:  # in all processes; whichever comes first tells it, and may know nothing
            raise UserError(
                f"loss or gradient was not finite in {self.in_a_row} steps in a row, up to step {step} ({self._key}); "
                f"{which if alone else 'see the warnings above'}; {self._advice}"
            )


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more


def is_finite(loss: Tensor, parameters: Iterable[nn.Parameter]) -> bool:
    """Whether a loss and its gradient are; no parameter's `grad` changes."""
    chosen = [each for each in parameters if each.requires_grad]
    gradients = torch.autograd.grad(loss, chosen, allow_unused=True)
    values = [loss.detach(), *(each for each in gradients if each is not None)]
    return all(bool(torch.isfinite(value.sum())) for value in values)
