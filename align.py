"""Forced alignment: raw_data/{DATASET} (wav + lab) -> TextGrids under preprocessed_data/{DATASET}/TextGrid.

    python align.py --dataset RAVDESS
    python align.py --dataset RAVDESS --plot 12              # then look at preprocessed_data/RAVDESS/align_plots
    python align.py --dataset RAVDESS --aligner none --textgrids /path/to/TextGrid
    python align.py --dataset RAVDESS --aligner mfa --jobs 8
    python align.py --dataset ESD_zh --aligner mfa --mfa_acoustic_model mandarin.zip
    python align.py --dataset LJSpeech --aligner learned --restore_step latest

pocketsphinx needs nothing but `pip install -r requirements.txt`, which brings its US-English model. mfa drives an
installed Montreal Forced Aligner. Both align words to the pronunciation that synthesize.py uses
(preprocess.path.lexicon_path first, then CMUdict), so that training and synthesis agree. none takes TextGrids made
elsewhere as they are; where their names lack a field, such as RAVDESS's statement, their phones say which recording
they belong to, and textgrids.json lists it. learned takes the aligner of a model that was trained with
--set model.alignment=learned.

TextGrids that exist are kept, whoever made them, unless --force is given; an interrupted run goes on where it stopped.
Recordings that cannot be aligned are left out and listed with the reason in align.json. --cluster tcp://host:8786 gives
pocketsphinx's work to the workers of a Dask cluster (python preprocess.py --help says how to start one).
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from errors import UserError
from utils.cli import Parser, add_cluster_flag, add_config_flags, available_cpus, positive_int, restore_step, run

if TYPE_CHECKING:
    from preprocessor.align_report import Outcome, Report
    from preprocessor.align_tasks import Task
    from preprocessor.textgrid_import import Import

SHOWN = 5  # failures named on the screen; all of them are in align.json
TEXTS = 4  # texts that TextGrids were told apart by, named on the screen


def build_parser() -> argparse.ArgumentParser:
    """Flags of this script."""
    parser = Parser(__doc__)
    add_config_flags(parser)
    parser.add_argument(
        "--aligner", choices=tuple(ALIGNERS), default="pocketsphinx", help="who aligns (default: %(default)s)"
    )
    parser.add_argument("--jobs", type=positive_int, default=available_cpus(), help="processes (default: all cores)")
    add_cluster_flag(parser)
    parser.add_argument("--force", action="store_true", help="replace TextGrids that exist")
    parser.add_argument(
        "--plot", type=positive_int, metavar="N", help="draw N alignments, and those that look odd, to align_plots/"
    )
    parser.add_argument(
        "--textgrids", type=Path, metavar="DIR", help="for none: their folder (default: preprocessed_path's TextGrid)"
    )
    parser.add_argument(
        "--restore_step", type=restore_step, metavar="STEP", help='for learned: the model\'s checkpoint, or "latest"'
    )
    parser.add_argument(
        "--mfa_acoustic_model", metavar="NAME|FILE", help="for mfa: its acoustic model (default: english_us_arpa)"
    )
    parser.add_argument(
        "--mfa_dictionary",
        metavar="NAME|FILE",
        help="for mfa: its dictionary (default: one is written with the pronunciations that synthesis uses)",
    )
    parser.add_argument(
        "--mfa_language", metavar="CODE", help="for mfa: align the recordings in this language (default: the first)"
    )
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    """Align, write align.json, print the report."""
    args = build_parser().parse_args(argv)
    refuse_useless_flags(args)
    from config import load_config
    from preprocessor.align_corpus import remove_leftovers
    from preprocessor.align_tasks import find_tasks
    from text import check_languages
    from utils.lock import sole_user

    config = load_config(args.dataset, args.overrides).preprocess
    raw_path, output = Path(config.path.raw_path), Path(config.path.preprocessed_path)
    languages = config.preprocessing.text.languages
    check_languages(languages)
    began = time.monotonic()
    args.mfa_language = args.mfa_language or languages[0]
    with sole_user(output, "choose another folder: --set preprocess.path.preprocessed_path=FOLDER"):
        tasks = find_tasks(raw_path, output / "TextGrid", languages, config.path.lexicon_path, args.force)
        if not tasks:
            raise UserError(
                f"there are no wav files in {raw_path}/*/; run: python prepare_align.py --dataset {args.dataset}"
            )
        remove_leftovers(output)
        report = write_report(ALIGNERS[args.aligner](tasks, output, args), len(tasks), output / "align.json")
        print_report(report, output / "align.json", time.monotonic() - began, args.jobs)
        if args.plot is not None:
            draw_plots(report, tasks, args.plot, output / "align_plots", args.jobs)
    if not report.aligned:
        name, reason = next(iter(report.failed.items()))
        raise UserError(f"none of the {len(report.outcomes)} recordings could be aligned; {name}: {reason}")


def refuse_useless_flags(args: argparse.Namespace) -> None:
    """Raise UserError for a flag that the chosen aligner would not look at."""
    own = {
        "pocketsphinx": ("cluster",),
        "none": ("textgrids",),
        "mfa": ("mfa_acoustic_model", "mfa_dictionary", "mfa_language"),
        "learned": ("restore_step",),
    }
    for aligner, flags in own.items():
        for flag in flags:
            if args.aligner != aligner and getattr(args, flag) is not None:
                raise UserError(f"--{flag} says nothing to --aligner {args.aligner}; give --aligner {aligner} with it")


def by_pocketsphinx(tasks: Sequence[Task], output: Path, args: argparse.Namespace) -> Iterator[Outcome]:
    """The model that the package brings."""
    from preprocessor.align_corpus import align_all
    from preprocessor.parallel import workers

    with workers(args.cluster, output) as cluster:
        yield from align_all(tasks, args.jobs, cluster)


def by_mfa(tasks: Sequence[Task], output: Path, args: argparse.Namespace) -> Iterator[Outcome]:
    """An installed Montreal Forced Aligner."""
    from preprocessor.align_corpus import look_at_all
    from preprocessor.mfa_aligner import Options, align

    options = Options(args.mfa_acoustic_model, args.mfa_dictionary, args.mfa_language, args.jobs)
    aligned = align(tasks, output, options)
    return look_at_all(tasks, aligned.fresh, aligned.failures, args.jobs)


def by_nobody(tasks: Sequence[Task], output: Path, args: argparse.Namespace) -> Iterator[Outcome]:
    """TextGrids made elsewhere."""
    from preprocessor.align_corpus import look_at_all
    from preprocessor.textgrid_import import import_textgrids
    from utils.files import write_json

    imported = import_textgrids(tasks, args.textgrids or output / "TextGrid", args.jobs)
    write_json(output / "textgrids.json", imported.as_json())
    print_import(imported, output / "textgrids.json")
    return look_at_all(tasks, imported.fresh, imported.failures, args.jobs)


def by_model(tasks: Sequence[Task], output: Path, args: argparse.Namespace) -> Iterator[Outcome]:
    """The aligner that a model of ours learned in training."""
    from tqdm import tqdm

    from acoustic import load_model
    from config import load_config
    from learned_alignment import LearnedAligner
    from preprocessor.align_corpus import look_at_all
    from utils.devices import choose_devices

    config = load_config(args.dataset, args.overrides)
    device = choose_devices("auto")[0]
    loaded = load_model(config, args.restore_step or "latest", device)
    aligner = LearnedAligner(loaded, config.preprocess.path.lexicon_path, device)
    todo = [task for task in tasks if task.force or not task.textgrid_path.exists()]
    work = tqdm(aligner.align_all(todo), total=len(todo), desc=f"step {loaded.step}", unit="file", disable=None)
    reasons = {task.label: reason for task, reason in work}
    failures = {label: reason for label, reason in reasons.items() if reason is not None}
    return look_at_all(tasks, [label for label in reasons if label not in failures], failures, args.jobs)


Aligner = Callable[["Sequence[Task]", Path, argparse.Namespace], "Iterator[Outcome]"]
ALIGNERS: dict[str, Aligner] = {"pocketsphinx": by_pocketsphinx, "mfa": by_mfa, "none": by_nobody, "learned": by_model}


def write_report(outcomes: Iterator[Outcome], count: int, path: Path) -> Report:
    """Collect the outcomes, which is the work itself, and write them to `path`."""
    from tqdm import tqdm

    from preprocessor.align_report import Report
    from utils.files import write_json

    report = Report()
    for outcome in tqdm(outcomes, total=count, desc="align", unit="file", disable=None):
        report.outcomes.append(outcome)
    write_json(path, report.as_json())
    return report


def print_import(imported: Import, json_path: Path) -> None:
    """Which TextGrids were taken, and what those with shortened names turned out to be."""
    count = len(imported.taken) + len(imported.left_out)
    print(f"took {len(imported.taken)} of {count} TextGrids in {imported.folder}; all of them: {json_path}")
    texts = imported.told_apart()
    if texts:
        counts = [f'{number} "{text}"' for text, number in list(texts.items())[:TEXTS]]
        more = f" and {len(texts) - TEXTS} texts more" if len(texts) > TEXTS else ""
        print(f"{sum(texts.values())} names lack a field; by their phones they are {', '.join(counts)}{more}")
    left_out = {str(path.relative_to(imported.folder)): reason for path, reason in sorted(imported.left_out.items())}
    print_some("left out", left_out, json_path)


def print_report(report: Report, json_path: Path, seconds: float, jobs: int) -> None:
    """A few lines: how many, how fast, how plausible, and who is missing."""
    from preprocessor.align_report import LONG_MS, SHORT_MS

    facts = report.as_json()
    kept = sum(outcome.kept for outcome, _ in report.aligned)
    new = len(report.outcomes) - kept
    print(
        f"aligned {len(report.aligned)} of {len(report.outcomes)} ({kept} kept from before, {len(report.retried)} "
        f"slowed down), failed {len(report.failed)}; {seconds:.1f} s, {new / max(seconds, 1e-3) / jobs:.1f} files per "
        "second and process"
    )
    if report.aligned:
        print(
            f"phones: {facts['phones']}, under {SHORT_MS} ms: {facts[f'phones_under_{SHORT_MS}_ms']}, "
            f"over {LONG_MS} ms: {facts[f'phones_over_{LONG_MS}_ms']}; median distance from the loud part: "
            f"start {facts['median_start_error_ms']} ms, end {facts['median_end_error_ms']} ms"
        )
    if report.loud_pauses:
        names = ", ".join(list(report.loud_pauses)[:SHOWN]) + (" …" if len(report.loud_pauses) > SHOWN else "")
        print(f"{len(report.loud_pauses)} have a pause as loud as speech, where a word may be lost (--plot): {names}")
    if facts["other_pronunciations"]:
        print(f"{facts['other_pronunciations']} have other phones for their words than synthesis uses")
    print_some("failed", report.failed, json_path)
    print_some("does not fit", report.misfits, json_path)


def print_some(title: str, reasons: dict[str, str], json_path: Path) -> None:
    """The first few, and where the others are."""
    for name, reason in list(reasons.items())[:SHOWN]:
        print(f"{title}: {name}: {reason}")
    if len(reasons) > SHOWN:
        print(f"{title}: {len(reasons) - SHOWN} more, see {json_path}")


def draw_plots(report: Report, tasks: Sequence[Task], count: int, folder: Path, jobs: int) -> None:
    """Pictures of some alignments."""
    from tqdm import tqdm

    from preprocessor.align_plot import choose, draw_all

    pictures = choose(report, tasks, count, folder)
    for _ in tqdm(draw_all(pictures, folder, jobs), total=len(pictures), desc="plot", unit="file", disable=None):
        pass
    print(f"drew {len(pictures)} alignments: {folder}/*.png")


if __name__ == "__main__":
    run(main)
