"""The generator: filters for pulses and noise from the mel spectrogram, one inverse Fourier transform per frame."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from audio.mel import LOG_FLOOR, mel_filterbank
from fourier.architecture import Architecture
from fourier.blocks import Backbone
from fourier.excitation import pulse_train
from fourier.frames import Frames
from fourier.low_band import LowBand
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
    6. Below 1 kHz, `low_iterations` of Griffin and Lim's algorithm move the phases, too: see LowBand.

    Explicit pulses keep their phase over any number of frames, which a convolutional network alone cannot: it loses the
    voicing of low voices.
    """

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
        self.frames = Frames(window, a.hop_size)  # Hann
        self.low_band: LowBand | None = None
        if a.low_iterations:
            self.low_band = LowBand(window, a.hop_size, self.basis, a.sampling_rate, a.low_iterations)

    @property
    def context(self) -> int:
        """Frames on either side that a sample of `render` depends on."""
        passes = self.architecture.corrections + (self.low_band is not None)  # to spectra and back
        return self.frames.overlap * (1 + 2 * passes)

    def forward(self, mel: Tensor) -> Tensor:
        return self.render(self.sources(mel))

    def sources(self, mel: Tensor, seed: int = 0) -> Tensor:
        """mel [B, num_mels, T] -> what `render` takes, [B, num_mels + 2 * bins (+ 2 * bins of the low band), T].

        An utterance as a whole: pulses and the phases of low frequencies hang together over any number of frames. What
        is left for `render` may go in pieces. The noise depends on `seed` alone.
        """
        a = self.architecture
        f0, voicing = decode(self.pitch(mel.transpose(1, 2)))
        generator = torch.Generator().manual_seed(seed)
        noise = torch.randn(mel.shape[2] * a.hop_size, generator=generator).to(mel.device)
        pulses = pulse_train(f0, a.hop_size, a.sampling_rate)
        sources = self.excited(mel, f0, voicing, pulses, noise.expand(len(mel), -1))
        if self.low_band is None:
            return sources
        wanted, draft = self._parts(sources)
        return torch.cat([sources, _as_channels(self.low_band(draft[..., : self.low_band.bins], wanted))], 1)

    def excited(self, mel: Tensor, f0: Tensor, voicing: Tensor, pulses: Tensor, noise: Tensor) -> Tensor:
        """Mel [B, num_mels, T], f0 in Hz and voicing in 0 … 1 [B, T], pulses and noise [B, T * hop_length] -> what
        `render` takes, without a low band of its own: [B, num_mels + 2 * bins, T]."""
        told = torch.stack([torch.log2(f0 / 200.0), voicing], 1)  # (B, 2, T)
        loud, quiet, real, imaginary = self._filters(torch.cat([mel, told.to(mel.dtype)], 1))
        # (B, T, bins); scaled so that a harmonic, and noise on average, have magnitude 1
        window = self.frames.window
        voiced = self.frames.spectrum(pulses.float()) * (2.0 / window.sum())
        breath = self.frames.spectrum(noise.float()) / window.square().sum().sqrt()
        turned = torch.complex(real, imaginary) * (loud * torch.rsqrt(real**2 + imaginary**2 + 1e-6))
        return torch.cat([mel.float(), _as_channels(voiced * turned + breath * quiet)], 1)

    def render(self, sources: Tensor, corrections: int | None = None) -> Tensor:
        """What `sources` makes, whole or a piece of it [B, …, T] -> waveform [B, T * hop_length]. `corrections`: other
        than the architecture's number of them."""
        mel, spectra, *low = self._parts(sources)
        evened = self.frames.evened(mel.shape[1])
        wav = self.frames.waveform(spectra, evened)
        # of a frequency: the mean over the bands that it is in; nothing where it is in none
        shares = self.basis / self.basis.sum(0).clamp(min=1e-9)
        last = None
        for _ in range(self.architecture.corrections if corrections is None else corrections):
            corrected = self._corrected(wav, mel, shares, evened)
            wav = corrected if last is None else torch.lerp(last, corrected, 1.0 + MOMENTUM)
            last = corrected
        if low and self.low_band is not None:
            wav = self.frames.waveform(self.low_band.put(low[0], self.frames.spectrum(wav)), evened)
        return wav

    def _parts(self, sources: Tensor) -> list[Tensor]:
        """Mel [B, T, num_mels], spectra [B, T, bins], and those of the low band where `sources` has them."""
        sizes = [self.architecture.num_mels, 2 * self.architecture.bins]
        rest = sources.shape[1] - sum(sizes)
        mel, *spectra = sources.transpose(1, 2).split([*sizes, rest] if rest else sizes, 2)
        return [mel, *(torch.view_as_complex(each.unflatten(2, (-1, 2)).contiguous()) for each in spectra)]

    def _corrected(self, wav: Tensor, mel: Tensor, shares: Tensor, evened: Tensor) -> Tensor:
        """wav [B, T * hop_length], scaled per frame and frequency towards the log-mel spectrogram mel [B, T, M]."""
        spectra = self.frames.spectrum(wav)
        squares = torch.view_as_real(spectra).square()  # several times as fast as `abs`
        magnitude = (squares[..., 0] + squares[..., 1] + 1e-12).sqrt()
        own = torch.log((magnitude @ self.basis.T).clamp(min=LOG_FLOOR))
        missing = mel - own
        missing = torch.where(missing > 0, RAISED, LOWERED) * missing
        gain = torch.exp(missing.clamp(-STEEPEST, STEEPEST) @ shares)
        return self.frames.waveform(spectra * gain, evened)

    def _filters(self, seen: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Mel, pitch and voicing [B, num_mels + 2, T] -> magnitude for pulses, magnitude for noise, direction for
        pulses (real, imaginary), each [B, T, bins]."""
        out: Tensor = self.head(self.filter(seen.transpose(1, 2))).float()
        loud, quiet, real, imaginary = out.chunk(4, 2)
        mel = seen[:, : self.architecture.num_mels].float()
        prior = torch.log((self.inverse_basis @ mel.exp()).clamp(min=LOG_FLOOR)).transpose(1, 2)
        loud, quiet = (torch.exp((prior + part).clamp(SMALLEST, LARGEST)) for part in (loud, quiet - 1.0))
        # Spectral losses alone would rather buzz than hiss: a pulse's magnitude is no surprise, noise's is
        voicing = seen[:, self.architecture.num_mels + 1, :, None].float()
        return loud * (2.0 * voicing).clamp(max=1.0), quiet, 1.0 + real, imaginary


def _as_channels(spectra: Tensor) -> Tensor:
    """[B, T, bins] complex -> [B, 2 * bins, T]."""
    return torch.view_as_real(spectra).flatten(2).transpose(1, 2)
