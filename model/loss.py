"""Training losses: mel L1 of every decoder block, emotion classification, log-durations, learned alignment, prosody."""

from dataclasses import dataclass, fields
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.acoustic_model import ModelOutput
from model.aligner import binarisation
from model.prosody import Prosody, prosody_sums

PITCH_WEIGHT = 4.0  # makes a deviation of half an octave weigh as much as one of a standard deviation in loudness


@dataclass(frozen=True)
class Losses:
    """Scalars; the field names are the log tags."""

    total: Tensor
    mel: Tensor  # L1 per bin over all decoder blocks' outputs (or as `mel_normalization` says)
    mel_last: Tensor  # L1 per bin of the last block's output alone: what is heard. No part of the total
    emotion: Tensor
    duration: Tensor  # squared error of log(frames + 1)
    alignment: Tensor | None = None  # with a learned alignment: -log-likelihood of all paths, per frame and band
    binarisation: Tensor | None = None  # … and -log attention on the best path, per frame
    intensity: Tensor | None = None  # classification of the emotion's intensity, where the model knows any
    pitch: Tensor | None = None  # with a prosody predictor: squared error in octaves, per frame; 0 where unvoiced
    voicing: Tensor | None = None  # … cross entropy
    loudness: Tensor | None = None  # … squared error of the standardised logarithm

    def named(self) -> dict[str, Tensor]:
        """Those that there are."""
        return {name: value for name, value in vars(self).items() if value is not None}


@dataclass(frozen=True)
class LossSums:
    """Scalars before division; those of several batches may be added."""

    mel: Tensor  # absolute errors over frames and bands, mean over decoder blocks
    mel_last: Tensor  # the same of the last block alone
    emotion: Tensor  # over labelled utterances
    duration: Tensor  # squared errors over phones
    alignment: Tensor | None = None  # over frames, mean over bands
    binarisation: Tensor | None = None  # over frames
    intensity: Tensor | None = None  # over utterances
    pitch: Tensor | None = None  # over frames, as the next two
    voicing: Tensor | None = None
    loudness: Tensor | None = None

    def __add__(self, other: "LossSums") -> "LossSums":
        pairs = {field.name: (getattr(self, field.name), getattr(other, field.name)) for field in fields(self)}
        sums: dict[str, Any] = {name: None if a is None or b is None else a + b for name, (a, b) in pairs.items()}
        return LossSums(**sums)


@dataclass(frozen=True)
class LossCounts:
    """What the sums are divided by. Summed over the micro-batches and processes of one optimiser step, they make the
    accumulated gradient that of one large batch."""

    frames: Tensor  # mel frames that are not padding
    phones: Tensor  # phones that are not padding
    labelled: Tensor  # utterances with an emotion label
    utterances: Tensor
    inverse_lengths: Tensor  # sum over utterances of 1 / frames

    @classmethod
    def of(cls, mel_lengths: Tensor, phone_lengths: Tensor, emotions: Tensor) -> "LossCounts":
        """Counts of one batch: mel_lengths, phone_lengths, emotions (negative = unlabelled), each [B]."""
        return cls(
            frames=mel_lengths.sum().float(),
            phones=phone_lengths.sum().float(),
            labelled=(emotions >= 0).sum().float(),
            utterances=torch.full((), float(len(mel_lengths)), device=mel_lengths.device),
            inverse_lengths=(1.0 / mel_lengths.clamp(min=1)).sum(),
        )

    def stacked(self) -> Tensor:
        """[5] tensor, to be summed over micro-batches and processes."""
        return torch.stack([self.frames, self.phones, self.labelled, self.utterances, self.inverse_lengths])

    @classmethod
    def from_stacked(cls, values: Tensor) -> "LossCounts":
        """Inverse of `stacked`."""
        return cls(*values.unbind())


class TrainingLoss(nn.Module):
    """total = mel + alpha * (emotion + intensity) + beta * duration (+ gamma * alignment + delta * binarisation)
    (+ epsilon * (PITCH_WEIGHT * pitch + voicing + loudness)).

    mel_normalization: "mean" is the mean absolute error per bin. "reference" is what the original computes: that mean
    divided by each utterance's length once more and averaged over utterances, about 1/150 of it.
    emotion: "cross_entropy" (paper section 3.2) or "bce", binary cross-entropy of the softmax against the one-hot
    label, as the original. Unlabelled utterances (negative emotion) have no part in it.
    """

    def __init__(
        self,
        alpha: float,
        beta: float,
        mel_normalization: str,
        emotion: str,
        gamma: float = 1.0,
        delta: float = 0.0125,
        epsilon: float = 0.2,
    ) -> None:
        super().__init__()
        assert mel_normalization in ("mean", "reference") and emotion in ("cross_entropy", "bce")
        self.alpha = alpha
        self.beta = beta
        self.gamma = gamma
        self.delta = delta
        self.epsilon = epsilon
        self.mel_normalization = mel_normalization
        self.emotion = emotion

    def forward(
        self,
        output: ModelOutput,
        mels: Tensor,
        durations: Tensor,
        emotions: Tensor,
        counts: LossCounts | None = None,
        prosody: Prosody | None = None,
        intensities: Tensor | None = None,
    ) -> Losses:
        """mels [B, T, M] targets (zero at padding), durations [B, N], emotions and intensities [B] (negative =
        unknown), prosody [B, T]; the latter two where the model predicts them.

        Without `counts` they are the batch's own.
        """
        if counts is None:
            counts = LossCounts.of(output.mel_lengths, (~output.text_mask).sum(1), emotions)
        return self.combine(self.sums(output, mels, durations, emotions, prosody, intensities), counts)

    def sums(
        self,
        output: ModelOutput,
        mels: Tensor,
        durations: Tensor,
        emotions: Tensor,
        prosody: Prosody | None = None,
        intensities: Tensor | None = None,
    ) -> LossSums:
        """Sums over one batch; arguments as in `forward`."""
        # The decoder's output is zero at padding, and so is the target: a plain sum is the masked sum.
        errors = [F.l1_loss(mel.float(), mels, reduction="sum") / mels.shape[2] for mel in output.mels]
        target = torch.log(durations.float() + 1.0).masked_fill(output.text_mask, 0.0)
        return LossSums(
            mel=torch.stack(errors).mean(),
            mel_last=errors[-1].detach(),
            emotion=self._emotion_sum(output.emotion_logits, emotions),
            duration=F.mse_loss(output.log_durations.float(), target, reduction="sum"),
            intensity=_intensity_sum(output.intensity_logits, intensities),
            **self._alignment_sums(output, mels.shape[2]),
            **_prosody_sums(output, prosody),
        )

    def combine(self, sums: LossSums, counts: LossCounts) -> Losses:
        """Divide sums by counts, and weigh."""
        frames = counts.frames.clamp(min=1)
        mel = sums.mel / frames
        if self.mel_normalization == "reference":
            mel = mel * counts.inverse_lengths / counts.utterances
        emotion = sums.emotion / counts.labelled.clamp(min=1)
        duration = sums.duration / counts.phones.clamp(min=1)
        total = mel + self.alpha * emotion + self.beta * duration
        alignment, hard = sums.alignment, sums.binarisation
        if alignment is not None and hard is not None:
            alignment, hard = alignment / frames, hard / frames
            total = total + self.gamma * alignment + self.delta * hard
        intensity = None
        if sums.intensity is not None:
            intensity = sums.intensity / counts.utterances
            total = total + self.alpha * intensity
        pitch, voicing, loudness = sums.pitch, sums.voicing, sums.loudness
        if pitch is not None and voicing is not None and loudness is not None:
            pitch, voicing, loudness = pitch / frames, voicing / frames, loudness / frames
            total = total + self.epsilon * (PITCH_WEIGHT * pitch + voicing + loudness)
        return Losses(
            total=total,
            mel=mel,
            mel_last=sums.mel_last / frames,
            emotion=emotion,
            duration=duration,
            alignment=alignment,
            binarisation=hard,
            intensity=intensity,
            pitch=pitch,
            voicing=voicing,
            loudness=loudness,
        )

    @staticmethod
    def _alignment_sums(output: ModelOutput, bands: int) -> dict[str, Tensor]:
        found = output.alignment
        if found is None:
            return {}
        hard = binarisation(found.log_likelihoods, found.durations, output.mel_lengths)
        return {"alignment": found.forward_sum.sum().float() / bands, "binarisation": hard.sum()}

    def _emotion_sum(self, logits: Tensor | None, emotions: Tensor) -> Tensor:
        if logits is None:
            return torch.zeros((), device=emotions.device)
        target = emotions.clamp(min=0)
        logits = logits.float()
        if self.emotion == "cross_entropy":
            each = F.cross_entropy(logits, target, reduction="none")
        else:
            one_hot = F.one_hot(target, logits.shape[1]).float()
            with torch.autocast(logits.device.type, enabled=False):  # autocast refuses binary cross-entropy
                each = F.binary_cross_entropy(logits.softmax(-1), one_hot, reduction="none").mean(1)
        # where(), not a product: nothing of an unlabelled utterance's logits may reach the loss, not even a NaN
        return torch.where(emotions >= 0, each, 0.0).sum()


def _intensity_sum(logits: Tensor | None, intensities: Tensor | None) -> Tensor | None:
    """Cross entropy over the utterances whose intensity is known; None where the model knows none."""
    if logits is None or intensities is None:
        return None
    each = F.cross_entropy(logits.float(), intensities.clamp(min=0), reduction="none")
    return torch.where(intensities >= 0, each, 0.0).sum()


def _prosody_sums(output: ModelOutput, prosody: Prosody | None) -> dict[str, Tensor]:
    if output.prosody is None or prosody is None:
        return {}
    return vars(prosody_sums(output.prosody, prosody, output.mel_mask))
