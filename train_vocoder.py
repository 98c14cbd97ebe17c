"""Train a vocoder on a dataset's recordings.

    python train_vocoder.py --dataset RAVDESS                              # the Fourier head, meant for CPUs
    python train_vocoder.py --dataset RAVDESS --set vocoder.architecture=hifigan_v2
    python train_vocoder.py --dataset RAVDESS --restore_step latest        # go on exactly where a run stopped
    python train_vocoder.py --dataset RAVDESS --initialise generator.pth.tar
    python train_vocoder.py --dataset RAVDESS --set vocoder.adversarial_from_step=0
    python train_vocoder.py --dataset RAVDESS --restore_step latest --finetune_from_step 20000
    torchrun --nproc_per_node 4 train_vocoder.py --dataset RAVDESS --use_amp

Needs what prepare_align.py and preprocess.py make: recordings, train.txt, val.txt. Training states go to
output/ckpt_vocoder/<DATASET>/<step>.pth.tar, and beside them generator_<step>.pth.tar with its JSON, with which
synthesize.py speaks (--set model.vocoder.checkpoint=FILE); curves go to output/log_vocoder/<DATASET>. Ctrl-C finishes
the step, saves, and says how to go on.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from errors import UserError
from utils.cli import (
    Parser,
    add_config_flags,
    add_training_flags,
    check_training_flags,
    is_first_process,
    restore_step,
    run,
)

if TYPE_CHECKING:
    from config import Config
    from training.processes import Process
    from vocoder_training.trainer import VocoderTrainer

METADATA = ("train.txt", "val.txt")
OTHER_FOLDER = "choose another folder: --set vocoder.path.ckpt_path=FOLDER"


@dataclass(frozen=True)
class Wish:
    """What the command line asks for, beside the configuration."""

    use_amp: bool
    start: int | None  # checkpoint to go on from
    initial: Path | None  # weights to begin with
    finetune: int | str | None  # checkpoint of the acoustic model whose mels to learn from
    textgrids: Path  # its alignments
    onward: str  # the command that goes on, but for --restore_step


def build_parser() -> Parser:
    """The command line."""
    parser = Parser(__doc__)
    add_config_flags(parser)
    add_training_flags(parser, "vocoder.optimizer.amp_dtype")
    parser.add_argument(
        "--initialise", type=Path, metavar="FILE", help="begin with a generator's weights instead of random ones"
    )
    parser.add_argument(
        "--finetune_from_step",
        type=restore_step,
        metavar="STEP",
        help='learn from the mels that this checkpoint of train.py (or "latest") predicts, not from the recordings\'',
    )
    parser.add_argument(
        "--textgrids",
        type=Path,
        metavar="FOLDER",
        help="for fine-tuning: the alignments, where preprocess.py was given some (default: TextGrid beside train.txt)",
    )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Parse, decide where to start, train."""
    args = build_parser().parse_args(argv)
    check_training_flags(args)
    if args.restore_step is not None and args.initialise is not None:
        raise UserError("--restore_step and --initialise exclude each other: a checkpoint has weights of its own")
    from config import load_config
    from training.processes import launch
    from training.start import Commands, starting_step
    from utils.lock import refuse_if_used

    config = load_config(args.dataset, args.overrides)
    folder = Path(config.vocoder.path.ckpt_path)
    if is_first_process():
        refuse_if_used(folder, OTHER_FOLDER)
    start = starting_step(folder, args.restore_step, args.from_scratch, "train_vocoder.py")
    commands = Commands.of("train_vocoder.py", sys.argv[1:] if argv is None else argv, only_at_start=["--initialise"])
    textgrids = args.textgrids or Path(config.preprocess.path.preprocessed_path) / "TextGrid"
    wish = Wish(args.use_amp, start, args.initialise, args.finetune_from_step, textgrids, commands.onward)
    timeout, advice = config.vocoder.distributed_timeout, partial(commands.advice, folder)
    return launch(work, args.device, config, wish, timeout=timeout, advice=advice)


def work(process: Process, config: Config, wish: Wish) -> int:
    """One process of the run; returns the exit code."""
    from training.loop import say_end
    from training.precision import say_precision
    from training.signals import StopSignal
    from training.start import digest, move_aside
    from utils.files import remove_abandoned
    from utils.lock import sole_user
    from vocoder_training.data import find_data
    from vocoder_training.trainer import VocoderTrainer

    root = Path(config.preprocess.path.preprocessed_path)
    process.must_agree("the step to start from", str(wish.start))
    process.must_agree(
        "the digest of configuration and utterances", digest(config.to_dict(), [root / name for name in METADATA])
    )
    folder = Path(config.vocoder.path.ckpt_path)
    alone = sole_user(folder, OTHER_FOLDER) if process.is_first else nullcontext()
    with alone, StopSignal() as stop:
        if process.is_first:
            remove_abandoned(folder, alone=True)
            remove_abandoned(Path(config.vocoder.path.pitch_path), below=True)  # a folder per speaker
        data = find_data(config)
        if wish.finetune is not None:
            from vocoder_training.predicted import with_predicted_mels

            data = with_predicted_mels(data, config, wish.finetune, wish.textgrids, process)
        trainer = VocoderTrainer(config, data, process, wish.use_amp, wish.start, wish.initial)
        if process.is_first:
            if wish.start is None:
                move_aside(folder)
                move_aside(Path(config.vocoder.path.log_path))
            _announce(trainer)
            say_precision(wish.use_amp, trainer.precision, "vocoder.optimizer.amp_dtype")
        saved = trainer.run(stop)
        if process.is_first:
            speak = f"python synthesize.py --dataset {config.dataset} --set model.vocoder.checkpoint={saved} …"
            say_end(trainer, saved, wish.onward, stop.number, "vocoder.step.total_step", f"speak with it: {speak}")
        return stop.exit_code


def _announce(trainer: VocoderTrainer) -> None:
    state, process, settings = trainer.state, trainer.process, trainer.settings
    sizes = [sum(each.numel() for each in module.parameters()) for module in (state.trainee, state.jury)]
    predicted = " on predicted mels" if trainer.data.train_mels is not None else ""
    print(
        f"{settings.architecture}: {sizes[0]:,} parameters, discriminators {sizes[1]:,} from step "
        f"{settings.adversarial_from_step}, on {process.world} x {process.device.type} ({trainer.precision.name}); "
        f"{len(trainer.data.train)} utterances to train{predicted}, {len(trainer.data.val)} to validate; "
        f"from step {state.step}"
    )


if __name__ == "__main__":
    run(main, knows_sigterm=True)
