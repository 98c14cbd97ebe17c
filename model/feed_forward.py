"""linear -> ReLU -> linear as one operation that holds a single wide tensor."""

from typing import Any

import torch
from torch import Tensor


def feed_forward(x: Tensor, expand: torch.nn.Linear, project: torch.nn.Linear) -> Tensor:
    """project(relu(expand(x))) for x [..., C]; both layers have biases."""
    if not torch.is_grad_enabled():
        return project(expand(x).relu_())
    values = under_autocast(x, expand.weight, expand.bias, project.weight, project.bias)
    out: Tensor = _FeedForward.apply(values[0].flatten(0, -2), *values[1:])
    return out.unflatten(0, x.shape[:-1])


def under_autocast(*tensors: Tensor) -> tuple[Tensor, ...]:
    """The tensors as automatic mixed precision wants a product's, for operations with a gradient of their own: inside
    those the casts would have none."""
    kind = tensors[0].device.type
    if not torch.is_autocast_enabled(kind):
        return tensors
    return tuple(tensor.to(torch.get_autocast_dtype(kind)) for tensor in tensors)


class _FeedForward(torch.autograd.Function):
    """By hand, to overwrite the wide tensors where autograd makes new ones: on CPUs it is memory that they wait for."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, wide: Tensor, wide_bias: Tensor, back: Tensor, back_bias: Tensor) -> Tensor:
        """x [N, C], wide [W, C], wide_bias [W], back [C, W], back_bias [C] -> [N, C]."""
        hidden = torch.addmm(wide_bias, x, wide.T).relu_()  # (N, W)
        ctx.save_for_backward(x, hidden, wide, back)
        return torch.addmm(back_bias, hidden, back.T)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, hidden, wide, back = ctx.saved_tensors
        to_hidden = grad @ back
        torch.ops.aten.threshold_backward.grad_input(to_hidden, hidden, 0, grad_input=to_hidden)
        to_x = to_hidden @ wide if ctx.needs_input_grad[0] else None
        return to_x, to_hidden.T @ x, to_hidden.sum(0), grad.T @ hidden, grad.sum(0)
