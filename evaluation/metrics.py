"""How one waveform differs from the recording of the same utterance. Every number of one pair; None where undefined."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from evaluation.dtw import warp
from evaluation.world import Analysis, Array

# dB per unit of distance between cepstra: Kubichek 1993, "Mel-cepstral distance measure for objective speech quality
# assessment". With cosine series of the natural-log magnitude it is the root mean square, over the mel scale, of the
# difference of the two envelopes in dB.
MCD_SCALE = 10.0 * np.sqrt(2.0) / np.log(10.0)
GROSS = 0.2  # of the true pitch: farther off is a wrong pitch, in "F0 frame error" (Chu and Alwan 2009)
LEAST_FRAMES = 10  # that a correlation is computed from: 50 ms
Values = dict[str, float | None]


@dataclass(frozen=True)
class Metric:
    """What a column of the report means."""

    title: str
    unit: str
    digits: int
    about: str


METRICS: dict[str, Metric] = {
    "mcd": Metric("MCD", "dB", 2, "mel-cepstral distortion, coefficients 1-24, along the DTW path; level-independent"),
    "f0_rmse": Metric("log-F0 RMSE", "cents", 0, "over frames of the path that both voice"),
    "f0_correlation": Metric("log-F0 corr.", "", 3, "Pearson, same frames"),
    "f0_shift": Metric("F0 shift", "cents", 0, "mean of log F0 less the recording's, same frames"),
    "voicing_error": Metric("voicing error", "", 3, "share of the path's frames voiced in one and not in the other"),
    "f0_frame_error": Metric("F0 frame error", "", 3, "voicing errors and, of frames both voice, pitches 20% off"),
    "voiced_kept": Metric("voiced kept", "", 3, "share of the recording's voiced frames that are voiced"),
    "energy_correlation": Metric("energy corr.", "", 3, "Pearson of the level in dB along the path; level-independent"),
    "level": Metric("level", "dB", 1, "root mean square less the recording's; level-dependent"),
    "duration_error": Metric("phone error", "ms", 1, "mean absolute difference of phone durations"),
    "rate": Metric("rate", "phones/s", 2, "phones by the length of the utterance, pauses included"),
    "variance": Metric("global variance", "", 3, "of the log-mel over time, mean over bands; level-independent"),
    "variance_ratio": Metric("GV ratio", "", 3, "geometric mean over bands of the variance by the recording's"),
    "similarity": Metric("similarity", "", 3, "cosine to the mean GE2E embedding of the speaker's other recordings"),
    "speaker_right": Metric("speaker found", "", 3, "share whose nearest speaker by that is the right one"),
    "emotion_right": Metric("emotion accuracy", "", 3, "by a judge that never heard the speaker"),
    "word_accuracy": Metric("word accuracy", "", 3, "1 less word errors by words spoken"),
    "whisper_words": Metric("words (Whisper)", "", 3, "1 less word errors by words spoken"),
    "emotion2vec_right": Metric("emotion (emotion2vec)", "", 3, "share named rightly of those that it has a word for"),
    "utmos": Metric("naturalness (UTMOS)", "", 2, "mean opinion score as predicted, 1 to 5"),
}  # fmt: skip


# name -> where it ends, Hz; of the mean pitch of a recording
PITCH_BANDS = {"below 150 Hz": 150.0, "150-250 Hz": 250.0, "above 250 Hz": float("inf")}
# what emotions are ranked by, and how it is called
PROSODY = {"pitch": "pitch", "pitch_range": "pitch range", "loudness": "loudness", "rate": "rate"}


def compare(real: Analysis, other: Analysis) -> Values:
    """What needs nothing but the two waveforms' analyses. Identical ones give no error at all and correlation 1."""
    values: Values = {
        "level": _mean_level(other) - _mean_level(real),
        "variance": float(other.mel.var(0).mean()),
        "variance_ratio": float(np.exp(np.mean(np.log(_variance(other) / _variance(real))))),
    }
    if real.cepstra is None or other.cepstra is None:
        return values
    ours, theirs = warp(real.cepstra, other.cepstra)
    distances = np.linalg.norm(real.cepstra[ours] - other.cepstra[theirs], axis=1)
    values["mcd"] = float(MCD_SCALE * distances.mean())
    values["energy_correlation"] = correlation(real.level[ours], other.level[theirs])
    return values | _pitch(real, other, ours, theirs)


def _variance(analysis: Analysis) -> Array:
    return np.maximum(analysis.mel.var(0), 1e-6)


def _mean_level(analysis: Analysis) -> float:
    return float(10.0 * np.log10(np.mean(10.0 ** (analysis.level / 10.0))))


def _pitch(real: Analysis, other: Analysis, ours: npt.NDArray[np.int64], theirs: npt.NDArray[np.int64]) -> Values:
    assert real.f0 is not None and other.f0 is not None
    frames = min(len(real.f0), len(real.level))  # the path's indices fit either
    first, second = real.f0[np.minimum(ours, frames - 1)], other.f0[np.minimum(theirs, len(other.f0) - 1)]
    voiced = first > 0
    both = voiced & (second > 0)
    gross = both & (np.abs(second - first) > GROSS * first)
    values: Values = {
        "voicing_error": float(np.mean(voiced != (second > 0))),
        "f0_frame_error": float(np.mean((voiced != (second > 0)) | gross)),
        "voiced_kept": float(both.sum() / voiced.sum()) if voiced.any() else None,
        "f0_rmse": None,
        "f0_shift": None,
        "f0_correlation": None,
    }
    if both.sum() >= LEAST_FRAMES:
        cents = 1200.0 * np.log2(second[both] / first[both])
        values["f0_rmse"], values["f0_shift"] = float(np.sqrt(np.mean(cents**2))), float(cents.mean())
        values["f0_correlation"] = correlation(np.log(first[both]), np.log(second[both]))
    return values


def correlation(first: Array, second: Array) -> float | None:
    """Pearson's; None where there are too few values or one side is constant."""
    if len(first) < LEAST_FRAMES or first.std() < 1e-9 or second.std() < 1e-9:
        return None
    return float(np.corrcoef(first, second)[0, 1])


def timing(phones: int, seconds: float, durations: Sequence[float], real_durations: Sequence[float]) -> Values:
    """Speaking rate, and the error of phone durations. `phones` without pauses; durations of all phones in seconds, of
    the system and of the recording."""
    difference = np.abs(np.asarray(durations) - np.asarray(real_durations))
    return {"rate": phones / max(seconds, 1e-3), "duration_error": float(1000.0 * difference.mean())}


def prosody(analysis: Analysis) -> Values:
    """What emotions are ranked by: pitch (mean and standard deviation, semitones above 1 Hz) and level (dB)."""
    values: Values = {"pitch": None, "pitch_range": None, "loudness": _mean_level(analysis)}
    if analysis.f0 is not None and (analysis.f0 > 0).sum() >= LEAST_FRAMES:
        semitones = 12.0 * np.log2(analysis.f0[analysis.f0 > 0])
        values["pitch"], values["pitch_range"] = float(semitones.mean()), float(semitones.std())
    return values
