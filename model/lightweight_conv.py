"""Lightweight convolution (Wu et al. 2019, arXiv 1901.10430): one kernel per head, softmax over its taps."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class LightweightConv(nn.Module):
    """Depthwise convolution over time whose channels share `heads` kernels; weights as in fairseq: [heads, 1, K].

    Channel c uses head c // (channels / heads). `dropout` acts on the kernel taps (DropConnect), one mask per
    [heads, K] and step, as fairseq's CUDA kernel does. Length is kept: `padding_left` zeros stand before the first
    frame (None: centred, K // 2) and K - 1 - padding_left behind the last.

    Raises ValueError if `heads` does not divide `channels`.
    """

    def __init__(
        self,
        channels: int,
        kernel_size: int,
        heads: int,
        *,
        dropout: float = 0.0,
        softmax: bool = True,
        bias: bool = False,
        padding_left: int | None = None,
    ) -> None:
        super().__init__()
        if channels % heads:
            raise ValueError(f"heads {heads} must divide channels {channels}")
        self.channels_per_head = channels // heads
        self.padding_left = kernel_size // 2 if padding_left is None else padding_left
        self.padding_right = kernel_size - 1 - self.padding_left
        self.softmax = softmax
        self.dropout = dropout
        self.weight = nn.Parameter(torch.empty(heads, 1, kernel_size))
        self.bias = nn.Parameter(torch.zeros(channels)) if bias else None
        nn.init.xavier_uniform_(self.weight)

    def forward(self, x: Tensor) -> Tensor:
        """[B, T, C] -> [B, T, C]."""
        weight = torch.softmax(self.weight, dim=-1) if self.softmax else self.weight  # (heads, 1, K)
        weight = F.dropout(weight, self.dropout, self.training)
        weight = weight.repeat_interleave(self.channels_per_head, dim=0)  # (C, 1, K)
        # A [B, T, C] tensor seen as an image [B, C, 1, T] is already channels-last: no copy, and much faster than
        # conv1d on the transpose.
        image = x.transpose(1, 2).unsqueeze(2)  # (B, C, 1, T)
        symmetric = self.padding_left == self.padding_right
        if not symmetric:
            image = F.pad(image, (self.padding_left, self.padding_right))
        padding = (0, self.padding_left if symmetric else 0)
        out = F.conv2d(image, weight.unsqueeze(2), self.bias, padding=padding, groups=weight.shape[0])
        return out.squeeze(2).transpose(1, 2)
