"""Recordings and their alignments -> mel spectrograms, durations, speaker embeddings and the lists that training reads.

    python preprocess.py --dataset RAVDESS
    python preprocess.py --dataset RAVDESS --textgrids /path/to/TextGrid --jobs 4
    python preprocess.py --dataset RAVDESS --set preprocess.preprocessing.split.by=speaker \\
        --set 'preprocess.preprocessing.split.hold_out=[Actor_03]'

Reads raw_data/<DATASET> (prepare_align.py) and preprocessed_data/<DATASET>/TextGrid/<speaker>/<name>.TextGrid
(align.py); with --set model.alignment=learned no TextGrids are needed: the model will find the durations. An utterance
that cannot be used is left out and listed in skipped.json with the reason. A val.txt that you put into
preprocessed_data/<DATASET> (metadata lines, or a name per line) decides what validates; without one the configured
split does. Remove val.txt to go back to that.

Features whose recording, text, TextGrid and settings are as they were are kept; what is missing or changed is made,
what is gone is removed. A run that was broken off, however it was, goes on where it stopped. features.jsonl says what
each utterance's features were made from.

--cluster spreads the work over the workers of a Dask cluster (pip install -r requirements-cluster.txt) that see the
same files; start `dask scheduler` on one machine and `dask worker tcp://host:8786 --nworkers N --nthreads 1` on each:
    python preprocess.py --dataset LibriTTS --cluster tcp://host:8786

Next: python train.py --dataset RAVDESS
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from errors import UserError
from utils.cli import Parser, add_cluster_flag, add_config_flags, available_cpus, positive_int, run

if TYPE_CHECKING:
    from preprocessor.corpus_files import Summary


def build_parser() -> Parser:
    parser = Parser(__doc__)
    add_config_flags(parser)
    parser.add_argument(
        "--textgrids",
        type=Path,
        metavar="DIR",
        help="folder of the TextGrids (default: TextGrid/ of preprocessed_path)",
    )
    parser.add_argument(
        "--jobs", type=positive_int, default=available_cpus(), metavar="N", help="processes (default: all %(default)s)"
    )
    add_cluster_flag(parser)
    parser.add_argument("--force", action="store_true", help="make every feature again")
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    args = build_parser().parse_args(argv)
    from tqdm import tqdm

    from config import load_config
    from preprocessor.builder import build
    from preprocessor.corpus_files import finish
    from preprocessor.parallel import workers
    from preprocessor.plan import plan
    from text import check_languages
    from utils.lock import sole_user

    whole = load_config(args.dataset, args.overrides)
    config, learned = whole.preprocess, whole.model.alignment == "learned"
    if learned and args.textgrids is not None:
        raise UserError("--textgrids says nothing to model.alignment=learned, which needs no TextGrids; leave one out")
    check_languages(config.preprocessing.text.languages)
    output = Path(config.path.preprocessed_path)
    started = time.perf_counter()
    with sole_user(output, "choose another folder: --set preprocess.path.preprocessed_path=FOLDER"):
        made = plan(config, None if learned else args.textgrids or output / "TextGrid", whole.model.prosody.layer > 0)
        with (
            workers(args.cluster, output) as cluster,
            tqdm(total=made.count, unit="file", desc="preprocess", disable=None) as bar,
        ):
            for done in build(made, args.jobs, cluster, args.force):
                bar.update(done)
        summary = finish(made)
    _report(summary, output, time.perf_counter() - started)


def _report(summary: Summary, output: Path, elapsed: float) -> None:
    skipped = sum(summary.skipped.values())
    if skipped:
        reasons = ", ".join(f"{count} {kind}" for kind, count in Counter(summary.skipped).most_common())
        print(f"skipped {skipped:,} of {summary.kept + skipped:,}: {reasons}; listed in {output / 'skipped.json'}")
    if summary.given_missing:
        print(f"val.txt names {len(summary.given_missing)} that are not usable, such as {summary.given_missing[0]}")
    print(
        f"{summary.kept:,} utterances, {summary.seconds / 3600:.2f} h of speech, in {output}: {summary.train:,} train, "
        f"{summary.val:,} validate ({'given val.txt' if summary.given else 'split as configured'}); the longest has "
        f"{summary.longest} frames ({elapsed:.1f} s)"
    )


if __name__ == "__main__":
    run(main)
