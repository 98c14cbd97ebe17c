"""Reading and writing recordings: float32, mono, full scale = 1."""

from __future__ import annotations

import os
import tempfile
import wave
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
SILENCE = 1e-4  # peak of full scale (-80 dBFS, three 16-bit steps): nothing was recorded


def load(path: str | Path, sampling_rate: int | None) -> npt.NDArray[np.float32]:
    """Read any format libsndfile knows as a mono float32 waveform [samples].

    Channels are averaged. The result is resampled by soxr "HQ" to `sampling_rate` (Hz; None keeps the file's own) and
    has ceil(n * sampling_rate / file rate) samples. Full scale is 1; resampling may overshoot it a little.
    Raises UserError, naming the file, when it is missing, not audio, of zero length, or holds NaN or infinity.
    """
    try:
        channels, file_rate = soundfile.read(os.fspath(path), dtype="float32", always_2d=True)  # [samples, channels]
    except (soundfile.LibsndfileError, OSError, ValueError, TypeError) as error:  # TypeError: headerless .raw
        if not Path(path).exists():
            raise UserError(f"{path}: no such audio file") from error
        if Path(path).is_file() and Path(path).stat().st_size == 0:
            raise UserError(f"{path}: the file is empty (0 bytes)") from error
        raise UserError(f"{path}: not readable as audio ({_reason(error)})") from error
    if not len(channels):
        raise UserError(f"{path}: the recording has zero length")
    wav = channels[:, 0] if channels.shape[1] == 1 else channels.mean(axis=1)
    if not np.isfinite(wav).all():
        raise UserError(f"{path}: the recording holds NaN or infinite samples")
    return np.ascontiguousarray(wav if sampling_rate is None else _resample(wav, file_rate, sampling_rate))


def _reason(error: Exception) -> str:
    return getattr(error, "error_string", str(error)).rstrip(". ")


def _resample(wav: npt.NDArray[np.float32], source: int, target: int) -> npt.NDArray[np.float32]:
    """[n] at `source` Hz -> [ceil(n * target / source)] at `target` Hz; soxr's own count may differ by one."""
    if source == target:
        return wav
    samples = ceil(len(wav) * target / source)
    resampled = soxr.resample(wav, source, target, quality="HQ")[:samples]
    return np.pad(resampled, (0, samples - len(resampled))).astype(np.float32, copy=False)


def save(path: str | Path, wav: npt.NDArray[Any], sampling_rate: int) -> None:
    """Write a mono 16-bit WAV that appears under its name complete or not at all, even if the process is killed.

    wav: [samples], either float in [-1, 1] (rounded to the nearest step; what lies beyond full scale saturates, it
    never wraps) or int16 (written as it is). Raises UserError when the folder cannot be written or the disk is full.
    """
    assert wav.ndim == 1, f"expected [samples], got {wav.shape}"
    if wav.dtype != np.int16:
        assert np.isfinite(wav).all(), f"{path}: NaN or infinite samples"
        wav = np.clip(np.round(wav * INT16_SCALE), -INT16_SCALE, INT16_SCALE - 1).astype(np.int16)
    path, temporary = Path(path), None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.stem[:100]}.", suffix=".tmp.wav", dir=path.parent)
        temporary = Path(name)
        with os.fdopen(handle, "wb") as file, wave.open(file, "wb") as writer:
            writer.setnchannels(1)
            writer.setsampwidth(2)
            writer.setframerate(sampling_rate)
            writer.writeframes(wav.astype("<i2", copy=False).tobytes())
        temporary.chmod(0o666 & ~_umask())  # mkstemp makes private files
        temporary.replace(path)
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror or error}; free space or permissions?") from error
    finally:
        if temporary is not None:
            with suppress(OSError):
                temporary.unlink()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def is_silent(wav: npt.NDArray[Any]) -> bool:
    """Whether the waveform [samples] (full scale 1) never rises above -80 dBFS. An empty one is silent."""
    return not len(wav) or float(np.abs(wav).max()) < SILENCE
