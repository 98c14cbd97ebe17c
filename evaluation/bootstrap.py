"""Confidence intervals by resampling utterances (Efron & Tibshirani 1993, chapter 13: percentiles)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

RESAMPLES = 1000
SEED = 1234


@dataclass(frozen=True)
class Interval:
    """A mean with its 95% interval."""

    mean: float
    low: float
    high: float
    count: int  # utterances behind it

    def as_json(self) -> list[float | int]:
        """[mean, low, high, count]."""
        return [round(self.mean, 5), round(self.low, 5), round(self.high, 5), self.count]


def interval(values: Sequence[float | None], weights: Sequence[float] | None = None) -> Interval | None:
    """Of the mean of the values that are there, over utterances drawn with replacement; None where there are none.

    `weights` make it a ratio of sums, as word accuracy is: words weigh the same, not utterances. The same values give
    the same interval.
    """
    kept = [index for index, value in enumerate(values) if value is not None]
    if not kept:
        return None
    numbers = np.array([values[index] for index in kept], dtype=np.float64)
    weight = np.ones(len(kept)) if weights is None else np.array([weights[index] for index in kept], dtype=np.float64)
    draws = np.random.default_rng(SEED).multinomial(len(kept), np.full(len(kept), 1 / len(kept)), RESAMPLES)
    means = (draws @ (numbers * weight)) / np.maximum(draws @ weight, 1e-12)
    low, high = np.percentile(means, [2.5, 97.5])
    return Interval(float((numbers * weight).sum() / weight.sum()), float(low), float(high), len(kept))


def difference(values: Sequence[float | None], others: Sequence[float | None]) -> Interval | None:
    """Of values less others, utterance by utterance: pairs where both are there."""
    return interval([None if a is None or b is None else a - b for a, b in zip(values, others, strict=True)])
