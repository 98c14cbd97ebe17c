"""The blocks that encoder, duration predictor and decoder are built of. Tensors are [B, T, C]; masks True = padding."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.fused_block import Condition, Linear, fused_block
from model.lightweight_conv import LightweightConv


def xavier_linear(inputs: int, outputs: int, bias: bool = True) -> nn.Linear:
    """nn.Linear with Xavier-uniform weights and zero bias."""
    linear = nn.Linear(inputs, outputs, bias=bias)
    nn.init.xavier_uniform_(linear.weight)
    if bias:
        nn.init.zeros_(linear.bias)
    return linear


def sinusoid_table(positions: int, channels: int) -> Tensor:
    """[positions, channels] position encoding: sines at even, cosines at odd channels, base 10000."""
    channel = torch.arange(channels, dtype=torch.float64)
    rates = 10000.0 ** (-2 * (channel // 2) / channels)
    angles = torch.arange(positions, dtype=torch.float64)[:, None] * rates
    even = torch.arange(channels) % 2 == 0
    return torch.where(even, angles.sin(), angles.cos()).float()


class SinusoidPositions(nn.Module):
    """Adds a sinusoid table to its input. Inputs longer than the stored table get a longer one computed.

    The table is a fixed function of its size, so it is no part of the state dict.
    """

    table: Tensor

    def __init__(self, positions: int, channels: int) -> None:
        super().__init__()
        self.register_buffer("table", sinusoid_table(positions, channels), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """[B, N, C] -> [B, N, C]."""
        length, channels = x.shape[1:]
        if length <= self.table.shape[0]:
            return x + self.table[:length]
        return x + sinusoid_table(length, channels).to(x.device)


class SelfAttention(nn.Module):
    """Multi-head self-attention without biases; residual and LayerNorm behind it."""

    def __init__(self, channels: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.query = xavier_linear(channels, channels, bias=False)
        self.key = xavier_linear(channels, channels, bias=False)
        self.value = xavier_linear(channels, channels, bias=False)
        self.output = xavier_linear(channels, channels, bias=False)
        self.norm = nn.LayerNorm(channels)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """x [B, N, C], mask [B, N] -> [B, N, C]; nobody attends to padding."""
        query, key, value = (
            linear(x).unflatten(2, (self.heads, -1)).transpose(1, 2)  # (B, heads, N, C / heads)
            for linear in (self.query, self.key, self.value)
        )
        attended = F.scaled_dot_product_attention(query, key, value, attn_mask=~mask[:, None, None, :])
        attended = attended.transpose(1, 2).flatten(2)  # (B, N, C)
        return self.norm(self.dropout(self.output(attended)) + x)


class ConvFeedForward(nn.Module):
    """conv -> ReLU -> conv over time; residual and LayerNorm behind it."""

    def __init__(self, channels: int, filters: int, kernel_sizes: tuple[int, int], dropout: float) -> None:
        super().__init__()
        first, second = kernel_sizes
        self.conv_in = nn.Conv1d(channels, filters, first, padding=first // 2)
        self.conv_out = nn.Conv1d(filters, channels, second, padding=second // 2)
        self.norm = nn.LayerNorm(channels)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """[B, N, C] -> [B, N, C]."""
        hidden = _convolve(F.relu(_convolve(x, self.conv_in)), self.conv_out)
        return self.norm(self.dropout(hidden) + x)


def _kept(mask: Tensor, like: Tensor) -> Tensor:
    """[B, T] mask -> [B, T, 1] factors: 0 at padding, else 1. A product is five times as fast as masked_fill."""
    return (~mask).to(like.dtype).unsqueeze(-1)


def _convolve(x: Tensor, conv: nn.Conv1d) -> Tensor:
    """`conv` over time of [B, T, C] as one product: for so few phones three times as fast as a convolution."""
    taps = conv.weight.shape[2]
    if taps > 1:
        x = F.pad(x, (0, 0, taps // 2, taps // 2)).unfold(1, taps, 1).flatten(2)  # (B, T, C * taps)
    return F.linear(x, conv.weight.flatten(1), conv.bias)


class FFTBlock(nn.Module):
    """Feed-forward Transformer block (FastSpeech, arXiv 1905.09263): self-attention, then convolutions."""

    def __init__(self, channels: int, heads: int, filters: int, kernel_sizes: tuple[int, int], dropout: float) -> None:
        super().__init__()
        self.attention = SelfAttention(channels, heads, dropout)
        self.feed_forward = ConvFeedForward(channels, filters, kernel_sizes, dropout)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """x [B, N, C], mask [B, N] -> [B, N, C], zero at padding."""
        kept = _kept(mask, x)
        return self.feed_forward(self.attention(x, mask) * kept) * kept


class SpeakerConditionLayerNorm(nn.Module):
    """SCLN (paper section 3.1): layer normalisation whose gain and bias are linear in the speaker vector.

    y = gain(s) * (x - mean) / (std + 1e-8) + bias(s), with the unbiased standard deviation over channels. An all-zero
    row (padding) gives bias(s).
    """

    def __init__(self, channels: int, speaker_channels: int) -> None:
        super().__init__()
        self.affine = xavier_linear(speaker_channels, 2 * channels, bias=False)  # bias first, then gain
        # layer_norm divides by sqrt(biased variance + eps). This factor makes the deviation the unbiased one, and
        # this eps gives the slope 1 / 1e-8 at zero deviation; elsewhere both forms agree to float32's last digits.
        self.unbias = ((channels - 1) / channels) ** 0.5
        self.eps = (1e-8 * self.unbias) ** 2

    def forward(self, x: Tensor, speaker: Tensor) -> Tensor:
        """x [B, T, C], speaker [B, S] -> [B, T, C]."""
        return self.conditioned(x, self.condition(speaker))

    def condition(self, speaker: Tensor) -> Condition:
        """speaker [B, S] -> bias, and gain on deviations that are the biased ones, [B, 1, C] each."""
        bias, gain = self.affine(speaker).unsqueeze(1).chunk(2, dim=-1)
        return Condition(bias, gain * self.unbias)

    def conditioned(self, x: Tensor, condition: Condition) -> Tensor:
        """x [B, T, C] -> [B, T, C]."""
        plain = not torch.is_grad_enabled() and not torch.is_autocast_enabled(x.device.type)
        if len(x) == 1 and plain:  # one speaker: all in one operation
            return F.layer_norm(x, x.shape[-1:], condition.gain.flatten(), condition.bias.flatten(), self.eps)
        return torch.addcmul(condition.bias, F.layer_norm(x, x.shape[-1:], eps=self.eps), condition.gain)


class _GatedLightweightConv(nn.Module):
    """The parts both lightweight-convolution blocks share: gated convolution and feed-forward, each with residual."""

    def __init__(self, channels: int, kernel_size: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.gate = xavier_linear(channels, 2 * channels)
        self.conv = LightweightConv(channels, kernel_size, heads, dropout=dropout)
        self.expand = xavier_linear(channels, 4 * channels)
        self.project = xavier_linear(4 * channels, channels)

    def convolve(self, x: Tensor, kept: Tensor, settled: Tensor | None = None) -> Tensor:
        """GLU -> zero padding -> lightweight convolution, plus the input. `kept`: see _kept; `settled`: the kernels
        where they are known."""
        return self.conv(F.glu(self.gate(x), dim=-1) * kept, settled) + x

    def feed_forward(self, x: Tensor) -> Tensor:
        """linear -> ReLU -> linear, plus the input."""
        return self.project(self.expand(x).relu_()) + x


class LConvBlock(_GatedLightweightConv):
    """Lightweight-convolution block with one LayerNorm at its end (duration predictor)."""

    def __init__(self, channels: int, kernel_size: int, heads: int, dropout: float) -> None:
        super().__init__(channels, kernel_size, heads, dropout)
        self.norm = nn.LayerNorm(channels)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """x [B, N, C], mask [B, N] -> [B, N, C], zero at padding."""
        kept = _kept(mask, x)
        return self.norm(self.feed_forward(self.convolve(x, kept))) * kept


class SpeakerConditionLConvBlock(_GatedLightweightConv):
    """SC-LConv block of the decoder (paper figure 1): SCLN behind the convolution and behind the feed-forward."""

    settled_kernels: Tensor | None
    settled_affines: Tensor | None

    def __init__(self, channels: int, kernel_size: int, heads: int, speaker_channels: int, dropout: float) -> None:
        super().__init__(channels, kernel_size, heads, dropout)
        self.conv_norm = SpeakerConditionLayerNorm(channels, speaker_channels)
        self.output_norm = SpeakerConditionLayerNorm(channels, speaker_channels)
        self.register_buffer("settled_kernels", None, persistent=False)
        self.register_buffer("settled_affines", None, persistent=False)

    def forward(self, x: Tensor, speaker: Tensor, mask: Tensor) -> Tensor:
        """x [B, T, C], speaker [B, S], mask [B, T] -> [B, T, C], zero at padding."""
        kept = _kept(mask, x)
        first, second = self._conditions(speaker)
        if torch.is_grad_enabled() and self.conv.symmetric:
            gate, expand, project = (Linear(each.weight, each.bias) for each in (self.gate, self.expand, self.project))
            kernels, eps = self.conv.kernels(), self.conv_norm.eps
            return fused_block(x, kept, kernels, gate, expand, project, first, second, eps)
        x = self.conv_norm.conditioned(self.convolve(x, kept, self.settled_kernels), first)
        return self.output_norm.conditioned(self.feed_forward(x), second) * kept

    def _conditions(self, speaker: Tensor) -> tuple[Condition, Condition]:
        if self.settled_affines is None or torch.is_grad_enabled():
            return self.conv_norm.condition(speaker), self.output_norm.condition(speaker)
        parts = F.linear(speaker, self.settled_affines).unsqueeze(1).chunk(4, dim=-1)
        return Condition(*parts[:2]), Condition(*parts[2:])

    @torch.no_grad()
    def settle(self) -> None:
        """Compute once what follows from the weights alone, for use after training. Training mode and new weights
        undo it; a weight that is changed otherwise has no effect until then."""
        scale = torch.ones_like(self.conv_norm.affine.weight)
        scale[len(scale) // 2 :] = self.conv_norm.unbias  # the gains
        self.settled_affines = torch.cat([norm.affine.weight * scale for norm in (self.conv_norm, self.output_norm)])
        self.settled_kernels = self.conv.settled()

    def _unsettle(self) -> None:
        self.settled_kernels = self.settled_affines = None

    def train(self, mode: bool = True) -> "SpeakerConditionLConvBlock":
        """See nn.Module."""
        if mode:
            self._unsettle()
        return super().train(mode)

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        self._unsettle()
        super()._load_from_state_dict(*args, **kwargs)
