"""The whole acoustic model: phones, speaker and emotion in, mel spectrogram out."""

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from model.aligner import Aligner, Alignment
from model.blocks import FFTBlock, LConvBlock, SinusoidPositions, SpeakerConditionLConvBlock
from model.decoder import MelDecoder
from model.duration import DurationPredictor, frames_from_log, regulate_length
from model.emotion import EmotionEncoder, EmotionTokens, InputNormalisation, Pooling, ReferenceEncoder
from model.functionals import FunctionalsEncoder
from model.postfilter import Postfilter
from model.prosody import Prosody, ProsodyControl, ProsodyPrediction, ProsodyPredictor, places_in_phones
from utils.masks import padding_mask


@dataclass(frozen=True)
class ModelSizes:
    """Numbers that fix the architecture; the defaults are the paper's small model (1.13 M trainable parameters)."""

    symbols: int  # rows of the phone embedding, padding (row 0) included
    speakers: int
    emotions: int
    external_speaker: int | None = None  # width of an external speaker embedding; None = lookup table
    mel_bands: int = 80
    hidden: int = 64
    max_phones: int = 320  # positions in the stored sinusoid table, less one
    encoder_layers: int = 1
    encoder_heads: int = 2
    encoder_dropout: float = 0.2
    duration_layers: int = 1
    duration_heads: int = 2
    duration_dropout: float = 0.2
    conv_filters: int = 256
    conv_kernels: tuple[int, int] = (9, 1)  # phones
    lconv_kernel: int = 3  # phones
    lconv_heads: int = 2
    reference_type: Literal["convolutions", "functionals"] = "convolutions"
    reference_filters: tuple[int, ...] = (32, 32, 64, 64, 128, 128)
    reference_kernel: tuple[int, int] = (3, 3)  # frames, bands
    reference_strides: tuple[int, int] = (2, 2)
    reference_padding: tuple[int, int] = (1, 1)
    reference_hidden: int = 32
    mask_reference_padding: bool = True
    reference_pooling: Pooling = "gru"
    reference_input: InputNormalisation = "none"
    reference_dropout: float = 0.0
    decoder_layers: int = 6
    decoder_heads: int = 8
    decoder_kernel: int = 15  # frames
    decoder_dropout: float = 0.2
    min_phone_frames: int | None = None  # of the model's own aligner; None: it has none
    prosody_layers: int = 0  # of the prosody predictor; 0: there is none
    prosody_heads: int = 8
    prosody_kernel: int = 15  # frames
    prosody_dropout: float = 0.1
    intensities: int = 0  # of emotions
    postfilter: bool = False


@dataclass(frozen=True)
class ModelOutput:
    mels: list[Tensor]  # [B, T, M] log-mel, last block's last; all blocks in training, only the last in eval
    emotion_logits: Tensor | None  # [B, E]; None without a reference
    log_durations: Tensor  # [B, N] log(frames + 1)
    durations: Tensor  # [B, N] frames that were used: the given ones or the predicted
    text_mask: Tensor  # [B, N] True = padding
    mel_mask: Tensor  # [B, T] True = padding
    mel_lengths: Tensor  # [B] frames
    alignment: Alignment | None = None  # where the durations come from the model's own aligner
    intensity_logits: Tensor | None = None  # [B, I]; None without a reference or where the model knows none
    prosody: ProsodyPrediction | None = None  # where the model predicts it
    emotion_shares: tuple[Tensor, Tensor | None] | None = None  # [B, E] and, of intensities, [B, I]


class TextEncoder(nn.Module):
    """Phone ids -> vectors: embedding, positions, FFT blocks."""

    def __init__(self, symbols: int, channels: int, positions: SinusoidPositions, blocks: list[FFTBlock]) -> None:
        super().__init__()
        self.embedding = nn.Embedding(symbols, channels, padding_idx=0)
        self.positions = positions
        self.blocks = nn.ModuleList(blocks)

    def forward(self, phones: Tensor, mask: Tensor) -> Tensor:
        """phones [B, N] ids, mask [B, N] -> [B, N, C]."""
        x = self.positions(self.embedding(phones))
        for block in self.blocks:
            x = block(x, mask)
        return x


class AcousticModel(nn.Module):
    """Cross-speaker emotion transfer with SCLN and emotion tokens (arXiv 2110.04153, figure 1)."""

    def __init__(self, sizes: ModelSizes) -> None:
        super().__init__()
        self.sizes = sizes
        channels = sizes.hidden
        self.text_encoder = TextEncoder(
            sizes.symbols,
            channels,
            SinusoidPositions(sizes.max_phones + 1, channels),
            [self._fft_block(sizes.encoder_heads, sizes.encoder_dropout) for _ in range(sizes.encoder_layers)],
        )
        self.emotion = EmotionEncoder(
            _reference_encoder(sizes),
            EmotionTokens(sizes.emotions, channels, sizes.reference_hidden),
            sizes.intensities,
        )
        self.duration_predictor = DurationPredictor(
            SinusoidPositions(sizes.max_phones + 1, channels),
            [self._fft_block(sizes.duration_heads, sizes.duration_dropout) for _ in range(sizes.duration_layers)],
            [
                LConvBlock(channels, sizes.lconv_kernel, sizes.lconv_heads, sizes.duration_dropout)
                for _ in range(sizes.duration_layers)
            ],
            channels,
        )
        self.decoder = MelDecoder(
            [
                SpeakerConditionLConvBlock(
                    channels, sizes.decoder_kernel, sizes.decoder_heads, channels, sizes.decoder_dropout
                )
                for _ in range(sizes.decoder_layers)
            ],
            channels,
            sizes.mel_bands,
            harmonics=sizes.prosody_layers > 0,
        )
        self.speaker_embedding: nn.Module
        if sizes.external_speaker is None:
            self.speaker_embedding = nn.Embedding(sizes.speakers, channels)
        else:
            self.speaker_embedding = nn.Linear(sizes.external_speaker, channels)
        self.prosody: ProsodyPredictor | None = None
        if sizes.prosody_layers:
            self.prosody = ProsodyPredictor(
                channels,
                sizes.prosody_layers,
                sizes.prosody_kernel,
                sizes.prosody_heads,
                sizes.prosody_dropout,
                sizes.mel_bands,
            )
        self.postfilter = self.new_postfilter() if sizes.postfilter else None
        # made last, so that the other parts begin with the same weights with and without it
        self.aligner: Aligner | None = None
        if sizes.min_phone_frames is not None:
            self.aligner = Aligner(sizes.symbols, sizes.mel_bands, channels, sizes.min_phone_frames)

    def new_postfilter(self) -> Postfilter:
        """One that does nothing yet."""
        sizes = self.sizes
        known = sizes.speakers if sizes.external_speaker is None else 0
        return Postfilter(sizes.mel_bands, known, sizes.emotions, sizes.intensities)

    def settle(self) -> None:
        """Make the model faster for sentences, until `train()` or new weights: see SpeakerConditionLConvBlock."""
        for module in self.modules():
            if isinstance(module, SpeakerConditionLConvBlock):
                module.settle()

    def _fft_block(self, heads: int, dropout: float) -> FFTBlock:
        sizes = self.sizes
        return FFTBlock(sizes.hidden, heads, sizes.conv_filters, sizes.conv_kernels, dropout)

    def forward(
        self,
        phones: Tensor,
        phone_lengths: Tensor,
        speakers: Tensor,
        *,
        emotions: Tensor | None = None,
        reference_mels: Tensor | None = None,
        reference_lengths: Tensor | None = None,
        use_soft_token: Tensor | None = None,
        intensities: Tensor | None = None,
        durations: Tensor | None = None,
        align_mels: Tensor | None = None,
        align_lengths: Tensor | None = None,
        mel_length: int | None = None,
        duration_scale: float = 1.0,
        prosody: Prosody | None = None,
        prosody_control: ProsodyControl | None = None,
        every_block: bool | None = None,
    ) -> ModelOutput:
        """Predict mel spectrograms.

        phones [B, N] ids, phone_lengths [B]; speakers [B] ids, or [B, S] external embeddings; emotions [B] ids
        (negative = unlabelled), reference_mels [B, R, M] log-mel, reference_lengths [B], use_soft_token [B] bool,
        intensities [B] ids (negative or None = unknown): see EmotionEncoder. `durations` [B, N] frames teacher-force
        the length regulator; where the model has an aligner, `align_mels` [B, T, M] and `align_lengths` [B] of the
        recording itself let it find them; else predicted ones (times `duration_scale`) are used. `prosody` of T frames
        is used instead of the predicted one, which `prosody_control` changes; both count only where the model has a
        prosody predictor. `mel_length` is the number of frames to pad to, where the caller knows it. `every_block`:
        mels of all decoder blocks or only of the last, filtered where there is a postfilter; None: all while training.
        """
        text_mask = padding_mask(phone_lengths, phones.shape[1])
        with _full_precision_on_cpu(phones.device):
            speaker = self.speaker_embedding(speakers)  # (B, C)
            emotion = self.emotion(emotions, reference_mels, reference_lengths, use_soft_token, intensities)
            text = self.text_encoder(phones, text_mask)
            fused, log_durations = self.duration_predictor(text + emotion.embedding.unsqueeze(1), speaker, text_mask)
        alignment = None
        if durations is None and align_mels is not None and self.aligner is not None:
            assert align_lengths is not None
            alignment = self.aligner(phones, phone_lengths, align_mels, align_lengths)
            durations = alignment.durations
        if durations is None:
            durations = frames_from_log(log_durations, text_mask, duration_scale)
        mel_lengths = durations.sum(1)
        size = max(1, int(mel_lengths.max())) if mel_length is None else mel_length
        mel_lengths = mel_lengths.clamp(max=size)
        mel_mask = padding_mask(mel_lengths, size)
        every_block = self.training if every_block is None else every_block
        frames = regulate_length(fused, durations, size)
        predicted = combs = None
        if self.prosody is not None:
            places = places_in_phones(durations, size)
            frames, combs, predicted = self.prosody(frames, places, speaker, mel_mask, prosody, prosody_control)
        mels = self.decoder(frames, speaker, mel_mask, every_block, combs)
        if self.postfilter is not None and not every_block:
            manner = self.postfilter.manner(speakers, emotion.shares, emotion.intensity_shares)
            mels = [self.postfilter(mels[-1], mel_lengths, manner)]
        return ModelOutput(
            mels,
            emotion.logits,
            log_durations,
            durations,
            text_mask,
            mel_mask,
            mel_lengths,
            alignment,
            emotion.intensity_logits,
            predicted,
            (emotion.shares, emotion.intensity_shares),
        )


def _full_precision_on_cpu(device: torch.device) -> AbstractContextManager[object]:
    """For what has few rows: on CPUs, casting to half precision and back takes longer there than products save."""
    return torch.autocast("cpu", enabled=False) if device.type == "cpu" else nullcontext()


def _reference_encoder(sizes: ModelSizes) -> nn.Module:
    if sizes.reference_type == "functionals":
        return FunctionalsEncoder(
            sizes.mel_bands, sizes.reference_hidden, sizes.mask_reference_padding, sizes.reference_dropout
        )
    return ReferenceEncoder(
        sizes.mel_bands,
        list(sizes.reference_filters),
        sizes.reference_kernel,
        sizes.reference_strides,
        sizes.reference_padding,
        sizes.reference_hidden,
        sizes.mask_reference_padding,
        sizes.reference_pooling,
        sizes.reference_input,
        sizes.reference_dropout,
    )


def count_parameters(model: nn.Module) -> int:
    """Trainable parameters."""
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
