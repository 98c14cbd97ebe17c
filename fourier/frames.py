"""Waveforms and spectra of their overlapping frames."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Frames(nn.Module):
    """Frames of n_fft samples under `window` [n_fft], every `hop` samples.

    Frame t is centred on sample t * hop; beyond the ends there is silence. n_fft is a multiple of hop.
    """

    window: Tensor

    def __init__(self, window: Tensor, hop: int) -> None:
        super().__init__()
        self.hop = hop
        self.register_buffer("window", window, persistent=False)

    @property
    def overlap(self) -> int:
        """Frames on either side that a sample is a part of, and that reach into a frame."""
        return len(self.window) // (2 * self.hop)

    def spectrum(self, wav: Tensor) -> Tensor:
        """[B, T * hop] -> [B, T, n_fft / 2 + 1]."""
        half = len(self.window) // 2
        frames = F.pad(wav, (half, half)).unfold(1, 2 * half, self.hop)[:, : wav.shape[1] // self.hop]
        return torch.fft.rfft(frames * self.window, dim=2)

    def evened(self, frames: int) -> Tensor:
        """[1, frames * hop]: what makes the overlapping squared windows 1 everywhere."""
        squares = self._added(self.window.expand(1, frames, -1))
        # the last hop of an utterance has half the frames; elsewhere the sum of squares is constant
        return 1.0 / squares.clamp(min=0.1)

    def waveform(self, spectra: Tensor, evened: Tensor) -> Tensor:
        """[B, T, n_fft / 2 + 1] -> [B, T * hop] by windowed overlap-add: the nearest to these spectra. `evened(T)`."""
        return self._added(torch.fft.irfft(spectra, len(self.window), dim=2)) * evened

    def _added(self, pieces: Tensor) -> Tensor:
        """[B, T, n_fft], to be windowed -> [B, T * hop]. Several times as fast as F.fold."""
        frames, size, apart = pieces.shape[1], len(self.window), len(self.window) // self.hop
        total = pieces.new_zeros(len(pieces), (frames - 1) * self.hop + size)
        for first in range(min(apart, frames)):  # every `apart`-th frame: they lie side by side
            own = pieces[:, first::apart]
            place = total[:, first * self.hop : first * self.hop + own.shape[1] * size]
            place.unflatten(1, (-1, size)).addcmul_(own, self.window)
        return total[:, size // 2 : size // 2 + frames * self.hop]  # frame 0 is centred on sample 0
