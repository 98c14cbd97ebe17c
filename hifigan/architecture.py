"""The numbers that make a HiFi-GAN generator, and how they follow from its config JSON or from its weights."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any


@dataclass(frozen=True)
class Architecture:
    """Paper section 2.2 and appendix A.1. Raises ValueError where the numbers give no whole hop per frame."""

    resblock: int  # 1: two convolutions per dilation, 2: one
    upsample_rates: tuple[int, ...]  # samples out per sample in, stage by stage; their product is the hop length
    upsample_kernel_sizes: tuple[int, ...]  # samples of each stage's output
    upsample_initial_channel: int  # halved by each stage
    resblock_kernel_sizes: tuple[int, ...]  # one residual block each, all fed alike and averaged
    resblock_dilation_sizes: tuple[tuple[int, ...], ...]  # one row per residual block
    num_mels: int = 80

    def __post_init__(self) -> None:
        stages = len(self.upsample_rates)
        if self.resblock not in (1, 2):
            raise ValueError(f"resblock must be 1 or 2, got {self.resblock}")
        if not stages or len(self.upsample_kernel_sizes) != stages:
            raise ValueError("upsample_rates and upsample_kernel_sizes must be equally long")
        for rate, size in zip(self.upsample_rates, self.upsample_kernel_sizes, strict=True):
            if size < rate or (size - rate) % 2:
                raise ValueError(f"upsample kernel {size} does not give exactly {rate} samples per sample")
        if self.upsample_initial_channel % 2**stages:
            raise ValueError(
                f"upsample_initial_channel {self.upsample_initial_channel} cannot be halved {stages} times"
            )
        if not self.resblock_kernel_sizes or len(self.resblock_dilation_sizes) != len(self.resblock_kernel_sizes):
            raise ValueError("resblock_kernel_sizes and resblock_dilation_sizes must be equally long")
        if any(size % 2 == 0 for size in self.resblock_kernel_sizes):
            raise ValueError(f"resblock_kernel_sizes must be odd, got {list(self.resblock_kernel_sizes)}")

    @property
    def hop_length(self) -> int:
        """Samples per mel frame."""
        return math.prod(self.upsample_rates)

    @property
    def context(self) -> int:
        """Frames on either side that can influence a frame's samples (half the receptive field, rounded up)."""
        reach, rate = 3.0, 1  # conv_pre has 7 taps; `rate` = samples per frame so far
        for factor, size in zip(self.upsample_rates, self.upsample_kernel_sizes, strict=True):
            reach += size / factor / rate
            rate *= factor
            reach += max(self._resblock_reaches()) / rate
        return math.ceil(reach + 3 / rate)  # conv_post has 7 taps

    def _resblock_reaches(self) -> list[int]:
        extra = int(self.resblock == 1)  # type 1 adds an undilated convolution after each dilated one
        return [
            sum((size - 1) // 2 * (dilation + extra) for dilation in dilations)
            for size, dilations in zip(self.resblock_kernel_sizes, self.resblock_dilation_sizes, strict=True)
        ]

    @property
    def version(self) -> str:
        """'V1', 'V2' or 'V3'; '' for anything else."""
        return next((name for name, known in VERSIONS.items() if replace(self, num_mels=known.num_mels) == known), "")

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Architecture:
        """From an official config JSON (other keys are ignored); raises ValueError naming the key that is wrong."""
        missing = [key for key in _JSON_KEYS if key not in values]
        if missing:
            raise ValueError(f"has no {', '.join(missing)}")
        if str(values["resblock"]) not in ("1", "2"):
            raise ValueError(f'resblock must be "1" or "2", got {values["resblock"]!r}')
        rows = values["resblock_dilation_sizes"]
        if not isinstance(rows, Sequence) or isinstance(rows, str):
            raise ValueError(f"resblock_dilation_sizes must be a list of lists, got {rows!r}")
        return cls(
            resblock=int(values["resblock"]),
            upsample_rates=_sizes(values["upsample_rates"], "upsample_rates"),
            upsample_kernel_sizes=_sizes(values["upsample_kernel_sizes"], "upsample_kernel_sizes"),
            upsample_initial_channel=_sizes([values["upsample_initial_channel"]], "upsample_initial_channel")[0],
            resblock_kernel_sizes=_sizes(values["resblock_kernel_sizes"], "resblock_kernel_sizes"),
            resblock_dilation_sizes=tuple(_sizes(row, "resblock_dilation_sizes") for row in rows),
            num_mels=_sizes([values.get("num_mels", 80)], "num_mels")[0],
        )

    def to_json(self) -> dict[str, Any]:
        """What `from_json` reads, under the official names."""
        return {
            "resblock": str(self.resblock),
            "upsample_rates": list(self.upsample_rates),
            "upsample_kernel_sizes": list(self.upsample_kernel_sizes),
            "upsample_initial_channel": self.upsample_initial_channel,
            "resblock_kernel_sizes": list(self.resblock_kernel_sizes),
            "resblock_dilation_sizes": [list(row) for row in self.resblock_dilation_sizes],
            "num_mels": self.num_mels,
        }


LARGEST = 2**16  # of the sizes in a config JSON: what no generator has, and whose products still can be counted
_JSON_KEYS = (
    "resblock",
    "upsample_rates",
    "upsample_kernel_sizes",
    "upsample_initial_channel",
    "resblock_kernel_sizes",
    "resblock_dilation_sizes",
)

# What all published generators were trained on, under the keys of their config JSON. Lengths in samples, rates in Hz.
PUBLISHED_MEL: Mapping[str, float] = {
    "num_mels": 80,
    "n_fft": 1024,
    "hop_size": 256,
    "win_size": 1024,
    "sampling_rate": 22050,
    "fmin": 0,
    "fmax": 8000,
}

_V1 = Architecture(1, (8, 8, 2, 2), (16, 16, 4, 4), 512, (3, 7, 11), ((1, 3, 5),) * 3)
VERSIONS: Mapping[str, Architecture] = {  # paper table 5
    "V1": _V1,
    "V2": replace(_V1, upsample_initial_channel=128),
    "V3": Architecture(2, (8, 8, 4), (16, 16, 8), 256, (3, 5, 7), ((1, 2), (2, 6), (3, 12))),
}


def infer_architecture(shapes: Mapping[str, Sequence[int]]) -> Architecture:
    """The architecture of folded weights (`name -> shape`) that come without a config JSON.

    Shapes tell everything but the upsampling rates and the dilations: those are taken from the published versions,
    whose rates are half their kernels. Raises ValueError where the weights are not a published version's, up to
    channels and bands.
    """
    shapes = {name: shape for name, shape in shapes.items() if len(shape) == 3}  # the kernels
    if "conv_pre.weight" not in shapes:
        raise ValueError("has no layer conv_pre")
    kind = 1 if "resblocks.0.convs1.0.weight" in shapes else 2
    first = shapes["conv_pre.weight"]
    kernels = tuple(shapes[name][-1] for name in _numbered(shapes, "ups.{}.weight"))
    layer = "convs1" if kind == 1 else "convs"
    resblocks = tuple(shapes[name][-1] for name in _numbered(shapes, f"resblocks.{{}}.{layer}.0.weight"))
    for known in VERSIONS.values():
        blocks = known.resblock_kernel_sizes * len(known.upsample_rates)
        if (kind, kernels, resblocks) == (known.resblock, known.upsample_kernel_sizes, blocks):
            return replace(known, upsample_initial_channel=first[0], num_mels=first[1])
    raise ValueError(f"is no published version (upsampling kernels {list(kernels)}, resblock type {kind})")


def _numbered(shapes: Mapping[str, Sequence[int]], pattern: str) -> list[str]:
    names: list[str] = []
    while (name := pattern.format(len(names))) in shapes:
        names.append(name)
    return names


def _sizes(values: Any, key: str) -> tuple[int, ...]:
    if not isinstance(values, list) or not all(type(value) is int and 0 < value <= LARGEST for value in values):
        raise ValueError(f"{key} must hold whole numbers from 1 to {LARGEST}, got {values!r}")
    return tuple(values)
