"""Make a checkpoint a folder that can be handed on and speaks without any training.

    python export.py --dataset RAVDESS --restore_step 2000
    python export.py --dataset RAVDESS --restore_step 2000 --replace \\
        --vocoder output/ckpt_vocoder/RAVDESS/generator_20000.pth.tar --evaluation output/eval/RAVDESS/2000/val

Writes the weights of the acoustic model and of a vocoder (safetensors), configuration, id maps, how they were trained,
the evaluation report, a model card and SHA-256 sums: at most 20 MB, the whole folder or nothing. synthesize.py speaks
with pretrained/<DATASET> where no --restore_step is given; train.py --restore_step pretrained goes on from it.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from errors import UserError
from utils.cli import Parser, add_checkpoint_flag, add_config_flags, run

if TYPE_CHECKING:
    from config import Config
    from utils.checkpoint import Checkpoint


def build_parser() -> Parser:
    """The command line."""
    parser = Parser(__doc__)
    add_config_flags(parser)
    add_checkpoint_flag(parser)
    parser.add_argument(
        "--vocoder", type=Path, metavar="FILE", help="a generator's checkpoint, its architecture's JSON beside it"
    )
    parser.add_argument(
        "--evaluation",
        type=Path,
        metavar="DIR",
        help="evaluate.py's report (default: that of this step, if there is one)",
    )
    parser.add_argument("--output", type=Path, metavar="DIR", help="default: pretrained/<DATASET>")
    parser.add_argument("--half", action="store_true", help="store float16: half the size, a little less exact")
    parser.add_argument("--replace", action="store_true", help="instead of the weights that are there")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Parse, check, write, read back."""
    args = build_parser().parse_args(argv)
    if args.restore_step == "pretrained":
        raise UserError("--restore_step pretrained is what export.py makes; name a checkpoint of your own")
    from config import load_config
    from shipping.folder import finish, whole_folder
    from shipping.weights import read_back
    from utils.checkpoint import checkpoint_path, read_checkpoint, resolve_step
    from utils.shipped import shipped_folder

    config = load_config(args.dataset, args.overrides)
    folder = Path(config.train.path.ckpt_path)
    path = checkpoint_path(folder, resolve_step(folder, args.restore_step))
    checkpoint = read_checkpoint(path)
    target = args.output or shipped_folder(config)
    with whole_folder(target, args.replace) as unfinished:
        fill(unfinished, checkpoint, path, config, args)
        size = finish(unfinished)
        read_back(unfinished, checkpoint, config, args.half)
    print(f"wrote {target}: {size / 1e6:.1f} MB, step {checkpoint.step}; read its README.md before you hand it on")
    return 0


def fill(folder: Path, checkpoint: Checkpoint, path: Path, config: Config, args: argparse.Namespace) -> None:
    """All files but the sums, from what was read from `path`."""
    from shipping.card import model_card
    from shipping.facts import REPORT, copy_report, find_report, read_report, training_facts, vocoder_facts
    from shipping.weights import write_acoustic, write_vocoder
    from utils.files import write_json, write_text
    from utils.shipped import TRAINING

    trained, parameters = write_acoustic(folder, checkpoint, config, path, args.half)
    facts: dict[str, Any] = training_facts(config, trained, path, checkpoint.step)
    facts["parameters"] = parameters
    facts["storage"] = "float16" if args.half else "float32"
    facts["speakers"] = sorted(checkpoint.speakers, key=lambda name: checkpoint.speakers[name])
    facts["emotions"] = sorted(checkpoint.emotions, key=lambda name: checkpoint.emotions[name])
    if args.vocoder is not None:
        name, description, size = write_vocoder(folder, args.vocoder, config, args.half)
        facts["vocoder"] = vocoder_facts(config, args.vocoder, description, name, size)
    write_json(folder / TRAINING, facts)
    report = find_report(args.evaluation, config.dataset, checkpoint.step)
    text = None
    if report is not None:
        copy_report(report, folder)
        text = read_report(folder / REPORT / "report.md")
    else:
        print("no evaluation report goes along: run evaluate.py first, or name its folder with --evaluation")
    write_text(folder / "README.md", model_card(facts, trained.preprocess.preprocessing.text.languages, text))


if __name__ == "__main__":
    run(main)
