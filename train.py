"""Train the acoustic model.

    python train.py --dataset RAVDESS                              # CPU, one GPU, or every visible GPU
    python train.py --dataset RAVDESS --use_amp                    # bfloat16, or float16 with loss scaling
    python train.py --dataset RAVDESS --restore_step latest        # go on exactly where a run stopped
    python train.py --dataset RAVDESS --restore_step pretrained    # go on from the weights that ship
    python train.py --dataset RAVDESS --set train.optimizer.batch_size=16
    torchrun --nproc_per_node 4 train.py --dataset RAVDESS         # the same, started by torchrun (several nodes, too)

Needs what preprocess.py makes. Checkpoints go to output/ckpt/<DATASET>/<step>.pth.tar, curves to output/log/<DATASET>
(tensorboard --logdir output/log). Ctrl-C finishes the step, saves, and says how to go on.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from utils.cli import Parser, add_config_flags, add_training_flags, check_training_flags, is_first_process, run

if TYPE_CHECKING:
    from config import Config
    from training.processes import Process

METADATA = ("train.txt", "speakers.json", "emotions.json")
OTHER_FOLDER = "choose another folder: --set train.path.ckpt_path=FOLDER"


def build_parser() -> Parser:
    """The command line."""
    parser = Parser(__doc__)
    add_config_flags(parser)
    add_training_flags(parser, "train.optimizer.amp_dtype")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Parse, decide where to start, train."""
    args = build_parser().parse_args(argv)
    check_training_flags(args)
    from config import load_config
    from text import check_languages
    from training.processes import launch
    from training.start import Commands, starting_step
    from utils.lock import refuse_if_used
    from utils.shipped import PRETRAINED, import_checkpoint

    config = load_config(args.dataset, args.overrides)
    check_languages(config.preprocess.preprocessing.text.languages)
    folder = Path(config.train.path.ckpt_path)
    if is_first_process():
        refuse_if_used(folder, OTHER_FOLDER)
    shipped = args.restore_step == PRETRAINED
    start = import_checkpoint(config) if shipped else starting_step(folder, args.restore_step, args.from_scratch)
    commands = Commands.of("train.py", sys.argv[1:] if argv is None else argv)
    advice = partial(commands.advice, folder)
    timeout = config.train.distributed_timeout
    return launch(work, args.device, config, args.use_amp, start, commands.onward, timeout=timeout, advice=advice)


def work(process: Process, config: Config, use_amp: bool, start: int | None, command: str) -> int:
    """One process of the run; returns the exit code."""
    process.must_agree("the step to start from", str(start))
    process.must_agree("the digest of configuration and utterances", _digest(config))
    from model import count_parameters
    from training.loop import say_end
    from training.precision import say_precision
    from training.signals import StopSignal
    from training.start import move_aside
    from training.trainer import Trainer
    from utils.files import remove_abandoned
    from utils.lock import sole_user

    folder = Path(config.train.path.ckpt_path)
    alone = sole_user(folder, OTHER_FOLDER) if process.is_first else nullcontext()
    with alone, StopSignal() as stop:
        if process.is_first:
            remove_abandoned(folder, alone=True)
        trainer = Trainer(config, process, use_amp, start)
        if process.is_first:
            if start is None:
                move_aside(folder)
                move_aside(Path(config.train.path.log_path))
            _announce(trainer.state, process, count_parameters(trainer.state.model), trainer.precision)
            say_precision(use_amp, trainer.precision, "train.optimizer.amp_dtype")
        saved = trainer.run(stop)
        if process.is_first:
            speak = (
                f"python synthesize.py --dataset {config.dataset} --restore_step {trainer.step} --mode single --text …"
            )
            say_end(trainer, saved, command, stop.number, "train.step.total_step", f"listen with: {speak}")
        return stop.exit_code


def _announce(state, process: Process, parameters: int, precision) -> None:  # type: ignore[no-untyped-def]
    unlabelled = len(state.train_set.unlabelled)
    print(
        f"{parameters:,} parameters on {process.world} x {process.device.type} ({precision.name}); "
        f"{len(state.train_set)} utterances to train ({unlabelled} unlabelled), {len(state.val_set)} to validate; "
        f"from step {state.step}"
    )


def _digest(config: Config) -> str:
    from training.start import digest

    root = Path(config.preprocess.path.preprocessed_path)
    return digest(config.to_dict(), [root / name for name in METADATA])


if __name__ == "__main__":
    run(main, knows_sigterm=True)
