"""Figures. They are built without pyplot: no global state, no display, no backend to choose."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from utils.files import atomic_path

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def mel_figure(
    mels: Sequence[tuple[str, np.ndarray]], seconds_per_frame: float, columns: int = 1, width: float = 9.0
) -> Figure:
    """Panels of (title, log-mel [T, bands]) that share one colour scale and one time axis."""
    from matplotlib.figure import Figure

    rows = -(-len(mels) // columns)
    figure = Figure(figsize=(width, 0.5 + 2.0 * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
    low = min(float(np.percentile(mel, 2)) for _, mel in mels)
    high = max(float(mel.max()) for _, mel in mels)
    longest = max(len(mel) for _, mel in mels) * seconds_per_frame
    for axis, (title, mel) in zip(axes.flat, mels, strict=False):
        extent = (0.0, len(mel) * seconds_per_frame, 0.0, float(mel.shape[1]))
        image = axis.imshow(
            mel.T, origin="lower", aspect="auto", extent=extent, vmin=low, vmax=high, interpolation="nearest"
        )
        axis.set_title(title, fontsize=10, loc="left")
        axis.set_xlim(0.0, longest)
    for axis in list(axes.flat)[len(mels) :]:
        axis.set_visible(False)
    for axis in axes[-1]:
        axis.set_xlabel("time (s)")
    for axis in axes[:, 0]:
        axis.set_ylabel("mel band")
    figure.colorbar(image, ax=axes, label="log magnitude", shrink=min(1.0, 2.0 / rows + 0.4))
    return figure


def save_figure(figure: Figure, path: Path) -> None:
    """Write a PNG atomically."""
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=110)
