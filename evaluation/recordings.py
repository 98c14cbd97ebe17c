"""The real waveform of an utterance: the part of raw_data's recording that its mel spectrogram covers.

preprocess.py cuts recordings by their alignments and keeps spectrograms, not cuts. The spectrogram itself says where it
was taken from: it is slid along the recording's, first by whole frames, then by a few samples. That needs no TextGrid,
and an utterance whose recording is not the one its features were made from is found out.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from audio import load
from errors import UserError
from evaluation.world import Array, FrontEnd, log_mel, mel_frames
from utils.arrays import load_array
from utils.metadata import Entry

STEP = 4  # samples between two places that are tried: 0.2 ms
PROBES = 24  # frames that decide between them
EDGE = 3  # frames at either end that know of the cut (half a window mirrored, and one more)
# Mean difference per bin, natural log. Right places have less than 0.05; recordings of other takes more than 1.
TOLERANCE = 0.2


@dataclass(frozen=True)
class Recording:
    """One real utterance."""

    entry: Entry
    wav: npt.NDArray[np.float32]  # [samples], about frames * hop_length
    mel: npt.NDArray[np.float32]  # [T, n_mels] as training saw it
    misfit: float  # mean difference per bin between that and the recording's


def read_recording(entry: Entry, raw: Path, features: Path, front: FrontEnd) -> Recording:
    """Read and cut one. Raises UserError naming the file when either is missing or they do not belong together."""
    path = raw / entry.speaker / f"{entry.name}.wav"
    wav = load(path, front.sampling_rate)
    mel = load_array(features / "mel" / f"{entry.speaker}-mel-{entry.name}.npy")
    start, misfit = find(wav, mel, front)
    if misfit > TOLERANCE:
        raise UserError(
            f"{path} is not what {entry.name}'s mel spectrogram was made from (they differ by {misfit:.2f} per bin); "
            "run preprocess.py again"
        )
    samples = len(mel) * front.hop_length
    return Recording(entry, wav[start : start + samples].copy(), mel, misfit)


def find(wav: npt.NDArray[np.float32], mel: npt.NDArray[np.float32], front: FrontEnd) -> tuple[int, float]:
    """Sample of the recording [samples] at which mel [T, n_mels] begins, and their mean difference per bin there."""
    edge = EDGE if len(mel) > 4 * EDGE else 0
    inner = np.asarray(mel[edge : len(mel) - edge], dtype=np.float64)
    rough = _slide(log_mel(wav, front), inner) - edge
    half = front.filter_length // 2
    padded = np.pad(np.clip(np.asarray(wav, dtype=np.float64), -1.0, 1.0), (half, front.filter_length * 2))
    probes = np.unique(np.linspace(0, len(inner) - 1, PROBES).astype(int))
    best = (np.inf, 0)
    for offset in range(-front.hop_length // 2, front.hop_length // 2 + STEP, STEP):
        start = rough * front.hop_length + offset
        starts = start + (probes + edge) * front.hop_length
        if start < 0 or starts[-1] + front.filter_length > len(padded):
            continue
        misfit = float(np.abs(mel_frames(padded, starts, front) - inner[probes]).mean())
        best = min(best, (misfit, start))
    return best[1], best[0]


def _slide(long: Array, short: Array) -> int:
    """Frame of `long` [L, D] from which on it is nearest to `short` [S, D]."""
    if len(long) <= len(short):
        return 0
    products = long @ short.T  # [L, S]
    places = np.arange(len(long) - len(short) + 1)
    cross = products[places[:, None] + np.arange(len(short)), np.arange(len(short))].sum(1)
    squares = np.concatenate([[0.0], np.cumsum((long**2).sum(1))])
    return int((squares[places + len(short)] - squares[places] - 2.0 * cross).argmin())
