"""A report as Markdown, and its confusion matrix as a figure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from evaluation.tables import comparison

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLUMNS = {
    "utterances": "utterances",
    "mel_mae": "mel MAE per bin",
    "level_error": "level error",
    "phone_error_ms": "phone duration error (ms)",
    "length_ratio": "predicted / true length",
    "emotion_accuracy": "emotion accuracy",
}


def markdown(report: dict[str, Any]) -> str:
    """Losses, the comparison of systems where there is one, then tables per emotion and per speaker."""
    losses = "\n".join(f"| {name} | {value:.4f} |" for name, value in report["losses"].items())
    overall = {"all": report["overall"]}
    return (
        f"# {report['dataset']}, step {report['step']}, {report['split']} set\n\n"
        f"Checkpoint `{report['checkpoint']}`; true durations, no dropout. Mel: natural-log magnitudes.\n\n"
        f"| loss | value |\n|---|---|\n{losses}\n\n"
        f"{_systems(report)}"
        f"## Teacher-forced, by emotion\n\n{_table('emotion', report['emotions'] | overall)}\n"
        f"## Teacher-forced, by speaker\n\n{_table('speaker', report['speakers'] | overall)}"
    )


def _systems(report: dict[str, Any]) -> str:
    if report.get("comparison") is None:
        reason = report.get("not_compared")
        return f"Systems are not compared: {reason}.\n\n" if reason else ""
    return f"{comparison(report['comparison'])}\n"


def _table(kind: str, groups: dict[str, dict[str, float | None]]) -> str:
    head = f"| {kind} | " + " | ".join(COLUMNS.values()) + " |\n" + "|---" * (len(COLUMNS) + 1) + "|\n"
    rows = (
        f"| {name} | " + " | ".join(_shown(column, group[column]) for column in COLUMNS) + " |\n"
        for name, group in groups.items()
    )
    return head + "".join(rows)


def _shown(column: str, value: float | None) -> str:
    if value is None:
        return "–"
    return {"utterances": f"{value:d}" if isinstance(value, int) else "", "phone_error_ms": f"{value:.1f}"}.get(
        column, f"{value:.3f}"
    )


def confusion_figure(report: dict[str, Any]) -> Figure:
    """Rows: true emotion; columns: what the classifier heard; shares of the row."""
    from matplotlib.figure import Figure

    names = report["confusion"]["emotions"]
    counts = np.array(report["confusion"]["counts"], dtype=float)
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    figure = Figure(figsize=(1.5 + 0.6 * len(names), 1.5 + 0.55 * len(names)), layout="constrained")
    axis = figure.subplots()
    image = axis.imshow(shares, vmin=0.0, vmax=1.0, cmap="Blues")
    axis.set_xticks(range(len(names)), names, rotation=45, ha="right")
    axis.set_yticks(range(len(names)), names)
    axis.set_xlabel("heard")
    axis.set_ylabel("true")
    for row, column in np.ndindex(*counts.shape):
        if counts[row, column]:
            colour = "white" if shares[row, column] > 0.5 else "black"
            axis.text(column, row, f"{counts[row, column]:.0f}", ha="center", va="center", color=colour, fontsize=9)
    figure.colorbar(image, label="share of the true emotion")
    axis.set_title(f"{report['dataset']}, step {report['step']}, {report['split']}: emotion heard", fontsize=10)
    return figure
