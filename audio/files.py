"""Reading and writing recordings: float32, mono, full scale = 1."""

from __future__ import annotations

import os
import struct
from contextlib import suppress
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import soundfile
import soxr

from errors import UserError

INT16_SCALE = 32768.0  # int16 full scale: -32768 … 32767
RATES = 1_000, 1_000_000  # Hz, of files that are read
MOST_VALUES = 1 << 29  # samples times channels of one: 2 GiB, almost 7 hours of 22,050 Hz
SILENCE = 1e-4  # peak of full scale (-80 dBFS, three 16-bit steps): nothing was recorded


def load(path: str | Path, sampling_rate: int | None) -> npt.NDArray[np.float32]:
    """Read any format libsndfile knows as a mono float32 waveform [samples].

    Channels are averaged. The result is resampled by soxr "HQ" to `sampling_rate` (Hz; None keeps the file's own) and
    has ceil(n * sampling_rate / file rate) samples. Full scale is 1; resampling may overshoot it a little.
    Raises UserError, naming the file, when it is missing, not audio, of zero length, or holds NaN or infinity.
    """
    try:
        channels, file_rate = _read(path)
    except (
        soundfile.SoundFileError,
        OSError,
        ValueError,
        MemoryError,
        TypeError,
    ) as error:  # the last: headerless .raw
        if not Path(path).exists():
            raise UserError(f"{path}: no such audio file") from error
        if Path(path).is_file() and Path(path).stat().st_size == 0:
            raise UserError(f"{path}: the file is empty (0 bytes)") from error
        raise UserError(f"{path}: not readable as audio ({_reason(error)})") from error
    if not len(channels):
        raise UserError(f"{path}: the recording has zero length")
    wav = _mean(channels)
    if not np.isfinite(wav).all():
        raise UserError(f"{path}: the recording holds NaN or infinite samples")
    return np.ascontiguousarray(wav if sampling_rate is None else _resample(wav, file_rate, sampling_rate))


def _read(path: str | Path) -> tuple[npt.NDArray[np.float32], int]:
    """[samples, channels] of full scale 1, and Hz. What holds 16 bits is read so and scaled here, to the same floats:
    libsndfile's own conversion takes a sixth of the time of decoding FLAC."""
    with soundfile.SoundFile(os.fspath(path)) as file:
        _check_header(file)
        if file.subtype != "PCM_16":
            return file.read(dtype="float32", always_2d=True), file.samplerate
        steps = file.read(dtype="int16", always_2d=True)
        return np.multiply(steps, np.float32(1 / INT16_SCALE), dtype=np.float32), file.samplerate


def _check_header(file: soundfile.SoundFile) -> None:
    """ValueError for what no recording is, before a few bytes make us ask for all the memory there is."""
    if not RATES[0] <= file.samplerate <= RATES[1]:
        raise ValueError(f"its sampling rate is {file.samplerate} Hz")
    if file.frames * file.channels > MOST_VALUES:
        raise ValueError(f"it has {file.frames:,} samples in {file.channels} channels; cut it into utterances")


def _mean(channels: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """[samples, channels] -> [samples]."""
    if channels.shape[1] == 1:
        return channels[:, 0]
    if channels.shape[1] == 2:  # the same numbers as numpy.mean, which goes row by row, in a tenth of the time
        return (channels[:, 0] + channels[:, 1]) / np.float32(2)
    return np.asarray(channels.mean(axis=1))


def _reason(error: Exception) -> str:
    return getattr(error, "error_string", str(error)).rstrip(". ")


def _resample(wav: npt.NDArray[np.float32], source: int, target: int) -> npt.NDArray[np.float32]:
    """[n] at `source` Hz -> [ceil(n * target / source)] at `target` Hz; soxr's own count may differ by one."""
    if source == target:
        return wav
    samples = ceil(len(wav) * target / source)
    resampled = soxr.resample(wav, source, target, quality="HQ")[:samples]
    return resampled if len(resampled) == samples else np.pad(resampled, (0, samples - len(resampled)))


def save(path: str | Path, wav: npt.NDArray[Any], sampling_rate: int) -> None:
    """Write a mono 16-bit WAV that appears under its name complete or not at all, even if the process is killed.

    wav: [samples], either float in [-1, 1] (rounded to the nearest step; what lies beyond full scale saturates, it
    never wraps) or int16 (written as it is). Raises UserError when the folder cannot be written or the disk is full.
    """
    assert wav.ndim == 1, f"expected [samples], got {wav.shape}"
    if wav.dtype != np.int16:
        assert np.isfinite(wav).all(), f"{path}: NaN or infinite samples"
        wav = np.clip(np.round(wav * INT16_SCALE), -INT16_SCALE, INT16_SCALE - 1).astype(np.int16)
    place = Path(path)
    try:
        make_whole(place, wav_header(len(wav), sampling_rate) + wav.astype("<i2", copy=False).tobytes())
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror or error}; free space or permissions?") from error


def make_whole(path: Path, content: bytes) -> None:
    """Write a file that appears under its name complete or not at all; OSError when that fails.

    Until then it is called .{stem}.{unique}.tmp{suffix}, in the same folder.
    """
    folder, stem, suffix = os.fspath(path.parent), path.stem[:40], path.suffix
    temporary = os.path.join(folder, f".{stem}.{os.urandom(6).hex()}.tmp{suffix}")  # noqa: PTH118 - called for every file
    try:
        try:
            handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        except FileNotFoundError:
            path.parent.mkdir(parents=True, exist_ok=True)
            handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        with open(handle, "wb", buffering=0) as file:  # noqa: PTH123
            rest = memoryview(content)
            while rest:  # a write may take a part only, as the last one does before the disk is full
                rest = rest[file.write(rest) :]
        os.rename(temporary, path)  # noqa: PTH104
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary)  # noqa: PTH108
        raise


def wav_header(samples: int, sampling_rate: int) -> bytes:
    """The 44 bytes before the samples of a mono 16-bit WAV."""
    size = 2 * samples
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, sampling_rate, 2 * sampling_rate, 2, 16)
    return struct.pack("<4sI4s", b"RIFF", 36 + size, b"WAVE") + form + struct.pack("<4sI", b"data", size)


def is_silent(wav: npt.NDArray[Any]) -> bool:
    """Whether the waveform [samples] (full scale 1) never rises above -80 dBFS. An empty one is silent."""
    return not len(wav) or peak(wav) < SILENCE


def peak(wav: npt.NDArray[Any]) -> float:
    """Largest magnitude of a waveform [samples], which is not empty."""
    return max(float(wav.max()), -float(wav.min()))  # without a copy of magnitudes
