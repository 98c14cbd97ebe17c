"""Many requests at once: the acoustic model predicts the next ones while others are vocoded and written."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import torch

from errors import UserError
from synthesis.requests import Request
from synthesis.results import ResultFiles
from synthesis.synthesizer import Prediction, Synthesizer
from utils.files import remove_abandoned
from vocoder import CHUNK

WINDOW = 32  # batches among which requests are sorted by length, so that batches hold little padding
TRIM = 4  # batches after which freed memory goes back: 10 ms, where they take seconds


@dataclass(frozen=True)
class Written:
    """One result."""

    path: Path  # the wav
    seconds: float  # of speech


@dataclass(frozen=True)
class Failed:
    """A request that cannot be spoken."""

    request: Request
    reason: str


def speak_all(
    synthesizer: Synthesizer,
    requests: Sequence[Request],
    folder: Path,
    batch_size: int = 8,
    threads: int = 1,
    duration_scale: float = 1.0,
    on_written: Callable[[], object] | None = None,
) -> Generator[Written | Failed]:
    """Speak requests of one chunk each into `folder`; yields in their order, and calls `on_written` after each.

    This thread predicts `batch_size` utterances of like length at a time; `threads` others vocode and write one
    utterance each, every one of them on one core: utterances side by side finish sooner than one utterance on several
    cores. A bounded number waits between the two, so memory does not grow with the list. A request for
    which nothing can be predicted fails alone; trouble with the folder ends it all.
    """
    torch.set_num_threads(1)
    remove_abandoned(folder)
    line = _Line(synthesizer, folder, threads, batch_size, on_written)
    try:
        waiting: list[Future[Written] | Failed] = []
        for start in range(0, len(requests), WINDOW * batch_size):
            window = requests[start : start + WINDOW * batch_size]
            order = sorted(range(len(window)), key=lambda index: len(window[index].chunks[0].phones))
            results: dict[int, Future[Written] | Failed] = {}
            for number, first in enumerate(range(0, len(order), batch_size), start=1):
                group = order[first : first + batch_size]
                predicted = _predict(synthesizer, [window[index] for index in group], duration_scale)
                for index, prediction in zip(group, predicted, strict=True):
                    if isinstance(prediction, Failed):
                        results[index] = prediction
                        if on_written is not None:
                            on_written()
                    else:
                        results[index] = line.submit(window[index], prediction)
                if number % TRIM == 0:
                    _return_memory()
            yield from map(_outcome, waiting)
            waiting = [results[index] for index in range(len(window))]
        yield from map(_outcome, waiting)
    finally:
        line.close()


def _predict(synthesizer: Synthesizer, group: Sequence[Request], duration_scale: float) -> list[Prediction | Failed]:
    """Predict a group at once; where that fails each request alone, so that the others do not suffer."""
    try:
        return list(synthesizer.predict([(request, request.chunks[0]) for request in group], duration_scale))
    except UserError as error:
        if len(group) == 1:
            return [Failed(group[0], str(error))]
        return [each for request in group for each in _predict(synthesizer, [request], duration_scale)]


def _return_memory() -> None:
    """Give freed memory back to the system, where the C library is glibc.

    It would keep it for later, but tensors of ever other sizes do not fit well into the gaps that others have left:
    1,000 lines of random lengths went from 404 to 460 MB without this, from 284 to 302 MB with it.
    """
    with suppress(AttributeError, OSError, TypeError):  # other C libraries do not have it, Windows no such handle
        ctypes.CDLL(None).malloc_trim(0)


def _outcome(result: Future[Written] | Failed) -> Written | Failed:
    return result if isinstance(result, Failed) else result.result()


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
