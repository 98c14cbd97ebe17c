"""Pictures of the comparison of systems."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from evaluation.metrics import METRICS, PROSODY

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SHOWN = (
    "mcd",
    "f0_rmse",
    "f0_correlation",
    "voiced_kept",
    "energy_correlation",
    "similarity",
    "emotion_right",
    "word_accuracy",
)
UNITS = {"pitch": "semitones", "pitch_range": "semitones", "loudness": "dB", "rate": "phones/s"}
COLUMNS = 4


def figures(report: Mapping[str, Any]) -> dict[str, Figure]:
    """File name -> picture, of what compare_systems returns; only those that have something to show."""
    made = {"systems.png": systems_figure(report), "emotions.png": order_figure(report)}
    if report["judge_on_all_recordings"] is not None:
        made["judged.png"] = judged_figure(report)
    voicing = voicing_figure(report)
    return made if voicing is None else made | {"voicing.png": voicing}


def _grid(count: int, width: float, height: float) -> tuple[Figure, list[Any]]:
    from matplotlib.figure import Figure

    columns = min(COLUMNS, count)
    rows = -(-count // columns)
    figure = Figure(figsize=(width * columns, height * rows), layout="constrained")
    axes = np.atleast_1d(figure.subplots(rows, columns, squeeze=False)).ravel().tolist()
    for axis in axes[count:]:
        axis.set_visible(False)
    return figure, axes


def systems_figure(report: Mapping[str, Any]) -> Figure:
    """A panel per metric: every system's mean with its interval; the recordings' as a line."""
    systems = report["systems"]
    shown = [metric for metric in SHOWN if any(each["overall"][metric] is not None for each in systems.values())]
    figure, axes = _grid(max(1, len(shown)), 3.2, 2.6)
    names = list(systems)
    for axis, metric in zip(axes, shown, strict=False):
        for place, name in enumerate(names):
            value = systems[name]["overall"][metric]
            if value is None:
                continue
            error = [[max(0.0, value[0] - value[1])], [max(0.0, value[2] - value[0])]]
            axis.errorbar(value[0], place, xerr=error, fmt="o", capsize=3, color="C0" if name != "real" else "black")
            if name == "real":
                axis.axvline(value[0], color="black", linewidth=0.8, linestyle=":")
        axis.set_yticks(range(len(names)), names, fontsize=8)
        axis.set_ylim(len(names) - 0.5, -0.5)
        unit = f" ({METRICS[metric].unit})" if METRICS[metric].unit else ""
        axis.set_title(f"{METRICS[metric].title}{unit}", fontsize=10)
        axis.grid(axis="x", alpha=0.3)
    return figure


def order_figure(report: Mapping[str, Any]) -> Figure:
    """A panel per feature: the emotions' means, each system beside the recordings."""
    emotions = report["emotions"]
    figure, axes = _grid(len(PROSODY), 3.6, 3.2)
    for axis, (feature, title) in zip(axes, PROSODY.items(), strict=False):
        for name, order in report["emotion_order"].items():
            means = [order[feature]["means"][emotion] for emotion in emotions]
            places = [place for place, mean in enumerate(means) if mean is not None]
            style = {"color": "black", "linewidth": 2.0} if name == "real" else {"linewidth": 1.0, "alpha": 0.8}
            axis.plot(places, [means[place] for place in places], marker="o", markersize=3, label=name, **style)
        axis.set_xticks(range(len(emotions)), emotions, rotation=45, ha="right", fontsize=8)
        axis.set_title(f"{title} ({UNITS[feature]} from the speaker's mean)", fontsize=9)
        axis.grid(alpha=0.3)
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), fontsize=8)
    return figure


def judged_figure(report: Mapping[str, Any]) -> Figure:
    """A confusion matrix per system. Rows: true; columns: judged; colour: share of the row."""
    systems, emotions = report["systems"], report["emotions"]
    figure, axes = _grid(len(systems), 3.4, 3.3)
    for number, (axis, (name, system)) in enumerate(zip(axes, systems.items(), strict=False)):
        counts = np.array(system["confusion"], dtype=float)
        shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
        axis.imshow(shares, vmin=0.0, vmax=1.0, cmap="Blues")
        axis.set_xticks(range(len(emotions)), emotions, rotation=90, fontsize=7)
        labels = emotions if number % COLUMNS == 0 else []
        axis.set_yticks(range(len(labels)), labels, fontsize=7)
        for row, column in np.ndindex(*counts.shape):
            if counts[row, column]:
                colour = "white" if shares[row, column] > 0.5 else "black"
                axis.text(column, row, f"{counts[row, column]:.0f}", ha="center", va="center", color=colour, fontsize=7)
        right = system["overall"]["emotion_right"]
        axis.set_title(name if right is None else f"{name}: {100 * right[0]:.0f}%", fontsize=10)
    return figure


def voicing_figure(report: Mapping[str, Any]) -> Figure | None:
    """Voiced frames that copies keep, by the pitch of the recording, a point per utterance; None without pitch."""
    from matplotlib.figure import Figure

    pitch = {row["name"]: row["pitch_hz"] for row in report["rows"] if row["system"] == "real" and row["pitch_hz"]}
    if not pitch:
        return None
    figure = Figure(figsize=(6, 3.6), layout="constrained")
    axis = figure.subplots()
    for name in ("copy", "griffin_lim"):
        rows = [row for row in report["rows"] if row["system"] == name and row["name"] in pitch]
        rows = [row for row in rows if row.get("voiced_kept") is not None]
        if rows:
            axis.scatter(
                [pitch[r["name"]] for r in rows], [r["voiced_kept"] for r in rows], s=12, alpha=0.7, label=name
            )
    axis.set_xlabel("mean pitch of the recording (Hz)")
    axis.set_ylabel("share of its voiced frames kept")
    axis.set_ylim(0.0, 1.02)
    axis.set_xscale("log")
    ticks = [100, 150, 200, 300, 400]
    axis.set_xticks(ticks, [str(tick) for tick in ticks])
    axis.minorticks_off()
    axis.grid(alpha=0.3)
    axis.legend(fontsize=8)
    return figure
