"""The residual convolutional speaker encoder; submodule names map one to one onto the Keras layers' names."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

FILTERS = (64, 128, 256, 512)  # one group each: a strided convolution, then three identity blocks
IDENTITY_BLOCKS = 3
EMBEDDING_SIZE = 512
_BATCH_NORM_EPSILON = 1e-3  # Keras's default, not PyTorch's


def clipped_relu(x: Tensor) -> Tensor:
    """min(max(x, 0), 20)."""
    return x.clamp(0.0, 20.0)


class ConvNorm(nn.Module):
    """Convolution with TensorFlow's 'same' padding, then batch norm."""

    def __init__(self, inputs: int, outputs: int, size: int, stride: int = 1) -> None:
        super().__init__()
        # 'same' pads size - stride in all where the stride divides the input, and the odd one goes behind, not before:
        # 5x5 stride 2 -> 1 before, 2 after.
        before, after = (size - stride) // 2, size - stride - (size - stride) // 2
        self.padding = (before, after, before, after)
        self.conv = nn.Conv2d(inputs, outputs, size, stride)
        self.norm = nn.BatchNorm2d(outputs, eps=_BATCH_NORM_EPSILON)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.norm(self.conv(F.pad(x, self.padding)))
        return out


class IdentityBlock(nn.Module):
    """Two 3x3 convolutions added to their input (paper figure 3)."""

    def __init__(self, filters: int) -> None:
        super().__init__()
        self.first = ConvNorm(filters, filters, 3)
        self.second = ConvNorm(filters, filters, 3)

    def forward(self, x: Tensor) -> Tensor:
        out = clipped_relu(self.second(clipped_relu(self.first(x))))
        return clipped_relu(out + x)


class ResCNN(nn.Module):
    """Windows [B, 160, 64] of normalised filterbank energies -> embeddings [B, 512] of length 1 (paper section 3.2)."""

    def __init__(self) -> None:
        super().__init__()
        self.strided = nn.ModuleList(
            ConvNorm(inputs, outputs, 5, stride=2) for inputs, outputs in zip((1, *FILTERS), FILTERS, strict=False)
        )
        self.blocks = nn.ModuleList(
            nn.ModuleList(IdentityBlock(filters) for _ in range(IDENTITY_BLOCKS)) for filters in FILTERS
        )
        self.affine = nn.Linear(FILTERS[-1] * 4, EMBEDDING_SIZE)  # 64 bands halved four times leave 4

    def forward(self, windows: Tensor) -> Tensor:
        return F.normalize(self.affine(self.average(windows)), dim=1)

    def average(self, windows: Tensor) -> Tensor:
        """[B, 160, 64] -> mean over time of the last feature maps [B, 2048], channels varying fastest."""
        assert windows.shape[1] % 16 == 0 and windows.shape[2] == 64, windows.shape  # the strides must divide
        x = windows[:, None]  # (B, 1, time, band)
        for strided, blocks in zip(self.strided, self.blocks, strict=True):
            x = clipped_relu(strided(x))
            assert isinstance(blocks, nn.ModuleList)
            for block in blocks:
                x = block(x)
        return x.mean(dim=2).transpose(1, 2).flatten(1)  # (B, 512, 4) -> (B, 4 * 512)


def keras_layers(model: ResCNN) -> dict[str, nn.Module]:
    """Keras layer name -> our module that holds its weights."""
    layers: dict[str, nn.Module] = {}

    def add(name: str, pair: nn.Module) -> None:
        assert isinstance(pair, ConvNorm)
        layers[name], layers[f"{name}_bn"] = pair.conv, pair.norm

    for group, filters in enumerate(FILTERS):
        add(f"conv{filters}-s", model.strided[group])
        for index in range(IDENTITY_BLOCKS):
            block = model.get_submodule(f"blocks.{group}.{index}")
            assert isinstance(block, IdentityBlock)
            add(f"res{group + 1}_{index}_branch_2a", block.first)
            add(f"res{group + 1}_{index}_branch_2b", block.second)
    layers["affine"] = model.affine
    return layers


def from_keras(kernel: Tensor) -> Tensor:
    """Keras kernel (height, width, in, out) or (in, out) -> PyTorch weight (out, in[, height, width])."""
    return kernel.permute(3, 2, 0, 1).contiguous() if kernel.dim() == 4 else torch.t(kernel).contiguous()
