"""The acoustic model and the vocoder at work."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from acoustic import LoadedModel, mel_spectrogram, uses_external_speakers
from audio import is_silent, load
from audio.trim import trim_silence
from errors import UserError
from model import ProsodyControl
from synthesis.requests import Chunk, Request
from text import SILENCE, phones_to_ids
from utils.arrays import load_finite
from vocoder import CHUNK, FIRST_PIECE, LARGEST_PIECE, Vocoder

PAUSE = 0.25  # seconds of silence between the chunks of a long text


@contextmanager
def one_thread() -> Iterator[None]:
    """For work in steps of a few microseconds: handing them out to several cores takes longer than doing them, and many
    times longer where another process keeps one of these cores busy."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@dataclass(frozen=True)
class Prediction:
    """What the acoustic model says about one chunk."""

    mel: Tensor  # [T, 80] log-mel, on the model's device
    phones: tuple[str, ...]
    durations: list[int]  # frames per phone
    emotion_weights: dict[str, float]  # of the tokens; one-hot for a label


class Synthesizer:
    """Speaks requests with one loaded model."""

    def __init__(
        self,
        loaded: LoadedModel,
        vocoder: Vocoder,
        device: torch.device,
        control: ProsodyControl | None = None,
    ) -> None:
        """control: what is wanted otherwise than the model predicts; only for models that predict prosody."""
        loaded.model.settle()
        self.loaded = loaded
        self.vocoder = vocoder
        self.device = device
        self.control = control
        self.mel = mel_spectrogram(loaded.config).to(device)

    @property
    def sampling_rate(self) -> int:
        """Hz."""
        return self.loaded.config.preprocess.preprocessing.audio.sampling_rate

    @property
    def seconds_per_frame(self) -> float:
        """Of a mel spectrogram."""
        return self.loaded.config.preprocess.preprocessing.stft.hop_length / self.sampling_rate

    def reference_mel(self, path: Path, speaker_peak: float = 1.0) -> Tensor:
        """Log-mel [T, 80] of a reference recording: any rate, any number of channels, silence around it cut off.

        Its level is part of its emotion and is treated as in the training data: divided by `speaker_peak`, the largest
        |sample| of its speaker's recordings, or by its own peak where the model was trained on that. Raises UserError
        naming the file when it is unreadable or silent.
        """
        wav = load(path, self.sampling_rate)
        if is_silent(wav):
            raise UserError(f"{path} is silent; a reference needs speech")
        by_utterance = self.loaded.config.preprocess.preprocessing.audio.normalization == "utterance_peak"
        wav = trim_silence(wav, self.sampling_rate) / (np.abs(wav).max() if by_utterance else speaker_peak)
        mels, _ = self.mel(torch.from_numpy(wav.clip(-1.0, 1.0))[None].to(self.device))
        return mels[0]

    def speak(
        self, request: Request, duration_scale: float = 1.0, streaming: bool = False
    ) -> Iterator[tuple[Prediction, Iterator[np.ndarray]]]:
        """Speak one request chunk by chunk: what is predicted, and its waveform in pieces [samples], float32 in -1 … 1.

        The pieces of one chunk are to be taken before the next chunk; pauses between chunks are among them. Nothing but
        the reference is computed before it is asked for. `streaming` makes short pieces, the first one of each chunk
        half a second long.
        """
        reference = None
        if request.reference is not None:
            reference = self.reference_mel(request.reference, request.reference_peak)
        return self._speak(request, duration_scale, streaming, reference)

    def _speak(
        self, request: Request, duration_scale: float, streaming: bool, reference: Tensor | None
    ) -> Iterator[tuple[Prediction, Iterator[np.ndarray]]]:
        for number, chunk in enumerate(request.chunks):
            (prediction,) = self.predict([(request, chunk)], duration_scale, reference)
            yield prediction, self._pieces(prediction, PAUSE if number else 0.0, streaming)

    def _pieces(self, prediction: Prediction, pause: float, streaming: bool) -> Iterator[np.ndarray]:
        if pause:
            yield np.zeros(round(pause * self.sampling_rate), dtype=np.float32)
        first, largest = (FIRST_PIECE, LARGEST_PIECE) if streaming else (CHUNK, CHUNK)
        for piece in self.vocoder.stream(prediction.mel, first, largest):
            yield piece.numpy()

    @torch.inference_mode()
    def predict(
        self, parts: Sequence[tuple[Request, Chunk]], duration_scale: float = 1.0, reference: Tensor | None = None
    ) -> list[Prediction]:
        """Predict one chunk of each request at once; all by label, or all after `reference` [T, 80]."""
        ids = self.loaded.ids
        spoken = [self._spoken(chunk.phones) for _, chunk in parts]
        phones = [phones_to_ids(row) for row in spoken]
        lengths = torch.tensor([len(row) for row in phones])
        padded = torch.zeros(len(phones), int(lengths.max()), dtype=torch.long)
        for row, values in zip(padded, phones, strict=True):
            row[: len(values)] = torch.tensor(values)
        emotions = intensities = None
        if reference is None:
            emotions = torch.tensor([ids.emotion_id(str(request.emotion)) for request, _ in parts], device=self.device)
        given = [request.intensity for request, _ in parts]
        if reference is None or None not in given:
            intensities = torch.tensor([-1 if each is None else each for each in given], device=self.device)
        with one_thread():
            output = self.loaded.model(
                padded.to(self.device),
                lengths.to(self.device),
                self._speakers([request.speaker for request, _ in parts]),
                emotions=emotions,
                reference_mels=None if reference is None else reference.expand(len(parts), -1, -1),
                intensities=intensities,
                duration_scale=duration_scale,
                prosody_control=self.control,
            )
        mels = output.mels[-1].float()
        frames = output.mel_lengths.tolist()
        for (request, _), count in zip(parts, frames, strict=True):
            if count == 0:
                raise UserError(f"{request.name}: the model predicts no duration at all; train it longer")
        finite = torch.isfinite(mels).flatten(1).all(1).tolist()
        for (request, _), fine in zip(parts, finite, strict=True):
            if not fine:
                raise UserError(
                    f"{request.name}: the model predicts numbers that are not finite; take another checkpoint"
                )
        return [
            Prediction(
                mels[index, : frames[index]],
                spoken[index],
                output.durations[index, : lengths[index]].tolist(),
                self._weights(index, emotions, output.emotion_logits),
            )
            for index in range(len(parts))
        ]

    def _spoken(self, phones: tuple[str, ...]) -> tuple[str, ...]:
        """With the silence at either end that a model with a learned alignment has always seen there."""
        learned = self.loaded.config.model.alignment == "learned"
        if not learned or phones[0] == phones[-1] == SILENCE:
            return phones
        return (SILENCE, *phones, SILENCE)

    def _weights(self, index: int, emotions: Tensor | None, logits: Tensor | None) -> dict[str, float]:
        names = self.loaded.ids.emotions
        if emotions is not None:
            return {name: float(number == int(emotions[index])) for name, number in names.items()}
        assert logits is not None
        weights = logits[index].softmax(-1).tolist()
        return {name: round(weights[number], 4) for name, number in names.items()}

    def _speakers(self, names: list[str]) -> Tensor:
        numbers = [self.loaded.ids.speaker_id(name) for name in names]
        if not uses_external_speakers(self.loaded.config):
            return torch.tensor(numbers, device=self.device)
        folder = self.loaded.speaker_embeddings
        rows = [load_finite(folder / f"{name}-spker_embed.npy").reshape(-1) for name in names]
        return torch.from_numpy(np.stack(rows)).float().to(self.device)
