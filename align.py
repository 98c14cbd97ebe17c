"""Forced alignment: raw_data/{DATASET} (wav + lab) -> TextGrids under preprocessed_data/{DATASET}/TextGrid.

    python align.py --dataset RAVDESS
    python align.py --dataset RAVDESS --jobs 8 --force

Needs nothing but `pip install -r requirements.txt`: pocketsphinx brings its US-English model. Words are aligned to the
pronunciation that synthesize.py uses (preprocess.path.lexicon_path first, then CMUdict), so that training and synthesis
agree. TextGrids that exist are kept, whoever made them, unless --force is given; an interrupted run goes on where it
stopped. Recordings that cannot be aligned are left out and listed with the reason in align.json.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from errors import UserError
from utils.cli import Parser, add_config_flags, available_cpus, positive_int, run

if TYPE_CHECKING:
    from preprocessor.align_corpus import Report

SHOWN = 5  # failures named on the screen; all of them are in align.json


def build_parser() -> argparse.ArgumentParser:
    """Flags of this script."""
    parser = Parser(__doc__)
    add_config_flags(parser)
    parser.add_argument("--jobs", type=positive_int, default=available_cpus(), help="processes (default: all cores)")
    parser.add_argument("--force", action="store_true", help="replace TextGrids that exist")
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    """Align, write align.json, print the report."""
    args = build_parser().parse_args(argv)
    from config import load_config

    paths = load_config(args.dataset, args.overrides).preprocess.path
    raw_path, preprocessed_path = Path(paths.raw_path), Path(paths.preprocessed_path)
    began = time.monotonic()
    report = align_corpus(raw_path, preprocessed_path, paths.lexicon_path, args)
    print_report(report, preprocessed_path / "align.json", time.monotonic() - began, args.jobs)
    if not report.aligned:
        name, reason = next(iter(report.failed.items()))
        raise UserError(f"none of the {len(report.outcomes)} recordings could be aligned; {name}: {reason}")


def align_corpus(raw_path: Path, preprocessed_path: Path, lexicon_path: str | None, args: argparse.Namespace) -> Report:
    """Align what `raw_path` holds and write align.json. Raises UserError when it holds nothing."""
    from tqdm import tqdm

    from preprocessor.align_corpus import Report, align_all, find_tasks
    from utils.files import write_json

    tasks = find_tasks(raw_path, preprocessed_path / "TextGrid", lexicon_path, args.force)
    if not tasks:
        raise UserError(
            f"there are no wav files in {raw_path}/*/; run: python prepare_align.py --dataset {args.dataset}"
        )
    report = Report()
    for outcome in tqdm(align_all(tasks, args.jobs), total=len(tasks), desc="align", unit="file", disable=None):
        report.outcomes.append(outcome)
    write_json(preprocessed_path / "align.json", report.as_json())
    return report


def print_report(report: Report, json_path: Path, seconds: float, jobs: int) -> None:
    """A few lines: how many, how fast, how plausible, and who is missing."""
    from preprocessor.align_corpus import LONG_MS, SHORT_MS

    aligned, failed, facts = report.aligned, report.failed, report.as_json()
    kept = sum(outcome.kept for outcome in aligned)
    retried = sum(outcome.attempts > 1 for outcome in aligned)
    new = len(report.outcomes) - kept
    print(
        f"aligned {len(aligned)} of {len(report.outcomes)} ({kept} kept from before, {retried} only when slowed), "
        f"failed {len(failed)}; {seconds:.1f} s, {new / max(seconds, 1e-3) / jobs:.1f} files per second and process"
    )
    if aligned:
        print(
            f"phones: {facts['phones']}, under {SHORT_MS} ms: {facts[f'phones_under_{SHORT_MS}_ms']}, "
            f"over {LONG_MS} ms: {facts[f'phones_over_{LONG_MS}_ms']}; median distance from the loud part: "
            f"start {facts['median_start_error_ms']} ms, end {facts['median_end_error_ms']} ms"
        )
    for title, names in (("failed", failed), ("does not fit", report.misfits)):
        for name, reason in list(names.items())[:SHOWN]:
            print(f"{title}: {name}: {reason}")
        if len(names) > SHOWN:
            print(f"{title}: {len(names) - SHOWN} more, see {json_path}")


if __name__ == "__main__":
    run(main)
