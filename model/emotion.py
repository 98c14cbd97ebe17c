"""Emotion tokens: an embedding per emotion, chosen by a label (hard) or by attention from a reference (soft)."""

import math
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.masked_norm import MaskedBatchNormReLU
from model.pooling import StatisticsPooling
from utils.masks import padding_mask

Pooling = Literal["gru", "statistics", "attention"]
InputNormalisation = Literal["none", "fixed", "both"]
INPUT_MEAN, INPUT_DEVIATION = -6.5, 2.1  # of RAVDESS's log-mel values
LEAST_VARIANCE = 0.01  # of a band; one that never moves stays at 0


class ReferenceEncoder(nn.Module):
    """Mel spectrogram -> one vector: strided 2-D convolutions, then a summary over time.

    `pooling` gru: the last hidden state of a GRU (GST, 1803.09017). `statistics`, `attention`: see StatisticsPooling.
    `normalise_input` none: the mel spectrogram as it is. `fixed`: moved and scaled by two constants, so that the
    zeros of padding lie amid the values and not far above them. `both`: that, and beside it as a second channel the
    utterance with every band's mean and deviation taken out, which tells less of the voice and of the microphone.
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
        pooling: Pooling = "gru",
        normalise_input: InputNormalisation = "none",
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.mask_padding = mask_padding
        self.normalise_input = normalise_input
        channels = 2 if normalise_input == "both" else 1
        self.convs = nn.ModuleList(
            nn.Conv2d(inputs, outputs, kernel_size, strides, padding)
            for inputs, outputs in zip([channels, *filters[:-1]], filters, strict=True)
        )
        self.norms = nn.ModuleList(MaskedBatchNormReLU(channels) for channels in filters)
        self._time = (kernel_size[0], strides[0], padding[0])
        bands = mel_bands
        for _ in filters:
            bands = _conv_length(bands, kernel_size[1], strides[1], padding[1])
        self.dropout = nn.Dropout(dropout)
        self.pooling = pooling
        if pooling == "gru":
            self.gru = nn.GRU(filters[-1] * bands, hidden, batch_first=True)
        else:
            self.pool = StatisticsPooling(filters[-1] * bands, hidden, dropout, weighted=pooling == "attention")

    def forward(self, mels: Tensor, lengths: Tensor | None = None) -> Tensor:
        """mels [B, T, M], lengths [B] or None (nothing is padding) -> [B, hidden]."""
        if not self.mask_padding:
            lengths = None
        # (B, 1, T, M), channels last in memory: the convolutions are twice as fast, the sums per channel ten times
        x = self._input(mels, lengths).to(memory_format=torch.channels_last)
        valid = _valid(lengths, x)
        if valid is not None:
            x = x * valid
        for conv, norm in zip(self.convs, self.norms, strict=True):
            x = conv(x)
            if lengths is not None:
                lengths = _conv_length(lengths, *self._time)
            x = norm(x, _valid(lengths, x))
        sequence = x.permute(0, 2, 1, 3).flatten(2)  # (B, T', channels * bands), channels outermost
        if self.pooling != "gru":
            return self.pool(sequence, lengths)
        sequence = self.dropout(sequence)
        if lengths is None:
            return self.gru(sequence)[1].squeeze(0)
        states = self.gru(sequence)[0]  # (B, T', hidden)
        last = (lengths - 1).clamp(min=0)[:, None, None].expand(-1, 1, states.shape[2])
        return states.gather(1, last).squeeze(1)

    def _input(self, mels: Tensor, lengths: Tensor | None) -> Tensor:
        """What the first convolution sees, [B, 1 or 2, T, M]; padding may hold anything."""
        if self.normalise_input == "none":
            return mels.unsqueeze(1)
        mels = mels.float()
        fixed = (mels - INPUT_MEAN) / INPUT_DEVIATION
        if self.normalise_input == "fixed":
            return fixed.unsqueeze(1)
        return torch.stack([fixed, standardise(mels, lengths)], 1)


def standardise(mels: Tensor, lengths: Tensor | None) -> Tensor:
    """Every band of every utterance with mean 0 and deviation 1 over its frames, [B, T, M]; padding is undefined."""
    if lengths is None:
        lengths = torch.full((len(mels),), mels.shape[1], device=mels.device)
    valid = (~padding_mask(lengths, mels.shape[1]))[..., None]
    frames = lengths[:, None, None]
    centred = mels - (mels * valid).sum(1, keepdim=True) / frames
    variance = (centred * valid).square().sum(1, keepdim=True) / frames
    return centred * torch.rsqrt(variance + LEAST_VARIANCE)


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
    shares: Tensor  # [B, E] of the emotions in it
    logits: Tensor | None  # [B, E], None without a reference
    intensity_shares: Tensor | None = None  # [B, I], None where the model knows none
    intensity_logits: Tensor | None = None  # [B, I], None without a reference or where the model knows none


class EmotionEncoder(nn.Module):
    """Chooses each utterance's emotion embedding: by its label, or softly from a reference mel spectrogram.

    Where the model knows `intensities`, an embedding of the intensity is added, chosen in the same way.
    """

    def __init__(self, reference_encoder: nn.Module, tokens: EmotionTokens, intensities: int = 0) -> None:
        super().__init__()
        self.reference_encoder = reference_encoder
        self.tokens = tokens
        self.intensities: nn.Parameter | None = None
        if intensities:
            self.intensities = nn.Parameter(0.1 * torch.randn(intensities, tokens.value.out_features))
            self.intensity = nn.Linear(tokens.query.in_features, intensities)

    def forward(
        self,
        emotions: Tensor | None,
        reference_mels: Tensor | None,
        reference_lengths: Tensor | None,
        use_soft: Tensor | None = None,
        intensities: Tensor | None = None,
    ) -> EmotionOutput:
        """emotions [B] ids (negative = unlabelled), reference_mels [B, R, M], use_soft [B] bool, intensities [B] ids
        (negative or None = unknown: the mean of all).

        An utterance takes the soft token where it has no label or `use_soft` is True, the hard one elsewhere.
        Raises ValueError where a soft token is wanted but there is no reference.
        """
        logits = intensity_logits = None
        if reference_mels is not None:
            heard = self.reference_encoder(reference_mels, reference_lengths)
            logits = self.tokens.logits(heard).float()
            if self.intensities is not None:
                intensity_logits = self.intensity(heard).float()
        if emotions is None:
            if logits is None:
                raise ValueError("an emotion needs a label or a reference mel spectrogram")
            weights, soft = logits.softmax(-1), None
        else:
            weights = F.one_hot(emotions.clamp(min=0), self.tokens.embeddings.shape[0]).to(self.tokens.embeddings.dtype)
            soft = None
            if logits is not None:
                soft = emotions < 0 if use_soft is None else (emotions < 0) | use_soft
                weights = torch.where(soft[:, None], logits.softmax(-1), weights)
            if intensities is None:
                intensities = torch.full_like(emotions, -1)
        embedding = self.tokens(weights)
        strengths = self._intensities(intensities, intensity_logits, soft)
        if strengths is not None and self.intensities is not None:
            embedding = embedding + strengths @ self.intensities
        return EmotionOutput(embedding, weights, logits, strengths, intensity_logits)

    def _intensities(self, known: Tensor | None, logits: Tensor | None, soft: Tensor | None) -> Tensor | None:
        """[B, I] shares: the known intensity, or what is heard where `soft` says so, or for all where none is known."""
        if self.intensities is None:
            return None
        count = len(self.intensities)
        if known is None:
            assert logits is not None
            return logits.softmax(-1)
        weights = F.one_hot(known.clamp(min=0), count).to(self.intensities.dtype)
        weights = torch.where((known < 0)[:, None], torch.full_like(weights, 1 / count), weights)
        if logits is not None and soft is not None:
            weights = torch.where(soft[:, None], logits.softmax(-1), weights)
        return weights
