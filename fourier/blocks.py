"""ConvNeXt blocks over time (Liu et al. 2022, arXiv 2201.03545; in vocoders: Vocos, arXiv 2306.00814)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class ConvNeXtBlock(nn.Module):
    """Depthwise convolution, layer norm, two linear layers with a GELU between; scaled and added to the input."""

    def __init__(self, channels: int, expansion: int, kernel_size: int, scale: float) -> None:
        super().__init__()
        self.depthwise = nn.Conv1d(channels, channels, kernel_size, padding=kernel_size // 2, groups=channels)
        self.norm = nn.LayerNorm(channels)
        self.wide = nn.Linear(channels, channels * expansion)
        self.narrow = nn.Linear(channels * expansion, channels)
        self.scale = nn.Parameter(torch.full((channels,), scale))

    def forward(self, x: Tensor) -> Tensor:
        """[B, T, channels], shape kept."""
        # (B, C, 1, T) is channels-last as x lies: no copy, and much faster than conv1d
        image = x.transpose(1, 2).unsqueeze(2)
        weight, padding = self.depthwise.weight.unsqueeze(2), self.depthwise.weight.shape[2] // 2
        mixed = F.conv2d(image, weight, self.depthwise.bias, padding=(0, padding), groups=x.shape[2])
        inner = self.norm(mixed.squeeze(2).transpose(1, 2))
        return x + self.scale * self.narrow(F.gelu(self.wide(inner)))


class Backbone(nn.Module):
    """A convolution, `layers` blocks, a norm: [B, T, inputs] -> [B, T, channels]."""

    def __init__(self, inputs: int, channels: int, expansion: int, layers: int, kernel_size: int) -> None:
        super().__init__()
        self.embed = nn.Conv1d(inputs, channels, kernel_size, padding=kernel_size // 2)
        self.norm_in = nn.LayerNorm(channels)
        self.blocks = nn.ModuleList(ConvNeXtBlock(channels, expansion, kernel_size, 1 / layers) for _ in range(layers))
        self.norm_out = nn.LayerNorm(channels)
        self.context = (layers + 1) * (kernel_size // 2)  # frames on either side that an output depends on

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm_in(self.embed(x.transpose(1, 2)).transpose(1, 2).contiguous())
        for block in self.blocks:
            x = block(x)
        out: Tensor = self.norm_out(x)
        return out
