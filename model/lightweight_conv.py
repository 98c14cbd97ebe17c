"""Lightweight convolution (Wu et al. 2019, arXiv 1901.10430): one kernel per head, softmax over its taps."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.feed_forward import under_autocast


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
        weight = weight.expand(-1, self.channels_per_head, -1).reshape(-1, 1, weight.shape[2])  # (C, 1, K)
        symmetric = self.padding_left == self.padding_right
        if not symmetric:
            x = F.pad(x, (0, 0, self.padding_left, self.padding_right))
        padding = self.padding_left if symmetric else 0
        if torch.is_grad_enabled():
            out: Tensor = _DepthwiseConv.apply(*under_autocast(x, weight), padding)
        else:
            out = _convolve(x, weight, padding)
        return out if self.bias is None else out + self.bias


class _DepthwiseConv(torch.autograd.Function):
    """x [B, T, C], weight [C, 1, K], zeros at both ends -> [B, T + 2 * padding - K + 1, C].

    By hand for the gradient of the weights: on CPUs a product and a sum per tap take half the time of oneDNN's.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, padding: int) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.padding = padding
        return _convolve(x, weight, padding)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        x, weight = ctx.saved_tensors
        by_hand = x.device.type == "cpu"
        wanted = [ctx.needs_input_grad[0], ctx.needs_input_grad[1] and not by_hand, False]
        to_x, to_weight, _ = torch.ops.aten.convolution_backward(
            _image(grad), _image(x), weight.unsqueeze(2), None,
            [1, 1], [0, ctx.padding], [1, 1], False, [0, 0], len(weight), wanted,
        )  # fmt: skip
        if ctx.needs_input_grad[1] and by_hand:
            to_weight = _weight_gradient(x.float(), grad.float(), ctx.padding, weight.shape[2]).to(weight.dtype)
        elif to_weight is not None:
            to_weight = to_weight.squeeze(2)
        return None if to_x is None else to_x.squeeze(2).transpose(1, 2), to_weight, None


def _convolve(x: Tensor, weight: Tensor, padding: int) -> Tensor:
    out = F.conv2d(_image(x), weight.unsqueeze(2), padding=(0, padding), groups=len(weight))
    return out.squeeze(2).transpose(1, 2)


def _image(x: Tensor) -> Tensor:
    """[B, T, C] -> [B, C, 1, T], which is channels-last as it lies: no copy, and much faster than conv1d."""
    return x.transpose(1, 2).unsqueeze(2)


def _weight_gradient(x: Tensor, grad: Tensor, padding: int, taps: int) -> Tensor:
    """[C, 1, taps]: for each tap the sum over frames of grad times the frame that the tap saw."""
    padded = F.pad(x, (0, 0, padding, padding))
    products = torch.empty_like(grad)
    sums = grad.new_empty(taps, grad.shape[2])
    for tap in range(taps):
        torch.mul(padded[:, tap : tap + grad.shape[1]], grad, out=products)
        torch.sum(products, (0, 1), out=sums[tap])
    return sums.T.unsqueeze(1)
