"""Emotion tokens: an embedding per emotion, chosen by a label (hard) or by attention from a reference (soft)."""

import math
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

from utils.masks import padding_mask


class MaskedBatchNorm2d(nn.BatchNorm2d):
    """BatchNorm2d whose statistics leave out padded positions, so that padding changes nothing in training either.

    With `synchronised`, statistics in training are those of the batches of all processes together, which then must
    all run forward and backward equally often.
    """

    synchronised = False

    def forward(self, x: Tensor, valid: Tensor | None = None) -> Tensor:
        """x [B, C, T, F], valid [B, 1, T, 1] (1 = frame, 0 = padding) or None: all valid."""
        if not self.training or (valid is None and not self.synchronised):
            return super().forward(x)
        values = x.float()
        if valid is None:
            valid = values.new_ones(x.shape[0], 1, x.shape[2], 1)
        count = valid.sum(dtype=torch.float32) * x.shape[3]  # a half-precision sum of many ones is not their number
        mean = (values * valid).sum((0, 2, 3)) / count
        centred = values - mean[:, None, None]
        variance = (centred.square() * valid).sum((0, 2, 3)) / count
        if self.synchronised:
            count, mean, variance = _of_all_processes(count, mean, variance)
            centred = values - mean[:, None, None]
        with torch.no_grad():
            assert self.num_batches_tracked is not None and self.momentum is not None
            assert self.running_mean is not None and self.running_var is not None
            self.num_batches_tracked += 1
            unbiased = variance * (count / (count - 1).clamp(min=1))
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(unbiased, self.momentum)
        scale = self.weight * torch.rsqrt(variance + self.eps)
        return centred * scale[:, None, None] + self.bias[:, None, None]


class _SumOverProcesses(torch.autograd.Function):
    """all_reduce whose gradient is one, too: what a process puts in has a part in the loss of every other."""

    @staticmethod
    def forward(_: Any, x: Tensor) -> Tensor:
        total = x.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(_: Any, gradient: Tensor) -> Tensor:
        total = gradient.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total


def _of_all_processes(count: Tensor, mean: Tensor, variance: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Count [], mean [C] and variance [C] of every process's values -> those of all of them, by one exchange.

    Each process writes its own row of a table of zeros, so that the sum over processes is the table of all.
    """
    row = torch.cat([count[None], mean, variance])
    own = torch.arange(dist.get_world_size(), device=row.device) == dist.get_rank()
    table: Tensor = _SumOverProcesses.apply(own[:, None] * row)
    counts, means, variances = table.split([1, len(mean), len(mean)], dim=1)  # of each process: [W, 1], [W, C], [W, C]
    total = counts.sum()
    whole = (counts * means).sum(0) / total
    spread = (counts * (variances + (means - whole).square())).sum(0) / total
    return total, whole, spread


class ReferenceEncoder(nn.Module):
    """Mel spectrogram -> one vector: strided 2-D convolutions, then the last hidden state of a GRU (GST, 1803.09017).

    With `mask_padding` and lengths, the result for an utterance does not depend on what it was padded with.
    """

    def __init__(
        self,
        mel_bands: int,
        filters: list[int],
        kernel_size: tuple[int, int],
        strides: tuple[int, int],
        padding: tuple[int, int],
        hidden: int,
        mask_padding: bool,
    ) -> None:
        super().__init__()
        self.mask_padding = mask_padding
        self.convs = nn.ModuleList(
            nn.Conv2d(inputs, outputs, kernel_size, strides, padding)
            for inputs, outputs in zip([1, *filters[:-1]], filters, strict=True)
        )
        self.norms = nn.ModuleList(MaskedBatchNorm2d(channels) for channels in filters)
        self._time = (kernel_size[0], strides[0], padding[0])
        bands = mel_bands
        for _ in filters:
            bands = _conv_length(bands, kernel_size[1], strides[1], padding[1])
        self.gru = nn.GRU(filters[-1] * bands, hidden, batch_first=True)

    def forward(self, mels: Tensor, lengths: Tensor | None = None) -> Tensor:
        """mels [B, T, M], lengths [B] or None (nothing is padding) -> [B, hidden]."""
        if not self.mask_padding:
            lengths = None
        x = mels.unsqueeze(1)  # (B, 1, T, M)
        valid = _valid(lengths, x)
        if valid is not None:
            x = x * valid
        for conv, norm in zip(self.convs, self.norms, strict=True):
            x = conv(x)
            if lengths is not None:
                lengths = _conv_length(lengths, *self._time)
            valid = _valid(lengths, x)
            x = F.relu(norm(x, valid))
            if valid is not None:
                x = x * valid
        sequence = x.permute(0, 2, 1, 3).flatten(2)  # (B, T', channels * bands), channels outermost
        if lengths is None:
            return self.gru(sequence)[1].squeeze(0)
        states = self.gru(sequence)[0]  # (B, T', hidden)
        last = (lengths - 1).clamp(min=0)[:, None, None].expand(-1, 1, states.shape[2])
        return states.gather(1, last).squeeze(1)


def _valid(lengths: Tensor | None, x: Tensor) -> Tensor | None:
    return None if lengths is None else (~padding_mask(lengths, x.shape[2])).to(x.dtype)[:, None, :, None]


def _conv_length(length, kernel: int, stride: int, padding: int):  # type: ignore[no-untyped-def] # int or Tensor alike
    return (length + 2 * padding - kernel) // stride + 1


class EmotionTokens(nn.Module):
    """A table of emotion tokens, read by one-head attention without biases (paper section 3.2)."""

    def __init__(self, emotions: int, channels: int, query_channels: int) -> None:
        super().__init__()
        self.embeddings = nn.Parameter(0.5 * torch.randn(emotions, channels))
        self.query = nn.Linear(query_channels, channels, bias=False)
        self.key = nn.Linear(channels, channels, bias=False)
        self.value = nn.Linear(channels, channels, bias=False)

    def logits(self, query: Tensor) -> Tensor:
        """[B, Q] -> [B, E]: scaled scores whose softmax weighs the tokens; also the emotion classifier."""
        keys = self.key(torch.tanh(self.embeddings))  # (E, C)
        return self.query(query) @ keys.T / math.sqrt(keys.shape[1])

    def forward(self, weights: Tensor) -> Tensor:
        """[B, E] weights, one-hot or soft -> [B, C]."""
        return weights @ self.value(torch.tanh(self.embeddings))


@dataclass(frozen=True)
class EmotionOutput:
    embedding: Tensor  # [B, C]
    logits: Tensor | None  # [B, E], None without a reference


class EmotionEncoder(nn.Module):
    """Chooses each utterance's emotion embedding: by its label, or softly from a reference mel spectrogram."""

    def __init__(self, reference_encoder: ReferenceEncoder, tokens: EmotionTokens) -> None:
        super().__init__()
        self.reference_encoder = reference_encoder
        self.tokens = tokens

    def forward(
        self,
        emotions: Tensor | None,
        reference_mels: Tensor | None,
        reference_lengths: Tensor | None,
        use_soft: Tensor | None = None,
    ) -> EmotionOutput:
        """emotions [B] ids (negative = unlabelled), reference_mels [B, R, M], use_soft [B] bool.

        An utterance takes the soft token where it has no label or `use_soft` is True, the hard one elsewhere.
        Raises ValueError where a soft token is wanted but there is no reference.
        """
        logits = None
        if reference_mels is not None:
            logits = self.tokens.logits(self.reference_encoder(reference_mels, reference_lengths)).float()
        if emotions is None:
            if logits is None:
                raise ValueError("an emotion needs a label or a reference mel spectrogram")
            return EmotionOutput(self.tokens(logits.softmax(-1)), logits)
        weights = F.one_hot(emotions.clamp(min=0), self.tokens.embeddings.shape[0]).to(self.tokens.embeddings.dtype)
        if logits is not None:
            soft = emotions < 0 if use_soft is None else (emotions < 0) | use_soft
            weights = torch.where(soft[:, None], logits.softmax(-1), weights)
        return EmotionOutput(self.tokens(weights), logits)
