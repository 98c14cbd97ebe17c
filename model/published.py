"""Loading weights under the original implementation's parameter names (github.com/keonlee9420, MIT).

One table of name prefixes; everything in a published state dict must be matched by it, and everything it matches must
fit the model. The original's spelling `duratin_predictor` is part of the format.
"""

import re

import torch
from torch import Tensor

from model.blocks import sinusoid_table

_ATTENTION = {
    r"slf_attn\.w_qs\.linear": "attention.query",
    r"slf_attn\.w_ks\.linear": "attention.key",
    r"slf_attn\.w_vs\.linear": "attention.value",
    r"slf_attn\.fc\.linear": "attention.output",
    r"slf_attn\.layer_norm": "attention.norm",
    r"pos_ffn\.w_1": "feed_forward.conv_in",
    r"pos_ffn\.w_2": "feed_forward.conv_out",
    r"pos_ffn\.layer_norm": "feed_forward.norm",
}
_LCONV = {
    r"act_linear\.linear": "gate",
    r"conv_layer": "conv",
    r"fc1\.linear": "expand",
    r"fc2\.linear": "project",
    r"layer_norm": "norm",
    r"SCLN_1\.affine_layer\.linear": "conv_norm.affine",
    r"SCLN_2\.affine_layer\.linear": "output_norm.affine",
}

# Original module (pattern) -> ours. Parts of blocks, as `golden` files and single-module tests use them, stand first.
BLOCK_NAMES: dict[str, str] = {**_ATTENTION, **_LCONV, r"affine_layer\.linear": "affine"}
NAMES: dict[str, str] = {
    r"encoder\.src_word_emb": "text_encoder.embedding",
    **{rf"encoder\.layer_stack\.(\d+)\.{old}": rf"text_encoder.blocks.\1.{new}" for old, new in _ATTENTION.items()},
    **{
        rf"duratin_predictor\.layer_stack\.(\d+)\.{old}": rf"duration_predictor.blocks.\1.{new}"
        for old, new in _ATTENTION.items()
    },
    **{
        rf"duratin_predictor\.lconv_stack\.(\d+)\.{old}": rf"duration_predictor.lconv_blocks.\1.{new}"
        for old, new in _LCONV.items()
    },
    r"duratin_predictor\.linear_layer\.linear": "duration_predictor.output",
    **{rf"decoder\.lconv_stack\.(\d+)\.{old}": rf"decoder.blocks.\1.{new}" for old, new in _LCONV.items()},
    r"decoder\.mel_projection\.(\d+)\.linear": r"decoder.mel_projections.\1",
    r"emotion_emb\.encoder\.convs\.(\d+)": r"emotion.reference_encoder.convs.\1",
    r"emotion_emb\.encoder\.bns\.(\d+)": r"emotion.reference_encoder.norms.\1",
    r"emotion_emb\.encoder\.gru": "emotion.reference_encoder.gru",
    r"emotion_emb\.etl\.attention\.W_query": "emotion.tokens.query",
    r"emotion_emb\.etl\.attention\.W_key": "emotion.tokens.key",
    r"emotion_emb\.etl\.attention\.W_value": "emotion.tokens.value",
    r"speaker_emb": "speaker_embedding",
}
_WHOLE_NAMES = {"emotion_emb.etl.embed": "emotion.tokens.embeddings"}
_POSITION_TABLES = ("encoder.position_enc", "duratin_predictor.position_enc")  # fixed sinusoids, stored as parameters


def translate_name(name: str, names: dict[str, str] = NAMES) -> str | None:
    """Our name of a published parameter, or None for one that the table does not know."""
    if name in _WHOLE_NAMES:
        return _WHOLE_NAMES[name]
    module, _, leaf = name.rpartition(".")
    for old, new in names.items():
        match = re.fullmatch(old, module)
        if match:
            return f"{match.expand(new)}.{leaf}"
    return None


def is_published(state: dict[str, Tensor]) -> bool:
    """Whether a state dict bears the original's names."""
    return "encoder.src_word_emb.weight" in state


def from_published(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Published state dict -> ours. DistributedDataParallel's `module.` prefix is removed.

    Raises ValueError naming entries that the table does not know, or a position table that is no sinusoid.
    """
    translated, unknown = {}, []
    for name, value in state.items():
        name = name.removeprefix("module.")
        if name in _POSITION_TABLES:
            expected = sinusoid_table(value.shape[1], value.shape[2])
            if not torch.allclose(value[0].cpu().float(), expected, atol=1e-5):
                raise ValueError(f"{name} is not the sinusoid table it should be")
            continue
        new_name = translate_name(name)
        if new_name is None:
            unknown.append(name)
        else:
            translated[new_name] = value
    if unknown:
        raise ValueError(f"unknown parameters: {', '.join(sorted(unknown)[:5])}{' …' if len(unknown) > 5 else ''}")
    return translated
