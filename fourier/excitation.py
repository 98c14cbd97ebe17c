"""What excites the filters: a band-limited pulse train at the fundamental frequency, beside noise."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def pulse_train(f0: Tensor, hop_length: int, sampling_rate: int, start: Tensor | None = None) -> Tensor:
    """f0 [B, T] in Hz at every hop's first sample -> [B, T * hop_length]: the sum of the cosines of all harmonics below
    half the sampling rate, each of amplitude 1.

    Between frames log f0 is interpolated. `start` [B] is the phase of the first sample in cycles (default 0).
    """
    samples = f0.shape[1] * hop_length
    ahead = torch.cat([f0, f0[:, -1:]], 1).log()
    position = torch.arange(hop_length, device=f0.device, dtype=f0.dtype) / hop_length
    frequency = torch.exp(torch.lerp(ahead[:, :-1, None], ahead[:, 1:, None], position)).reshape(-1, samples)
    cycles = torch.cumsum(frequency.double() / sampling_rate, 1) - frequency[:, :1].double() / sampling_rate
    if start is not None:
        cycles = cycles + start[:, None].double()
    phase = (2 * math.pi * (cycles - cycles.round())).to(f0.dtype)  # -pi … pi
    harmonics = torch.floor(0.5 * sampling_rate / frequency)
    # Dirichlet's kernel: 1 + 2 * sum of H cosines = sin((H + 1/2) phase) / sin(phase / 2); its limit at 0 is 2 H + 1
    below = torch.sin(phase / 2)
    near = below.abs() < 1e-4
    kernel = torch.sin((harmonics + 0.5) * phase) / torch.where(near, torch.ones_like(below), below)
    return 0.5 * (torch.where(near, 2 * harmonics + 1, kernel) - 1)
