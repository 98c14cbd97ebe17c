"""Batch normalisation, ReLU and zeroed padding in one operation, with statistics that leave padding out."""

from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn


class MaskedBatchNormReLU(nn.BatchNorm2d):
    """BatchNorm2d and ReLU. Padded positions have no part in the statistics and come out as zeros, so that padding
    changes nothing in training either.

    With `synchronised`, statistics in training are those of the batches of all processes together, which then must
    all run forward and backward equally often.
    """

    synchronised = False

    def forward(self, x: Tensor, valid: Tensor | None = None) -> Tensor:
        """x [B, C, T, F], valid [B, 1, T, 1] (1 = frame, 0 = padding; None: all frames) -> [B, C, T, F], >= 0.

        Overwrites x, which is a convolution's output that nobody else needs.
        """
        if not self.training:
            y = F.relu(super().forward(x), inplace=True)
            return y if valid is None else y * valid
        if valid is None:  # BatchNorm2d itself loses a digit in channels-last tensors
            valid = x.new_ones(x.shape[0], 1, x.shape[2], 1)
        assert self.num_batches_tracked is not None and self.momentum is not None
        assert self.running_mean is not None and self.running_var is not None
        y, mean, variance, count = _NormReLU.apply(
            x.float(), valid.float(), self.weight, self.bias, self.eps, self.synchronised
        )
        with torch.no_grad():
            self.num_batches_tracked += 1
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(variance * (count / (count - 1).clamp(min=1)), self.momentum)
        return y


class _NormReLU(torch.autograd.Function):
    """By hand, since autograd on the same formula takes five times as long: this is the model's largest tensor.

    `x` is overwritten: nobody else may need it.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, valid: Tensor, weight: Tensor, bias: Tensor, eps: float, synchronised: bool
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Output, mean [C], biased variance [C], number of values per channel."""
        sums = x.mul_(valid).sum((0, 2, 3))  # not _sum(), whose rounding tips over a ReLU of the golden values
        count = (valid.sum() * x.shape[3]).reshape(1)
        totals = _total(torch.cat([sums, count]), synchronised)
        mean, count = totals[:-1] / totals[-1], totals[-1]
        centred = x.addcmul_(valid, -_per_channel(mean))
        variance = _total(centred.square().sum((0, 2, 3)), synchronised) / count
        inverse = torch.rsqrt(variance + eps)
        y = torch.addcmul(_per_channel(bias), centred, _per_channel(weight * inverse)).relu_().mul_(valid)
        ctx.save_for_backward(centred, y, valid, weight, inverse, count)
        ctx.synchronised = synchronised
        ctx.mark_non_differentiable(mean, variance, count)
        return y, mean, variance, count

    @staticmethod
    def backward(ctx: Any, grad: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        centred, y, valid, weight, inverse, count = ctx.saved_tensors
        grad = torch.ops.aten.threshold_backward(grad, y, 0)  # of the ReLU; zero at padding as y is
        to_bias = _sum(grad)
        to_weight = _sum(grad * centred) * inverse
        to_input = None
        if ctx.needs_input_grad[0]:
            # scale * (grad - mean(grad) - normal * mean(grad * normal)), the means over the frames of `count`
            means = _total(torch.stack([to_bias, to_weight]), ctx.synchronised) / count
            scale = weight * inverse
            to_input = grad.mul_(_per_channel(scale))
            to_input.addcmul_(valid, _per_channel(-scale * means[0]))
            to_input.addcmul_(centred, _per_channel(-scale * inverse * means[1]))
        return to_input, None, to_weight, to_bias, None, None


def _per_channel(values: Tensor) -> Tensor:
    return values[:, None, None]


def _sum(x: Tensor) -> Tensor:
    """[B, C, T, F], channels last -> [C]. By a product, which all cores share; first of each utterance, as rounding
    grows with the number of summands."""
    rows = x.permute(0, 2, 3, 1).flatten(1, 2)  # (B, T * F, C)
    return (rows.new_ones(len(rows), 1, rows.shape[1]) @ rows).sum((0, 1))


def _total(sums: Tensor, over_processes: bool) -> Tensor:
    if over_processes:
        dist.all_reduce(sums)
    return sums
