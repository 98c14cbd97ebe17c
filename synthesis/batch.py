"""Many requests at once: the acoustic model predicts the next ones while others are vocoded and written."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import torch

from synthesis.requests import Request
from synthesis.results import ResultFiles
from synthesis.synthesizer import Prediction, Synthesizer
from utils.files import remove_abandoned
from vocoder import CHUNK

WINDOW = 32  # batches among which requests are sorted by length, so that batches hold little padding


@dataclass(frozen=True)
class Written:
    """One result."""

    path: Path  # the wav
    seconds: float  # of speech


def speak_all(
    synthesizer: Synthesizer,
    requests: Sequence[Request],
    folder: Path,
    batch_size: int = 8,
    threads: int = 1,
    duration_scale: float = 1.0,
    on_written: Callable[[], object] | None = None,
) -> Generator[Written]:
    """Speak requests of one chunk each into `folder`; yields in their order, and calls `on_written` after each.

    This thread predicts `batch_size` utterances of like length at a time; `threads` others vocode and write one
    utterance each, every one of them on one core: utterances side by side finish sooner than one utterance on several
    cores. A bounded number waits between the two, so memory does not grow with the list. The first error ends it all.
    """
    torch.set_num_threads(1)
    remove_abandoned(folder)
    line = _Line(synthesizer, folder, threads, batch_size, on_written)
    try:
        waiting: list[Future[Written]] = []
        for start in range(0, len(requests), WINDOW * batch_size):
            window = requests[start : start + WINDOW * batch_size]
            order = sorted(range(len(window)), key=lambda index: len(window[index].chunks[0].phones))
            results: dict[int, Future[Written]] = {}
            for first in range(0, len(order), batch_size):
                group = order[first : first + batch_size]
                parts = [(window[index], window[index].chunks[0]) for index in group]
                for index, prediction in zip(group, synthesizer.predict(parts, duration_scale), strict=True):
                    results[index] = line.submit(window[index], prediction)
            yield from (future.result() for future in waiting)
            waiting = [results[index] for index in range(len(window))]
        yield from (future.result() for future in waiting)
    finally:
        line.close()


class _Line:
    """Threads that vocode and write what has been predicted."""

    def __init__(
        self,
        synthesizer: Synthesizer,
        folder: Path,
        threads: int,
        batch_size: int,
        on_written: Callable[[], object] | None,
    ) -> None:
        self._synthesizer = synthesizer
        self._folder = folder
        self._on_written = on_written
        self._pool = ThreadPoolExecutor(threads, "vocoder", initializer=torch.set_num_threads, initargs=(1,))
        self._slots = threading.BoundedSemaphore(2 * threads + batch_size)  # predictions that may exist at a time
        self._error: BaseException | None = None

    def submit(self, request: Request, prediction: Prediction) -> Future[Written]:
        """Wait for room, then have it done. Raises the first error that any has met."""
        self._slots.acquire()
        if self._error is not None:
            raise self._error
        return self._pool.submit(self._finish, request, prediction)

    def _finish(self, request: Request, prediction: Prediction) -> Written:
        try:
            files = ResultFiles(self._synthesizer, request, self._folder)
            with files.writing():
                files.add_chunk(request.chunks[0], prediction)
                for piece in self._synthesizer.vocoder.stream(prediction.mel, CHUNK, CHUNK):
                    files.add_wav(piece.numpy())
            if self._on_written is not None:
                self._on_written()
            return Written(files.path, files.seconds)
        except BaseException as error:
            self._error = self._error or error
            raise
        finally:
            self._slots.release()

    def close(self) -> None:
        """Wait for what is being written; leave out the rest."""
        self._pool.shutdown(wait=True, cancel_futures=True)
