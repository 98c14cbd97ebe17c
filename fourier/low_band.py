"""Griffin-Lim for the lowest frequencies only, which carry the pitch, at a fraction of the sampling rate."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fourier.frames import Frames

ENOUGH = 1300.0  # Hz that half the low sampling rate has to reach at least
FADE = (0.625, 0.8125)  # of half the low sampling rate: where the rest of the speech begins, and where it is alone
DRAFTS = 4  # times that the draft is scaled towards the mel spectrogram, phases as they are
INVERSION_STEPS = 10  # towards it before phases move
MOMENTUM = 0.99  # of fast Griffin-Lim
_TINY = 1e-12
_QUIET = 1e-7  # magnitude that can still grow


class LowBand(nn.Module):
    """A draft's lowest frequencies -> the same with phases and magnitudes that belong together.

    What a mel spectrogram says of single harmonics is exact at the bottom, where its bands are as narrow as a
    spectrum's lines. Phases that follow a predicted pitch, 20 cents at a time, lose some of it, and a pitch tracker
    hears that. Fast Griffin-Lim (Perraudin, Balazs & Søndergaard 2013) finds phases for it; begun with a draft that has
    a voice already, it keeps that voice. An eighth of the sampling rate is enough, so `iterations` of it cost less than
    a few at all frequencies. During the second half, magnitudes may move as long as they keep to the mel spectrogram.
    """

    basis: Tensor
    bands: Tensor
    shares: Tensor
    alone: Tensor
    fade: Tensor

    def __init__(self, window: Tensor, hop: int, basis: Tensor, sampling_rate: int, iterations: int) -> None:
        """window [n_fft] and hop of the whole spectrum; basis [num_mels, n_fft / 2 + 1] of its mel spectrogram."""
        super().__init__()
        self.iterations = iterations
        every = 1  # a power of two, so that frames and their window can be thinned out
        while hop % (2 * every) == 0 and sampling_rate / (4 * every) >= ENOUGH:
            every *= 2
        self.frames = Frames(window[::every].clone(), hop // every)
        self.bins = len(window) // (2 * every) + 1
        inside = ~(basis[:, self.bins - 4 :] > 0).any(1)  # bands that lie within, and not at the very end
        own = basis[inside, : self.bins].clone()
        self.register_buffer("bands", inside.nonzero()[:, 0], persistent=False)
        self.register_buffer("basis", own, persistent=False)  # (bands, bins)
        weight = own.sum(0)
        covered = weight > 1e-3 * weight.max()
        shares = torch.where(covered, own / weight.clamp(min=_TINY), 0.0).T.contiguous()
        self.register_buffer("shares", shares, persistent=False)  # (bins, bands), of a frequency its sum is 1
        self.register_buffer("alone", (~covered).float(), persistent=False)  # 1 where no band is
        begin, end = (share * (self.bins - 1) for share in FADE)
        # from numpy, so that it has values also in a skeleton on the meta device
        fade = np.clip((end - np.arange(self.bins)) / (end - begin), 0.0, 1.0).astype(np.float32)
        self.register_buffer("fade", torch.from_numpy(fade), persistent=False)  # 1 below, 0 above

    @torch.no_grad()
    def forward(self, draft: Tensor, mel: Tensor) -> Tensor:
        """draft [B, T, bins] complex, log-mel mel [B, T, num_mels] of the whole spectrum -> [B, T, bins] complex."""
        target, consistent = mel[..., self.bands].exp(), self.frames.projection(draft)
        spectrum = consistent(draft)
        for _ in range(DRAFTS):
            inverse = _inverse_magnitude(spectrum)
            spectrum = consistent(spectrum * (self._towards(inverse.reciprocal(), target) * inverse))
        inverse = _inverse_magnitude(spectrum)
        wanted = inverse.reciprocal()
        for _ in range(INVERSION_STEPS):
            wanted = self._towards(wanted, target)
        ahead, last = spectrum, torch.view_as_real(spectrum)
        for iteration in range(self.iterations):
            spectrum = consistent(ahead * inverse.mul_(wanted))
            parts = torch.view_as_real(spectrum)
            ahead, last = torch.view_as_complex(torch.lerp(last, parts, 1.0 + MOMENTUM)), parts
            if iteration >= self.iterations // 2:
                wanted = self._towards(_inverse_magnitude(spectrum).reciprocal_(), target)
            inverse = _inverse_magnitude(ahead)
        return ahead * inverse.mul_(wanted)

    def put(self, low: Tensor, spectra: Tensor) -> Tensor:
        """spectra [B, T, n_fft / 2 + 1] with their lowest frequencies replaced by `low` [B, T, bins]."""
        mixed = torch.lerp(spectra[..., : self.bins], low, self.fade.to(low.dtype))
        return torch.cat([mixed, spectra[..., self.bins :]], 2)

    def _towards(self, magnitude: Tensor, target: Tensor) -> Tensor:
        """One multiplicative step of `magnitude` [B, T, bins] towards magnitude @ basis.T = target (Lee & Seung 2001,
        theorem 2: the Kullback-Leibler divergence falls). What is in no band stays as it is."""
        quotient = target / (magnitude @ self.basis.T).clamp(min=_TINY)
        return magnitude * F.linear(quotient, self.shares, self.alone)


def _inverse_magnitude(spectrum: Tensor) -> Tensor:
    """Of nearly nothing: 1 / _QUIET. Several times as fast as `abs`."""
    squares = torch.view_as_real(spectrum).square()
    return (squares[..., 0] + squares[..., 1]).add_(_QUIET**2).rsqrt_()
