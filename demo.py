"""Hear it: one sentence in every emotion, by a woman and by a man, with the weights that ship.

    python demo.py
    python demo.py --text "Dogs are sitting by the door" --speakers Actor_05 Actor_12

No data and no training are needed. Writes a wav for every speaker and emotion, and one picture for every speaker, to
output/demo/. The whole way from recordings to speech is pipeline.py.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from errors import UserError
from utils.cli import Parser, add_config_flags, run
from utils.stages import stage

if TYPE_CHECKING:
    from config import Config

TEXT = "Kids are talking by the door"
OUTPUT = Path("output/demo")


def build_parser() -> Parser:
    """The command line."""
    parser = Parser(__doc__)
    add_config_flags(parser, default="RAVDESS")
    parser.add_argument("--text", default=TEXT, help=f"what to say (default: {TEXT})")
    parser.add_argument(
        "--speakers", nargs="+", metavar="NAME", help="of the training data (default: the first woman, the first man)"
    )
    parser.add_argument("--output", type=Path, default=OUTPUT, metavar="DIR", help=f"default: {OUTPUT}")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Every speaker, every emotion."""
    args = build_parser().parse_args(argv)
    begin = time.monotonic()
    from config import load_config

    speakers = args.speakers or choose_speakers(load_config(args.dataset, args.overrides))
    output = args.output.resolve()
    common = ["--dataset", args.dataset, *(part for override in args.overrides for part in ("--set", override))]
    common += ["--restore_step", "pretrained", "--mode", "single", "--text", args.text, "--emotion_id", "all"]
    for speaker in speakers:
        flags = ["--speaker_id", speaker, "--name", speaker, "--output", str(output)]
        stage(f"{speaker}, every emotion", ["synthesize.py", *common, *flags])
    pictures = ", ".join(str(args.output / f"{speaker}.png") for speaker in speakers)
    print(
        f"\nDone in {time.monotonic() - begin:.0f} s. Listen: {args.output}/*.wav\nLook: {pictures}\n"
        'Next: python synthesize.py --mode single --text "…" --speaker_id Actor_01 --emotion_id happy\n'
        "How such weights come about: make pipeline"
    )
    return 0


def choose_speakers(config: Config) -> list[str]:
    """The first woman and the first man among the speakers of the shipped weights; without knowing, the first two.

    Raises UserError that says what to run instead where no weights ship.
    """
    from utils.shipped import read_training, shipped_folder

    folder = shipped_folder(config)
    if not folder.is_dir():
        raise UserError(
            f"there are no shipped weights in {folder}; run the whole way from recordings to speech instead: "
            "make pipeline (python pipeline.py), a few minutes; or make them from a checkpoint: python export.py --help"
        )
    speakers = read_training(folder)["data"]["speakers"]
    found = [next((name for name in speakers if speakers[name]["sex"] == sex), None) for sex in ("female", "male")]
    return [name for name in found if name is not None] if all(found) else list(speakers)[:2]


if __name__ == "__main__":
    run(main)
