"""Train the acoustic model.

    python train.py --dataset RAVDESS                              # CPU, one GPU, or every visible GPU
    python train.py --dataset RAVDESS --use_amp                    # bfloat16, or float16 with loss scaling
    python train.py --dataset RAVDESS --restore_step latest        # go on exactly where a run stopped
    python train.py --dataset RAVDESS --set train.optimizer.batch_size=16
    torchrun --nproc_per_node 4 train.py --dataset RAVDESS         # the same, started by torchrun (several nodes, too)

Needs what preprocess.py makes. Checkpoints go to output/ckpt/<DATASET>/<step>.pth.tar, curves to output/log/<DATASET>
(tensorboard --logdir output/log). Ctrl-C finishes the step, saves, and says how to go on.
"""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from errors import UserError
from utils.cli import Parser, add_config_flags, restore_step, run

if TYPE_CHECKING:
    from config import Config
    from training.processes import Process

METADATA = ("train.txt", "speakers.json", "emotions.json")


def build_parser() -> Parser:
    """The command line."""
    parser = Parser(__doc__)
    add_config_flags(parser)
    parser.add_argument("--use_amp", action="store_true", help="automatic mixed precision (train.optimizer.amp_dtype)")
    parser.add_argument(
        "--restore_step", type=restore_step, metavar="STEP", help='go on from this checkpoint, or "latest"'
    )
    parser.add_argument(
        "--from_scratch",
        action="store_true",
        help="start anew although checkpoints exist; the old checkpoints and logs are moved aside, not deleted",
    )
    parser.add_argument(
        "--device", default="auto", help="auto (every visible GPU, else CPU), cpu, cuda, cuda:N, or cpu:N (N processes)"
    )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Parse, decide where to start, train."""
    args = build_parser().parse_args(argv)
    if args.restore_step is not None and args.from_scratch:
        raise UserError("--restore_step and --from_scratch exclude each other")
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")  # when a process is lost, we tell it in one line
    from config import load_config
    from text import check_languages
    from training.processes import launch

    config = load_config(args.dataset, args.overrides)
    check_languages(config.preprocess.preprocessing.text.languages)
    start = _starting_step(config, args.restore_step, args.from_scratch)
    command = _command(_without_start(sys.argv[1:] if argv is None else list(argv)))
    advice = partial(_how_to_go_on, config, command)
    timeout = config.train.distributed_timeout
    return launch(work, args.device, config, args.use_amp, start, command, timeout=timeout, advice=advice)


def _starting_step(config: Config, wanted: int | str | None, from_scratch: bool) -> int | None:
    """Step to restore, or None for a new run, which never overwrites an old one's checkpoints."""
    from utils.checkpoint import known_steps, resolve_step

    folder = Path(config.train.path.ckpt_path)
    if wanted is not None:
        return resolve_step(folder, wanted)
    steps = known_steps(folder)
    if steps and not from_scratch:
        raise UserError(
            f"{folder} holds checkpoints up to step {steps[-1]}: go on with --restore_step latest, "
            "or move them aside and start anew with --from_scratch"
        )
    return None


def move_aside(folder: Path) -> None:
    """Rename `folder` to the first free of folder.old-1, folder.old-2, …"""
    if folder.exists():
        number = 1
        while (old := folder.with_name(f"{folder.name}.old-{number}")).exists():
            number += 1
        folder.rename(old)
        print(f"moved {folder} to {old}")


def work(process: Process, config: Config, use_amp: bool, start: int | None, command: str) -> int:
    """One process of the run; returns the exit code."""
    process.must_agree("the step to start from", str(start))
    process.must_agree("the digest of configuration and utterances", _digest(config))
    from model import count_parameters
    from training.signals import StopSignal
    from training.trainer import Trainer

    with StopSignal() as stop:
        trainer = Trainer(config, process, use_amp, start)
        if process.is_first:
            if start is None:
                move_aside(Path(config.train.path.ckpt_path))
                move_aside(Path(config.train.path.log_path))
            _announce(trainer.state, process, count_parameters(trainer.state.model), trainer.precision.dtype)
            if use_amp and trainer.precision.dtype.itemsize == 4:
                print(
                    "--use_amp: this CPU has no fast bfloat16 arithmetic, so float32 it is (train.optimizer.amp_dtype)"
                )
        saved = trainer.run(stop)
        if process.is_first:
            _say_end(config, trainer.state.step, saved, command, stop.number)
        return stop.exit_code


def _announce(state, process: Process, parameters: int, dtype) -> None:  # type: ignore[no-untyped-def]
    unlabelled = len(state.train_set.unlabelled)
    print(
        f"{parameters:,} parameters on {process.world} x {process.device.type} ({str(dtype).removeprefix('torch.')}); "
        f"{len(state.train_set)} utterances to train ({unlabelled} unlabelled), {len(state.val_set)} to validate; "
        f"from step {state.step}"
    )


def _digest(config: Config) -> str:
    """Short hash of all that must be the same on every machine: the configuration, its paths aside, and the data."""
    content = config.to_dict()
    for part in content.values():
        if isinstance(part, dict):
            part.pop("path", None)
    root = Path(config.preprocess.path.preprocessed_path)
    files = [path.read_bytes() for name in METADATA if (path := root / name).is_file()]
    return hashlib.sha256(b"\0".join([json.dumps(content).encode(), *files])).hexdigest()[:12]


def _say_end(config: Config, step: int, saved: Path | None, command: str, signal_number: int) -> None:
    if saved is None:
        print(f"nothing to do: step {step} of {config.train.step.total_step} is reached (train.step.total_step)")
    elif signal_number:
        print(f"stopped at step {step}, saved {saved}; go on with: {command} --restore_step {step}")
    else:
        speak = f"python synthesize.py --dataset {config.dataset} --restore_step {step} --mode single --text …"
        print(f"done at step {step}, saved {saved}; listen with: {speak}")


def _how_to_go_on(config: Config, command: str) -> str:
    """What to do after a run has broken off."""
    from utils.checkpoint import known_steps

    steps = known_steps(Path(config.train.path.ckpt_path))
    if steps:
        return f"go on from step {steps[-1]} with: {command} --restore_step latest"
    return f"nothing was saved yet; start again with: {command}"


def _command(arguments: list[str]) -> str:
    """The command line that starts this run anew; under torchrun that of one machine, its rendezvous left out."""
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        return shlex.join(["python", "train.py", *arguments])
    nodes, processes = os.environ["GROUP_WORLD_SIZE"], os.environ["LOCAL_WORLD_SIZE"]
    several = f" --nnodes {nodes} …" if nodes != "1" else ""
    return f"torchrun{several} --nproc_per_node {processes} {shlex.join(['train.py', *arguments])}"


def _without_start(argv: list[str]) -> list[str]:
    """The arguments a user gave, without --restore_step and --from_scratch."""
    kept, skip = [], False
    for argument in argv:
        if skip or argument == "--from_scratch" or argument.startswith("--restore_step="):
            skip = False
        elif argument == "--restore_step":
            skip = True
        else:
            kept.append(argument)
    return kept


if __name__ == "__main__":
    run(main)
