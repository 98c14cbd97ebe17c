"""The discriminators that a configuration asks for."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from config.vocoder import Discriminators
from hifigan.discriminators import Discriminator, Judgement, multi_period, multi_scale
from vocoder_training.losses import Stft


class ResolutionDiscriminator(Discriminator):
    """Sees a magnitude spectrogram as an image; one per resolution (UnivNet, Jang et al. 2021, arXiv 2106.07889).

    Strides are over frequency, and 3 instead of 2 over time: a tenth of the arithmetic.
    """

    def __init__(self, resolution: Sequence[int], channels: int) -> None:
        super().__init__()
        self.analysis = Stft(*resolution)
        self.layers = nn.ModuleList(
            weight_norm(nn.Conv2d(1 if index == 0 else channels, channels, (3, 9), (1, 3), (1, 4)))
            for index in range(4)
        )
        self.layers.append(weight_norm(nn.Conv2d(channels, channels, (3, 3), padding=(1, 1))))
        self.last = weight_norm(nn.Conv2d(channels, 1, (3, 3), padding=(1, 1)))

    def prepare(self, wav: Tensor) -> Tensor:
        """[B, samples] -> [B, 1, T, bins]."""
        with torch.autocast(wav.device.type, enabled=False):
            magnitude: Tensor = self.analysis(wav.float())
        return magnitude[:, None]


class Jury(nn.Module):
    """All discriminators: waveforms [B, samples] -> one Judgement of each."""

    def __init__(self, members: Sequence[Discriminator]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)

    def forward(self, wav: Tensor) -> list[Judgement]:
        return [member(wav) for member in self.members]


def new_jury(settings: Discriminators) -> Jury:
    """Fresh weights, drawn from the global random state."""
    members: list[Discriminator] = []
    for kind in settings.kinds:
        if kind == "multi_period":
            members += multi_period(settings.periods, settings.period_channels)
        elif kind == "multi_scale":
            members += multi_scale()
        else:
            members += [ResolutionDiscriminator(each, settings.resolution_channels) for each in settings.resolutions]
    return Jury(members)
