"""What the speaker encoder hears: normalised filterbank energies of the voiced span, in windows of 160 frames.

The energies equal python_speech_features' `fbank`, with which the published weights were trained. They are linear, not
logarithmic, and each frame is normalised by itself, so the embedding ignores loudness.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from errors import UserError

BANDS = 64
WINDOW_FRAMES = 160  # what the encoder was trained on: 1.6 s
FRAME_SECONDS, STEP_SECONDS = 0.025, 0.010
PRE_EMPHASIS = 0.97
VOICED_PERCENTILE = 95  # the louder 5% of samples mark where the voice begins and ends
_EPSILON = 1e-12  # smallest standard deviation of a frame

Array = npt.NDArray[np.float64]


def features(wav: npt.NDArray[np.floating], sampling_rate: int) -> npt.NDArray[np.float32]:
    """wav [samples] within [-1, 1] -> [frames, 64], each frame of mean 0 and standard deviation 1.

    Raises UserError for a silent waveform.
    """
    energies = filterbank_energies(voiced_span(wav), sampling_rate)
    deviation = np.maximum(energies.std(axis=1, keepdims=True), _EPSILON)
    normalised = (energies - energies.mean(axis=1, keepdims=True)) / deviation
    return normalised.astype(np.float32)


def windows(frames: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """[frames, 64] -> [n, 160, 64]: as few windows as cover all frames, evenly spread, overlapping where need be.

    Fewer than 160 frames are followed by zeros. The original took one window at random, so that a speaker's embedding
    changed from run to run.

        400 frames:  0.......160
                        120......280
                              240......400
    """
    missing = WINDOW_FRAMES - len(frames)
    if missing > 0:
        return np.pad(frames, ((0, missing), (0, 0)))[None]
    count = math.ceil(len(frames) / WINDOW_FRAMES)
    starts = np.linspace(0, len(frames) - WINDOW_FRAMES, count).round().astype(int)
    return np.stack([frames[start : start + WINDOW_FRAMES] for start in starts])


def voiced_span(wav: npt.NDArray[np.floating]) -> npt.NDArray[np.floating]:
    """From the first sample above the 95th percentile of |wav| up to, not including, the last."""
    loudness = np.abs(wav)
    voiced = np.flatnonzero(loudness > np.percentile(loudness, VOICED_PERCENTILE)) if len(wav) else np.zeros(0, int)
    if len(voiced) < 2:
        raise UserError("the waveform is silent or a single click: no voice to take a speaker embedding from")
    return wav[voiced[0] : voiced[-1]]


def filterbank_energies(wav: npt.NDArray[np.floating], sampling_rate: int) -> Array:
    """Power of wav [samples > 0] in 64 mel bands -> [frames, 64], after pre-emphasis; rectangular window."""
    length, step = _round_half_up(FRAME_SECONDS * sampling_rate), _round_half_up(STEP_SECONDS * sampling_rate)
    fft_size = 1 << (length - 1).bit_length()  # 1024 at 22,050 Hz
    signal = np.append(wav[:1], wav[1:] - PRE_EMPHASIS * wav[:-1]).astype(np.float64)
    count = 1 + max(0, math.ceil((len(signal) - length) / step))
    signal = np.pad(signal, (0, (count - 1) * step + length - len(signal)))
    frames = np.lib.stride_tricks.sliding_window_view(signal, length)[::step]  # [frames, length]
    power = np.abs(np.fft.rfft(frames, fft_size)) ** 2 / fft_size  # [frames, bins]
    energies = power @ _filterbank(sampling_rate, fft_size).T
    return np.where(energies == 0.0, np.finfo(float).eps, energies)


def _filterbank(sampling_rate: int, fft_size: int) -> Array:
    """[64, fft_size // 2 + 1] triangles of height 1 between whole FFT bins, evenly spaced in mel up to Nyquist.

    mel = 2595 log10(1 + Hz / 700) (O'Shaughnessy 1987).
    """
    top = 2595.0 * np.log10(1.0 + sampling_rate / 2 / 700.0)
    hertz = 700.0 * (10.0 ** (np.linspace(0.0, top, BANDS + 2) / 2595.0) - 1.0)
    edges = np.floor((fft_size + 1) * hertz / sampling_rate)[:, None]
    low, centre, high = edges[:-2], edges[1:-1], edges[2:]
    bins = np.arange(fft_size // 2 + 1)
    # Where two edges share a bin, that side of the triangle is empty; the divisor 1 only keeps numpy quiet.
    rising = np.where((low <= bins) & (bins < centre), (bins - low) / np.maximum(centre - low, 1), 0.0)
    falling = np.where((centre <= bins) & (bins < high), (high - bins) / np.maximum(high - centre, 1), 0.0)
    return rising + falling


def _round_half_up(value: float) -> int:
    return math.floor(value + 0.5)
