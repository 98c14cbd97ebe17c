"""Where a run starts, and the command lines that it tells the user. For every script that trains."""

from __future__ import annotations

import hashlib
import json
import os
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from errors import UserError
from utils.checkpoint import known_steps, resolve_step

START_FLAGS = ("--restore_step",)  # what says where a run starts, and takes a value
START_SWITCHES = ("--from_scratch",)


def starting_step(folder: Path, wanted: int | str | None, from_scratch: bool, script: str = "train.py") -> int | None:
    """Step to restore, or None for a new run, which never overwrites an old one's checkpoints."""
    if wanted is not None:
        return resolve_step(folder, wanted, script)
    steps = known_steps(folder)
    if steps and not from_scratch:
        raise UserError(
            f"{folder} holds checkpoints up to step {steps[-1]}: go on with --restore_step latest, "
            "or move them aside and start anew with --from_scratch"
        )
    return None


def move_aside(folder: Path) -> None:
    """Rename `folder` to the first free of folder.old-1, folder.old-2, …"""
    if folder.exists() and any(folder.iterdir()):
        number = 1
        while (old := folder.with_name(f"{folder.name}.old-{number}")).exists():
            number += 1
        folder.rename(old)
        print(f"moved {folder} to {old}")


def digest(content: dict[str, Any], files: Iterable[Path]) -> str:
    """Short hash of all that must be the same on every machine: a configuration, its paths aside, and the data."""
    content = {
        name: {key: value for key, value in part.items() if key != "path"} if isinstance(part, dict) else part
        for name, part in content.items()
    }
    held = [path.read_bytes() for path in files if path.is_file()]
    return hashlib.sha256(b"\0".join([json.dumps(content).encode(), *held])).hexdigest()[:12]


@dataclass(frozen=True)
class Commands:
    """The command lines of a run, as a user would type them."""

    anew: str  # starts this run anew
    onward: str  # the same, to which --restore_step is to be added

    @classmethod
    def of(cls, script: str, argv: Sequence[str], only_at_start: Sequence[str] = ()) -> Commands:
        """From the arguments given to `script`; of them `only_at_start`, flags with a value, say how a run begins."""
        return cls(
            _command(script, _without(argv, START_FLAGS)),
            _command(script, _without(argv, (*START_FLAGS, *only_at_start))),
        )

    def advice(self, folder: Path) -> str:
        """What to do after a run that saves in `folder` has broken off."""
        steps = known_steps(folder)
        if steps:
            return f"go on from step {steps[-1]} with: {self.onward} --restore_step latest"
        return f"nothing was saved yet; start again with: {self.anew}"


def _command(script: str, arguments: Sequence[str]) -> str:
    """Under torchrun the command line of one machine, its rendezvous left out."""
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        return shlex.join(["python", script, *arguments])
    nodes, processes = os.environ["GROUP_WORLD_SIZE"], os.environ["LOCAL_WORLD_SIZE"]
    several = f" --nnodes {nodes} …" if nodes != "1" else ""
    return f"torchrun{several} --nproc_per_node {processes} {shlex.join([script, *arguments])}"


def _without(argv: Sequence[str], flags: Sequence[str]) -> list[str]:
    """The arguments a user gave, without `flags`, their values, and the switches that say where to start."""
    kept, skip = [], False
    for argument in argv:
        if skip or argument in START_SWITCHES or argument.startswith(tuple(f"{flag}=" for flag in flags)):
            skip = False
        elif argument in flags:
            skip = True
        else:
            kept.append(argument)
    return kept


def check_same(path: Path, name: str, saved: dict[str, Any], own: dict[str, Any], ignore: Sequence[str] = ()) -> None:
    """Raise UserError naming checkpoint `path` and the first key of `name` whose saved value is not the present one."""
    differing = sorted(
        key for key in {*saved, *own} if key not in ignore and saved.get(key, "absent") != own.get(key, "absent")
    )
    if differing:
        key = differing[0]
        raise UserError(
            f"{path} was trained with other {name}: {key} is {saved.get(key, 'absent')} there and "
            f"{own.get(key, 'absent')} here; use its settings, or start anew with --from_scratch"
        )
