"""Waveforms from mel spectrograms without any trained weights."""

from __future__ import annotations

import torch
from torch import Tensor

from audio.mel import MelSpectrogram

MOMENTUM = 0.99  # Perraudin et al. 2013; of 0, 0.5, 0.9, 0.99 and 1.3 it came nearest to four RAVDESS recordings
INVERSION_STEPS = 10  # more gain less than 0.1 dB of spectral convergence
_TINY = 1e-12  # far below the front end's floor of 1e-5; keeps divisions finite


@torch.no_grad()
def griffin_lim(log_mel: Tensor, mel: MelSpectrogram, iterations: int, seed: int = 0) -> Tensor:
    """log_mel [T, n_mels] (natural log, made by `mel` or predicted) -> waveform [T * hop_length] within [-1, 1].

    Fast Griffin-Lim (Perraudin, Balazs & Søndergaard 2013, algorithm 2). The linear magnitudes, which a mel spectrogram
    leaves open, are estimated first and may move during the second half of the iterations, as long as they keep to the
    mel spectrogram: that halves its error. Deterministic for one seed and device; the global random state is not used.
    Louder than full scale is clipped, nothing else is normalised.
    """
    frames = len(log_mel)
    if not frames:
        return log_mel.new_zeros(0)
    target = log_mel.float().exp().T  # (n_mels, T)
    magnitude = torch.ones(mel.basis.shape[1], frames, device=target.device)  # (bins, T)
    for _ in range(INVERSION_STEPS):
        magnitude = _towards_mel(magnitude, target, mel.basis)

    generator = torch.Generator().manual_seed(seed)
    angle = torch.rand(magnitude.shape, generator=generator).to(target.device) * (2 * torch.pi)
    phase, previous = torch.polar(torch.ones_like(angle), angle), torch.zeros((), device=target.device)
    for iteration in range(iterations):
        spectrum = _stft(_istft(magnitude * phase, mel), mel)
        ahead = spectrum + MOMENTUM * (spectrum - previous)
        phase, previous = ahead / ahead.abs().clamp(min=_TINY), spectrum
        if iteration >= iterations // 2:
            magnitude = _towards_mel(spectrum.abs(), target, mel.basis)
    return _istft(magnitude * phase, mel).clamp(-1.0, 1.0)


def _towards_mel(magnitude: Tensor, target: Tensor, basis: Tensor) -> Tensor:
    """One multiplicative step of `magnitude` (bins, T) towards basis @ magnitude = target (n_mels, T).

    The step lowers the Kullback-Leibler divergence and keeps magnitudes positive (Lee & Seung 2001, theorem 2). On
    four recordings it beat least squares by 1 dB and the clipped pseudo-inverse by 2 dB of spectral convergence. Bins
    that no mel band covers become 0.
    """
    ratio = target / (basis @ magnitude).clamp(min=_TINY)
    weight = basis.sum(dim=0)[:, None]  # (bins, 1)
    return magnitude * (basis.T @ ratio) / weight.clamp(min=_TINY)


def _stft(wav: Tensor, mel: MelSpectrogram) -> Tensor:
    """[T * hop_length] -> (bins, T): frame t is centred on sample t * hop_length; the frame after the last is cut."""
    spectrum = torch.stft(
        wav,
        mel.filter_length,
        mel.hop_length,
        mel.win_length,
        mel.window,
        pad_mode="constant",  # a mirror would need half a window of samples
        return_complex=True,
    )
    return spectrum[:, : len(wav) // mel.hop_length]


def _istft(spectrum: Tensor, mel: MelSpectrogram) -> Tensor:
    """(bins, T) -> [T * hop_length]."""
    length = spectrum.shape[1] * mel.hop_length
    return torch.istft(spectrum, mel.filter_length, mel.hop_length, mel.win_length, mel.window, length=length)
