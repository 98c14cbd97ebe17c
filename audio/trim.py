"""Cutting off silence around speech, by energy."""

import numpy as np
import numpy.typing as npt


def trim_silence(
    wav: npt.NDArray[np.float32], sampling_rate: int, threshold: float = 30.0, margin: float = 0.05
) -> npt.NDArray[np.float32]:
    """Keep the span from the first to the last loud 20 ms frame, `margin` seconds wider at both ends.

    wav [samples]. A frame is loud if its root mean square lies within `threshold` dB of the loudest frame's. Silence
    inside stays; an all-zero waveform comes back whole.
    """
    size = max(1, sampling_rate // 50)
    frames = np.pad(wav, (0, -len(wav) % size)).reshape(-1, size).astype(np.float64)
    levels = np.sqrt((frames**2).mean(1))
    if not levels.any():
        return wav
    loud = np.flatnonzero(levels >= levels.max() * 10 ** (-threshold / 20))
    extra = round(margin * sampling_rate)
    return wav[max(0, loud[0] * size - extra) : (loud[-1] + 1) * size + extra]
