"""Train the emotion encoder of a trained model anew, and nothing else; or see how well it hears strangers.

    python fit_emotion_encoder.py --dataset RAVDESS --restore_step latest
    python fit_emotion_encoder.py --dataset RAVDESS --restore_step latest --cross_validate 5   # writes nothing

Takes minutes on a CPU. The encoder becomes what model.emotion_token_layer says, so an older checkpoint gets a better
one without training the model again. Speech by label stays as it was; speech by reference follows what is heard.
"""

from __future__ import annotations

from collections.abc import Sequence

from utils.cli import Parser, add_checkpoint_flag, add_config_flags, add_device_flag, positive_int, run

STEPS = 3000


def build_parser() -> Parser:
    """The command line."""
    parser = Parser(__doc__)
    add_config_flags(parser)
    add_checkpoint_flag(parser)
    parser.add_argument("--steps", type=positive_int, default=STEPS, help=f"batches to learn from (default {STEPS})")
    parser.add_argument(
        "--cross_validate",
        type=positive_int,
        metavar="PARTS",
        help="leave every PARTS-th speaker out in turn, tell how well those are heard, write nothing",
    )
    add_device_flag(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Train, judge, write."""
    parser = build_parser()
    args = parser.parse_args(argv)
    if args.cross_validate == 1:
        parser.error("--cross_validate takes 2 or more parts")
    from tqdm import tqdm

    from config import load_config
    from errors import UserError
    from training.emotion_encoder import EmotionEncoderFit, Heard
    from utils.devices import choose_devices
    from utils.shipped import PRETRAINED

    if args.restore_step == PRETRAINED:
        raise UserError("the weights that ship are fitted; --restore_step takes a checkpoint of train.py or latest")
    config = load_config(args.dataset, args.overrides)
    fit = EmotionEncoderFit(config, args.restore_step, choose_devices(args.device)[0])
    with tqdm(unit="step", total=args.steps * (args.cross_validate or 1), disable=None) as bar:
        if args.cross_validate is None:
            path, heard = fit.write(args.steps, bar.update)
            bar.write(f"wrote the emotion encoder into {path}; val.txt: right for {heard}")
            return 0
        known = unknown = Heard(0, 0)
        for heard_known, heard_unknown in fit.strangers(args.cross_validate, args.steps, bar.update):
            bar.write(f"speakers known: {heard_known}, unknown: {heard_unknown}")
            known, unknown = known + heard_known, unknown + heard_unknown
        bar.write(f"all: speakers known: {known}, unknown: {unknown}")
    return 0


if __name__ == "__main__":
    run(main)
