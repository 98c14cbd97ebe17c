"""Result files: waveform, picture, and what made them."""

from __future__ import annotations

import wave
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from audio.files import INT16_SCALE
from synthesis.requests import Chunk, Request
from synthesis.synthesizer import Prediction, Synthesizer
from text.cleaners import to_ascii
from text.words import shorten
from utils.files import atomic_path, write_json
from utils.picture import mel_picture, save_picture

PICTURE_SECONDS = 30.0  # of a long text's spectrogram


def pcm16(wav: np.ndarray) -> bytes:
    """float [samples] in -1 … 1 -> little-endian 16-bit samples, rounded to the nearest step; louder ones saturate."""
    return np.clip(np.round(wav * INT16_SCALE), -INT16_SCALE, INT16_SCALE - 1).astype("<i2").tobytes()


class ResultFiles:
    """{name}.wav, .png and .json of one request, made while it is spoken: memory does not grow with the waveform."""

    def __init__(self, synthesizer: Synthesizer, request: Request, folder: Path) -> None:
        self.path = folder / f"{request.name}.wav"
        self.samples = 0
        self.mels: list[np.ndarray] = []  # of the first PICTURE_SECONDS
        self._synthesizer = synthesizer
        self._request = request
        self._chunks: list[dict[str, Any]] = []
        self.emotion_weights: dict[str, float] = {}
        self._writer: wave.Wave_write | None = None

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Files appear under their names at its end; where the body fails, none does.

        Raises UserError for a full disk or a folder that can't be written.
        """
        with atomic_path(self.path) as temporary, wave.open(str(temporary), "wb") as self._writer:
            self._writer.setnchannels(1)
            self._writer.setsampwidth(2)
            self._writer.setframerate(self._synthesizer.sampling_rate)
            yield
        panel = (self._title(), np.concatenate(self.mels))
        save_picture(mel_picture([panel], self._synthesizer.seconds_per_frame), self._with(".png"))
        write_json(self._with(".json"), self._description())

    def add_chunk(self, chunk: Chunk, prediction: Prediction) -> None:
        """What is about to be spoken."""
        if not self._chunks:
            self.emotion_weights = prediction.emotion_weights
        self._chunks.append(_chunk_description(chunk, prediction))
        left = round(PICTURE_SECONDS / self._synthesizer.seconds_per_frame) - sum(map(len, self.mels))
        if left > 0:
            self.mels.append(_to_numpy(prediction.mel[:left]))

    def add_wav(self, wav: np.ndarray) -> None:
        """The next samples [n], float32 in -1 … 1."""
        assert self._writer is not None
        self._writer.writeframesraw(pcm16(wav))
        self.samples += len(wav)

    @property
    def seconds(self) -> float:
        """Of speech so far."""
        return self.samples / self._synthesizer.sampling_rate

    def _with(self, suffix: str) -> Path:
        return self.path.parent / f"{self._request.name}{suffix}"

    def _title(self) -> str:
        request = self._request
        how = request.emotion or f"as in {request.reference.name if request.reference else '?'}"
        return f"{request.speaker}, {to_ascii(how)}: {shorten(to_ascii(request.text), 70)}"

    def _description(self) -> dict[str, Any]:
        """What made a result: enough to make it again."""
        loaded, request = self._synthesizer.loaded, self._request
        return {
            "text": request.text,
            "speaker": request.speaker,
            "emotion": request.emotion,
            "reference": None if request.reference is None else str(request.reference),
            "reference_peak": None if request.reference is None else request.reference_peak,
            "emotion_weights": self.emotion_weights,
            "dataset": loaded.config.dataset,
            "checkpoint": str(loaded.path),
            "step": loaded.step,
            "vocoder": self._synthesizer.vocoder.name,
            "sampling_rate": self._synthesizer.sampling_rate,
            "seconds": round(self.seconds, 3),
            "chunks": self._chunks,
        }


def _chunk_description(chunk: Chunk, prediction: Prediction) -> dict[str, Any]:
    return {
        "text": chunk.text,
        "phones": list(prediction.phones),
        "frames": prediction.durations,
        "words": [{"word": word.text, "phones": list(word.phones), "source": word.source} for word in chunk.words],
    }


def _to_numpy(mel: Tensor) -> np.ndarray:
    """A copy: a view would keep the whole batch in memory."""
    return mel.cpu().numpy().copy()
