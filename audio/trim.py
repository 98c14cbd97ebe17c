"""Cutting off silence around speech, by energy."""

import numpy as np
import numpy.typing as npt


def trim_silence(
    wav: npt.NDArray[np.float32], sampling_rate: int, threshold: float = 30.0, margin: float = 0.05
) -> npt.NDArray[np.float32]:
    """What lies within `loud_span` of wav [samples]."""
    start, end = loud_span(wav, sampling_rate, threshold, margin)
    return wav[start:end]


def loud_span(
    wav: npt.NDArray[np.float32], sampling_rate: int, threshold: float = 30.0, margin: float = 0.05
) -> tuple[int, int]:
    """First and next sample of the span from the first to the last loud 20 ms frame, `margin` seconds wider at both
    ends.

    wav [samples]. A frame is loud if its root mean square lies within `threshold` dB of the loudest frame's. Silence
    inside counts as part of it; an all-zero waveform is loud as a whole.
    """
    size = max(1, sampling_rate // 50)
    frames = np.pad(wav, (0, -len(wav) % size)).reshape(-1, size).astype(np.float64)
    levels = np.sqrt((frames**2).mean(1))
    if not levels.any():
        return 0, len(wav)
    loud = np.flatnonzero(levels >= levels.max() * 10 ** (-threshold / 20))
    extra = round(margin * sampling_rate)
    return max(0, int(loud[0]) * size - extra), min(len(wav), int(loud[-1] + 1) * size + extra)
