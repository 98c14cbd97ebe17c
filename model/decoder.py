"""Mel decoder: SC-LConv blocks, each with a mel projection of its own (iterative loss)."""

from torch import Tensor, nn

from model.blocks import SpeakerConditionLConvBlock, xavier_linear


class MelDecoder(nn.Module):
    """The speaker enters through SCLN alone; there is no position encoding (paper section 3.1).

    `harmonics`: every mel projection also says how deep, in each band, the comb of the frame's pitch is to be drawn. No
    part of the paper's model; see model/prosody.py.
    """

    def __init__(
        self, blocks: list[SpeakerConditionLConvBlock], channels: int, mel_bands: int, harmonics: bool = False
    ) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)
        self.mel_projections = nn.ModuleList(xavier_linear(channels, mel_bands, bias=False) for _ in blocks)

        self.depths: nn.ModuleList | None = None
        if harmonics:
            self.depths = nn.ModuleList(_depth(channels, mel_bands) for _ in blocks)

    def forward(
        self, x: Tensor, speaker: Tensor, mask: Tensor, every_block: bool, combs: Tensor | None = None
    ) -> list[Tensor]:
        """x [B, T, C], speaker [B, S], mask [B, T], combs [B, T, M] (zero at padding) -> mels [B, T, M] of every block,
        or of the last one only."""
        mels = []
        last = len(self.blocks) - 1
        for index, (block, projection) in enumerate(zip(self.blocks, self.mel_projections, strict=True)):
            x = block(x, speaker, mask)
            if every_block or index == last:
                mel = projection(x)
                if self.depths is not None and combs is not None:
                    mel = mel + self.depths[index](x) * combs
                mels.append(mel)
        return mels


def _depth(channels: int, bands: int) -> nn.Linear:
    """Begins at half the comb's depth everywhere."""
    layer = nn.Linear(channels, bands)
    nn.init.zeros_(layer.weight)
    nn.init.constant_(layer.bias, 0.5)
    return layer
