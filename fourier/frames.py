"""Waveforms and spectra of their overlapping frames."""

from __future__ import annotations

from collections.abc import Iterator

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

    def projection(self, like: Tensor) -> Projection:
        """For spectra of the shape of `like` [B, T, n_fft / 2 + 1]: those of the waveform that is nearest to them."""
        return Projection(self, like)

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
        frames, size = pieces.shape[1], len(self.window)
        total = pieces.new_zeros(len(pieces), (frames - 1) * self.hop + size)
        for place, own in _places(total, pieces, self.hop):
            place.addcmul_(own, self.window)
        return total[:, size // 2 : size // 2 + frames * self.hop]  # frame 0 is centred on sample 0


class Projection:
    """`spectrum(waveform(…))` of `Frames` for spectra of one shape, without a gradient: over and over in the same
    memory, which takes half the time where frames are short."""

    def __init__(self, frames: Frames, like: Tensor) -> None:
        size, hop, count = len(frames.window), frames.hop, like.shape[1]
        self.window = frames.window
        self._pieces = self.window.new_empty(len(like), count, size)
        self._windowed = torch.empty_like(self._pieces)
        self._total = self.window.new_empty(len(like), (count - 1) * hop + size)
        self._places = list(_places(self._total, self._pieces, hop))
        self._frames = self._total.unfold(1, size, hop)
        # silence beyond the ends: there are no samples before the first frame's centre
        self._evened = F.pad(frames.evened(count), (size // 2, size // 2 - hop))

    def __call__(self, spectra: Tensor) -> Tensor:
        """[B, T, n_fft / 2 + 1], shape kept."""
        torch.fft.irfft(spectra, len(self.window), dim=2, out=self._pieces)
        self._total.zero_()
        for place, own in self._places:
            place.addcmul_(own, self.window)
        self._total.mul_(self._evened)
        return torch.fft.rfft(torch.mul(self._frames, self.window, out=self._windowed), dim=2)


def _places(total: Tensor, pieces: Tensor, hop: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Views of total [B, (T - 1) * hop + n_fft] and pieces [B, T, n_fft] that lie over one another: every
    n_fft / hop-th piece, since those do not overlap."""
    size = pieces.shape[2]
    for first in range(min(size // hop, pieces.shape[1])):
        own = pieces[:, first :: size // hop]
        place = total[:, first * hop : first * hop + own.shape[1] * size]
        yield place.unflatten(1, (-1, size)), own
