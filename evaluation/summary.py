"""Rows of utterances -> means with intervals, per system and group; confusion; the order of emotions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from evaluation.bootstrap import difference, interval
from evaluation.measure import Row
from evaluation.metrics import METRICS, PITCH_BANDS, PROSODY
from evaluation.systems import ABOUT, REAL

GROUPS = ("emotion", "speaker", "intensity", "sex", "pitch")
Cell = list[float | int] | None
Usual = Mapping[str, Mapping[str, float]]  # speaker -> feature of PROSODY -> mean over the real recordings


def summarise(rows: Sequence[Row], emotions: list[str], usual: Usual) -> dict[str, Any]:
    """Everything that report.json says of the systems, but for what concerns the judge itself."""
    systems = [name for name in ABOUT if any(row.system == name for row in rows)]
    by_system = {name: [row for row in rows if row.system == name] for name in systems}
    return {
        "metrics": {name: f"{metric.title}: {metric.about}" for name, metric in METRICS.items()},
        "systems": {name: _system(by_system[name], by_system[REAL], emotions) for name in systems},
        "emotion_order": {name: _order(by_system[name], by_system[REAL], emotions, usual) for name in systems},
        "emotions": emotions,
        "rows": [_plain(row) for row in rows],
    }


def _system(rows: Sequence[Row], real: Sequence[Row], emotions: list[str]) -> dict[str, Any]:
    name = rows[0].system
    pairs = {row.entry.key: row for row in real}
    partners = [pairs[row.entry.key] for row in rows]
    return {
        "about": ABOUT[name],
        "utterances": len(rows),
        "overall": _means(rows),
        "less_real": {
            metric: None if found is None else found.as_json()
            for metric in ("similarity", "emotion_right", "word_accuracy", "rate", "variance")
            if (found := difference(_values(rows, metric), _values(partners, metric))) is not None or name != REAL
        },
        "groups": {
            kind: {which: _means([row for row in rows if row.facts.get(kind) == which]) for which in _which(rows, kind)}
            for kind in GROUPS
        },
        "confusion": _confusion(rows, emotions),
    }


def _which(rows: Sequence[Row], kind: str) -> list[str]:
    return in_order({row.facts[kind] for row in rows if kind in row.facts})


def in_order(names: Iterable[str]) -> list[str]:
    """By the alphabet; bands of pitch from low to high."""
    return sorted(names, key=lambda name: (PITCH_BANDS.get(name, 0.0), name))


def _values(rows: Sequence[Row], metric: str) -> list[float | None]:
    return [row.values.get(metric) for row in rows]


def _means(rows: Sequence[Row]) -> dict[str, Cell]:
    means: dict[str, Cell] = {}
    for metric in METRICS:
        weights = [float(row.words) for row in rows] if metric == "word_accuracy" else None
        found = interval(_values(rows, metric), weights)
        means[metric] = None if found is None else found.as_json()
    return means


def _confusion(rows: Sequence[Row], emotions: list[str]) -> list[list[int]]:
    """Counts [true, heard]."""
    table = [[0] * len(emotions) for _ in emotions]
    for row in rows:
        if row.emotion is not None and row.entry.emotion is not None:
            table[emotions.index(row.entry.emotion)][emotions.index(row.emotion)] += 1
    return table


def _order(rows: Sequence[Row], real: Sequence[Row], emotions: list[str], usual: Usual) -> dict[str, Any]:
    """Per feature: every emotion's mean, relative to the mean of the speakers' recordings, and the rank correlation
    (Spearman) of the emotions with the recordings'."""
    result: dict[str, Any] = {}
    for feature in PROSODY:
        ours, theirs = _profile(rows, feature, emotions, usual), _profile(real, feature, emotions, usual)
        both = [index for index in range(len(emotions)) if ours[index] is not None and theirs[index] is not None]
        spearman = None
        if len(both) > 2:
            spearman = _spearman([ours[index] for index in both], [theirs[index] for index in both])  # type: ignore[misc]
        result[feature] = {"means": dict(zip(emotions, ours, strict=True)), "spearman": spearman}
    return result


def _profile(rows: Sequence[Row], feature: str, emotions: list[str], usual: Usual) -> list[float | None]:
    profile: list[float | None] = []
    for emotion in emotions:
        values = [
            value - usual[row.entry.speaker][feature]
            for row in rows
            if row.entry.emotion == emotion and feature in usual.get(row.entry.speaker, {})
            if (value := row.values.get(feature)) is not None
        ]
        profile.append(round(float(np.mean(values)), 4) if values else None)
    return profile


def _spearman(first: Sequence[float], second: Sequence[float]) -> float | None:
    a, b = _ranks(first), _ranks(second)
    return round(float(np.corrcoef(a, b)[0, 1]), 4) if a.std() > 0 and b.std() > 0 else None


def _ranks(values: Sequence[float]) -> np.ndarray:
    """Equal values share the mean of their ranks."""
    numbers = np.array(values)
    return np.array([(numbers < value).sum() + ((numbers == value).sum() - 1) / 2 for value in numbers])


def _plain(row: Row) -> dict[str, Any]:
    values = {name: None if value is None else round(value, 5) for name, value in row.values.items()}
    pitch = row.values.get("pitch")
    about = {"system": row.system, "name": row.entry.name, "judged": row.emotion, "heard": row.heard}
    groups = {("pitch_band" if kind == "pitch" else kind): which for kind, which in row.facts.items()}
    return about | groups | values | {"pitch_hz": None if pitch is None else round(2 ** (pitch / 12), 1)}
