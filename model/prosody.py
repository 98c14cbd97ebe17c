"""Pitch, voicing and loudness of every frame: predicted or given, and what the decoder is told of them.

The paper's model has no such part. Without it a decoder that learns by absolute errors averages over all pitches and
levels that an emotion may have, and the harmonics blur; told them, it draws them sharply (FastSpeech 2, Ren et al.
2021, arXiv 2006.04558, section 2.3; here per frame and not in bins).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.blocks import SpeakerConditionLConvBlock

BASE = 200.0  # Hz: pitch 0
LOWEST, HIGHEST = -2.0, 2.5  # octaves above BASE: 50 to 1,131 Hz, the pitches that have a comb
COMBS = 271  # 20 cents apart
LOUDNESS_MEAN, LOUDNESS_DEVIATION = -0.5, 2.0  # of RAVDESS's frames, in natural logarithms
NEPERS_PER_DECIBEL = math.log(10) / 20
PLACES = 3


@dataclass(frozen=True)
class Prosody:
    """Of every frame, [B, T] each."""

    pitch: Tensor  # octaves above BASE; means nothing where there is no voice
    voicing: Tensor  # 0 … 1
    loudness: Tensor  # logarithm of the summed magnitudes of all mel bands, standardised

    @classmethod
    def of(cls, pitches: Tensor, mels: Tensor) -> Prosody:
        """That of recordings: fundamental frequencies [B, T] in Hz (0: unvoiced) and log-mel [B, T, M]."""
        voiced = pitches > 0
        pitch = torch.log2(torch.where(voiced, pitches, BASE) / BASE).clamp(LOWEST, HIGHEST)
        loudness = (mels.float().logsumexp(-1) - LOUDNESS_MEAN) / LOUDNESS_DEVIATION
        return cls(pitch, voiced.to(pitch.dtype), loudness)


@dataclass(frozen=True)
class ProsodyPrediction:
    """What the predictor says before anything is decided, [B, T] each."""

    pitch: Tensor
    voicing: Tensor  # logits
    loudness: Tensor


@dataclass(frozen=True)
class ProsodyControl:
    """What a user wants otherwise than predicted."""

    pitch_shift: float = 0.0  # semitones
    pitch_range: float = 1.0  # factor on the distances, in semitones, from an utterance's mean pitch
    energy: float = 0.0  # dB: spoken louder or more softly, which also changes the sound


class ProsodyPredictor(nn.Module):
    """Predicts prosody from what the decoder will read, and adds it to that."""

    combs: Tensor

    def __init__(self, channels: int, layers: int, kernel_size: int, heads: int, dropout: float, bands: int) -> None:
        super().__init__()
        self.place = nn.Linear(PLACES, channels)
        self.blocks = nn.ModuleList(
            SpeakerConditionLConvBlock(channels, kernel_size, heads, channels, dropout) for _ in range(layers)
        )
        self.output = nn.Linear(channels, 3)
        # what a mel spectrogram's harmonics look like at every pitch: a network finds that hard to draw from a number
        self.register_buffer("combs", torch.zeros(COMBS, bands))
        self.comb = nn.Linear(bands, channels, bias=False)
        self.level = nn.Linear(2, channels, bias=False)

    def forward(
        self,
        x: Tensor,
        places: Tensor,
        speaker: Tensor,
        mask: Tensor,
        given: Prosody | None = None,
        control: ProsodyControl | None = None,
    ) -> tuple[Tensor, Tensor, ProsodyPrediction]:
        """x [B, T, C] of every frame, places [B, T, 3] as `places_in_phones`, speaker [B, C], mask [B, T] -> x with
        prosody added, the pitch's combs [B, T, M], both zero at padding, and the prediction. The prosody is `given`, or
        predicted."""
        x = x + self.place(places.to(x.dtype))
        hidden = x
        for block in self.blocks:
            hidden = block(hidden, speaker, mask)
        predicted = ProsodyPrediction(*self.output(hidden).float().unbind(-1))
        used = decide(predicted, mask, control or ProsodyControl()) if given is None else given
        combs = (self._comb(used) * (~mask).unsqueeze(-1)).to(x.dtype)
        told = self.comb(combs)
        told = told + self.level(torch.stack([used.voicing, used.loudness], -1).to(x.dtype))
        return (x + told).masked_fill(mask.unsqueeze(-1), 0.0), combs, predicted

    def _comb(self, prosody: Prosody) -> Tensor:
        """[B, T, M]: between the two nearest pitches, times the voicing."""
        position = (prosody.pitch.clamp(LOWEST, HIGHEST) - LOWEST) * ((COMBS - 1) / (HIGHEST - LOWEST))
        below = position.floor().clamp(max=COMBS - 2)
        share = (position - below).unsqueeze(-1)
        index = below.long()
        comb = torch.lerp(self.combs[index], self.combs[index + 1], share)
        return comb * prosody.voicing.unsqueeze(-1)


def decide(predicted: ProsodyPrediction, mask: Tensor, control: ProsodyControl) -> Prosody:
    """What will be spoken: voiced where that is the more probable, pitch and loudness as controlled."""
    voicing = (predicted.voicing > 0).to(predicted.pitch.dtype).masked_fill(mask, 0.0)
    pitch = predicted.pitch
    if control.pitch_range != 1.0:
        mean = (pitch * voicing).sum(1, keepdim=True) / voicing.sum(1, keepdim=True).clamp(min=1.0)
        pitch = mean + (pitch - mean) * control.pitch_range
    loudness = predicted.loudness + control.energy * NEPERS_PER_DECIBEL / LOUDNESS_DEVIATION
    return Prosody(pitch + control.pitch_shift / 12, voicing, loudness)


def places_in_phones(durations: Tensor, size: int) -> Tensor:
    """Where in its phone every frame lies, [B, size, 3]: the share that is over, and logarithms of the frames behind
    and before it. durations [B, N] whole frames; frames behind the last phone are undefined."""
    ends = durations.cumsum(1)  # (B, N)
    frames = torch.arange(size, device=durations.device).expand(len(durations), -1).contiguous()
    phone = torch.searchsorted(ends, frames, right=True).clamp(max=durations.shape[1] - 1)
    end = ends.gather(1, phone)
    behind = (frames - (end - durations.gather(1, phone))).clamp(min=0).float()
    ahead = (end - 1 - frames).clamp(min=0).float()
    return torch.stack([(behind + 0.5) / (behind + ahead + 1), behind.log1p() / 3, ahead.log1p() / 3], -1)


@dataclass(frozen=True)
class ProsodySums:
    """Errors summed over the frames that are not padding."""

    pitch: Tensor  # squared, octaves, of voiced frames
    voicing: Tensor  # cross entropy
    loudness: Tensor  # squared


def prosody_sums(predicted: ProsodyPrediction, true: Prosody, mask: Tensor) -> ProsodySums:
    """How far a prediction is off; mask [B, T] (True = padding)."""
    real = (~mask).float()
    pitch = (predicted.pitch - true.pitch).square() * true.voicing * real
    voicing = F.binary_cross_entropy_with_logits(predicted.voicing, true.voicing, reduction="none") * real
    loudness = (predicted.loudness - true.loudness).square() * real
    return ProsodySums(pitch.sum(), voicing.sum(), loudness.sum())
