"""The generator: filters for pulses and noise from the mel spectrogram, one inverse Fourier transform per frame."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from audio.mel import LOG_FLOOR, mel_filterbank
from fourier.architecture import Architecture
from fourier.blocks import Backbone
from fourier.excitation import pulse_train, spectrum
from fourier.pitch import PitchPredictor, decode

SMALLEST, LARGEST = -12.0, 7.0  # natural logarithms of magnitudes that a filter may reach
STEEPEST = 3.0  # natural logarithm of the largest factor of one correction
# What a correction overdoes: overlapping frames undo a part of it, most of all where a quiet one lies beside a loud one
RAISED, LOWERED = 1.1, 1.65
MOMENTUM = 0.5  # of the last correction that the next one goes on with, as Perraudin et al. (2013) speed up Griffin-Lim


class Generator(nn.Module):
    """Log-mel spectrogram [B, num_mels, T] (natural log) -> waveform [B, T * hop_length].

    1. `pitch`: fundamental frequency and voicing of every frame, from the mel spectrogram.
    2. Excitation: pulses at that frequency and white noise, both of unit magnitude in a spectrum.
    3. Filters per frame and frequency: a complex one for the pulses, closed where there is no voice, and a real one for
       the noise; their magnitudes start from the mel spectrogram through the filterbank's pseudo-inverse.
    4. spectrum = pulses * filter + noise * filter, inverse Fourier transform, overlap-add.
    5. `corrections` times: where the mel spectrogram of that waveform differs from the wanted one, its spectrum is
       scaled by the quotient, and transformed back. Overlapping frames make a waveform's spectrum differ from what was
       asked of it; phases stay as they are, unlike in Griffin and Lim's algorithm. Each goes on in the direction of
       the last: six do what sixteen would without.

    Explicit pulses keep their phase over any number of frames, which a convolutional network alone cannot: it loses the
    voicing of low voices.
    """

    window: Tensor
    basis: Tensor
    inverse_basis: Tensor

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.architecture = architecture
        a = architecture
        self.pitch = PitchPredictor(a.num_mels, a.pitch_channels, a.pitch_layers, a.kernel_size)
        self.filter = Backbone(a.num_mels + 2, a.channels, a.expansion, a.layers, a.kernel_size)
        self.head = nn.Linear(a.channels, 4 * a.bins)
        with torch.no_grad():
            self.head.weight.mul_(0.1)
            self.head.bias.zero_()
        # Both follow from the architecture, so they are not part of the weights; from numpy, so that they have values
        # also in a skeleton on the meta device.
        basis = mel_filterbank(a.sampling_rate, a.n_fft, a.num_mels, a.fmin, a.fmax)
        inverse = torch.from_numpy(np.linalg.pinv(basis).astype(np.float32))
        window = torch.from_numpy((0.5 - 0.5 * np.cos(2 * np.pi * np.arange(a.n_fft) / a.n_fft)).astype(np.float32))
        self.register_buffer("basis", torch.from_numpy(basis.astype(np.float32)), persistent=False)  # (num_mels, bins)
        self.register_buffer("inverse_basis", inverse, persistent=False)  # (bins, num_mels)
        self.register_buffer("window", window, persistent=False)  # Hann

    @property
    def context(self) -> int:
        """Frames on either side that a sample of `render` depends on."""
        overlap = self.architecture.n_fft // (2 * self.architecture.hop_size)
        return self.filter.context + 2 * overlap * (1 + self.architecture.corrections) + 1

    def forward(self, mel: Tensor) -> Tensor:
        return self.render(self.sources(mel))

    def sources(self, mel: Tensor, seed: int = 0) -> Tensor:
        """mel [B, num_mels, T] -> what `render` takes, [B, num_mels + 2 + 2 * hop_length, T]: pitch and excitation are
        made for an utterance as a whole, the rest may go in pieces. The noise depends on `seed` alone.
        """
        a = self.architecture
        f0, voicing = decode(self.pitch(mel.transpose(1, 2)))
        generator = torch.Generator().manual_seed(seed)
        noise = torch.randn(mel.shape[2] * a.hop_size, generator=generator).to(mel.device)
        return self.excited(mel, f0, voicing, pulse_train(f0, a.hop_size, a.sampling_rate), noise.expand(len(mel), -1))

    def excited(self, mel: Tensor, f0: Tensor, voicing: Tensor, pulses: Tensor, noise: Tensor) -> Tensor:
        """Mel [B, num_mels, T], f0 in Hz and voicing in 0 … 1 [B, T], pulses and noise [B, T * hop_length] -> what
        `render` takes."""
        hop = self.architecture.hop_size
        told = torch.stack([torch.log2(f0 / 200.0), voicing], 1)  # (B, 2, T)
        blocks = [source.reshape(len(mel), -1, hop).transpose(1, 2) for source in (pulses, noise)]
        return torch.cat([mel, told.to(mel.dtype), *(block.to(mel.dtype) for block in blocks)], 1)

    def render(self, sources: Tensor, corrections: int | None = None) -> Tensor:
        """What `sources` makes, whole or a piece of it [B, …, T] -> waveform [B, T * hop_length]. `corrections`: other
        than the architecture's number of them."""
        a = self.architecture
        seen, pulses, noise = sources.split([a.num_mels + 2, a.hop_size, a.hop_size], 1)
        # (B, T, bins); scaled so that a harmonic, and noise on average, have magnitude 1
        voiced = self._spectrum(pulses) * (2.0 / self.window.sum())
        breath = self._spectrum(noise) / self.window.square().sum().sqrt()
        loud, quiet, real, imaginary = self._filters(seen)
        turned = torch.complex(real, imaginary) * (loud * torch.rsqrt(real**2 + imaginary**2 + 1e-6))
        evened = self._evened(seen.shape[2])
        wav = self._waveform(voiced * turned + breath * quiet, evened)
        mel = seen[:, : a.num_mels].transpose(1, 2).float()
        # of a frequency: the mean over the bands that it is in; nothing where it is in none
        shares = self.basis / self.basis.sum(0).clamp(min=1e-9)
        last = None
        for _ in range(a.corrections if corrections is None else corrections):
            corrected = self._corrected(wav, mel, shares, evened)
            wav = corrected if last is None else torch.lerp(last, corrected, 1.0 + MOMENTUM)
            last = corrected
        return wav

    def _corrected(self, wav: Tensor, mel: Tensor, shares: Tensor, evened: Tensor) -> Tensor:
        """wav [B, T * hop_length], scaled per frame and frequency towards the log-mel spectrogram mel [B, T, M]."""
        a = self.architecture
        # real and imaginary parts as numbers: products and magnitudes of complex ones are several times as slow
        parts = torch.view_as_real(spectrum(wav, a.n_fft, a.hop_size, self.window))  # (B, T, bins, 2)
        own = torch.log(((parts.square().sum(3) + 1e-12).sqrt() @ self.basis.T).clamp(min=LOG_FLOOR))
        missing = mel - own
        missing = torch.where(missing > 0, RAISED, LOWERED) * missing
        gain = torch.exp(missing.clamp(-STEEPEST, STEEPEST) @ shares)
        return self._waveform(torch.view_as_complex(parts * gain.unsqueeze(3)), evened)

    def _filters(self, seen: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Magnitude for pulses, magnitude for noise, direction for pulses (real, imaginary), each [B, T, bins]."""
        out: Tensor = self.head(self.filter(seen.transpose(1, 2))).float()
        loud, quiet, real, imaginary = out.chunk(4, 2)
        mel = seen[:, : self.architecture.num_mels].float()
        prior = torch.log((self.inverse_basis @ mel.exp()).clamp(min=LOG_FLOOR)).transpose(1, 2)
        loud, quiet = (torch.exp((prior + part).clamp(SMALLEST, LARGEST)) for part in (loud, quiet - 1.0))
        # Spectral losses alone would rather buzz than hiss: a pulse's magnitude is no surprise, noise's is
        voicing = seen[:, self.architecture.num_mels + 1, :, None].float()
        return loud * (2.0 * voicing).clamp(max=1.0), quiet, 1.0 + real, imaginary

    def _spectrum(self, blocks: Tensor) -> Tensor:
        wav = blocks.transpose(1, 2).flatten(1).float()
        return spectrum(wav, self.architecture.n_fft, self.architecture.hop_size, self.window)

    def _waveform(self, spectra: Tensor, evened: Tensor) -> Tensor:
        """[B, T, bins] -> [B, T * hop_length] by windowed overlap-add; `evened` as _evened."""
        a = self.architecture
        total = _overlap_add(torch.fft.irfft(spectra, a.n_fft, dim=2) * self.window, a.hop_size)
        first = a.n_fft // 2  # of the frame centred on sample 0
        return total[:, first : first + evened.shape[1]] * evened

    def _evened(self, frames: int) -> Tensor:
        """[1, frames * hop_length]: what makes the overlapping squared windows 1 everywhere."""
        a = self.architecture
        squares = _overlap_add(self.window.square().expand(1, frames, -1), a.hop_size)
        first = a.n_fft // 2
        # the last hop of an utterance has half the frames; elsewhere the sum of squares is constant
        return 1.0 / squares[:, first : first + frames * a.hop_size].clamp(min=0.1)


def _overlap_add(pieces: Tensor, hop: int) -> Tensor:
    """[B, T, n_fft] -> [B, (T - 1) * hop + n_fft]; n_fft is a multiple of hop. Several times as fast as F.fold."""
    parts = pieces.unflatten(2, (-1, hop))  # (B, T, n_fft / hop, hop)
    frames, behind = parts.shape[1], parts.shape[2] - 1
    total = pieces.new_zeros(len(pieces), frames + behind, hop)
    for k in range(behind + 1):
        total[:, k : k + frames] += parts[:, :, k]
    return total.flatten(1)
