"""Generators as they train: made from a configuration, begun from weights, written as vocoder.py reads them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import fourier
import hifigan
from config import Config
from errors import UserError
from fourier.excitation import pulse_train
from fourier.pitch import decode, pitch_loss
from hifigan.training import folded_state, initialise, normalise
from utils.checkpoint import write_content
from utils.files import write_json
from utils.weights import fold_weight_norm, misfits, read_state
from vocoder_training.segments import Segments

CORRECTIONS = 3  # of the Fourier head's waveform in training at most: of more it learns little, and each takes its time
OWN_PITCH = 3  # of 10 segments whose pulses follow the predicted pitch throughout, as all will in use


class Trainee(nn.Module, ABC):
    """A generator and how it is run in training."""

    generator: nn.Module
    architecture: fourier.Architecture | hifigan.Architecture

    @abstractmethod
    def forward(self, mel: Tensor, segments: Segments) -> tuple[Tensor, dict[str, Tensor]]:
        """mel [B, bands, T] -> waveforms [B, T * hop_length] and losses of the generator's own."""

    def to_json(self) -> dict[str, Any]:
        """The architecture."""
        return self.architecture.to_json()


class HifiganTrainee(Trainee):
    """HiFi-GAN with weight norm."""

    def __init__(self, architecture: hifigan.Architecture) -> None:
        super().__init__()
        self.architecture = architecture
        self.generator = initialise(hifigan.Generator(architecture))

    def forward(self, mel: Tensor, segments: Segments) -> tuple[Tensor, dict[str, Tensor]]:
        return self.generator(mel), {}


class FourierTrainee(Trainee):
    """The Fourier head: its pulses follow the recording's own pitch, begun at any phase, and its noise is drawn anew.

    Without the true pitch (`Segments.f0` is None) they follow the predicted one, which then stays as it is.
    """

    def __init__(self, architecture: fourier.Architecture, learns_pitch: bool) -> None:
        super().__init__()
        self.architecture = architecture
        self.generator: fourier.Generator = fourier.Generator(architecture)
        self.generator.pitch.requires_grad_(learns_pitch)

    def forward(self, mel: Tensor, segments: Segments) -> tuple[Tensor, dict[str, Tensor]]:
        own, hop = self.generator, self.architecture.hop_length
        scores = own.pitch(mel.transpose(1, 2))
        f0, voicing = decode(scores.detach())
        phases, seeds = segments.noise
        losses: dict[str, Tensor] = {}
        if segments.f0 is not None:
            pitch, voiced = pitch_loss(scores, segments.f0)
            share = (segments.f0 > 0).float().mean()  # makes it a mean over all frames: that of any number of processes
            losses = {"pitch": pitch * share, "voicing": voiced}
            told = (seeds % 10 >= OWN_PITCH).to(mel.device)[:, None] & (segments.f0 > 0)
            f0 = torch.where(told, segments.f0, f0)
        pulses = pulse_train(f0, hop, own.architecture.sampling_rate, phases.to(mel.device))
        noise = torch.stack([_noise(int(seed), mel.shape[2] * hop) for seed in seeds]).to(mel.device)
        corrections = min(CORRECTIONS, own.architecture.corrections)
        return own.render(own.excited(mel, f0, voicing, pulses, noise), corrections), losses


def _noise(seed: int, samples: int) -> Tensor:
    return torch.randn(samples, generator=torch.Generator().manual_seed(seed))


def new_trainee(config: Config) -> Trainee:
    """A generator with fresh weights for the mels that `config` describes. Raises UserError where there is none."""
    mel, name = mel_settings(config), config.vocoder.architecture
    if name.startswith("hifigan"):
        architecture = replace(hifigan.VERSIONS[name.removeprefix("hifigan_").upper()], num_mels=int(mel["num_mels"]))
        if architecture.hop_length != mel["hop_size"]:
            raise UserError(
                f"{name} makes {architecture.hop_length} samples of a frame, but preprocessing.stft.hop_length is "
                f"{mel['hop_size']}; choose --set vocoder.architecture=fourier"
            )
        return HifiganTrainee(architecture)
    if mel["win_size"] != mel["n_fft"]:
        raise UserError("the Fourier head needs preprocessing.stft.win_length equal to filter_length")
    try:
        numbers = {key: value for key, value in mel.items() if key != "win_size"}
        sized = replace(fourier.VERSIONS[name], **numbers)
    except ValueError as error:
        raise UserError(f"the Fourier head cannot be made for these mel spectrograms: {error}") from error
    return FourierTrainee(sized, config.vocoder.loss.pitch > 0)


def mel_settings(config: Config) -> dict[str, Any]:
    """What the mel spectrograms are, under the names of HiFi-GAN's config JSON."""
    values = config.preprocess.preprocessing
    rate = values.audio.sampling_rate
    return {
        "num_mels": values.mel.n_mel_channels,
        "n_fft": values.stft.filter_length,
        "hop_size": values.stft.hop_length,
        "win_size": values.stft.win_length,
        "sampling_rate": rate,
        "fmin": float(values.mel.mel_fmin),
        "fmax": rate / 2 if values.mel.mel_fmax is None else float(values.mel.mel_fmax),
    }


def begin_from(trainee: Trainee, path: Path) -> None:
    """Take over the weights in `path` (as `export` writes them, or published). Raises UserError unless they fit.

    To be called before `prepare`.
    """
    state = fold_weight_norm(read_state(path, "generator"))
    reasons = misfits(trainee.generator, state)
    if reasons:
        raise UserError(f"{path} does not hold the weights of this generator (vocoder.architecture): {reasons}")
    trainee.generator.load_state_dict(state, strict=True)


def prepare(trainee: Trainee) -> Trainee:
    """Put weight norm on where the architecture trains with it."""
    if isinstance(trainee.generator, hifigan.Generator):
        normalise(trainee.generator)
    return trainee


def export(generator: nn.Module, architecture: dict[str, Any], config: Config, path: Path) -> None:
    """Write {"generator": weights} to `path` and the config JSON beside it, as vocoder.py reads them."""
    description = {
        **architecture,
        **mel_settings(config),
        "lifts_quiet": False,  # it has heard quiet speech as well as loud
        "dataset": config.dataset,
    }
    write_json(path.with_name(f"{path.name.split('.')[0]}.json"), description)
    write_content(path, {"generator": {name: value.cpu() for name, value in folded_state(generator).items()}})
