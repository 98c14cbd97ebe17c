"""Train what a Fourier vocoder hears pitch with, and nothing else: its copies of recordings follow their pitch better.

    python fit_pitch.py --dataset RAVDESS --vocoder output/ckpt_vocoder/RAVDESS/generator_5000.pth.tar
    python fit_pitch.py --dataset RAVDESS --vocoder pretrained/RAVDESS/vocoder.safetensors --output my_vocoder.pth.tar

Takes a quarter of an hour on one core. Learns from the recordings of train.txt, played faster and slower; says how
often it is wrong about those of val.txt, before and after.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from utils.cli import Parser, add_config_flags, add_device_flag, positive_int, run

STEPS = 8000


def build_parser() -> Parser:
    """The command line."""
    parser = Parser(__doc__)
    add_config_flags(parser)
    parser.add_argument("--vocoder", required=True, type=Path, metavar="FILE", help="weights of a Fourier vocoder")
    parser.add_argument("--output", type=Path, metavar="FILE.pth.tar", help="what to write (default: over --vocoder)")
    parser.add_argument("--steps", type=positive_int, default=STEPS, help=f"batches to learn from (default {STEPS})")
    add_device_flag(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Train, judge, write."""
    parser = build_parser()
    args = parser.parse_args(argv)
    output = args.output or args.vocoder
    if not output.name.endswith(".pth.tar"):
        parser.error(f"writes .pth.tar files, not {output}; name one: --output FILE.pth.tar")
    from tqdm import tqdm

    from config import load_config
    from utils.devices import choose_devices
    from vocoder_training.pitch_fit import PitchFit

    config = load_config(args.dataset, args.overrides)
    fit = PitchFit(config, args.vocoder, choose_devices(args.device)[0])
    with tqdm(unit="step", total=args.steps, disable=None) as bar:
        bar.write(f"before: {fit.judge()}")
        fit.fit(args.steps, bar.update)
        fit.write(output)
        bar.write(f"after: {fit.judge()}; wrote {output}")
    return 0


if __name__ == "__main__":
    run(main)
