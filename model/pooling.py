"""A sequence of any length -> one vector."""

import torch
from torch import Tensor, nn

from utils.masks import padding_mask

ATTENTION_CHANNELS = 64
LEAST_VARIANCE = 1e-4  # keeps the slope of the square root finite where nothing moves


class StatisticsPooling(nn.Module):
    """Mean and standard deviation over time of every channel, projected and squashed to -1 ... 1, as a GRU's state is.

    `weighted`: a small network gives every position its share in both (attentive statistics pooling, 1803.10963); else
    all have the same. Unlike a GRU's last state, this has no end of the utterance to remember best, and far fewer
    weights that could learn utterances by heart.
    """

    def __init__(self, channels: int, hidden: int, dropout: float, weighted: bool) -> None:
        super().__init__()
        self.weighted = weighted
        if weighted:
            self.score = nn.Sequential(
                nn.Linear(channels, ATTENTION_CHANNELS), nn.Tanh(), nn.Linear(ATTENTION_CHANNELS, 1)
            )
        self.dropout = nn.Dropout(dropout)
        self.output = nn.Linear(2 * channels, hidden)

    def forward(self, x: Tensor, lengths: Tensor | None) -> Tensor:
        """x [B, T, C], lengths [B] or None (nothing is padding) -> [B, hidden]."""
        scores = self.score(x).float() if self.weighted else torch.zeros_like(x[..., :1], dtype=torch.float32)
        if lengths is not None:
            scores = scores.masked_fill(padding_mask(lengths.clamp(min=1), x.shape[1])[..., None], float("-inf"))
        weights = scores.softmax(1)  # (B, T, 1)
        x = x.float()
        mean = (weights * x).sum(1)
        variance = (weights * (x - mean.unsqueeze(1)).square()).sum(1)
        statistics = torch.cat([mean, (variance + LEAST_VARIANCE).sqrt()], 1)  # (B, 2 C)
        return self.dropout(torch.tanh(self.output(self.dropout(statistics))))
