"""Whose voice it is: GE2E speaker embeddings (Wan et al. 2018, arXiv 1710.10467) with published weights.

The weights (three LSTM layers of 256 units, trained on LibriSpeech, VoxCeleb 1 and 2) are those inside the wheel
Resemblyzer 0.1.4, Apache-2.0; its Python code, which wants librosa and a C compiler, is never imported.
"""

from __future__ import annotations

import importlib.util
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import soxr

from audio.mel import mel_filterbank
from errors import UserError

if TYPE_CHECKING:
    from torch import nn

RATE = 16000  # Hz, of everything below
WINDOW, HOP, BANDS = 400, 160, 40  # samples, samples, mel bands of power from 0 to 8 kHz, not logarithmic
UNITS, LAYERS = 256, 3
PART = 160  # frames that the network hears at once, 1.6 s
STEP = 77  # frames between two parts
LEAST_SHARE = 0.75  # of the last part that must not be filling
LOUDNESS = 10 ** (-30 / 20)  # root mean square that everything is brought to: embeddings do not tell the level


def weights_path() -> Path | None:
    """The weights of an installed Resemblyzer; None where there is none."""
    package = importlib.util.find_spec("resemblyzer")
    if package is None or not package.submodule_search_locations:
        return None
    path = Path(package.submodule_search_locations[0]) / "pretrained.pt"
    return path if path.is_file() else None


def embed(wav: npt.NDArray[Any], sampling_rate: int) -> npt.NDArray[np.float32]:
    """wav [samples], any level -> [256], length 1 and no component below 0.

    Parts of 1.6 s, half overlapping, are embedded and averaged; a shorter waveform is filled up with silence. Raises
    UserError where the weights are missing or broken.
    """
    import torch

    mels = torch.from_numpy(_parts(_power_mel(_heard(wav, sampling_rate))))
    encoder, threads = _encoder(), torch.get_num_threads()
    torch.set_num_threads(1)  # many processes do this at the same time
    try:
        with torch.inference_mode():
            parts = encoder(mels)
    finally:
        torch.set_num_threads(threads)
    mean = parts.mean(0).numpy()
    return np.asarray(mean / max(float(np.linalg.norm(mean)), 1e-9), dtype=np.float32)


def _heard(wav: npt.NDArray[Any], sampling_rate: int) -> npt.NDArray[np.float64]:
    samples = np.asarray(soxr.resample(np.asarray(wav, dtype=np.float64), sampling_rate, RATE, quality="HQ"))
    loudness = float(np.sqrt(np.mean(samples**2))) if len(samples) else 0.0
    return samples * (LOUDNESS / loudness) if loudness > 0 else np.zeros(max(1, len(samples)))


def _power_mel(wav: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
    """[samples] -> [frames, 40]."""
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(WINDOW) / WINDOW)
    padded = np.pad(wav, WINDOW // 2)
    starts = np.arange(len(wav) // HOP + 1) * HOP
    power = np.abs(np.fft.rfft(padded[starts[:, None] + np.arange(WINDOW)] * window, axis=1)) ** 2
    return np.asarray(power @ mel_filterbank(RATE, WINDOW, BANDS, 0.0, RATE / 2).T, dtype=np.float32)


def _parts(mel: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """[frames, 40] -> [parts, 160, 40]."""
    starts = [0, *(start for start in range(STEP, len(mel), STEP) if len(mel) - start >= LEAST_SHARE * PART)]
    padded = np.pad(mel, ((0, PART), (0, 0)))
    return np.stack([padded[start : start + PART] for start in starts])


@lru_cache(maxsize=1)
def _encoder() -> nn.Module:
    import torch
    from torch import Tensor, nn

    from utils.weights import load_content, misfits

    class Encoder(nn.Module):
        """[parts, frames, 40] -> [parts, 256] of length 1."""

        def __init__(self) -> None:
            super().__init__()
            self.lstm = nn.LSTM(BANDS, UNITS, LAYERS, batch_first=True)
            self.linear = nn.Linear(UNITS, UNITS)

        def forward(self, mels: Tensor) -> Tensor:
            _, (hidden, _) = self.lstm(mels)
            return nn.functional.normalize(torch.relu(self.linear(hidden[-1])), dim=1)

    path = weights_path()
    if path is None:
        raise UserError("no speaker encoder; run: pip install --no-deps -r requirements-eval-weights.txt")
    remedy = "install it again: pip install --no-deps --force-reinstall -r requirements-eval-weights.txt"
    content = load_content(path, remedy)
    wanted = ("lstm.", "linear.")  # the rest belongs to its training
    weights = {name: value for name, value in content["model_state"].items() if name.startswith(wanted)}
    encoder = Encoder()
    reasons = misfits(encoder, weights)
    if reasons:
        raise UserError(f"{path} does not hold a GE2E encoder's weights: {reasons}; {remedy}")
    encoder.load_state_dict(weights)
    return encoder.eval()


class Voices:
    """Mean embeddings of speakers over real recordings."""

    def __init__(self, keys: list[tuple[str, str]], embeddings: npt.NDArray[np.float32]) -> None:
        """keys: (speaker, name) of every row of `embeddings` [N, 256]."""
        self.rows = dict(zip(keys, embeddings, strict=True))
        self.names = sorted({speaker for speaker, _ in keys})
        self.count = {name: sum(speaker == name for speaker, _ in keys) for name in self.names}
        self.sums = np.stack(
            [
                sum((row for (speaker, _), row in self.rows.items() if speaker == name), np.zeros(UNITS))
                for name in self.names
            ]
        )  # [speakers, 256]

    def compare(self, key: tuple[str, str], embedding: npt.NDArray[np.float32]) -> dict[str, float | None]:
        """Similarity to the speaker's other recordings, the one named `key` left out; whether no speaker is nearer.

        None where the speaker has no other recording.
        """
        speaker = key[0]
        if self.count.get(speaker, 0) - (key in self.rows) < 1:
            return {"similarity": None, "speaker_right": None}
        sums = self.sums.copy()
        own = self.names.index(speaker)
        if key in self.rows:
            sums[own] -= self.rows[key]
        cosines = (sums / np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-9)) @ embedding
        return {"similarity": float(cosines[own]), "speaker_right": float(cosines.argmax() == own)}
