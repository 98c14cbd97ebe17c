"""One interface to the vocoders: log-mel spectrograms in, waveforms out. `load_vocoder` picks one by the config.

    vocoder = load_vocoder(config, torch.device("cpu"))
    wavs = vocoder(mels, lengths)
    for wav in vocoder.stream(mel):  # piece by piece, the first one early
        play(wav)

HiFi-GAN and MelGAN, as published, count frames from half a hop later than our centred front end does: their waveforms
lag by 128 samples, 6 ms.

Checkpoints are foreign files: they are read with `weights_only=True`, so that nothing in them runs, and must fit the
generator exactly.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

import fourier
import hifigan
import melgan
from audio.griffin_lim import griffin_lim
from audio.mel import LOG_FLOOR, MelSpectrogram
from config import Config
from errors import UserError
from utils.pieces import in_pieces
from utils.shipped import shipped_vocoder
from utils.weights import fill, fold_weight_norm, read_state
from vocoder_weights import (
    NO_WEIGHTS,
    check_mel,
    find_checkpoint,
    fourier_architecture,
    hifigan_architecture,
    lifts_quiet,
    published,
    skeleton_of,
)

ROOT = Path(__file__).resolve().parent
# Loudest bin, log magnitude, of speech whose samples peak at 0.95 (median of 60 RAVDESS recordings). The published GANs
# heard little else in training and add noise to quieter speech, so that goes through them at this level: mel L1 of
# HiFi-GAN V3's copies of twelve recordings 0.38 instead of 0.97.
SPEECH_PEAK = 1.3
CHUNK = 600  # frames vocoded at once, 7 s: bounds the memory, and 1,000 take HiFi-GAN a fifth more time per frame
# Frames of a stream's pieces: 0.5 s at first, each later one twice as long, up to 1.9 s. A pipe holds 1.5 s of samples:
# while a player empties it, a slow vocoder has time for another piece, not for 7 s.
FIRST_PIECE, LARGEST_PIECE = 40, 160


@dataclass(frozen=True)
class Vocoder:
    name: str  # what it is and which file it came from, for logs and result files
    hop_length: int  # samples per mel frame
    device: torch.device
    # natural-log mel (T, 80) on the device, frames of the first and of the largest piece -> the pieces' waveforms
    generate: Callable[[Tensor, int, int], Iterator[Tensor]]
    lifts_quiet: bool = False  # whether quiet speech is vocoded at SPEECH_PEAK and brought back to its level

    @torch.no_grad()
    def __call__(self, mels: Tensor, lengths: Tensor | None = None) -> list[Tensor]:
        """mels [B, T, 80] (natural log, any device), lengths [B] in frames -> waveforms [T_b * hop_length] on the CPU,
        float32 within [-1, 1].

        Utterances go one by one, so a result never depends on its neighbours or on the padding.
        """
        frames = [mels.shape[1]] * len(mels) if lengths is None else [int(length) for length in lengths]
        return [torch.cat([*self.stream(mel[:size], CHUNK, CHUNK)]) for mel, size in zip(mels, frames, strict=True)]

    def stream(self, mel: Tensor, first: int = FIRST_PIECE, largest: int = LARGEST_PIECE) -> Iterator[Tensor]:
        """One utterance's mel [T, 80] -> its waveform in pieces [frames * hop_length], as above.

        The first piece has `first` frames, each later one twice as many, up to `largest`. Together they are the whole
        utterance's waveform but for float32's last digits (1e-5). Griffin-Lim, whose every sample depends on all
        others, gives one piece.
        """
        if not len(mel):
            yield torch.zeros(0)
            return
        with torch.no_grad():
            mel = mel.to(self.device, torch.float32)
            # of the whole utterance: its pieces must fit together
            lift = (SPEECH_PEAK - mel.max()).clamp(min=0.0) if self.lifts_quiet else mel.new_zeros(())
            pieces = self.generate(mel + lift, first, largest)
        while True:
            with torch.no_grad(), torch.autocast(self.device.type, enabled=False):  # not while the caller has its turn
                piece = next(pieces, None)
                if piece is None:
                    return
                wav = (piece * torch.exp(-lift)).clamp(-1.0, 1.0).cpu()
            yield wav


def load_vocoder(config: Config, device: torch.device) -> Vocoder:
    """The vocoder of `config.model.vocoder`. `auto`: the checkpoint that is named, else the vocoder that ships for the
    dataset, else HiFi-GAN where its published weights are at hand, else Griffin-Lim.

    Raises UserError where weights are missing, broken or foreign, or were trained on mels unlike config.preprocess's.
    """
    settings = config.model.vocoder
    kind: str = settings.model
    given = settings.checkpoint
    if kind == "auto":
        shipped = shipped_vocoder(config)
        given = str(shipped) if given is None and shipped is not None else given
        at_hand = given is not None or published("HiFi-GAN", settings.speaker) is not None
        kind = "HiFi-GAN" if at_hand else "Griffin-Lim"
    if kind == "Griffin-Lim":
        return _griffin_lim(config, device)
    path = find_checkpoint(kind, settings.speaker, given)
    if kind == "MelGAN":
        return _melgan(path, config, device)
    architecture = fourier_architecture(path)
    if kind == "Fourier" and architecture is None:
        raise UserError(f"{path}: no JSON beside it says that it is a Fourier generator; fetch that, too, {NO_WEIGHTS}")
    if architecture is not None and (kind == "Fourier" or settings.model == "auto"):
        return _fourier(path, architecture, config, device)
    return _hifigan(path, config, device)


# ------------------------------------------------------------------------------------------------- the four kinds


def _griffin_lim(config: Config, device: torch.device) -> Vocoder:
    stft, mel = config.preprocess.preprocessing.stft, config.preprocess.preprocessing.mel
    spectrogram = MelSpectrogram(
        config.preprocess.preprocessing.audio.sampling_rate,
        stft.filter_length,
        stft.hop_length,
        stft.win_length,
        mel.n_mel_channels,
        mel.mel_fmin,
        mel.mel_fmax,
    ).to(device)
    iterations = config.model.vocoder.griffin_lim_iterations

    def generate(mel: Tensor, first: int, largest: int) -> Iterator[Tensor]:
        yield griffin_lim(mel, spectrogram, iterations)

    return Vocoder(f"Griffin-Lim, {iterations} iterations", stft.hop_length, device, generate)


def _fourier(path: Path, architecture: fourier.Architecture, config: Config, device: torch.device) -> Vocoder:
    check_mel(config, architecture.mel, str(path))
    settings = config.model.vocoder
    given = {"corrections": settings.corrections, "low_iterations": settings.low_iterations}
    architecture = replace(architecture, **{name: value for name, value in given.items() if value is not None})
    with torch.device("meta"):
        generator = fourier.Generator(architecture)
    fill(generator, read_state(path, "generator"), path, device)
    context, hop_length = generator.context, architecture.hop_length

    def generate(mel: Tensor, first: int, largest: int) -> Iterator[Tensor]:
        sources = generator.sources(mel.T[None])  # of the whole utterance: its pulses must fit together
        return in_pieces(generator.render, sources, context, hop_length, first, largest)

    return Vocoder(f"Fourier ({path})", hop_length, device, generate)


def _hifigan(path: Path, config: Config, device: torch.device) -> Vocoder:
    state = fold_weight_norm(read_state(path, "generator"))
    architecture, mel, source = hifigan_architecture(path, state)
    # The weights themselves tell the bands and the hop; what no config says is as published.
    told = {"num_mels": architecture.num_mels, "hop_size": architecture.hop_length}
    check_mel(config, {**hifigan.PUBLISHED_MEL, **mel, **told}, source)
    generator = skeleton_of(architecture)
    fill(generator, state, path, device)
    if device.type == "cpu":
        generator.channels_last()

    def generate(mel: Tensor, first: int, largest: int) -> Iterator[Tensor]:
        return in_pieces(generator, mel.T[None], architecture.context, architecture.hop_length, first, largest)

    name = f"HiFi-GAN {architecture.version}".strip()
    return Vocoder(f"{name} ({path})", architecture.hop_length, device, generate, lifts_quiet(path))


def _melgan(path: Path, config: Config, device: torch.device) -> Vocoder:
    state = fold_weight_norm(read_state(path, "generator"))
    check_mel(config, melgan.PUBLISHED_MEL, str(path))
    with torch.device("meta"):
        skeleton = melgan.Generator()
    generator = fill(skeleton, state, path, device)
    hop_length, least = melgan.Generator.hop_length, melgan.Generator.min_frames

    def generate(mel: Tensor, first: int, largest: int) -> Iterator[Tensor]:
        samples = len(mel) * hop_length
        mel = F.pad(mel, (0, 0, 0, max(0, least - len(mel))), value=math.log(LOG_FLOOR))
        for wav in in_pieces(generator, mel.T[None] / math.log(10.0), skeleton.context, hop_length, first, largest):
            yield wav[:samples]

    return Vocoder(f"MelGAN ({path})", melgan.Generator.hop_length, device, generate, lifts_quiet=True)
