"""The original's way of working, rebuilt from a description of it, to measure against.

It computes what model/ computes (in evaluation mode exactly, up to rounding), in the way the original does: the
lightweight convolution as a product with a T x T band matrix per head and utterance, weight dropout drawn on all of
that matrix; the length regulator phone by phone, asking the device for every duration; losses over values picked by
masks; every loss read after every step; batches read from disk and sorted in groups. The modules bear model/'s
parameter names, so that they load its weights.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model import ModelSizes


def sinusoids(positions: int, channels: int) -> Tensor:
    """[positions, channels]: sines at even channels, cosines at odd ones."""
    table = torch.zeros(positions, channels)
    for channel in range(channels):
        angles = torch.arange(positions) / 10000 ** (2 * (channel // 2) / channels)
        table[:, channel] = torch.sin(angles) if channel % 2 == 0 else torch.cos(angles)
    return table


class BandConv(nn.Module):
    """Lightweight convolution as a matrix product: row t of a head's matrix holds its kernel, centred at t."""

    def __init__(self, channels: int, kernel: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.kernel, self.dropout = heads, kernel, dropout
        self.weight = nn.Parameter(torch.zeros(heads, 1, kernel))

    def forward(self, x: Tensor) -> Tensor:
        """[B, T, C] -> [B, T, C]."""
        B, T, _ = x.shape
        # Rows of width T + K that begin with the kernel, read again with width T + K - 1: each row's kernel has moved
        # one column further than the one above.
        width = T + self.kernel - 1
        rows = x.new_zeros(B * self.heads, T, width + 1)
        rows[..., : self.kernel] = torch.softmax(self.weight, -1).repeat(B, T, 1)
        skewed = rows.flatten(1)[:, : T * width].unflatten(1, (T, width))
        band = skewed[:, :, self.kernel // 2 : self.kernel // 2 + T]  # (B * heads, T, T)
        band = F.dropout(band, self.dropout, self.training)
        heads = x.unflatten(2, (self.heads, -1)).transpose(1, 2).flatten(0, 1)  # (B * heads, T, C / heads)
        return torch.bmm(band, heads).unflatten(0, (B, self.heads)).transpose(1, 2).flatten(2)


class ConditionalNorm(nn.Module):
    """SCLN, written out: unbiased deviation, gain and bias from the speaker."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.affine = nn.Linear(channels, 2 * channels, bias=False)

    def forward(self, x: Tensor, speaker: Tensor) -> Tensor:
        """x [B, T, C], speaker [B, C]."""
        bias, gain = self.affine(speaker).unsqueeze(1).chunk(2, -1)
        normal = (x - x.mean(-1, keepdim=True)) / (x.std(-1, keepdim=True) + 1e-8)
        return gain * normal + bias


class LConv(nn.Module):
    """Both lightweight-convolution blocks: with SCLN (decoder) or one LayerNorm at the end (duration predictor)."""

    def __init__(self, channels: int, kernel: int, heads: int, dropout: float, conditional: bool) -> None:
        super().__init__()
        self.gate = nn.Linear(channels, 2 * channels)
        self.conv = BandConv(channels, kernel, heads, dropout)
        self.expand = nn.Linear(channels, 4 * channels)
        self.project = nn.Linear(4 * channels, channels)
        self.conditional = conditional
        if conditional:
            self.conv_norm, self.output_norm = ConditionalNorm(channels), ConditionalNorm(channels)
        else:
            self.norm = nn.LayerNorm(channels)

    def forward(self, x: Tensor, mask: Tensor, speaker: Tensor) -> Tensor:
        """x [B, T, C], mask [B, T] True = padding."""
        x = self.conv(F.glu(self.gate(x)).masked_fill(mask.unsqueeze(-1), 0)) + x
        if self.conditional:
            x = self.conv_norm(x, speaker)
        x = self.project(F.relu(self.expand(x))) + x
        x = self.output_norm(x, speaker) if self.conditional else self.norm(x)
        return x.masked_fill(mask.unsqueeze(-1), 0)


class Attention(nn.Module):
    """Self-attention whose scores are made explicitly."""

    def __init__(self, channels: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value, self.output = (nn.Linear(channels, channels, bias=False) for _ in range(4))
        self.norm = nn.LayerNorm(channels)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """x [B, N, C]."""
        B, N, C = x.shape
        q, k, v = (
            part(x).view(B, N, self.heads, -1).permute(2, 0, 1, 3).reshape(self.heads * B, N, -1)
            for part in (self.query, self.key, self.value)
        )
        scores = torch.bmm(q, k.transpose(1, 2)) / math.sqrt(C // self.heads)
        scores = scores.masked_fill(mask.unsqueeze(1).expand(-1, N, -1).repeat(self.heads, 1, 1), -math.inf)
        heard = torch.bmm(scores.softmax(2), v).view(self.heads, B, N, -1).permute(1, 2, 0, 3).reshape(B, N, -1)
        return self.norm(self.dropout(self.output(heard)) + x)


class FeedForward(nn.Module):
    """Two convolutions over time."""

    def __init__(self, channels: int, filters: int, kernels: tuple[int, int], dropout: float) -> None:
        super().__init__()
        self.conv_in = nn.Conv1d(channels, filters, kernels[0], padding=kernels[0] // 2)
        self.conv_out = nn.Conv1d(filters, channels, kernels[1], padding=kernels[1] // 2)
        self.norm = nn.LayerNorm(channels)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """x [B, N, C]."""
        hidden = self.conv_out(F.relu(self.conv_in(x.transpose(1, 2)))).transpose(1, 2)
        return self.norm(self.dropout(hidden) + x)


class FFT(nn.Module):
    """Attention and convolutions."""

    def __init__(self, sizes: ModelSizes, heads: int, dropout: float) -> None:
        super().__init__()
        self.attention = Attention(sizes.hidden, heads, dropout)
        self.feed_forward = FeedForward(sizes.hidden, sizes.conv_filters, sizes.conv_kernels, dropout)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """x [B, N, C]."""
        x = self.attention(x, mask).masked_fill(mask.unsqueeze(-1), 0)
        return self.feed_forward(x).masked_fill(mask.unsqueeze(-1), 0)
