"""A model that speaks without having been trained: random weights, and about six frames for every phone."""

from dataclasses import replace
from pathlib import Path

import torch

import hifigan
from acoustic import new_model
from config import load_config
from model.blocks import LConvBlock
from text import symbol_table
from utils.checkpoint import Checkpoint, write_checkpoint
from utils.metadata import IdMaps

SPEAKERS, EMOTIONS = ["Actor_01", "Actor_02"], ["angry", "happy", "sad"]
FLAGS = ("--dataset", "RAVDESS", "--restore_step", "latest")


def write_model(folder: Path, *settings: str) -> list[str]:
    """Write a checkpoint and a small HiFi-GAN below `folder`; returns the `--set` values that take them, `settings`
    among them."""
    torch.manual_seed(0)
    overrides = [*settings, *(f"train.path.{kind}_path={folder / kind}" for kind in ("ckpt", "log", "result"))]
    config = load_config("RAVDESS", overrides)
    model = new_model(config, IdMaps.of(SPEAKERS, EMOTIONS))
    predictor = model.duration_predictor
    last = predictor.lconv_blocks[-1]
    assert isinstance(last, LConvBlock)
    with torch.no_grad():
        last.norm.weight.fill_(0.3)
        last.norm.bias.fill_(1.0)
        predictor.output.weight.fill_(1.95 / predictor.output.weight.numel())  # log(6 + 1) frames
    ids = IdMaps.of(SPEAKERS, EMOTIONS)
    kept = Checkpoint(
        5, model.state_dict(), {}, config=config.to_dict(), speakers=ids.speakers, emotions=ids.emotions,
        symbols=symbol_table(["en"]),
    )  # fmt: skip
    write_checkpoint(folder / "ckpt", kept)
    generator = hifigan.Generator(replace(hifigan.VERSIONS["V1"], upsample_initial_channel=16))
    for weight in generator.parameters():
        weight.data.mul_(1.6 if weight.dim() > 1 else 0.0)  # a tenth of full scale
    path = folder / "generator.pth.tar"
    torch.save({"generator": generator.state_dict()}, path)
    return [*overrides, "model.vocoder.model=HiFi-GAN", f"model.vocoder.checkpoint={path}"]
