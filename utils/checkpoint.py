"""Checkpoints: `{ckpt_path}/{step}.pth.tar`. They are data: nothing in them is ever executed."""

from __future__ import annotations

import io
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from errors import UserError
from utils.files import atomic_path
from utils.metadata import problem_of_map
from utils.weights import load_content, refuse_odd

FORMAT = 1
LATEST = "latest"


@dataclass(frozen=True)
class Checkpoint:
    """All that a run needs to go on, or a synthesiser to speak.

    Randomness is no part of it: every step seeds itself from (seed, step, process).
    """

    step: int
    model: dict[str, Tensor]
    optimizer: dict[str, Any]
    scaler: dict[str, Any] = field(default_factory=dict)  # loss scaling of float16 AMP
    sampler: dict[str, int] = field(default_factory=dict)  # dataset.Position
    config: dict[str, Any] | None = None  # None: published weights of the original, which carry no configuration
    speakers: dict[str, int] = field(default_factory=dict)
    emotions: dict[str, int] = field(default_factory=dict)
    symbols: list[str] = field(default_factory=list)
    running: dict[str, Tensor] = field(default_factory=dict)  # running mean of the weights (train.optimizer.ema)
    means: dict[str, Tensor] = field(default_factory=dict)  # of losses since the last log, training.loop.RunningMeans

    @property
    def weights(self) -> dict[str, Tensor]:
        """The weights to speak with."""
        return self.running or self.model


def checkpoint_path(folder: Path, step: int) -> Path:
    """Where the checkpoint of `step` lies."""
    return folder / f"{step}.pth.tar"


def known_steps(folder: Path) -> list[int]:
    """Steps that have a checkpoint, ascending."""
    matches = (re.fullmatch(r"(\d+)\.pth\.tar", path.name) for path in folder.glob("*.pth.tar"))
    return sorted(int(match[1]) for match in matches if match)


def resolve_step(folder: Path, step: int | str, script: str = "train.py") -> int:
    """Turn "latest" into a number; raises UserError listing the known steps when there is no such checkpoint, and
    naming the `script` that makes some where there is none."""
    steps = known_steps(folder)
    if not steps:
        raise UserError(f"no checkpoint in {folder}; train first: python {script} --dataset NAME")
    if step == LATEST:
        return steps[-1]
    if step not in steps:
        known = ", ".join(map(str, steps if len(steps) <= 12 else [*steps[:6], "…", *steps[-6:]]))
        raise UserError(f"no checkpoint of step {step} in {folder}; known: {known}; or use {LATEST}")
    return int(step)


def write_checkpoint(folder: Path, checkpoint: Checkpoint) -> Path:
    """Write atomically, as `write_content`."""
    path = checkpoint_path(folder, checkpoint.step)
    write_content(path, {"format": FORMAT, **vars(checkpoint)})
    return path


def write_content(path: Path, content: dict[str, Any]) -> None:
    """Write tensors and plain data atomically: a full disk or a kill leaves no half-written file and every older one as
    it was."""
    written = io.BytesIO()  # torch's own file writer may abort the process when the disk is full
    torch.save(content, written)
    with atomic_path(path) as temporary:
        temporary.write_bytes(written.getbuffer())


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint of ours or a published one of the original onto the CPU; nothing in it is run.

    Raises UserError naming the file when it is missing, truncated or something else.
    """
    content = load_content(path, "use another step")
    if not isinstance(content, dict) or not isinstance(content.get("model"), dict):
        raise UserError(f"{path} is not a checkpoint of this project: it has no model")
    if any(not isinstance(value, Tensor) for value in content["model"].values()):
        raise UserError(f"{path} is not a checkpoint of this project: its model holds more than tensors")
    refuse_odd(content["model"], path)
    if "format" not in content:
        optimizer = content.get("optimizer")
        return Checkpoint(0, content["model"], optimizer if isinstance(optimizer, dict) else {})
    version = content.pop("format")
    if type(version) is not int or version != FORMAT:
        raise UserError(f"{path} was written by another version of this project")
    try:
        return checked(Checkpoint(**content), path)
    except TypeError as error:
        raise UserError(f"{path} is not a checkpoint of this project: {error}") from error


def checked(checkpoint: Checkpoint, path: Path) -> Checkpoint:
    """`checkpoint` itself; raises UserError naming `path` and the part of it that is not what it should be."""
    for name in ("model", "optimizer", "scaler", "sampler", "running", "means", "config"):
        value = getattr(checkpoint, name)
        if not isinstance(value, dict) and not (name == "config" and value is None):
            raise UserError(f"{path} is not a checkpoint of this project: its {name} is {str(value)[:80]!r}")
    refuse_odd(checkpoint.running, path)
    numbers = (checkpoint.step, *checkpoint.sampler.values())
    if any(type(number) is not int or number < 0 for number in numbers):
        raise UserError(f"{path} is not a checkpoint of this project: its step is {str(checkpoint.step)[:80]!r}")
    for name in ("speakers", "emotions"):  # they become names of files
        problem = problem_of_map(getattr(checkpoint, name))
        if problem is not None:
            raise UserError(f"{path}: {name}: {problem}")
    symbols = checkpoint.symbols
    if not isinstance(symbols, list) or any(type(symbol) is not str for symbol in symbols):
        raise UserError(f"{path} is not a checkpoint of this project: its symbols are {str(symbols)[:80]}")
    return checkpoint
