"""Arithmetic and randomness of a training step."""

from __future__ import annotations

import functools
import hashlib
import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from training.processes import Process

ROUNDS = 6  # of the test for fast bfloat16
FRAMES, CHANNELS = 4096, 256  # of its product
PAYS = 0.9  # share of float32's time that bfloat16 may take at most: casting costs something, too


@dataclass(frozen=True)
class Precision:
    """Arithmetic of the forward pass."""

    dtype: torch.dtype  # float32: no autocast

    @classmethod
    def choose(cls, use_amp: bool, amp_dtype: str, device: torch.device) -> Precision:
        """float32 without AMP, else what the configuration says. `auto` is the format the device is fast in:
        bfloat16; float16 on older GPUs; float32 on CPUs whose bfloat16 products are no faster, or emulated.
        """
        if not use_amp:
            return cls(torch.float32)
        if amp_dtype != "auto":
            return cls({"float16": torch.float16, "bfloat16": torch.bfloat16}[amp_dtype])
        if device.type == "cpu":
            return cls(torch.bfloat16 if bfloat16_pays() else torch.float32)
        return cls(torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16)

    def agreed(self, process: Process) -> Precision:
        """This one where all processes have chosen half precision, else float32: they choose by what they measure."""
        votes = process.sum(torch.tensor(float(self.dtype != torch.float32), device=process.device))
        return self if int(votes) == process.world else Precision(torch.float32)

    def autocast(self, device: torch.device) -> torch.autocast:
        """Context of the forward pass."""
        return torch.autocast(device.type, dtype=self.dtype, enabled=self.dtype != torch.float32)

    def scaler(self, device: torch.device) -> torch.amp.GradScaler:
        """Loss scaling: float16 gradients underflow without it; the other formats need none."""
        return torch.amp.GradScaler(device.type, enabled=self.dtype == torch.float16)

    @property
    def name(self) -> str:
        """float32, bfloat16 or float16."""
        return str(self.dtype).removeprefix("torch.")


@functools.cache
def bfloat16_pays() -> bool:
    """Whether this CPU multiplies matrices faster in bfloat16 than in float32.

    Having instructions for it says little: some CPUs are twice as fast with them, some half as fast. Takes 0.05 s.
    """
    if not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        return False
    best = dict.fromkeys((torch.float32, torch.bfloat16), math.inf)
    for _ in range(ROUNDS):  # in turns, and the best of each: other processes may be at work
        for dtype in best:
            left, right = torch.ones(FRAMES, CHANNELS, dtype=dtype), torch.ones(CHANNELS, CHANNELS, dtype=dtype)
            begin = time.perf_counter()
            torch.mm(left, right)
            best[dtype] = min(best[dtype], time.perf_counter() - begin)
    return best[torch.bfloat16] < PAYS * best[torch.float32]


def step_seed(seed: int, step: int, rank: int) -> int:
    """Seed of all randomness (dropout, soft tokens) of one step in one process: a resumed run draws the same."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{step}/{rank}".encode()).digest()[:8], "little") >> 1


def say_precision(use_amp: bool, precision: Precision, key: str) -> None:
    """Tell the user where AMP was wanted and would only cost time."""
    if use_amp and precision.dtype == torch.float32:
        print(f"--use_amp: bfloat16 is no faster than float32 on this CPU, so float32 it is ({key})")
