"""Random changes of the reference mel spectrogram in training: the emotion encoder sees no recording twice.

Trained plainly it knows RAVDESS by heart after 20 epochs. Only the reference changes; the target mel never does.
Speed, pitch and level are those of other speakers and microphones; masks are SpecAugment's (1904.08779), the band warp
is vocal tract length perturbation's (Jaitly & Hinton 2013) over the whole spectrum, so that it moves the pitch, too.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from config.schema import ReferenceAugmentation
from dataset import Batch

LEAST_FRAMES = 32  # of an utterance made faster


class ReferenceAugmenter:
    """Changes references by draws from PyTorch's CPU generator, which training seeds by (seed, step, process).

    `centres` [M] Hz of the mel bands. References are padded to whole multiples of `multiple` frames.
    """

    def __init__(self, settings: ReferenceAugmentation, centres: Tensor, multiple: int = 1) -> None:
        self.settings = settings
        self.centres = centres.float()
        self.multiple = multiple

    def draw(self, lengths: Tensor) -> Callable[[Batch], Batch] | None:
        """What is to happen to a batch with references of `lengths` [B] frames, still on the CPU: nothing is waited
        for on a GPU. None: nothing happens, and nothing was drawn.
        """
        settings = self.settings
        if not settings.any:
            return None
        count = len(lengths)
        resampled = _resampled(lengths, settings.speed)
        size = -(-int(resampled.max()) // self.multiple) * self.multiple
        warp = self._warp(count)
        offsets = self._offsets(count)
        masks = self._masks(resampled, size)

        def apply(batch: Batch) -> Batch:
            mels = batch.reference_mels
            assert mels is not None and batch.reference_lengths is not None
            device = mels.device
            new_lengths = resampled.to(device, non_blocking=True)
            if settings.speed:
                mels = resample(mels, batch.reference_lengths, new_lengths, size)
            if settings.pitch:
                mels = mels @ warp.to(device, non_blocking=True)
            mels = mels + offsets.to(device, non_blocking=True)[:, None, :]
            # masked places take the utterance's mean: no mask may tell by its own level what it hides
            frames = torch.arange(mels.shape[1], device=device)[None, :] < new_lengths[:, None]
            mels = mels * frames[..., None]
            mean = (mels.sum((1, 2)) / (new_lengths * mels.shape[2]))[:, None, None]
            for mask in masks:
                mels = torch.where(mask.to(device, non_blocking=True) & frames[..., None], mean, mels)
            return replace(batch, reference_mels=mels, reference_lengths=new_lengths)

        return apply

    def _warp(self, count: int) -> Tensor:
        """[B, M, M]: times this from the right, band b holds what lay at b's frequency times a random factor."""
        bands = len(self.centres)
        factors = torch.exp(_symmetric(count, 1) * self.settings.pitch)
        wanted = (factors * self.centres).contiguous()  # (B, M) Hz
        upper = torch.bucketize(wanted, self.centres).clamp(1, bands - 1)
        below, above = self.centres[upper - 1], self.centres[upper]
        share = ((wanted - below) / (above - below)).clamp(0.0, 1.0)[:, None, :]
        matrix = torch.zeros(count, bands, bands)
        matrix.scatter_add_(1, upper[:, None, :] - 1, 1.0 - share)
        return matrix.scatter_add_(1, upper[:, None, :], share)

    def _offsets(self, count: int) -> Tensor:
        """[B, M] to be added to log-mel: level, and a slope and a bow over the bands as microphones and rooms have."""
        places = torch.linspace(-1.0, 1.0, len(self.centres))
        level, slope, bow = _symmetric(3, count, 1)
        return level * self.settings.level + self.settings.tilt * (slope * places + bow * torch.cos(math.pi * places))

    def _masks(self, lengths: Tensor, size: int) -> list[Tensor]:
        """True where something is hidden: [B, T, 1] spans of frames and [B, 1, M] spans of bands."""
        settings = self.settings
        masks = []
        if settings.time_mask:
            masks.append(_spans(settings.masks, settings.time_mask, lengths, size)[..., None])
        if settings.band_mask:
            bands = torch.full_like(lengths, len(self.centres))
            masks.append(_spans(settings.masks, settings.band_mask, bands, len(self.centres))[:, None, :])
        return masks


def resample(mels: Tensor, lengths: Tensor, new_lengths: Tensor, size: int) -> Tensor:
    """mels [B, T, M] with `lengths` [B] stretched to `new_lengths` [B] by linear interpolation -> [B, size, M].

    First and last frames stay first and last; padding repeats the last one.
    """
    last = (lengths - 1)[:, None]
    steps = last / (new_lengths - 1).clamp(min=1)[:, None]
    places = torch.minimum(torch.arange(size, device=mels.device)[None, :] * steps, last)  # (B, size)
    lower = places.long()
    upper = torch.minimum(lower + 1, last)
    index = [part[..., None].expand(-1, -1, mels.shape[2]) for part in (lower, upper)]
    return torch.lerp(mels.gather(1, index[0]), mels.gather(1, index[1]), (places - lower)[..., None])


def _resampled(lengths: Tensor, speed: float) -> Tensor:
    if not speed:
        return lengths
    return torch.maximum(
        (lengths * torch.exp(_symmetric(len(lengths)) * speed)).long(), lengths.clamp(max=LEAST_FRAMES)
    )


def _spans(count: int, longest: int, lengths: Tensor, size: int) -> Tensor:
    """[B, size] True in `count` random spans of 0 to `longest`, at most a quarter of `lengths` each, within them."""
    most = torch.minimum(torch.full_like(lengths, longest), lengths // 4)
    widths = (torch.rand(count, len(lengths)) * (most + 1)).long()
    starts = (torch.rand(count, len(lengths)) * (lengths - widths + 1)).long()
    places = torch.arange(size)
    inside = (places >= starts[..., None]) & (places < (starts + widths)[..., None])
    return inside.any(0)


def _symmetric(*size: int) -> Tensor:
    return torch.rand(*size) * 2.0 - 1.0
