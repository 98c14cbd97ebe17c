"""Padding masks. Throughout the project a mask is True where there is padding."""

import torch
from torch import Tensor


def padding_mask(lengths: Tensor, max_length: int | None = None) -> Tensor:
    """[B] lengths -> [B, T] bool, True at and beyond each length; T = `max_length`, or the longest."""
    size = int(lengths.max()) if max_length is None else max_length
    return torch.arange(size, device=lengths.device)[None, :] >= lengths[:, None]
