"""Where speech begins and ends by its energy alone: an outside check of alignments."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

FRAME_SECONDS = 0.01
RANGE_DB = 30.0  # speech is what lies within this of the loudest frame
MIN_SNR_DB = 6.0  # … and above the background by this


def speech_span(wav: npt.NDArray[np.float32], sampling_rate: int) -> tuple[float, float] | None:
    """Start and end in seconds of the first and last frame that is loud enough; None for silence.

    wav: [samples]. Breaths and room noise above the threshold count as speech, soft fricatives below it do not: good
    for a median over a corpus, not for the truth about one recording.
    """
    hop = max(1, round(FRAME_SECONDS * sampling_rate))
    frames = wav[: len(wav) // hop * hop].reshape(-1, hop)
    if not frames.size or not frames.any():
        return None
    level = 10 * np.log10(np.mean(np.square(frames, dtype=np.float64), axis=1) + 1e-12)  # dB of full scale
    background = float(np.quantile(level, 0.1))
    loud = np.flatnonzero(level > max(float(level.max()) - RANGE_DB, background + MIN_SNR_DB))
    if not len(loud):
        return None
    return float(loud[0] * hop / sampling_rate), float((loud[-1] + 1) * hop / sampling_rate)
