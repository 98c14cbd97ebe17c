"""Where speech is by its energy alone: an outside check of alignments."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt

FRAME_SECONDS = 0.01
RANGE_DB = 30.0  # speech is what lies within this of the loudest frame
MIN_SNR_DB = 6.0  # … and above the background by this
SHORTEST_PAUSE = 0.05  # seconds; a stop's closure is no pause
# A pause with more than this, relative to the phones, holds a word that the aligner lost, or a gasp. Of 82 pauses in
# RAVDESS 24 have more than -9 dB, the others less than -10, half of them less than -18.
LOUD_PAUSE_DB = -9.0


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


def loudest_pause(
    wav: npt.NDArray[np.float32], sampling_rate: int, spoken: Sequence[tuple[float, float]]
) -> float | None:
    """Level in dB, relative to the phones' own, of the loudest pause between phones; None where there is no pause.

    wav: [samples]. spoken: start and end of every phone in seconds, in order. See LOUD_PAUSE_DB.
    """

    def power(start: float, end: float) -> float:
        part = wav[int(start * sampling_rate) : int(end * sampling_rate)]
        return float(np.sum(np.square(part, dtype=np.float64)))

    pauses = [(end, start) for (_, end), (start, _) in pairwise(spoken) if start - end >= SHORTEST_PAUSE - 1e-9]
    if not pauses:
        return None
    speech = sum(power(start, end) for start, end in spoken) / sum(end - start for start, end in spoken)
    loudest = max(power(start, end) / (end - start) for start, end in pauses)
    return float(10 * np.log10((loudest + 1e-12) / (speech + 1e-12)))
