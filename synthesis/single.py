"""One text: into files, or as a stream of samples."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import BinaryIO

from errors import UserError
from synthesis.requests import Request
from synthesis.results import ResultFiles, pcm16
from synthesis.synthesizer import Synthesizer
from utils.files import remove_abandoned
from utils.picture import mel_picture, save_picture


def speak_files(
    synthesizer: Synthesizer, requests: Sequence[Request], duration_scale: float, folder: Path, picture: Path | None
) -> None:
    """Each request into its files in `folder`; into `picture`, if given, the first chunks' spectrograms of them all."""
    remove_abandoned(folder)
    panels = []
    for request in requests:
        files = ResultFiles(synthesizer, request, folder)
        spoken = synthesizer.speak(request, duration_scale)
        with files.writing():
            for chunk, (prediction, pieces) in zip(request.chunks, spoken, strict=True):
                files.add_chunk(chunk, prediction)
                for piece in pieces:
                    files.add_wav(piece)
        panels.append((f"{request.emotion}", files.mels[0]))
        if request.emotion is None:
            print_heard(files.emotion_weights)
        print(f"wrote {files.path} (and .png, .json)")
    if picture is not None:
        save_picture(mel_picture(panels, synthesizer.seconds_per_frame, columns=2, width=1210), picture)
        print(f"wrote {picture}")


def stream(
    synthesizer: Synthesizer, request: Request, duration_scale: float, samples: BinaryIO, folder: Path | None
) -> None:
    """Write the request's samples to `samples` as soon as they are computed, and into files in `folder`, if given.

    Raises BrokenPipeError when nobody reads them any more; there are no files then.
    """
    began = time.perf_counter()
    first = None
    print(f"raw samples: {synthesizer.sampling_rate} Hz, 16-bit little-endian, one channel")
    files = ResultFiles(synthesizer, request, folder or Path())
    spoken = synthesizer.speak(request, duration_scale, streaming=True)
    seconds = 0.0
    try:
        with files.writing() if folder is not None else nullcontext():
            for chunk, (prediction, pieces) in zip(request.chunks, spoken, strict=True):
                if folder is not None:
                    files.add_chunk(chunk, prediction)
                for piece in pieces:
                    _send(samples, pcm16(piece))
                    first = first or time.perf_counter() - began
                    seconds += len(piece) / synthesizer.sampling_rate
                    if folder is not None:
                        files.add_wav(piece)
                if request.emotion is None and chunk is request.chunks[0]:
                    print_heard(prediction.emotion_weights)
    except _ClosedPipeError as error:
        raise BrokenPipeError from error
    took = time.perf_counter() - began
    print(f"{seconds:.2f} s of speech in {took:.2f} s, the first after {first or took:.3f} s")
    if folder is not None:
        print(f"wrote {files.path} (and .png, .json)")


class _ClosedPipeError(Exception):
    """A closed pipe, told from trouble with the files, which is an OSError as well."""


def _send(samples: BinaryIO, data: bytes) -> None:
    try:
        samples.write(data)
        samples.flush()
    except BrokenPipeError as error:
        raise _ClosedPipeError from error
    except OSError as error:
        raise UserError(f"cannot write samples to standard output: {error.strerror or error}") from error


def print_heard(weights: dict[str, float]) -> None:
    """The emotions that a reference sounds like."""
    strongest = sorted(weights.items(), key=lambda item: -item[1])[:3]
    print("emotion heard: " + ", ".join(f"{emotion} {weight:.2f}" for emotion, weight in strongest))
