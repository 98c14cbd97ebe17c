"""Running mean of a module's weights (Polyak & Juditsky 1992): better than any of them, as steps scatter around it."""

from __future__ import annotations

from copy import deepcopy
from typing import Generic, TypeVar

import torch
from torch import Tensor, nn

Module = TypeVar("Module", bound=nn.Module)


class RunningWeights(Generic[Module]):
    """`module` is the exponential mean of a trained module, in evaluation mode; with decay 0 the trained one itself."""

    def __init__(self, trained: Module, decay: float) -> None:
        self.decay = decay
        self.module: Module = deepcopy(trained).requires_grad_(False).eval() if decay else trained
        self._trained = trained

    @torch.no_grad()
    def update(self, step: int, skip: Tensor | None = None) -> None:
        """After `step` steps; the first ones count more, lest the mean begin with random weights. Buffers are
        copied. Where `skip` (0 or 1 on the weights' device) is 1 the mean stays as it is."""
        if self.decay:
            decay = min(self.decay, (1 + step) / (10 + step))
            ours: list[Tensor] = [*self.module.parameters()]
            theirs: list[Tensor] = [*self._trained.parameters()]
            if skip is None or skip.device.type == "cpu":
                if skip is None or not bool(skip):
                    torch._foreach_lerp_(ours, theirs, 1 - decay)
            else:  # the host must not ask
                changes = torch._foreach_sub(theirs, ours)
                torch._foreach_mul_(changes, (1 - decay) * (1 - skip))
                torch._foreach_add_(ours, changes)
            for buffer, value in zip(self.module.buffers(), self._trained.buffers(), strict=True):
                buffer.copy_(value)
