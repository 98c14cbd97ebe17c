"""A small corpus of generated speech in RAVDESS's form: 4 speakers, 8 emotions, 240 recordings, in seconds.

    python make_sample_corpus.py --output data/Sample
    python prepare_align.py --dataset Sample

Needs no download (espeak-ng comes with requirements.txt). It is for trying the pipeline out; for results use real
recordings. Nothing is done when the corpus is there already.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from utils.cli import Parser, run


def build_parser() -> argparse.ArgumentParser:
    """Flags of this script."""
    parser = Parser(__doc__)
    parser.add_argument("--output", type=Path, default=Path("data/Sample"), metavar="DIR", help="default: %(default)s")
    parser.add_argument("--force", action="store_true", help="make every file again")
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    """Make the corpus unless it is there."""
    args = build_parser().parse_args(argv)
    from preprocessor.sample_corpus import VOICES, is_complete, make_sample_corpus

    if is_complete(args.output) and not args.force:
        print(f"{args.output} is complete; nothing to do")
        return
    files = sum(1 for _ in make_sample_corpus(args.output))
    print(
        f"wrote {files} recordings of {len(VOICES)} speakers to {args.output}; next: prepare_align.py --dataset Sample"
    )


if __name__ == "__main__":
    run(main)
