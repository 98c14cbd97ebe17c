"""TensorBoard logs: one folder for training, one for validation, the same tags in both."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from errors import UserError

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from torch.utils.tensorboard import SummaryWriter


class Tracker:
    """Writes scalars, figures and audio to `{folder}/{train,val}`; a closed one may not be written to.

    `first_step` cuts off what an earlier run logged beyond the checkpoint that this one goes on from.
    """

    def __init__(self, folder: Path, first_step: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        purge = first_step + 1 if first_step else None
        try:
            self._writers: dict[str, SummaryWriter] = {
                split: SummaryWriter(str(folder / split), purge_step=purge) for split in ("train", "val")
            }
        except OSError as error:
            raise UserError(f"cannot write logs to {folder}: {error.strerror or error}") from error

    def scalars(self, split: str, step: int, values: dict[str, float]) -> None:
        """One point on each curve."""
        for tag, value in values.items():
            self._writers[split].add_scalar(tag, value, step)

    def figure(self, split: str, step: int, tag: str, figure: Figure) -> None:
        """A matplotlib figure."""
        self._writers[split].add_figure(tag, figure, step)

    def audio(self, split: str, step: int, tag: str, wav: np.ndarray, sampling_rate: int) -> None:
        """A waveform [samples] in -1 … 1."""
        self._writers[split].add_audio(tag, np.clip(wav, -1.0, 1.0)[None, :], step, sample_rate=sampling_rate)

    def flush(self) -> None:
        """Put everything on disk."""
        for writer in self._writers.values():
            writer.flush()

    def close(self) -> None:
        """Flush and close."""
        for writer in self._writers.values():
            writer.close()
