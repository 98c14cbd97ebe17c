"""Weights that ship: `pretrained/<DATASET>/`, a folder that speaks without any training. export.py writes it.

    acoustic.safetensors  config.json     the acoustic model; configuration, id maps and symbols
    vocoder.safetensors   vocoder.json    a generator and its architecture; may be missing
    spker_embed/                          external speaker embeddings, where the model takes them
    training.json         README.md       how it was made; the model card
    evaluation/           SHA256SUMS      the report; digests of all files

Nothing in it is a pickle, and what is read is first compared with its digest.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from config import Config, from_dict
from errors import UserError
from utils.checkpoint import Checkpoint, checked, checkpoint_path, known_steps, read_checkpoint, write_checkpoint
from utils.weights import SAFETENSORS, read_checked, read_safetensors

ROOT = Path(__file__).resolve().parent.parent
PRETRAINED = "pretrained"  # the folder, and the word for it in --restore_step
ACOUSTIC, VOCODER = f"acoustic{SAFETENSORS}", f"vocoder{SAFETENSORS}"
CONFIG, ARCHITECTURE, TRAINING = "config.json", "vocoder.json", "training.json"
EMBEDDINGS = "spker_embed"
FORMAT = 1
STORED = (torch.float32, torch.float16, torch.bfloat16, torch.int64)  # all that a weight may be
REMEDY = "fetch it again (git checkout pretrained)"


def shipped_folder(config: Config) -> Path:
    """Where the dataset's shipped weights belong: train.path.pretrained_path, or pretrained/<DATASET> beside the
    scripts, whatever the working directory is. Relative to that directory where it lies below."""
    given = config.train.path.pretrained_path
    folder = ROOT / PRETRAINED / config.dataset if given is None else Path(given)
    return folder.relative_to(Path.cwd()) if folder.is_relative_to(Path.cwd()) else folder


def shipped_vocoder(config: Config) -> Path | None:
    """The dataset's shipped vocoder (its architecture lies beside it), if there is one."""
    path = shipped_folder(config) / VOCODER
    return path if path.is_file() else None


def read_shipped(folder: Path) -> Checkpoint:
    """The acoustic model in `folder`, as a checkpoint without an optimiser's state; weights in float32.

    Raises UserError naming the file that is missing, damaged or something else.
    """
    path = folder / CONFIG
    values = _read_object(path)
    if values.pop("format", None) != FORMAT:
        raise UserError(f"{path} was written by another version of this project, or is something else")
    try:
        return checked(Checkpoint(model=_read_weights(folder / ACOUSTIC), optimizer={}, **values), path)
    except TypeError as error:
        raise UserError(f"{path} does not describe shipped weights: {error}") from error


def read_training(folder: Path) -> dict[str, Any]:
    """training.json of `folder`: what the weights were trained on and how. Raises UserError as `read_shipped`."""
    return _read_object(folder / TRAINING)


def import_checkpoint(config: Config) -> int:
    """Make the shipped weights the first checkpoint of a run, for training to go on from; returns its step.

    Raises UserError where `config.train.path.ckpt_path` holds checkpoints of another run.
    """
    folder, source = Path(config.train.path.ckpt_path), shipped_folder(config)
    if not source.is_dir():
        raise UserError(f"there are no shipped weights in {source}; leave out --restore_step to train from the start")
    content = read_shipped(source)
    if content.config is None:
        raise UserError(f"{source / CONFIG} holds no configuration; {REMEDY}")
    # keys that came later, with what they are by default
    content = replace(content, config=from_dict(content.config, str(source / CONFIG)).to_dict())
    steps = known_steps(folder)
    if steps == [content.step] and not read_checkpoint(checkpoint_path(folder, content.step)).optimizer:
        return content.step  # here already: a process beside this one, or an earlier attempt
    if steps:
        raise UserError(
            f"{folder} holds checkpoints up to step {steps[-1]}; to go on from {source} instead, choose a folder "
            "without any: --set train.path.ckpt_path=output/ckpt/fine-tuned"
        )
    print(f"{source} -> {write_checkpoint(folder, content)}")
    return content.step


def _read_weights(path: Path) -> dict[str, Tensor]:
    state = read_safetensors(path, REMEDY)
    for name, weight in state.items():
        if weight.dtype not in STORED:
            raise UserError(f"{path}: {name} is of type {str(weight.dtype).removeprefix('torch.')}, which no weight is")
        if not weight.isfinite().all():
            raise UserError(f"{path}: {name} holds NaN or infinity; {REMEDY}")
    return {name: weight.float() if weight.is_floating_point() else weight for name, weight in state.items()}


def _read_object(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(read_checked(path, REMEDY))
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is not readable JSON ({error}); {REMEDY}") from error
    if not isinstance(values, dict):
        raise UserError(f"{path} holds no JSON object; {REMEDY}")
    return values
