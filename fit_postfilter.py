"""Give a trained model's mel spectrograms the movement of recordings: fit a postfilter after training.

    python fit_postfilter.py --dataset RAVDESS --restore_step latest

Compares the model's spectrograms of training utterances with the recordings' and writes a filter of a few thousand
numbers into the checkpoint; synthesize.py, evaluate.py and export.py use it from then on. Training may go on from such
a checkpoint: it leaves the filter out, since it no longer fits.
"""

from __future__ import annotations

from collections.abc import Sequence

from utils.cli import Parser, add_checkpoint_flag, add_config_flags, add_device_flag, run


def build_parser() -> Parser:
    """The command line."""
    parser = Parser(__doc__)
    add_config_flags(parser)
    add_checkpoint_flag(parser)
    add_device_flag(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Predict, compare, write."""
    args = build_parser().parse_args(argv)
    from tqdm import tqdm

    from config import load_config
    from errors import UserError
    from training.postfilter import fit_postfilter
    from utils.devices import choose_devices
    from utils.shipped import PRETRAINED

    if args.restore_step == PRETRAINED:
        raise UserError("the weights that ship are fitted; --restore_step takes a checkpoint of train.py or latest")
    config = load_config(args.dataset, args.overrides)
    with tqdm(unit="utterance", disable=None) as bar:
        path = fit_postfilter(config, args.restore_step, choose_devices(args.device)[0], bar.update)
    print(f"wrote the postfilter into {path}")
    return 0


if __name__ == "__main__":
    run(main)
