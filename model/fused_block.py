"""A whole SC-LConv block as one operation with a gradient of its own, for training.

The formula is that of `SpeakerConditionLConvBlock`, written in operations that autograd knows. On it autograd makes a
new tensor at every step and adds up what flows back by several ways; here both happen in place, and products do the
adding. On CPUs it is memory that a block of so few channels waits for. Under automatic mixed precision the products
are in half precision, and so is the widest tensor; the rest, where it is small differences that count, is in float32.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from model.lightweight_conv import convolve, gradient_of_input, gradient_of_kernels


class Condition(NamedTuple):
    """Gain and bias of one SCLN, [B, 1, C] each."""

    bias: Tensor
    gain: Tensor


class Linear(NamedTuple):
    """Weight [out, in] and bias [out]."""

    weight: Tensor
    bias: Tensor


def fused_block(
    x: Tensor,
    kept: Tensor,
    kernels: Tensor,
    gate: Linear,
    expand: Linear,
    project: Linear,
    first: Condition,
    second: Condition,
    eps: float,
) -> Tensor:
    """x [B, T, C], kept [B, T, 1] (0 at padding, else 1), kernels [heads, 1, K] with K odd -> [B, T, C].

    `first` and `second` are of the norms behind convolution and feed-forward; `eps` is added to their variances.
    """
    kind, half = x.device.type, None
    if torch.is_autocast_enabled(kind):
        half = torch.get_autocast_dtype(kind)
        x, kept, kernels = x.float(), kept.float(), kernels.float()
        first, second = (Condition(*(each.float() for each in pair)) for pair in (first, second))
    with torch.autocast(kind, enabled=False):
        out: Tensor = _Block.apply(x, kept, kernels, *gate, *expand, *project, *first, *second, eps, half)
    return out


class _Block(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        kept: Tensor,
        kernels: Tensor,
        gate_weight: Tensor,
        gate_bias: Tensor,
        expand_weight: Tensor,
        expand_bias: Tensor,
        project_weight: Tensor,
        project_bias: Tensor,
        first_bias: Tensor,
        first_gain: Tensor,
        second_bias: Tensor,
        second_gain: Tensor,
        eps: float,
        half: torch.dtype | None,
    ) -> Tensor:
        """Tensors are [B, T, …], those of products [B * T, …]; `low` is what is in half precision, if there is any."""
        padding = kernels.shape[2] // 2
        low = _half(x, half)
        values, opened = _linear(low, gate_weight, gate_bias).to(x.dtype).chunk(2, dim=-1)
        gated = (values * opened.sigmoid_()).mul_(kept)
        convolved = convolve(gated, kernels, padding).add_(x)
        normal, mean, inverse = _normalise(convolved, eps)
        told = torch.addcmul(first_bias, normal, first_gain)
        low_told = _half(told, half)
        hidden = _linear(low_told, expand_weight, expand_bias).relu_()  # 4C, the widest: as low as what it comes from
        fed = _linear(hidden, project_weight, project_bias).to(x.dtype).add_(told)
        last_normal, last_mean, last_inverse = _normalise(fed, eps)
        ctx.save_for_backward(
            low, kept, kernels, gate_weight, expand_weight, project_weight, first_gain, second_gain,
            opened, gated, convolved, normal, mean, inverse, low_told, hidden,
            fed, last_normal, last_mean, last_inverse,
        )  # fmt: skip
        ctx.half = half
        return torch.addcmul(second_bias, last_normal, second_gain).mul_(kept)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        (
            low, kept, kernels, gate_weight, expand_weight, project_weight, first_gain, second_gain,
            opened, gated, convolved, normal, mean, inverse, low_told, hidden,
            fed, last_normal, last_mean, last_inverse,
        ) = ctx.saved_tensors  # fmt: skip
        half, padding = ctx.half, kernels.shape[2] // 2
        grad = grad * kept
        to_second = _to_condition(grad, last_normal)
        grad = _through_norm(grad.mul_(second_gain), fed, last_mean, last_inverse)

        hidden, slope = hidden.flatten(0, 1), _flat(grad, half)
        to_project = _to_linear(slope, hidden)
        slope = slope @ _half(project_weight, half)
        torch.ops.aten.threshold_backward.grad_input(slope, hidden, 0, grad_input=slope)
        to_expand = _to_linear(slope, low_told.flatten(0, 1))
        grad = _add_product(grad, slope, _half(expand_weight, half))

        to_first = _to_condition(grad, normal)
        grad = _through_norm(grad.mul_(first_gain), convolved, mean, inverse)

        to_kernels = gradient_of_kernels(grad, gated, kernels, padding)
        to_gated = gradient_of_input(grad, gated, kernels, padding).mul_(kept)
        slope = _flat(_through_gate(to_gated, gated, opened), half)
        to_gate = _to_linear(slope, low.flatten(0, 1))
        to_x = _add_product(grad, slope, _half(gate_weight, half))
        return to_x, None, to_kernels, *to_gate, *to_expand, *to_project, *to_first, *to_second, None, None


def _half(x: Tensor, half: torch.dtype | None) -> Tensor:
    return x if half is None else x.to(half)


def _flat(x: Tensor, half: torch.dtype | None) -> Tensor:
    """[B, T, C] -> [B * T, C], as products want it."""
    return _half(x, half).flatten(0, 1)


def _linear(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """In x's precision."""
    out = x.flatten(0, 1) @ weight.to(x.dtype).T  # addmm would spread the bias first: a pass more
    return out.add_(bias.to(x.dtype)).unflatten(0, x.shape[:2])


def _to_linear(grad: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    """Gradients of a linear layer's weight and bias in float32 (float64 stays); grad [N, out], x [N, in]."""
    ones = grad.new_ones(1, len(grad))
    weight, bias = grad.T @ x, (ones @ grad).squeeze(0)  # a product sums up faster than sum() does
    wide = torch.promote_types(grad.dtype, torch.float32)
    return weight.to(wide), bias.to(wide)


def _add_product(x: Tensor, left: Tensor, right: Tensor) -> Tensor:
    """x [B, T, C] + left [B * T, W] @ right [W, C], in x's memory."""
    flat = x.view(-1, x.shape[2])
    if left.dtype == x.dtype:
        flat.addmm_(left, right)
    else:
        flat.add_(left @ right)
    return x


def _through_gate(grad: Tensor, gated: Tensor, opened: Tensor) -> Tensor:
    """Gradient [B, T, 2C] of what was split and gated; `opened` is the sigmoid."""
    out = grad.new_empty(*grad.shape[:2], 2 * grad.shape[2])
    to_values, to_opened = out.chunk(2, dim=-1)
    torch.mul(grad, opened, out=to_values)
    torch.mul(grad, gated, out=to_opened)
    to_opened.addcmul_(to_opened, opened, value=-1.0)  # sigmoid' = sigmoid * (1 - sigmoid)
    return out


def _normalise(x: Tensor, eps: float) -> tuple[Tensor, Tensor, Tensor]:
    """Of every frame: zero mean, unit variance; and the mean and inverse deviation there were."""
    channels = x.shape[2]
    # with a weight it takes half as long as without
    return torch.native_layer_norm(x, [channels], x.new_ones(channels), x.new_zeros(channels), eps)


def _through_norm(grad: Tensor, x: Tensor, mean: Tensor, inverse: Tensor) -> Tensor:
    """Gradient of `_normalise`'s input."""
    out: Tensor = torch.ops.aten.native_layer_norm_backward(
        grad, x, [x.shape[2]], mean, inverse, None, None, [True, False, False]
    )[0]
    return out


def _to_condition(grad: Tensor, normal: Tensor) -> Condition:
    """Gradients of an SCLN's bias and gain."""
    return Condition(grad.sum(1, keepdim=True), (grad * normal).sum(1, keepdim=True))
