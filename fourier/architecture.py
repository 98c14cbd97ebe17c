"""The numbers that make a Fourier-head generator."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, ClassVar

MAY_BE_ZERO = ("fmin", "corrections", "low_iterations")


@dataclass(frozen=True)
class Architecture:
    """Raises ValueError for sizes that make no generator."""

    kind: ClassVar = "fourier"  # in its JSON
    channels: int = 240  # of the filter network
    expansion: int = 3  # each block is that many times as wide inside
    layers: int = 5
    kernel_size: int = 7  # frames
    pitch_channels: int = 128
    pitch_layers: int = 4
    num_mels: int = 80
    sampling_rate: int = 22050  # Hz
    n_fft: int = 1024  # samples, of the mel spectrograms and of the Fourier head
    hop_size: int = 256
    fmin: float = 0.0  # Hz, of the mel filterbank
    fmax: float = 8000.0
    corrections: int = 0  # times that the speech's own mel spectrogram is compared with the wanted one and mended
    low_iterations: int = 0  # of Griffin and Lim's algorithm at low frequencies

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, bool) or not isinstance(value, int | float) or value < 0:
                raise ValueError(f"{field.name} must be a positive number, not {value!r}")
            if value < 1 and field.name not in MAY_BE_ZERO:
                raise ValueError(f"{field.name} must be at least 1, not {value!r}")
            if field.type == "int" and not isinstance(value, int):
                raise ValueError(f"{field.name} must be a whole number, not {value!r}")
        if self.kernel_size % 2 == 0:
            raise ValueError(f"kernel_size must be odd, not {self.kernel_size}")
        if self.n_fft % (4 * self.hop_size) and self.n_fft != 2 * self.hop_size:
            raise ValueError(f"n_fft must be 2, 4, 8 … times hop_size, not {self.n_fft} with {self.hop_size}")
        if not self.fmin < self.fmax <= self.sampling_rate / 2:
            raise ValueError(f"needs fmin < fmax <= {self.sampling_rate / 2:g} Hz")

    @property
    def hop_length(self) -> int:
        """Samples per mel frame."""
        return self.hop_size

    @property
    def bins(self) -> int:
        """Frequencies of one frame's spectrum."""
        return self.n_fft // 2 + 1

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Architecture:
        """From the object that `to_json` makes; keys that say something else are left aside. Raises ValueError."""
        known: dict[str, Any] = {field.name: values[field.name] for field in fields(cls) if field.name in values}
        missing = (
            {field.name for field in fields(cls)} - set(known) - {"corrections", "low_iterations"}
        )  # files without had none
        if missing:
            raise ValueError(f"{sorted(missing)[0]} is missing")
        return cls(**known)

    @property
    def mel(self) -> dict[str, float | None]:
        """The mel spectrograms it was trained on, under the names of HiFi-GAN's config."""
        names = ("num_mels", "n_fft", "hop_size", "sampling_rate", "fmin", "fmax")
        return {name: getattr(self, name) for name in names} | {"win_size": self.n_fft}

    def to_json(self) -> dict[str, Any]:
        """Plain data; `kind` tells it from a HiFi-GAN's configuration."""
        return {"kind": self.kind, **asdict(self)}


VERSIONS = {
    "fourier": Architecture(corrections=4, low_iterations=100),
    "fourier_tiny": Architecture(
        channels=32, layers=1, pitch_channels=16, pitch_layers=1, corrections=1, low_iterations=4
    ),
}
