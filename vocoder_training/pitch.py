"""True fundamental frequency of recordings, which the Fourier head's pulses follow while it trains."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from audio.pitch import fundamental
from errors import UserError
from utils.arrays import load_array
from utils.files import atomic_path

STEP_SECONDS = 0.005


@dataclass(frozen=True)
class PitchTrack:
    """f0[i] is that of time i * STEP_SECONDS."""

    f0: npt.NDArray[np.float32]  # Hz; 0 = unvoiced
    sampling_rate: int

    def at(self, samples: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        """Hz at these samples; interpolated between voiced neighbours, else the nearer one's; 0 beyond the ends."""
        position = samples / (self.sampling_rate * STEP_SECONDS)
        before = np.floor(position).astype(np.int64)
        share = (position - before).astype(np.float32)
        left, right = self._take(before), self._take(before + 1)
        both = (left > 0) & (right > 0)
        between = np.exp((1 - share) * np.log(np.where(both, left, 1.0)) + share * np.log(np.where(both, right, 1.0)))
        return np.where(both, between, np.where(share < 0.5, left, right)).astype(np.float32)

    def _take(self, index: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        inside = (index >= 0) & (index < len(self.f0))
        return np.where(inside, self.f0[np.clip(index, 0, len(self.f0) - 1)], 0.0).astype(np.float32)


def kept_track(wav: npt.NDArray[np.float32], sampling_rate: int, source: Path, folder: Path) -> PitchTrack:
    """`track` of the recording `source`, from `folder` if it was kept there (a fifth of a second each), else put there.

    The name tells the recording's size and time of change: another recording is tracked anew.
    """
    status = source.stat()
    path = folder / f"{source.stem}.{status.st_size}-{status.st_mtime_ns}.npy"
    try:
        f0 = load_array(path)
        if f0.dtype == np.float32 and f0.ndim == 1 and len(f0) and np.isfinite(f0).all() and f0.min() >= 0:
            return PitchTrack(f0, sampling_rate)
    except UserError:
        pass  # not there, or damaged
    found = track(wav, sampling_rate)
    with atomic_path(path) as temporary:
        np.save(temporary, found.f0)
    return found


def track(wav: npt.NDArray[np.float32], sampling_rate: int) -> PitchTrack:
    """DIO (Morise et al. 2009), refined by StoneMask, of wav [samples]. Raises UserError without pyworld."""
    try:
        return PitchTrack(fundamental(wav, sampling_rate, STEP_SECONDS), sampling_rate)
    except ImportError as error:
        raise UserError(
            "the Fourier head learns pitch from pyworld, which is not installed: pip install -r requirements.txt, "
            "or keep the pitch of the weights it starts from (--set vocoder.loss.pitch=0 --initialise FILE)"
        ) from error
