"""Arithmetic and randomness of a training step."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Precision:
    """Arithmetic of the forward pass."""

    dtype: torch.dtype  # float32: no autocast

    @classmethod
    def choose(cls, use_amp: bool, amp_dtype: str, device: torch.device) -> Precision:
        """float32 without AMP, else what the configuration says. `auto` is the format the device is fast in:
        bfloat16; float16 on older GPUs; float32 on CPUs without bfloat16 products, where AMP is several times slower.
        """
        if not use_amp:
            return cls(torch.float32)
        if amp_dtype != "auto":
            return cls({"float16": torch.float16, "bfloat16": torch.bfloat16}[amp_dtype])
        if device.type == "cpu":
            return cls(torch.bfloat16 if torch.ops.mkldnn._is_mkldnn_bf16_supported() else torch.float32)
        return cls(torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16)

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


def step_seed(seed: int, step: int, rank: int) -> int:
    """Seed of all randomness (dropout, soft tokens) of one step in one process: a resumed run draws the same."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{step}/{rank}".encode()).digest()[:8], "little") >> 1


def say_precision(use_amp: bool, precision: Precision, key: str) -> None:
    """Tell the user where AMP was wanted and would only cost time."""
    if use_amp and precision.dtype == torch.float32:
        print(f"--use_amp: this CPU has no fast bfloat16 arithmetic, so float32 it is ({key})")
