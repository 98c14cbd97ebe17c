"""Which emotion a voice expresses: support vector machines that never heard the speakers whom they judge.

Features of an utterance: means and deviations of log-mel bands, of mel-frequency cepstra and of their slopes,
statistics of pitch and level. They are normalised by each speaker's own real recordings, as a listener knows a voice:
raised is what is high for that speaker. Published accuracies on RAVDESS with speakers unheard in training lie between
40 and 77%.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from evaluation.world import Analysis, Array

FOLDS = 11
CEPSTRA = 20
PENALTY = 10.0  # C of the support vector machine
LEAST_SPEAKERS = 2


def has_sklearn() -> bool:
    """Whether scikit-learn is installed."""
    return importlib.util.find_spec("sklearn") is not None


def features(analysis: Analysis) -> npt.NDArray[np.float32]:
    """[D] of one utterance, whose analysis has a pitch (it may be unvoiced all along)."""
    assert analysis.f0 is not None
    mel = analysis.mel  # [M, bands]
    bands = mel.shape[1]
    middle = (np.arange(bands) + 0.5) / bands
    cepstra = mel @ np.cos(np.pi * middle[:, None] * np.arange(CEPSTRA)) * (2.0 / bands)  # [M, CEPSTRA]
    slopes = np.diff(cepstra, axis=0) if len(cepstra) > 1 else np.zeros((1, CEPSTRA))
    parts = [mel.mean(0), mel.std(0), cepstra.mean(0), cepstra.std(0), slopes.std(0)]
    parts += [_pitch(analysis.f0), _track(analysis.level), np.array([analysis.seconds])]
    return np.concatenate(parts).astype(np.float32)


def _pitch(f0: Array) -> Array:
    voiced = f0 > 0
    if voiced.sum() < 2:
        return np.zeros(9)
    return np.concatenate([_track(np.log2(f0[voiced])), [float(voiced.mean())]])


def _track(values: Array) -> Array:
    """Mean, deviation, quantiles, trend and movement of a curve, [8]."""
    quantiles = np.quantile(values, [0.05, 0.25, 0.5, 0.95])
    trend = np.polyfit(np.linspace(-1.0, 1.0, len(values)), values, 1)[0]
    return np.array([values.mean(), values.std(), *quantiles, trend, np.abs(np.diff(values)).mean()])


class EmotionJudge:
    """One machine per group of speakers, trained on the real recordings of all others."""

    def __init__(
        self, rows: npt.NDArray[np.float32], speakers: Sequence[str], emotions: Sequence[str], folds: int = FOLDS
    ) -> None:
        """rows: features [N, D] of real recordings; at least two speakers and two emotions (see `possible`)."""
        from sklearn.svm import SVC

        who, what = np.array(speakers), np.array(emotions)
        names = sorted(set(speakers))
        self._normal = {name: _moments(rows[who == name], rows) for name in names}
        known = np.stack([self._normalised(row, name) for row, name in zip(rows, speakers, strict=True)])
        self._fold = {name: number % min(folds, len(names)) for number, name in enumerate(names)}
        fold_of = np.array([self._fold[name] for name in speakers])
        self._machines = []
        for fold in range(min(folds, len(names))):
            others = fold_of != fold
            machine = SVC(C=PENALTY, gamma="scale", class_weight="balanced")
            self._machines.append(machine.fit(known[others], what[others]) if len(set(what[others])) > 1 else None)

    @staticmethod
    def possible(speakers: Sequence[str], emotions: Sequence[str]) -> bool:
        """Whether there is enough to tell anything from."""
        return len(set(speakers)) >= LEAST_SPEAKERS and len(set(emotions)) > 1

    def heard(self, row: npt.NDArray[np.float32], speaker: str) -> str | None:
        """The emotion of an utterance by one of the speakers; None of another speaker."""
        machine = self._machines[self._fold[speaker]] if speaker in self._fold else None
        return None if machine is None else str(machine.predict(self._normalised(row, speaker)[None])[0])

    def _normalised(self, row: npt.NDArray[np.float32], speaker: str) -> Array:
        mean, deviation = self._normal[speaker]
        return np.asarray(np.clip((row - mean) / deviation, -5.0, 5.0))


def _moments(rows: npt.NDArray[np.float32], everyone: npt.NDArray[np.float32]) -> tuple[Array, Array]:
    """Mean and deviation of one speaker's features, the latter never far below everyone's."""
    return rows.mean(0), np.maximum(rows.std(0), 0.2 * everyone.std(0) + 1e-6)
