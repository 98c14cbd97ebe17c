"""The HiFi-GAN generator with weight norm already folded; layer names are those of the published checkpoints."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hifigan.architecture import Architecture

_SLOPE = 0.1  # of the leaky ReLUs, but for the last one, which keeps PyTorch's 0.01 (so trained, so kept)

# Inside, signals are (B, channels, 1, samples) and the layers' kernels work as 1 x k in two dimensions. On a CPU they
# lie in memory channels last, (B, samples, channels): there oneDNN convolves at 70 to 80 GFLOP/s a core, against 17 to
# 60 for the same convolution of (B, channels, samples), which it rearranges before and after.


def _same_conv(channels: int, size: int, dilation: int) -> nn.Conv1d:
    return nn.Conv1d(channels, channels, size, dilation=dilation, padding=dilation * (size - 1) // 2)


def _convolve(layer: nn.Module, x: Tensor) -> Tensor:
    """A Conv1d on (B, channels, 1, samples)."""
    assert isinstance(layer, nn.Conv1d)
    padding, dilation = (0, int(layer.padding[0])), (1, layer.dilation[0])
    return F.conv2d(x, layer.weight.unsqueeze(2), layer.bias, 1, padding, dilation)


def _upsample(layer: nn.Module, x: Tensor) -> Tensor:
    """A ConvTranspose1d on (B, channels, 1, samples)."""
    assert isinstance(layer, nn.ConvTranspose1d)
    padding, stride = (0, int(layer.padding[0])), (1, layer.stride[0])
    return F.conv_transpose2d(x, layer.weight.unsqueeze(2), layer.bias, stride, padding)


class ResBlock1(nn.Module):
    """Per dilation: a dilated and a plain convolution, added to their input (paper figure 1, right)."""

    def __init__(self, channels: int, size: int, dilations: tuple[int, ...]) -> None:
        super().__init__()
        self.convs1 = nn.ModuleList(_same_conv(channels, size, dilation) for dilation in dilations)
        self.convs2 = nn.ModuleList(_same_conv(channels, size, 1) for _ in dilations)

    def forward(self, x: Tensor) -> Tensor:  # (B, channels, 1, samples), shape kept
        for dilated, plain in zip(self.convs1, self.convs2, strict=True):
            inner = F.leaky_relu_(_convolve(dilated, F.leaky_relu(x, _SLOPE)), _SLOPE)
            x = _convolve(plain, inner).add_(x)
        return x


class ResBlock2(nn.Module):
    """Per dilation: one dilated convolution, added to its input (version 3)."""

    def __init__(self, channels: int, size: int, dilations: tuple[int, ...]) -> None:
        super().__init__()
        self.convs = nn.ModuleList(_same_conv(channels, size, dilation) for dilation in dilations)

    def forward(self, x: Tensor) -> Tensor:  # (B, channels, 1, samples), shape kept
        for dilated in self.convs:
            x = _convolve(dilated, F.leaky_relu(x, _SLOPE)).add_(x)
        return x


class Generator(nn.Module):
    """Log-mel spectrogram [B, num_mels, T] (natural log) -> waveform [B, T * hop_length] within [-1, 1]."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.architecture = architecture
        block = ResBlock1 if architecture.resblock == 1 else ResBlock2
        channels = architecture.upsample_initial_channel
        self.conv_pre = nn.Conv1d(architecture.num_mels, channels, 7, padding=3)
        self.ups = nn.ModuleList()
        self.resblocks = nn.ModuleList()
        for rate, size in zip(architecture.upsample_rates, architecture.upsample_kernel_sizes, strict=True):
            self.ups.append(nn.ConvTranspose1d(channels, channels // 2, size, rate, padding=(size - rate) // 2))
            channels //= 2
            for kernel, dilations in zip(
                architecture.resblock_kernel_sizes, architecture.resblock_dilation_sizes, strict=True
            ):
                self.resblocks.append(block(channels, kernel, dilations))
        self.conv_post = nn.Conv1d(channels, 1, 7, padding=3)

    def forward(self, mel: Tensor) -> Tensor:
        x = mel.unsqueeze(2)
        if mel.device.type == "cpu":
            x = x.contiguous(memory_format=torch.channels_last)
        x = _convolve(self.conv_pre, x)  # (B, channels, 1, T)
        parallel = len(self.architecture.resblock_kernel_sizes)
        for stage, upsample in enumerate(self.ups):
            x = _upsample(upsample, F.leaky_relu_(x, _SLOPE))  # (B, channels / 2, 1, samples * rate)
            fused = self.resblocks[stage * parallel](x)
            for index in range(1, parallel):
                fused.add_(self.resblocks[stage * parallel + index](x))
            x = fused.div_(parallel)
        return _convolve(self.conv_post, F.leaky_relu_(x)).tanh_().flatten(1)

    def channels_last(self) -> Generator:
        """Lay the kernels out in memory as CPU convolutions want them; values, shapes and names stay."""
        for layer in self.modules():
            if isinstance(layer, nn.Conv1d | nn.ConvTranspose1d):
                layer.weight.data = layer.weight.data.transpose(1, 2).contiguous().transpose(1, 2)
        return self
