"""Mel decoder: SC-LConv blocks, each with a mel projection of its own (iterative loss)."""

from torch import Tensor, nn

from model.blocks import SpeakerConditionLConvBlock, xavier_linear


class MelDecoder(nn.Module):
    """The speaker enters through SCLN alone; there is no position encoding (paper section 3.1)."""

    def __init__(self, blocks: list[SpeakerConditionLConvBlock], channels: int, mel_bands: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)
        self.mel_projections = nn.ModuleList(xavier_linear(channels, mel_bands, bias=False) for _ in blocks)

    def forward(self, x: Tensor, speaker: Tensor, mask: Tensor, every_block: bool) -> list[Tensor]:
        """x [B, T, C], speaker [B, S], mask [B, T] -> mels [B, T, M] of every block, or of the last one only."""
        mels = []
        last = len(self.blocks) - 1
        for index, (block, projection) in enumerate(zip(self.blocks, self.mel_projections, strict=True)):
            x = block(x, speaker, mask)
            if every_block or index == last:
                mels.append(projection(x))
        return mels
