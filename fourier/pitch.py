"""Fundamental frequency from a mel spectrogram, as a distribution over pitches 20 cents apart."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fourier.blocks import Backbone

LOWEST = 50.0  # Hz; the highest pitch is 50 * 2 ** (269 / 60) = 1,118 Hz
CENTS = 20.0
PITCHES = 270
SPREAD = 25.0  # cents, standard deviation of the target around the true pitch (as CREPE, arXiv 1802.06182)
NEIGHBOURS = 4  # pitches on either side of the best one whose mean is the estimate


class PitchPredictor(nn.Module):
    """Log-mel [B, T, num_mels] -> scores of PITCHES pitches and, last, of being voiced [B, T, PITCHES + 1]."""

    def __init__(self, num_mels: int, channels: int, layers: int, kernel_size: int) -> None:
        super().__init__()
        self.backbone = Backbone(num_mels, channels, 2, layers, kernel_size)
        self.out = nn.Linear(channels, PITCHES + 1)

    def forward(self, mel: Tensor) -> Tensor:
        scores: Tensor = self.out(self.backbone(mel))
        return scores


def decode(scores: Tensor) -> tuple[Tensor, Tensor]:
    """Scores [B, T, PITCHES + 1] -> fundamental frequency in Hz [B, T], also where unvoiced, and voicing in 0 … 1.

    The estimate is the mean of the pitches around the most probable one.
    """
    probability = scores[..., :PITCHES].float().softmax(-1)
    best = probability.argmax(-1, keepdim=True)
    pitch = torch.arange(PITCHES, device=scores.device)
    near = probability * ((pitch - best).abs() <= NEIGHBOURS)
    index = (near * pitch).sum(-1) / near.sum(-1)
    return LOWEST * torch.exp2(index * (CENTS / 1200)), torch.sigmoid(scores[..., PITCHES].float())


def pitch_loss(scores: Tensor, f0: Tensor) -> tuple[Tensor, Tensor]:
    """Cross entropies of pitch (over voiced frames) and of voicing (over all); f0 [B, T] in Hz, 0 = unvoiced."""
    voiced = f0 > 0
    cents = 1200 * torch.log2(f0.clamp(min=LOWEST) / LOWEST)
    distance = cents[..., None] - CENTS * torch.arange(PITCHES, device=f0.device)
    target = torch.softmax(-0.5 * (distance / SPREAD) ** 2, -1)
    entropy = -(target * F.log_softmax(scores[..., :PITCHES].float(), -1)).sum(-1)
    voicing = F.binary_cross_entropy_with_logits(scores[..., PITCHES].float(), voiced.float())
    return (entropy * voiced).sum() / voiced.sum().clamp(min=1), voicing
