"""A filter that gives predicted mel spectrograms back the movement that recordings have.

A model that learns by absolute errors predicts something between all the ways in which a sentence may be spoken: over
time its mel spectrograms move too little, most of all quickly. The filter raises every modulation frequency of every
cepstral coefficient to the strength it has in recordings (modulation spectrum: Takamichi et al. 2016, IEEE/ACM TASLP
24(4)), then every band's deviation (global variance: Toda & Tokuda 2007). An utterance's mean spectrum stays, but for
the mean error of the model and for what all bands alike are lowered by, so that it is as loud as before. It is fitted
after training and works in synthesis only.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

WINDOW = 64  # frames over which modulations are compared: 0.74 s
REACH = WINDOW // 2 - 1  # frames on either side that the filter looks at
STRENGTH = 1.2  # exponent on the quotients, since the taps' window takes away some of it
LARGEST = 1.8  # natural logarithm of the largest amplification
SMALLEST = -0.5
FLOOR = 1e-4  # of a modulation's magnitude


class Postfilter(nn.Module):
    """Linear in time for every cepstral coefficient; does nothing until it is fitted."""

    taps: Tensor
    gain: Tensor
    offset: Tensor
    basis: Tensor

    def __init__(self, bands: int) -> None:
        super().__init__()
        taps = torch.zeros(bands, 2 * REACH + 1)
        taps[:, REACH] = 1.0
        self.register_buffer("taps", taps)
        self.register_buffer("gain", torch.ones(bands))
        self.register_buffer("offset", torch.zeros(bands))
        self.register_buffer("basis", cosines(bands), persistent=False)

    def forward(self, mels: Tensor, lengths: Tensor) -> Tensor:
        """mels [B, T, M], lengths [B] frames -> [B, T, M], zero at padding."""
        size = mels.shape[1]
        valid = (torch.arange(size, device=mels.device)[None] < lengths[:, None]).unsqueeze(-1)
        moving, mean = centred(mels.float(), valid, lengths)
        around = torch.arange(-REACH, size + REACH, device=mels.device)[None]  # outermost frames again beyond the ends
        nearest = around.clamp(min=0).minimum((lengths[:, None] - 1).clamp(min=0)).unsqueeze(-1)
        cepstra = (moving @ self.basis).gather(1, nearest.expand(-1, -1, mels.shape[2]))
        filtered = F.conv1d(cepstra.transpose(1, 2), self.taps.unsqueeze(1), groups=len(self.taps)).transpose(1, 2)
        again, _ = centred(filtered @ self.basis.T, valid, lengths)
        return ((mean + self.offset + again * self.gain) * valid).to(mels.dtype)

    @torch.no_grad()
    def fit(self, real: list[Tensor], predicted: list[Tensor]) -> None:
        """real, predicted: the same utterances' mels [T, M] each, of the same length. Those shorter than WINDOW say
        nothing. Raises ValueError where all are."""
        pairs = [(a, b) for a, b in zip(real, predicted, strict=True) if len(a) >= WINDOW]
        if not pairs:
            raise ValueError(f"no utterance has {WINDOW} frames")
        quotients = torch.stack([self._modulations(a) - self._modulations(b) for a, b in pairs]).mean(0)
        curve = (STRENGTH * quotients).clamp(SMALLEST, LARGEST).exp()  # (M, WINDOW / 2 + 1)
        curve[:, 0] = curve[:, 1]  # the mean is handled by itself
        taps = torch.fft.irfft(curve, WINDOW, dim=1).roll(REACH, 1)[:, : 2 * REACH + 1]
        self.taps.copy_(taps * torch.hann_window(WINDOW + 1, device=taps.device)[1:-1])
        self.gain.fill_(1.0)
        self.offset.copy_(torch.stack([a.mean(0) - b.mean(0) for a, b in pairs]).mean(0))
        lengths = [torch.tensor([len(a)], device=a.device) for a, _ in pairs]
        filtered = [self(b[None], length)[0] for (_, b), length in zip(pairs, lengths, strict=True)]
        logs = [a.std(0).log() - b.std(0).log() for (a, _), b in zip(pairs, filtered, strict=True)]
        self.gain.copy_(torch.stack(logs).mean(0).exp())
        # more movement of logarithms is more energy: all bands alike are lowered by what an utterance has too much
        louder = [
            self(b[None], length).logsumexp((1, 2)) - a.logsumexp((0, 1))
            for (a, b), length in zip(pairs, lengths, strict=True)
        ]
        self.offset.sub_(torch.stack(louder).mean())

    def _modulations(self, mel: Tensor) -> Tensor:
        """[T, M] -> [M, WINDOW / 2 + 1]: mean logarithm of every cepstral coefficient's modulation spectrum."""
        cepstra = (mel - mel.mean(0)) @ self.basis
        windows = cepstra.unfold(0, WINDOW, WINDOW // 2)  # (windows, M, WINDOW)
        spectra = torch.fft.rfft(windows * torch.hann_window(WINDOW, device=mel.device), dim=2)
        return spectra.abs().clamp(min=FLOOR).log().mean(0)


def cosines(bands: int) -> Tensor:
    """The orthonormal discrete cosine transform as a matrix [bands, coefficients]."""
    place = (torch.arange(bands, dtype=torch.float64)[:, None] + 0.5) / bands
    matrix = torch.cos(math.pi * place * torch.arange(bands)) * math.sqrt(2 / bands)
    matrix[:, 0] /= math.sqrt(2)
    return matrix.float()


def centred(x: Tensor, valid: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
    """x [B, T, M] less its mean over the valid frames, and that mean [B, 1, M]; zero at padding."""
    mean = (x * valid).sum(1, keepdim=True) / lengths.clamp(min=1)[:, None, None]
    return (x - mean) * valid, mean
