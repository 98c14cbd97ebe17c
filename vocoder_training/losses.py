"""Losses of vocoder training: spectral distances, least-squares adversarial losses, feature matching."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from audio.mel import LOG_FLOOR, MelSpectrogram, mel_filterbank
from hifigan.discriminators import Judgement

NOISE = 1e-4  # standard deviation of white noise (-80 dBFS) below which a logarithm is not followed


class Stft(nn.Module):
    """Magnitudes of waveforms [B, samples] -> [B, T, bins]; not clipped, so that what is too loud has a gradient."""

    window: Tensor

    def __init__(self, n_fft: int, hop_length: int, win_length: int) -> None:
        super().__init__()
        self.n_fft, self.hop_length, self.win_length = n_fft, hop_length, win_length
        self.register_buffer("window", torch.hann_window(win_length), persistent=False)
        self.floor = NOISE * float(self.window.square().sum().sqrt())  # magnitude of that noise

    def forward(self, wav: Tensor) -> Tensor:
        pad = self.n_fft // 2
        padded = F.pad(wav[:, None], (pad, pad), "reflect")[:, 0]
        spectrum = torch.stft(
            padded, self.n_fft, self.hop_length, self.win_length, self.window, center=False, return_complex=True
        )
        return spectrum.abs().transpose(1, 2)


class SpectralLoss(nn.Module):
    """How far waveforms are from recordings, phases aside; both [B, samples].

    mel: mean absolute distance of log-mel spectrograms over all frequencies (arXiv 2010.05646, equation 5; the bands
    reach half the sampling rate, whatever the generator's input is). stft: spectral convergence plus mean absolute
    distance of log magnitudes, the mean over several resolutions (Yamamoto et al. 2020, arXiv 1910.11480, equations 4
    to 6; here the former is bounded where a recording is silent).
    """

    basis: Tensor

    def __init__(self, front_end: MelSpectrogram, resolutions: Sequence[Sequence[int]]) -> None:
        super().__init__()
        own = front_end
        basis = mel_filterbank(own.sampling_rate, own.filter_length, own.n_mels, 0.0, None)
        self.register_buffer("basis", torch.from_numpy(basis).float(), persistent=False)  # [bands, bins]
        self.analysis = Stft(own.filter_length, own.hop_length, own.win_length)
        self.resolutions = nn.ModuleList(Stft(*numbers) for numbers in resolutions)

    def forward(self, fake: Tensor, real: Tensor, stft: bool = True) -> dict[str, Tensor]:
        """{"mel": …, "stft": …}; the latter only if wanted."""
        losses = {"mel": (self.log_mel(fake) - self.log_mel(real)).abs().mean()}
        if stft and len(self.resolutions):
            losses["stft"] = torch.stack([self._distance(each, fake, real) for each in self.resolutions]).mean()
        return losses

    def log_mel(self, wav: Tensor) -> Tensor:
        """[B, samples] -> [B, T, bands], all frequencies."""
        return torch.log((self.analysis(wav) @ self.basis.T).clamp(min=LOG_FLOOR))

    @staticmethod
    def _distance(analysis: nn.Module, fake: Tensor, real: Tensor) -> Tensor:
        assert isinstance(analysis, Stft)
        ours, theirs = analysis(fake), analysis(real)
        size = (theirs.shape[1] * theirs.shape[2]) ** 0.5
        error, level = (torch.linalg.vector_norm(each, dim=(1, 2)) for each in (ours - theirs, theirs))
        convergence = (error / (level + analysis.floor * size)).mean()
        return convergence + (torch.log(ours + analysis.floor) - torch.log(theirs + analysis.floor)).abs().mean()


def discriminator_loss(real: Sequence[Judgement], fake: Sequence[Judgement]) -> Tensor:
    """Recordings are to get 1, generated waveforms 0: least squares, summed over discriminators (equation 1)."""
    return _total(
        (1 - r.verdicts).square().mean() + f.verdicts.square().mean() for r, f in zip(real, fake, strict=True)
    )


def generator_loss(fake: Sequence[Judgement]) -> Tensor:
    """Generated waveforms are to get 1 (equation 2)."""
    return _total((1 - judgement.verdicts).square().mean() for judgement in fake)


def feature_matching_loss(real: Sequence[Judgement], fake: Sequence[Judgement]) -> Tensor:
    """Mean absolute distance of every layer's features, summed over layers and discriminators (equation 6)."""
    return _total(
        (theirs.float() - ours.float()).abs().mean()
        for r, f in zip(real, fake, strict=True)
        for theirs, ours in zip(r.features, f.features, strict=True)
    )


def _total(parts) -> Tensor:  # type: ignore[no-untyped-def] # of an iterable of scalars
    return torch.stack([part.float() for part in parts]).sum()
