"""A filter that gives predicted mel spectrograms back the movement that recordings have.

A model that learns by absolute errors predicts something between all the ways in which a sentence may be spoken: over
time its mel spectrograms move too little, most of all quickly. The filter raises every modulation frequency of every
cepstral coefficient to the strength it has in recordings (modulation spectrum: Takamichi et al. 2016, IEEE/ACM TASLP
24(4)), then every band's deviation (global variance: Toda & Tokuda 2007). An utterance's mean spectrum stays, but for
the mean error of the model and for what all bands alike are lowered by, so that it is as loud as before. How rough a
voice is differs between speakers and emotions, and so do the filters. It is fitted after training and works in
synthesis only.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.cosines import cosines

WINDOW = 64  # frames over which modulations are compared: 0.74 s
REACH = WINDOW // 2 - 1  # frames on either side that the filter looks at
STRENGTH = 1.2  # exponent on the quotients, since the taps' window takes away some of it
LARGEST = 1.8  # natural logarithm of the largest amplification
SMALLEST = -0.5
SHRINKAGE = 5.0  # utterances; RAVDESS has four or eight of a speaker in an emotion
FLOOR = 1e-4  # of a modulation's magnitude


class Postfilter(nn.Module):
    """Linear in time for every cepstral coefficient; does nothing until it is fitted.

    What it does to an utterance is a sum of effects: one of all, and those of its speaker, of its emotion at its
    intensity, and of this speaker in this emotion. A speaker who never recorded an emotion has the other three. With
    `speakers` = 0 (they are embedded from outside) there are none of speakers.
    """

    modulations: Tensor  # [effects, M, WINDOW / 2 + 1]: natural logarithms of quotients
    deviations: Tensor  # [effects, M], also logarithms
    offsets: Tensor  # [effects, M]
    basis: Tensor

    def __init__(self, bands: int, speakers: int, emotions: int, intensities: int) -> None:
        super().__init__()
        self.speakers = speakers
        effects = 1 + speakers + emotions * max(1, intensities) + speakers * emotions
        self.register_buffer("modulations", torch.zeros(effects, bands, WINDOW // 2 + 1))
        self.register_buffer("deviations", torch.zeros(effects, bands))
        self.register_buffer("offsets", torch.zeros(effects, bands))
        self.register_buffer("basis", cosines(bands), persistent=False)

    def manner(self, speakers: Tensor, emotions: Tensor, intensities: Tensor | None) -> Tensor:
        """speakers [B] ids, emotions [B, E] and intensities [B, I] shares that sum to 1 -> [B, effects]: the share that
        an utterance has in each effect."""
        who = emotions.new_zeros(len(emotions), 0)
        if self.speakers:
            who = F.one_hot(speakers, self.speakers).to(emotions.dtype)
        how = emotions if intensities is None else _products(emotions, intensities)
        return torch.cat([torch.ones_like(emotions[:, :1]), who, how, _products(who, emotions)], 1).float()

    def forward(self, mels: Tensor, lengths: Tensor, manner: Tensor) -> Tensor:
        """mels [B, T, M], lengths [B] frames, manner [B, effects] -> [B, T, M], zero at padding."""
        batch, size, bands = mels.shape
        valid = (torch.arange(size, device=mels.device)[None] < lengths[:, None]).unsqueeze(-1)
        moving, mean = centred(mels.float(), valid, lengths)
        around = torch.arange(-REACH, size + REACH, device=mels.device)[None]  # outermost frames again beyond the ends
        nearest = around.clamp(min=0).minimum((lengths[:, None] - 1).clamp(min=0)).unsqueeze(-1)
        cepstra = (moving @ self.basis).gather(1, nearest.expand(-1, -1, bands))
        rows = cepstra.transpose(1, 2).reshape(1, batch * bands, -1)
        taps = self._taps(manner).reshape(batch * bands, 1, -1)
        filtered = F.conv1d(rows, taps, groups=batch * bands).view(batch, bands, size).transpose(1, 2)
        again, _ = centred(filtered @ self.basis.T, valid, lengths)
        gain = (manner @ self.deviations).exp().unsqueeze(1)
        return ((mean + (manner @ self.offsets).unsqueeze(1) + again * gain) * valid).to(mels.dtype)

    def _taps(self, manner: Tensor) -> Tensor:
        """[B, M, 2 * REACH + 1]: a filter without delay for every cepstral coefficient."""
        quotients = torch.tensordot(manner, self.modulations, 1)  # (B, M, WINDOW / 2 + 1)
        curve = (STRENGTH * quotients).clamp(SMALLEST, LARGEST).exp()
        curve[..., 0] = curve[..., 1]  # the mean is handled by itself
        taps = torch.fft.irfft(curve, WINDOW, dim=2).roll(REACH, 2)[..., : 2 * REACH + 1]
        return taps * torch.hann_window(WINDOW, device=taps.device)[1:]

    @torch.no_grad()
    def fit(self, real: list[Tensor], predicted: list[Tensor], manners: list[Tensor]) -> None:
        """real, predicted: the same utterances' mels [T, M] each, of the same length, and their `manner`s [effects].
        Those shorter than WINDOW say nothing. Raises ValueError where all are."""
        kept = [each for each in zip(real, predicted, manners, strict=True) if len(each[0]) >= WINDOW]
        if not kept:
            raise ValueError(f"no utterance has {WINDOW} frames")
        manner = torch.stack([each[2] for each in kept])
        for table in (self.modulations, self.deviations, self.offsets):
            table.zero_()
        quotients = [self._modulations(a) - self._modulations(b) for a, b, _ in kept]
        self.modulations.copy_(effects(torch.stack(quotients), manner))
        self.offsets.copy_(effects(torch.stack([a.mean(0) - b.mean(0) for a, b, _ in kept]), manner))
        logs = [a.std(0).log() - b.std(0).log() for a, b in self._filtered(kept)]
        self.deviations.copy_(effects(torch.stack(logs), manner))
        # more movement of logarithms is more energy: all bands alike are lowered by what an utterance has too much
        louder = [b.logsumexp((0, 1)) - a.logsumexp((0, 1)) for a, b in self._filtered(kept)]
        self.offsets.sub_(effects(torch.stack(louder)[:, None], manner))

    def _filtered(self, kept: list[tuple[Tensor, Tensor, Tensor]]) -> list[tuple[Tensor, Tensor]]:
        return [(a, self(b[None], torch.tensor([len(b)], device=b.device), manner[None])[0]) for a, b, manner in kept]

    def _modulations(self, mel: Tensor) -> Tensor:
        """[T, M] -> [M, WINDOW / 2 + 1]: mean logarithm of every cepstral coefficient's modulation spectrum."""
        cepstra = (mel - mel.mean(0)) @ self.basis
        windows = cepstra.unfold(0, WINDOW, WINDOW // 2)  # (windows, M, WINDOW)
        spectra = torch.fft.rfft(windows * torch.hann_window(WINDOW, device=mel.device), dim=2)
        return spectra.abs().clamp(min=FLOOR).log().mean(0)


def effects(values: Tensor, manner: Tensor) -> Tensor:
    """values [N, ...], manner [N, K] -> [K, ...], whose sums by manner come nearest to the values. All effects but the
    first, which all share, are drawn towards 0 as if by SHRINKAGE utterances without it (ridge regression)."""
    design, flat = manner.double(), values.double().flatten(1)
    penalty = torch.full_like(design[0], SHRINKAGE)
    penalty[0] = 1e-6
    found = torch.linalg.solve(design.T @ design + penalty.diag(), design.T @ flat)
    return found.view(-1, *values.shape[1:]).to(values.dtype)


def _products(left: Tensor, right: Tensor) -> Tensor:
    """[B, X], [B, Y] -> [B, X * Y]."""
    return (left.unsqueeze(2) * right.unsqueeze(1)).flatten(1)


def centred(x: Tensor, valid: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
    """x [B, T, M] less its mean over the valid frames, and that mean [B, 1, M]; zero at padding."""
    mean = (x * valid).sum(1, keepdim=True) / lengths.clamp(min=1)[:, None, None]
    return (x - mean) * valid, mean
