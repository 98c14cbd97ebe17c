"""Trains a Fourier vocoder's pitch predictor alone: long segments, more voices than the corpus has."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soxr
import torch
from torch import Tensor

import fourier
from acoustic import mel_spectrogram
from audio.mel import LOG_FLOOR
from config import Config
from errors import UserError
from fourier.pitch import decode, pitch_loss
from utils.weights import read_state
from vocoder_training.generators import export
from vocoder_training.recordings import Recording, Recordings
from vocoder_weights import check_mel, fourier_architecture

BATCH = 16
FRAMES = 96  # of a segment; three times as many as in train_vocoder.py
MARGIN = 15  # frames before and behind the speech that belong to it
EDGE = 4  # frames on either side that are cut off again: half a window and the resampling filter
SPEEDS = (0.85, 1.17)  # of a recording that is played faster or slower, which moves its pitch and its formants
TILT = 0.3  # standard deviation of a spectrum's slope and of a ripple in it, natural logarithm
NOISE = 0.2  # largest standard deviation of what is added to log-mels
PEAK_RATE, WARM_UP, WEIGHT_DECAY, LONGEST_GRADIENT = 2e-3, 100, 0.02, 5.0
VOICING_WEIGHT = 2.0
NEAR = 50.0  # cents


@dataclass(frozen=True)
class PitchErrors:
    """Of frames."""

    voicing: float  # share whose voicing is wrong
    pitch: float  # share of the voiced ones whose pitch is off by more than NEAR

    def __str__(self) -> str:
        return f"voicing wrong in {self.voicing:.1%} of the frames, pitch off by {NEAR:.0f} cents in {self.pitch:.1%}"


class PitchFit:
    """The predictor of the Fourier vocoder in `source`, and recordings with their pitch by DIO.

    Raises UserError where the weights are none of a Fourier vocoder for the dataset's mel spectrograms, or where
    recordings are missing.
    """

    def __init__(self, config: Config, source: Path, device: torch.device) -> None:
        if not source.is_file():
            raise UserError(f"no vocoder at {source}; train_vocoder.py makes one")
        architecture = fourier_architecture(source)
        if architecture is None:
            raise UserError(f"{source}: no JSON beside it says that it is a Fourier generator; others predict no pitch")
        check_mel(config, architecture.mel, str(source))
        self.config, self.source, self.device, self.architecture = config, source, device, architecture
        self.generator = fourier.Generator(architecture)
        try:
            self.generator.load_state_dict(read_state(source, "generator"))
        except RuntimeError as error:
            raise UserError(f"{source} does not hold what the JSON beside it says: {str(error)[:200]}") from error
        self.predictor = self.generator.pitch.float().to(device)
        self.front_end = mel_spectrogram(config).to(device)
        paths = config.preprocess.path
        folder, pitches = Path(paths.preprocessed_path), Path(config.vocoder.path.pitch_path)
        rate = config.preprocess.preprocessing.audio.sampling_rate
        self.train, self.val = (
            Recordings(folder / name, Path(paths.raw_path), rate, pitches) for name in ("train.txt", "val.txt")
        )

    def fit(self, steps: int, advance: Callable[[int], object]) -> None:
        """`steps` batches, drawn by `vocoder.seed`; the learning rate falls along half a cosine."""
        self.predictor.train()
        optimizer = torch.optim.AdamW(self.predictor.parameters(), betas=(0.9, 0.98), weight_decay=WEIGHT_DECAY)
        for step in range(steps):
            rate = PEAK_RATE * min(1.0, (step + 1) / WARM_UP) * 0.5 * (1.0 + math.cos(math.pi * step / steps))
            for group in optimizer.param_groups:
                group["lr"] = rate
            mels, f0 = self.batch(step)
            pitch, voicing = pitch_loss(self.predictor(mels), f0)
            optimizer.zero_grad()
            (pitch + VOICING_WEIGHT * voicing).backward()
            torch.nn.utils.clip_grad_norm_(self.predictor.parameters(), LONGEST_GRADIENT)
            optimizer.step()
            advance(1)
        self.predictor.eval()

    def batch(self, step: int) -> tuple[Tensor, Tensor]:
        """Log-mels [BATCH, FRAMES, num_mels] and their pitch in Hz, 0 = unvoiced [BATCH, FRAMES], on the device."""
        draw = np.random.default_rng([self.config.vocoder.seed, step])
        parts = [self._segment(self.train[int(draw.integers(len(self.train)))], draw) for _ in range(BATCH)]
        wavs, f0 = (np.stack(each) for each in zip(*parts, strict=True))
        mels, _ = self.front_end(torch.from_numpy(wavs).to(self.device))
        mels = mels[:, EDGE : EDGE + FRAMES] + torch.from_numpy(self._changes(draw)).to(self.device)
        return mels.clamp(min=math.log(LOG_FLOOR)), torch.from_numpy(f0).to(self.device)

    def _segment(
        self, recording: Recording, draw: np.random.Generator
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """Waveform [(FRAMES + 2 * EDGE) * hop_length] and pitch [FRAMES] of a part with speech, at another speed."""
        hop, rate = self.front_end.hop_length, self.front_end.sampling_rate
        speed = float(np.exp(draw.uniform(*np.log(SPEEDS))))
        first, last = recording.speech[0] - MARGIN * hop, recording.speech[1] + MARGIN * hop
        start = first + int(draw.uniform() * max(0, last - first - speed * FRAMES * hop))
        samples = (FRAMES + 2 * EDGE) * hop
        cut = recording.cut(start - round(speed * EDGE * hop), math.ceil(speed * samples) + 1)
        wav = np.zeros(samples, dtype=np.float32)
        played = soxr.resample(cut, speed * rate, rate)[:samples]
        wav[: len(played)] = played
        assert recording.pitch is not None
        places = start + np.round(speed * hop * np.arange(FRAMES)).astype(np.int64)
        return wav, recording.pitch.at(places) * np.float32(speed)

    def _changes(self, draw: np.random.Generator) -> npt.NDArray[np.float32]:
        """[BATCH, FRAMES, num_mels] to be added to log-mels: other levels and timbres, and noise."""
        bands = np.linspace(-1.0, 1.0, self.architecture.num_mels)
        low, high = self.config.vocoder.data.gain

        def column(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
            return values[:, None]

        gain = column(draw.uniform(low, high, BATCH)) / 20.0 * math.log(10.0)
        slope, height = (column(draw.normal(0.0, TILT, BATCH)) for _ in range(2))
        ripple = np.cos(np.pi * (bands + column(draw.uniform(-1, 1, BATCH))) * column(draw.uniform(0.5, 3.0, BATCH)))
        noise = draw.normal(size=(BATCH, FRAMES, len(bands))) * draw.uniform(0.0, NOISE, (BATCH, 1, 1))
        return ((gain + slope * bands + height * ripple)[:, None] + noise).astype(np.float32)

    @torch.inference_mode()
    def judge(self) -> PitchErrors:
        """How often the predictor is wrong about the recordings of val.txt."""
        wrong = frames = off = voiced = 0
        hop = self.front_end.hop_length
        for index in range(len(self.val)):
            recording = self.val[index]
            assert recording.pitch is not None
            start = max(0, recording.speech[0])
            wav = recording.cut(start, recording.speech[1] - start)
            mel, _ = self.front_end(torch.from_numpy(wav)[None].to(self.device))
            true = recording.pitch.at(start + hop * np.arange(mel.shape[1], dtype=np.int64))
            f0, voicing = (each[0].cpu().numpy() for each in decode(self.predictor(mel)))
            sung = true > 0
            wrong += int(((voicing > 0.5) != sung).sum())
            off += int((np.abs(1200.0 * np.log2(f0[sung] / true[sung])) > NEAR).sum())
            frames, voiced = frames + len(true), voiced + int(sung.sum())
        return PitchErrors(wrong / max(1, frames), off / max(1, voiced))

    def write(self, path: Path) -> None:
        """The generator with the predictor as it is now, and its JSON beside it."""
        self.generator.float().cpu()
        export(self.generator, self.architecture.to_json(), self.config, path)
        self.generator.to(self.device)
