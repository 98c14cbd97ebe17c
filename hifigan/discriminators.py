"""What tells generated waveforms from recordings: the multi-period and the multi-scale discriminator.

Kong et al. 2020 (arXiv 2010.05646), section 2.3 and appendix A.2; the multi-scale one is MelGAN's (Kumar et al. 2019).
Each returns its verdicts (least squares: 1 for a recording, 0 for a generated waveform) and every layer's features.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm, weight_norm

SLOPE = 0.1  # of the leaky ReLUs
PERIODS = (2, 3, 5, 7, 11)  # samples; primes, so that they overlap as little as possible
PERIOD_CHANNELS = (32, 128, 512, 1024, 1024)
SCALES = 3  # the waveform itself, at half and at a quarter of its rate


@dataclass(frozen=True)
class Judgement:
    """What one sub-discriminator says of a batch of waveforms."""

    verdicts: Tensor  # [B, any number]
    features: list[Tensor]  # of every layer, the last one included; each [B, …]

    def part(self, start: int, stop: int) -> Judgement:
        """Of the waveforms start … stop - 1 of the batch."""
        return Judgement(self.verdicts[start:stop], [layer[start:stop] for layer in self.features])


class Discriminator(nn.Module):
    """One sub-discriminator: waveforms [B, samples] -> Judgement."""

    layers: nn.ModuleList
    last: nn.Module

    def prepare(self, wav: Tensor) -> Tensor:
        """[B, samples] -> the first layer's input."""
        raise NotImplementedError

    def forward(self, wav: Tensor) -> Judgement:
        x, features = self.prepare(wav), []
        for layer in self.layers:
            x = F.leaky_relu(layer(x), SLOPE)
            features.append(x)
        x = self.last(x)
        return Judgement(x.flatten(1), [*features, x])


class PeriodDiscriminator(Discriminator):
    """Sees every `period`-th sample on its own, as a column of an image; kernels are one column wide.

    samples 0 1 2 3 4 5 6, period 3:   0 1 2
                                       3 4 5
                                       6 5 4   (mirrored at the end)
    """

    def __init__(self, period: int, channels: Sequence[int] = PERIOD_CHANNELS) -> None:
        super().__init__()
        self.period = period
        widths = [1, *channels]
        strides = [3] * (len(channels) - 1) + [1]
        self.layers = nn.ModuleList(
            weight_norm(nn.Conv2d(inputs, outputs, (5, 1), (stride, 1), (2, 0)))
            for inputs, outputs, stride in zip(widths, channels, strides, strict=False)
        )
        self.last = weight_norm(nn.Conv2d(channels[-1], 1, (3, 1), padding=(1, 0)))

    def prepare(self, wav: Tensor) -> Tensor:
        """[B, samples] -> [B, 1, samples / period, period]."""
        wav = F.pad(wav[:, None], (0, -wav.shape[1] % self.period), "reflect")
        return wav.unflatten(2, (-1, self.period))


class ScaleDiscriminator(Discriminator):
    """Sees the waveform averaged over windows of 4 samples, every 2nd of them, `halvings` times in a row.

    The first scale has spectral norm, the others weight norm (appendix A.2).
    """

    def __init__(self, halvings: int) -> None:
        super().__init__()
        norm = weight_norm if halvings else spectral_norm
        self.halvings = halvings
        numbers = (  # channels in and out, kernel, stride, groups
            (1, 128, 15, 1, 1), (128, 128, 41, 2, 4), (128, 256, 41, 2, 16), (256, 512, 41, 4, 16),
            (512, 1024, 41, 4, 16), (1024, 1024, 41, 1, 16), (1024, 1024, 5, 1, 1),
        )  # fmt: skip
        self.layers = nn.ModuleList(
            norm(nn.Conv1d(inputs, outputs, size, stride, size // 2, groups=groups))
            for inputs, outputs, size, stride, groups in numbers
        )
        self.last = norm(nn.Conv1d(1024, 1, 3, padding=1))

    def prepare(self, wav: Tensor) -> Tensor:
        """[B, samples] -> [B, 1, samples / 2^halvings]."""
        x = wav[:, None]
        for _ in range(self.halvings):
            x = F.avg_pool1d(x, 4, 2, padding=2)
        return x


def multi_period(periods: Sequence[int] = PERIODS, channels: Sequence[int] = PERIOD_CHANNELS) -> list[Discriminator]:
    """The multi-period discriminator's parts, 41.1 million parameters at official sizes."""
    return [PeriodDiscriminator(period, channels) for period in periods]


def multi_scale() -> list[Discriminator]:
    """The multi-scale discriminator's parts, 29.6 million parameters."""
    return [ScaleDiscriminator(halvings) for halvings in range(SCALES)]
