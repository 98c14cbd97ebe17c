"""Durations: predicted from text, emotion and speaker, and applied by the length regulator."""

import torch
from torch import Tensor, nn

from model.blocks import FFTBlock, LConvBlock, SinusoidPositions


class DurationPredictor(nn.Module):
    """Fuses text and emotion, and predicts log(duration + 1) of each phone from that and the speaker.

    What it fuses is also what the decoder reads (paper figure 1).
    """

    def __init__(
        self, positions: SinusoidPositions, blocks: list[FFTBlock], lconv_blocks: list[LConvBlock], channels: int
    ) -> None:
        super().__init__()
        self.positions = positions
        self.blocks = nn.ModuleList(blocks)
        self.lconv_blocks = nn.ModuleList(lconv_blocks)
        self.output = nn.Linear(channels, 1, bias=False)
        nn.init.xavier_uniform_(self.output.weight)

    def forward(self, x: Tensor, speaker: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """x [B, N, C], speaker [B, C], mask [B, N] -> fused [B, N, C], log(duration + 1) [B, N], zero at padding."""
        x = self.positions(x)
        fused = x
        for block in self.blocks:
            fused = block(fused, mask)
        hidden = fused + x + speaker.unsqueeze(1)
        for block in self.lconv_blocks:
            hidden = block(hidden, mask)
        return fused, self.output(hidden).squeeze(-1).masked_fill(mask, 0.0)


def frames_from_log(log_durations: Tensor, mask: Tensor, scale: float = 1.0) -> Tensor:
    """log(duration + 1) [B, N] -> whole frames [B, N] >= 0, zero at padding; `scale` > 1 slows speech down."""
    frames = torch.round((torch.exp(log_durations.float()) - 1.0) * scale).clamp(min=0)
    return frames.masked_fill(mask, 0.0).long()


def regulate_length(x: Tensor, durations: Tensor, max_length: int | None = None) -> Tensor:
    """Repeat each phone's vector `duration` times; behind the last there are zeros.

        x         a b c        durations  2 0 3        ->  a a c c c 0 0

    x [B, N, C], durations [B, N] whole frames -> [B, T, C] with T = `max_length` (longer ones are cut), or the longest
    sum. With `max_length` given nothing waits for the device.
    """
    ends = durations.cumsum(1)  # (B, N): the frame behind each phone's last
    size = int(ends[:, -1].max()) if max_length is None else max_length
    frames = torch.arange(size, device=x.device)
    phone = torch.searchsorted(ends, frames.expand(len(x), -1).contiguous(), right=True)  # (B, T): whose frame it is
    beyond = phone >= x.shape[1]
    phone = phone.clamp(max=x.shape[1] - 1).unsqueeze(-1).expand(-1, -1, x.shape[2])
    return x.gather(1, phone).masked_fill(beyond.unsqueeze(-1), 0.0)
