"""The mel spectrogram that acoustic model and vocoders agree on (REFERENCE: HiFi-GAN's front end)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

LOG_FLOOR = 1e-5  # smallest band magnitude; its logarithm is the value of digital silence


def mel_filterbank(
    sampling_rate: int, filter_length: int, n_mels: int, fmin: float, fmax: float | None
) -> npt.NDArray[np.float64]:
    """Triangular mel filters [n_mels, filter_length // 2 + 1], each of unit area over frequency in Hz.

    The scale is Slaney's (Auditory Toolbox, 1998): linear to 1000 Hz, 200/3 Hz per mel, then logarithmic, 27 mels to a
    factor of 6.4. fmin and fmax are in Hz; fmax None is half the sampling rate.
    """
    top = sampling_rate / 2 if fmax is None else fmax
    edges = _mel_to_hz(np.linspace(_hz_to_mel(fmin), _hz_to_mel(top), n_mels + 2, dtype=np.float64))  # [n_mels + 2]
    bins = np.linspace(0.0, sampling_rate / 2, filter_length // 2 + 1)
    low, centre, high = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    triangles = np.maximum(0.0, np.minimum((bins - low) / (centre - low), (high - bins) / (high - centre)))
    return np.asarray(triangles * (2.0 / (high - low)))


def band_centres(sampling_rate: int, n_mels: int, fmin: float, fmax: float | None) -> npt.NDArray[np.float64]:
    """Frequencies in Hz at which the filters of `mel_filterbank` peak, [n_mels]."""
    top = sampling_rate / 2 if fmax is None else fmax
    return _mel_to_hz(np.linspace(_hz_to_mel(fmin), _hz_to_mel(top), n_mels + 2, dtype=np.float64))[1:-1]


_KNEE_HZ, _KNEE_MEL = 1000.0, 15.0
_LOG_STEP = np.log(6.4) / 27.0


def _hz_to_mel(hz: float) -> float:
    linear = hz * 3.0 / 200.0
    return linear if hz < _KNEE_HZ else _KNEE_MEL + float(np.log(hz / _KNEE_HZ)) / _LOG_STEP


def _mel_to_hz(mel: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    logarithmic = _KNEE_HZ * np.exp(_LOG_STEP * (np.maximum(mel, _KNEE_MEL) - _KNEE_MEL))
    return np.where(mel < _KNEE_MEL, mel * 200.0 / 3.0, logarithmic)


class MelSpectrogram(nn.Module):
    """Log-mel spectrogram and frame energy of waveforms, on whatever device the module is.

    sampling_rate, fmin, fmax are in Hz (fmax None = half the sampling rate); the lengths in samples. Frame t is centred
    on sample t * hop_length; the waveform is mirrored at its ends, and mirrored again where it is shorter than half a
    window (as numpy.pad does), so a waveform of any length from one sample on has a spectrogram.
    """

    window: Tensor
    basis: Tensor

    def __init__(
        self,
        sampling_rate: int,
        filter_length: int,
        hop_length: int,
        win_length: int,
        n_mels: int,
        fmin: float,
        fmax: float | None,
    ) -> None:
        super().__init__()
        self.sampling_rate = sampling_rate
        self.filter_length = filter_length
        self.hop_length = hop_length
        self.win_length = win_length
        self.n_mels = n_mels
        basis = mel_filterbank(sampling_rate, filter_length, n_mels, fmin, fmax)
        # Derived from the configuration, so not part of a checkpoint.
        self.register_buffer("basis", torch.from_numpy(basis).float(), persistent=False)  # [n_mels, bins]
        self.register_buffer("window", torch.hann_window(win_length, periodic=True), persistent=False)

    def frames(self, samples: int) -> int:
        """Number of frames of a waveform of that many samples."""
        return samples // self.hop_length + 1

    def forward(self, wav: Tensor, lengths: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """wav [B, samples], clipped to [-1, 1] -> log_mel [B, T, n_mels] (natural log, >= ln 1e-5), energy [B, T].

        T = samples // hop_length + 1; energy is the L2 norm of a frame's magnitudes. With `lengths` [B] (samples,
        each at least 1) every waveform is mirrored at its own end, so that its own frames do not depend on what it
        was padded with; frames beyond `lengths // hop_length + 1` are digital silence.
        """
        assert wav.ndim == 2 and wav.shape[1] > 0, f"expected [B, samples] with samples > 0, got {tuple(wav.shape)}"
        magnitude = self.magnitude(wav, lengths)  # [B, T, bins]
        with torch.autocast(wav.device.type, enabled=False):  # half precision would cost three digits
            log_mel = torch.log(torch.clamp(magnitude @ self.basis.T, min=LOG_FLOOR))
            energy = torch.linalg.vector_norm(magnitude, dim=2)
        return log_mel, energy

    def magnitude(self, wav: Tensor, lengths: Tensor | None = None) -> Tensor:
        """wav [B, samples] -> STFT magnitudes [B, T, filter_length // 2 + 1]; `lengths` as in forward."""
        padded = self._pad(wav.float().clamp(-1.0, 1.0), lengths)
        spectrum = torch.stft(
            padded,
            self.filter_length,
            self.hop_length,
            self.win_length,
            self.window,
            center=False,
            return_complex=True,
        )
        magnitude = spectrum.abs().transpose(1, 2)
        if lengths is None:
            return magnitude
        beyond = torch.arange(magnitude.shape[1], device=wav.device)[None] > lengths[:, None] // self.hop_length
        return magnitude.masked_fill(beyond[:, :, None], 0.0)

    def _pad(self, wav: Tensor, lengths: Tensor | None) -> Tensor:
        """wav [B, samples] -> [B, samples + filter_length], mirrored half a window at either end."""
        pad = self.filter_length // 2
        if lengths is None and wav.shape[1] > pad:  # the usual case, without an index for every sample
            return torch.cat([wav[:, 1 : pad + 1].flip(1), wav, wav[:, -pad - 1 : -1].flip(1)], dim=1)
        position = torch.arange(-pad, wav.shape[1] + pad, device=wav.device)
        ends = torch.full((1, 1), wav.shape[1], device=wav.device) if lengths is None else lengths[:, None]
        return wav.gather(1, mirror(position[None], ends).expand(wav.shape[0], -1))


def mirror(position: Tensor, length: Tensor) -> Tensor:
    """Fold any integer position into 0 … length - 1 by reflection at both ends, edges not repeated.

    length 4:   position  -4 -3 -2 -1 | 0 1 2 3 | 4 5 6 7
                index      2  3  2  1 | 0 1 2 3 | 2 1 0 1
    """
    period = (2 * (length - 1)).clamp(min=1)
    folded = torch.remainder(position, period)
    return torch.minimum(folded, period - folded).clamp(max=length - 1)
