"""Recordings to train on and to validate with, their front end and, for fine-tuning, predicted mels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from acoustic import mel_spectrogram
from audio.mel import MelSpectrogram
from config import Config
from vocoder_training.recordings import Recordings

# index of a recording, whether its own mel is wanted -> that or the predicted one [T, bands], and the sample at which
# the first frame is centred
MelsOf = Callable[[int, bool], tuple[np.ndarray, int]]


@dataclass(frozen=True)
class Data:
    train: Recordings
    val: Recordings
    front_end: MelSpectrogram
    train_mels: MelsOf | None = None  # None: mels of the recordings themselves
    val_mels: MelsOf | None = None


def find_data(config: Config) -> Data:
    """The recordings of train.txt and val.txt. Raises UserError naming what is missing."""
    preprocess = config.preprocess
    root, raw = Path(preprocess.path.preprocessed_path), Path(preprocess.path.raw_path)
    rate = preprocess.preprocessing.audio.sampling_rate
    pitched = config.vocoder.architecture.startswith("fourier") and config.vocoder.loss.pitch > 0
    pitches = Path(config.vocoder.path.pitch_path) if pitched else None
    train = Recordings(root / "train.txt", raw, rate, pitches)
    return Data(train, Recordings(root / "val.txt", raw, rate), mel_spectrogram(config))
