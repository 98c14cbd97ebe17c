"""What a voice's harmonics look like in a mel spectrogram."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from audio.mel import LOG_FLOOR, MelSpectrogram

DEPTH = 4.0  # natural logarithm: how far below its neighbours a band may be


def harmonic_combs(front_end: MelSpectrogram, pitches: Tensor) -> Tensor:
    """Log-mel of steady pulse trains, [pitches, bands]: every row less its mean over 11 bands around, so that only
    peaks and valleys remain, in -DEPTH … DEPTH. pitches: Hz.
    """
    rate = front_end.sampling_rate
    size = front_end.filter_length
    rows = []
    for pitch in pitches.tolist():
        harmonics = np.arange(1, int(rate / 2 / pitch) + 1)
        time = np.arange(6 * size) / rate
        wav = np.cos(2 * np.pi * pitch * time[:, None] * harmonics).sum(1)
        rows.append(torch.from_numpy(wav / len(harmonics)).float())
    with torch.inference_mode():
        magnitude = torch.cat([front_end.magnitude(row[None])[:, 8:-8].mean(1) for row in rows])
        levels = torch.log((magnitude @ front_end.basis.T).clamp(min=LOG_FLOOR))
        smooth = torch.nn.functional.avg_pool1d(
            torch.nn.functional.pad(levels[:, None], (5, 5), mode="replicate"), 11, 1
        )[:, 0]
    return (levels - smooth).clamp(-DEPTH, DEPTH).clone()
