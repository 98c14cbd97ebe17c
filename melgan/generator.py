"""The MelGAN generator with weight norm already folded; layer names (`model.N…`) are those of the published weights."""

from __future__ import annotations

import math
from collections.abc import Mapping

from torch import Tensor, nn

RATIOS = (8, 8, 2, 2)  # upsampling, stage by stage; their product is the hop length, 256 samples
_SLOPE = 0.2  # of every leaky ReLU

# What the published generators were trained on, under HiFi-GAN's names. Lengths in samples, rates in Hz.
PUBLISHED_MEL: Mapping[str, float] = {
    "num_mels": 80,
    "n_fft": 1024,
    "hop_size": 256,
    "win_size": 1024,
    "sampling_rate": 22050,
    "fmin": 0,
    "fmax": 11025,
}


class ResnetBlock(nn.Module):
    """A dilated convolution beside a 1x1 shortcut (paper figure 1, right)."""

    def __init__(self, channels: int, dilation: int) -> None:
        super().__init__()
        self.block = nn.Sequential(
            nn.LeakyReLU(_SLOPE),
            nn.ReflectionPad1d(dilation),
            nn.Conv1d(channels, channels, 3, dilation=dilation),
            nn.LeakyReLU(_SLOPE),
            nn.Conv1d(channels, channels, 1),
        )
        self.shortcut = nn.Conv1d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:  # (B, channels, samples), shape kept
        out: Tensor = self.shortcut(x) + self.block(x)
        return out


class Generator(nn.Module):
    """log10-mel spectrogram [B, num_mels, T], T >= 4 -> waveform [B, T * 256] within [-1, 1].

    The defaults are the published models' sizes. `context` is the number of frames on either side that can influence
    a frame's samples; the reflection at the ends needs `min_frames`.
    """

    hop_length = math.prod(RATIOS)
    min_frames = 4

    def __init__(self, num_mels: int = 80, width: int = 32, residual_layers: int = 3) -> None:
        super().__init__()
        channels = width * 2 ** len(RATIOS)
        layers: list[nn.Module] = [nn.ReflectionPad1d(3), nn.Conv1d(num_mels, channels, 7)]
        reach, rate = 3.0, 1  # frames; samples per frame so far
        for ratio in RATIOS:
            upsample = nn.ConvTranspose1d(channels, channels // 2, 2 * ratio, ratio, padding=ratio // 2)
            layers += [nn.LeakyReLU(_SLOPE), upsample]
            channels //= 2
            dilations = [3**layer for layer in range(residual_layers)]
            layers += [ResnetBlock(channels, dilation) for dilation in dilations]
            reach += 2 / rate
            rate *= ratio
            reach += sum(dilations) / rate
        layers += [nn.LeakyReLU(_SLOPE), nn.ReflectionPad1d(3), nn.Conv1d(channels, 1, 7), nn.Tanh()]
        self.model = nn.Sequential(*layers)
        self.context = math.ceil(reach + 3 / rate)

    def forward(self, mel: Tensor) -> Tensor:
        wav: Tensor = self.model(mel)
        return wav.squeeze(1)
