"""TensorBoard logs: one folder for training, one for validation, the same tags in both."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
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
        self._folder = folder
        self._hook = threading.excepthook
        threading.excepthook = self._on_thread_error
        self._writers: dict[str, SummaryWriter] = {}
        with self._telling():
            self._writers = {split: SummaryWriter(str(folder / split), purge_step=purge) for split in ("train", "val")}

    def _on_thread_error(self, args: threading.ExceptHookArgs) -> None:
        """TensorBoard writes in a thread. What fails there is raised again by the next call here, and told then."""
        if not (type(args.thread).__name__ == "_AsyncWriterThread" and isinstance(args.exc_value, OSError)):
            self._hook(args)

    @contextmanager
    def _telling(self) -> Iterator[None]:
        """Raises UserError for a full disk or a folder that cannot be written."""
        try:
            yield
        except OSError as error:
            reason = error.strerror or error
            raise UserError(f"cannot write logs to {self._folder}: {reason}; free space or permissions?") from error

    def scalars(self, split: str, step: int, values: dict[str, float]) -> None:
        """One point on each curve."""
        with self._telling():
            for tag, value in values.items():
                self._writers[split].add_scalar(tag, value, step)

    def figure(self, split: str, step: int, tag: str, figure: Figure) -> None:
        """A matplotlib figure."""
        with self._telling():
            self._writers[split].add_figure(tag, figure, step)

    def audio(self, split: str, step: int, tag: str, wav: np.ndarray, sampling_rate: int) -> None:
        """A waveform [samples] in -1 … 1."""
        with self._telling():
            self._writers[split].add_audio(tag, np.clip(wav, -1.0, 1.0)[None, :], step, sample_rate=sampling_rate)

    def flush(self) -> None:
        """Put everything on disk."""
        with self._telling():
            for writer in self._writers.values():
                writer.flush()

    def close(self) -> None:
        """Flush and close. Where an exception is under way, that is what the user is to hear of."""
        already = sys.exc_info()[0] is not None
        try:
            with self._telling():
                for writer in self._writers.values():
                    writer.close()
        except UserError:
            if not already:
                raise
        finally:
            threading.excepthook = self._hook
