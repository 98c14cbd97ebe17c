"""The whole model in the original's way of working: see original_blocks.py."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.original_blocks import FFT, LConv, sinusoids
from model import AcousticModel, ModelSizes

# overrides of a run that OriginalModel can copy: the original's reference encoder, and its mel as it is


class Reference(nn.Module):
    """Mel spectrogram -> vector; padding is not left out of the statistics."""

    def __init__(self, sizes: ModelSizes) -> None:
        super().__init__()
        self.mask_padding = sizes.mask_reference_padding
        self.time = (sizes.reference_kernel[0], sizes.reference_strides[0], sizes.reference_padding[0])
        filters = sizes.reference_filters
        kernel, strides, padding = sizes.reference_kernel, sizes.reference_strides, sizes.reference_padding
        self.convs = nn.ModuleList(
            nn.Conv2d(a, b, kernel, strides, padding) for a, b in zip([1, *filters[:-1]], filters, strict=True)
        )
        self.norms = nn.ModuleList(nn.BatchNorm2d(channels) for channels in filters)
        bands = sizes.mel_bands
        for _ in filters:
            bands = (bands + 2 * padding[1] - kernel[1]) // strides[1] + 1
        self.gru = nn.GRU(filters[-1] * bands, sizes.reference_hidden, batch_first=True)

    def forward(self, mels: Tensor, lengths: Tensor) -> Tensor:
        """mels [B, T, M], lengths [B] -> [B, hidden]. Where our model leaves padding out, so does this one's output."""
        x = mels.unsqueeze(1)
        for conv, norm in zip(self.convs, self.norms, strict=True):
            x = F.relu(norm(conv(x)))
            if self.mask_padding:
                size, stride, padding = self.time
                lengths = (lengths + 2 * padding - size) // stride + 1
                x = x * (torch.arange(x.shape[2], device=x.device) < lengths[:, None])[:, None, :, None]
        states, last = self.gru(x.transpose(1, 2).flatten(2))
        if not self.mask_padding:
            return last[0]
        return states[torch.arange(len(states), device=x.device), (lengths - 1).clamp(min=0)]


class Tokens(nn.Module):
    """The emotion tokens' parameters."""

    def __init__(self, sizes: ModelSizes) -> None:
        super().__init__()
        self.embeddings = nn.Parameter(torch.zeros(sizes.emotions, sizes.hidden))
        self.query = nn.Linear(sizes.reference_hidden, sizes.hidden, bias=False)
        self.key = nn.Linear(sizes.hidden, sizes.hidden, bias=False)
        self.value = nn.Linear(sizes.hidden, sizes.hidden, bias=False)


class Emotion(nn.Module):
    """The hard token always; the reference only feeds the classifier."""

    def __init__(self, sizes: ModelSizes) -> None:
        super().__init__()
        self.reference_encoder, self.tokens = Reference(sizes), Tokens(sizes)

    def forward(self, emotions: Tensor, mels: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """-> embeddings [B, 1, C], logits [B, E]."""
        tokens = torch.tanh(self.tokens.embeddings)
        query = self.tokens.query(self.reference_encoder(mels, lengths))
        logits = query @ self.tokens.key(tokens).T / math.sqrt(tokens.shape[1])
        hard = F.one_hot(emotions, len(tokens)).float()
        return (hard @ self.tokens.value(tokens)).unsqueeze(1), logits


class TextEncoder(nn.Module):
    """Embedding, positions, attention blocks."""

    def __init__(self, sizes: ModelSizes) -> None:
        super().__init__()
        self.embedding = nn.Embedding(sizes.symbols, sizes.hidden, padding_idx=0)
        self.blocks = nn.ModuleList(
            FFT(sizes, sizes.encoder_heads, sizes.encoder_dropout) for _ in range(sizes.encoder_layers)
        )

    def forward(self, phones: Tensor, positions: Tensor, padding: Tensor) -> Tensor:
        """phones [B, N] -> [B, N, C]."""
        x: Tensor = self.embedding(phones) + positions
        for block in self.blocks:
            x = block(x, padding)
        return x


class DurationPredictor(nn.Module):
    """What the decoder reads, and log-durations."""

    def __init__(self, sizes: ModelSizes) -> None:
        super().__init__()
        layers, dropout = range(sizes.duration_layers), sizes.duration_dropout
        self.blocks = nn.ModuleList(FFT(sizes, sizes.duration_heads, dropout) for _ in layers)
        self.lconv_blocks = nn.ModuleList(
            LConv(sizes.hidden, sizes.lconv_kernel, sizes.lconv_heads, dropout, False) for _ in layers
        )
        self.output = nn.Linear(sizes.hidden, 1, bias=False)

    def forward(self, x: Tensor, speaker: Tensor, padding: Tensor) -> tuple[Tensor, Tensor]:
        """x [B, N, C] -> fused [B, N, C], log-durations [B, N]."""
        fused = x
        for block in self.blocks:
            fused = block(fused, padding)
        hidden = fused + x + speaker.unsqueeze(1)
        for block in self.lconv_blocks:
            hidden = block(hidden, padding, speaker)
        return fused, self.output(hidden).squeeze(-1).masked_fill(padding, 0)


class Decoder(nn.Module):
    """SC-LConv blocks, a mel spectrogram from each."""

    def __init__(self, sizes: ModelSizes) -> None:
        super().__init__()
        layers, dropout = range(sizes.decoder_layers), sizes.decoder_dropout
        self.blocks = nn.ModuleList(
            LConv(sizes.hidden, sizes.decoder_kernel, sizes.decoder_heads, dropout, True) for _ in layers
        )
        self.mel_projections = nn.ModuleList(nn.Linear(sizes.hidden, sizes.mel_bands, bias=False) for _ in layers)

    def forward(self, x: Tensor, speaker: Tensor, padding: Tensor) -> list[Tensor]:
        """x [B, T, C] -> [B, T, M] of every block."""
        mels = []
        for block, projection in zip(self.blocks, self.mel_projections, strict=True):
            x = block(x, padding, speaker)
            mels.append(projection(x))
        return mels


class OriginalModel(nn.Module):
    """`ours`, computed as the original would; parameters are a copy of its own."""

    positions: Tensor

    def __init__(self, ours: AcousticModel) -> None:
        super().__init__()
        sizes = ours.sizes
        self.text_encoder = TextEncoder(sizes)
        self.emotion = Emotion(sizes)
        self.duration_predictor = DurationPredictor(sizes)
        self.decoder = Decoder(sizes)
        self.speaker_embedding = nn.Embedding(sizes.speakers, sizes.hidden)
        self.register_buffer("positions", sinusoids(sizes.max_phones + 1, sizes.hidden), persistent=False)
        self.load_state_dict(ours.state_dict(), strict=True)

    def forward(
        self,
        phones: Tensor,
        phone_lengths: Tensor,
        speakers: Tensor,
        emotions: Tensor,
        mels: Tensor,
        mel_lengths: Tensor,
        durations: Tensor,
    ) -> tuple[list[Tensor], Tensor, Tensor]:
        """As AcousticModel's with a label and teacher-forced durations -> mels of all blocks [B, T, M], emotion logits
        [B, E], log-durations [B, N]."""
        padding = mask(phone_lengths)
        speaker = self.speaker_embedding(speakers)
        positions = self.positions[: phones.shape[1]]
        embedding, logits = self.emotion(emotions, mels, mel_lengths)
        x = self.text_encoder(phones, positions, padding) + embedding + positions
        fused, log_durations = self.duration_predictor(x, speaker, padding)
        return self.decoder(regulate(fused, durations), speaker, mask(mel_lengths)), logits, log_durations


def mask(lengths: Tensor) -> Tensor:
    """[B] -> [B, longest] True = padding; asks the device for the longest."""
    longest = int(lengths.max().item())
    return torch.arange(longest, device=lengths.device)[None] >= lengths[:, None]


def regulate(x: Tensor, durations: Tensor) -> Tensor:
    """Repeat phone by phone; every duration is fetched from the device on its own."""
    rows = []
    for vectors, frames in zip(x, durations, strict=True):
        rows.append(
            torch.cat([vector.expand(int(count.item()), -1) for vector, count in zip(vectors, frames, strict=True)])
        )
    longest = max(len(row) for row in rows)
    return torch.stack([F.pad(row, (0, 0, 0, longest - len(row))) for row in rows])
