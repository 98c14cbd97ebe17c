"""The discrete cosine transform over mel bands, which makes a cepstrum of a log-mel spectrum."""

import math

import torch
from torch import Tensor


def cosines(bands: int) -> Tensor:
    """The orthonormal DCT-II as a matrix [bands, coefficients]: times this from the right."""
    place = (torch.arange(bands, dtype=torch.float64)[:, None] + 0.5) / bands
    matrix = torch.cos(math.pi * place * torch.arange(bands)) * math.sqrt(2 / bands)
    matrix[:, 0] /= math.sqrt(2)
    return matrix.float()
