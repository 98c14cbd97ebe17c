"""Lightweight convolution (Wu et al. 2019, arXiv 1901.10430): one kernel per head, softmax over its taps."""

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

BLOCK, WIDTH = 8, 8  # frames and channels that go together in the gradient of kernels; the fastest of 2 to 16


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

    @property
    def symmetric(self) -> bool:
        """Whether as many zeros stand before as behind."""
        return self.padding_left == self.padding_right

    def forward(self, x: Tensor, settled: Tensor | None = None) -> Tensor:
        """[B, T, C] -> [B, T, C]; `settled`: what `settled()` gave for these weights, unless there is a gradient."""
        if not self.symmetric:
            x = F.pad(x, (0, 0, self.padding_left, self.padding_right))
        padding = self.padding_left if self.symmetric else 0
        if torch.is_grad_enabled():
            out: Tensor = _HeadwiseConv.apply(*_under_autocast(x, self.kernels()), padding)
        else:
            out = convolve(x, self.kernels() if settled is None else settled, padding)
        return out if self.bias is None else out + self.bias

    def kernels(self) -> Tensor:
        """[heads, 1, K] as they are applied: softmax over the taps, then dropout."""
        weight = torch.softmax(self.weight, dim=-1) if self.softmax else self.weight
        return F.dropout(weight, self.dropout, self.training)

    def settled(self) -> Tensor:
        """The kernel of every channel, [C, 1, 1, K]."""
        return _spread(self.kernels(), self.channels_per_head * len(self.weight)).contiguous()


def _under_autocast(x: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """As automatic mixed precision wants a product's: inside an operation with its own gradient casts have none."""
    kind = x.device.type
    if not torch.is_autocast_enabled(kind):
        return x, weight
    half = torch.get_autocast_dtype(kind)
    return x.to(half), weight.to(half)


class _HeadwiseConv(torch.autograd.Function):
    """`convolve`, whose gradient for the weights is by hand on CPUs."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, padding: int) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.padding = padding
        return convolve(x, weight, padding)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        x, weight = ctx.saved_tensors
        to_x = gradient_of_input(grad, x, weight, ctx.padding) if ctx.needs_input_grad[0] else None
        to_weight = gradient_of_kernels(grad, x, weight, ctx.padding) if ctx.needs_input_grad[1] else None
        return to_x, to_weight, None


def convolve(x: Tensor, weight: Tensor, padding: int) -> Tensor:
    """x [B, T, C], weight [heads, 1, K] or [C, 1, 1, K], `padding` zeros at both ends -> [B, T + 2 * padding - K + 1,
    C]."""
    if weight.dim() == 3:
        weight = _spread(weight, x.shape[2])
    out = F.conv2d(_image(x), weight, padding=(0, padding), groups=x.shape[2])
    return out.squeeze(2).transpose(1, 2)


def gradient_of_input(grad: Tensor, x: Tensor, weight: Tensor, padding: int) -> Tensor:
    """Of `convolve`, [B, T, C]; grad as its output."""
    to_x = _convolution_backward(grad, x, weight, padding, 0)
    return to_x.squeeze(2).transpose(1, 2)


def gradient_of_kernels(grad: Tensor, x: Tensor, weight: Tensor, padding: int) -> Tensor:
    """Of `convolve`, [heads, 1, K]; grad as its output."""
    if x.device.type == "cpu":
        return _by_blocks(grad, x, weight, padding)
    heads, _, taps = weight.shape
    return _convolution_backward(grad, x, weight, padding, 1).reshape(heads, -1, taps).sum(1, keepdim=True)


def _convolution_backward(grad: Tensor, x: Tensor, weight: Tensor, padding: int, which: int) -> Tensor:
    wanted = [which == 0, which == 1, False]
    out: Tensor = torch.ops.aten.convolution_backward(
        _image(grad), _image(x), _spread(weight, x.shape[2]), None,
        [1, 1], [0, padding], [1, 1], False, [0, 0], x.shape[2], wanted,
    )[which]  # fmt: skip
    return out


def _image(x: Tensor) -> Tensor:
    """[B, T, C] -> [B, C, 1, T], which is channels-last as it lies: no copy, and much faster than conv1d."""
    return x.transpose(1, 2).unsqueeze(2)


def _spread(weight: Tensor, channels: int) -> Tensor:
    """[heads, 1, K] -> [C, 1, 1, K]: each head's kernel for all of its channels."""
    heads, _, taps = weight.shape
    return weight.expand(-1, channels // heads, -1).reshape(channels, 1, 1, taps)


def _by_blocks(grad: Tensor, x: Tensor, weight: Tensor, padding: int) -> Tensor:
    """`gradient_of_kernels` as one product per head, in less than half the time of oneDNN's, which goes by channels.

    Time is cut into blocks. All frames of a block of the gradient times all frames that it has seen hold, on the
    diagonals of equal lag and equal channel, what is wanted; the rest of the product is thrown away, and the less of
    that the fewer channels go together: wide heads are split.
    """
    (heads, _, taps), (batch, length, channels) = weight.shape, grad.shape
    width = math.gcd(channels // heads, WIDTH)
    groups, count = channels // width, -(-length // BLOCK)
    seen = BLOCK + taps - 1  # frames that a block sees
    # one group of channels after the other, so that a block is one piece of memory
    padded = x.new_zeros(groups, batch, (count - 1) * BLOCK + seen, width)
    padded[:, :, padding : padding + x.shape[1]] = x.unflatten(2, (groups, width)).permute(2, 0, 1, 3)
    slopes = grad.new_zeros(groups, batch, count * BLOCK, width)
    slopes[:, :, :length] = grad.unflatten(2, (groups, width)).permute(2, 0, 1, 3)
    windows = padded.flatten(2).unfold(2, seen * width, BLOCK * width).reshape(groups, batch * count, seen * width)
    products = slopes.view(groups, batch * count, BLOCK * width).transpose(1, 2) @ windows
    lags = products.view(groups, BLOCK, width, seen, width).diagonal(dim1=2, dim2=4).sum(-1)  # (groups, BLOCK, seen)
    strides = (BLOCK * seen, seen + 1, 1)  # tap k of frame t lies at t + k
    each = lags.contiguous().as_strided((groups, BLOCK, taps), strides).sum(1)
    return each.view(heads, -1, taps).sum(1, keepdim=True)
