"""A reference encoder that learns little: fixed statistics of the utterance, then one hidden layer.

With some thousand recordings, what a network finds by itself fits the speakers it heard; these statistics carry over
to others. Functionals of short-time features are what emotion was recognised from before networks learned their own
(openSMILE, Eyben et al. 2010).
"""

import math

import torch
import torch.distributed as dist
from torch import Tensor, nn

from model.cosines import cosines
from utils.masks import padding_mask

CEPSTRAL_COEFFICIENTS = 20
CORRELATED = (*range(8), CEPSTRAL_COEFFICIENTS)  # curves whose correlations are taken: the slow cepstrum and the energy
LAGS = (4, 10, 20)  # frames
LEAST_DEVIATION = 0.01  # of a curve, natural log units; one that moves less has no shape
LEAST_VARIANCE = 1e-6  # of a statistic; one that never varies stays at 0
FARTHEST = 5.0  # deviations from its mean that a statistic may have; those of silence would have hundreds
SLOWEST_UPDATE = 0.01  # share of the newest batch in the running mean and square


class FunctionalsEncoder(nn.Module):
    """Mel spectrogram -> one vector in -1 ... 1: functionals, standardised, dropout, a linear layer, tanh, dropout."""

    def __init__(self, mel_bands: int, hidden: int, mask_padding: bool = True, dropout: float = 0.0) -> None:
        super().__init__()
        self.mask_padding = mask_padding
        self.functionals = Functionals(mel_bands)
        self.standardise = RunningStandardisation(self.functionals.size)
        self.output = nn.Linear(self.functionals.size, hidden)
        self.dropout = nn.Dropout(dropout)

    def forward(self, mels: Tensor, lengths: Tensor | None = None) -> Tensor:
        """mels [B, T, M], lengths [B] or None (nothing is padding) -> [B, hidden]. No gradient reaches the mels."""
        statistics = self.standardise(self.functionals(mels, lengths if self.mask_padding else None))
        return self.dropout(torch.tanh(self.output(self.dropout(statistics))))


class Functionals(nn.Module):
    """Log-mel spectrogram -> `size` statistics over its frames; nothing is learned.

    - of every mel band mean and deviation, and the deviation of its slope;
    - of 21 curves, the first cepstral coefficients (orthonormal DCT-II over the bands) and the energy, and of their
      slopes: mean, deviation, skewness, log(1 + kurtosis), and correlations among the first eight and the energy;
    - of these curves the autocorrelation at a few lags: how fast they move;
    - the logarithm of the length.
    """

    basis: Tensor

    def __init__(self, mel_bands: int) -> None:
        super().__init__()
        curves, pairs = CEPSTRAL_COEFFICIENTS + 1, math.comb(len(CORRELATED), 2)
        self.size = 3 * mel_bands + 2 * (4 * curves + pairs) + len(LAGS) * curves + 1
        self.register_buffer("basis", cosines(mel_bands)[:, :CEPSTRAL_COEFFICIENTS], persistent=False)

    @torch.no_grad()
    def forward(self, mels: Tensor, lengths: Tensor | None) -> Tensor:
        """mels [B, T, M] natural log, lengths [B] or None (nothing is padding) -> [B, size] float32.

        Padding may hold anything. What needs more frames than there are is 0.
        """
        if lengths is None:
            lengths = torch.full((len(mels),), mels.shape[1], device=mels.device)
        with torch.autocast(mels.device.type, enabled=False):
            mels = mels.float().masked_fill(padding_mask(lengths, mels.shape[1])[..., None], 0.0)
            curves = torch.cat([mels @ self.basis, mels.logsumexp(2, keepdim=True)], 2)
            inner = (lengths - 2).clamp(min=0)  # frames that have a slope
            mean, deviation, _ = _distribution(mels, lengths)
            parts = [mean, deviation, _distribution(_slopes(mels), inner)[1]]
            for values, frames in ((curves, lengths), (_slopes(curves), inner)):
                mean, deviation, unit = _distribution(values, frames)
                parts += [mean, deviation, *_shape(unit, frames), _correlations(unit[..., CORRELATED], frames)]
                if values is curves:
                    parts += [_autocorrelation(unit, frames, lag) for lag in LAGS]
            return torch.cat([*parts, lengths[:, None].clamp(min=1).log()], 1)


class RunningStandardisation(nn.Module):
    """Every channel less its mean, over its deviation, both as training has met them so far: the same in training as
    in use, where statistics of the batch would differ.

    Nothing flows back through it. With `synchronised` the batches of all processes count together.
    """

    synchronised = False
    mean: Tensor
    square: Tensor
    batches: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("square", torch.ones(channels))
        self.register_buffer("batches", torch.tensor(0))

    @torch.no_grad()
    def forward(self, x: Tensor) -> Tensor:
        """x [B, C] float32 -> [B, C] within +-5."""
        if self.training:
            self._learn(x)
        variance = (self.square - self.mean.square()).clamp(min=LEAST_VARIANCE)
        return ((x - self.mean) * torch.rsqrt(variance)).clamp(-FARTHEST, FARTHEST)

    def _learn(self, x: Tensor) -> None:
        sums = torch.cat([x.sum(0), x.square().sum(0), x.new_full((1,), len(x))])
        if self.synchronised:
            dist.all_reduce(sums)
        mean, square = (sums[:-1] / sums[-1]).chunk(2)
        self.batches += 1
        share = (1.0 / self.batches).clamp(min=SLOWEST_UPDATE)  # at first the plain mean of all batches
        self.mean.lerp_(mean, share)
        self.square.lerp_(square, share)


def _slopes(curves: Tensor) -> Tensor:
    """[B, T, C] -> change per frame around all frames but the first and the last, [B, T - 2, C]."""
    return (curves[:, 2:] - curves[:, :-2]) / 2


def _distribution(curves: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """curves [B, T, C] -> mean and deviation [B, C], and the curves less the one over the other, 0 at padding."""
    padding = padding_mask(lengths, curves.shape[1])[..., None]
    frames = lengths[:, None].clamp(min=1)
    mean = curves.masked_fill(padding, 0.0).sum(1) / frames
    centred = (curves - mean[:, None]).masked_fill(padding, 0.0)
    deviation = (centred.square().sum(1) / frames).sqrt()
    return mean, deviation, centred / deviation.clamp(min=LEAST_DEVIATION)[:, None]


def _shape(unit: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
    """Skewness and log(1 + kurtosis), [B, C]."""
    frames, squares = lengths[:, None].clamp(min=1), unit.square()
    return (unit * squares).sum(1) / frames, (squares.square().sum(1) / frames).log1p()


def _correlations(unit: Tensor, lengths: Tensor) -> Tensor:
    """unit [B, T, C] -> [B, C (C - 1) / 2]."""
    square = unit.mT @ unit / lengths[:, None, None].clamp(min=1)
    row, column = torch.triu_indices(unit.shape[2], unit.shape[2], 1, device=unit.device)
    return square[:, row, column]


def _autocorrelation(unit: Tensor, lengths: Tensor, lag: int) -> Tensor:
    """[B, C], of frames and those `lag` before."""
    return (unit[:, lag:] * unit[:, :-lag]).sum(1) / (lengths - lag).clamp(min=1)[:, None]
