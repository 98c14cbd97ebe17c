"""Measure what everything costs, and how the cost grows with its input.

    python benchmark.py                                    # everything: a quarter of an hour on two cores
    python benchmark.py --only step acoustic vocoder       # some groups
    python benchmark.py --only gpu                         # training on a GPU, beside the original's way of working
    python benchmark.py --quick                            # few rounds, small inputs: whether it works, no figures
    python benchmark.py --only step --compare output/bench/2026-01-31T120000/bench.json
    python benchmark.py --compare before.json after.json   # two earlier runs; nothing is measured

Prints one table and writes it to output/bench/<time>/ as bench.md and bench.json, with a plot per growth. Uses the
recordings below RAVDESS_DATA_DIR (default ../shared/data: RAVDESS, TextGrid) or else a generated sample corpus. Where
BENCH_DIR (default ../shared/bench) has calibrate.py, times are also given in its unit, which makes figures of different
or busy machines comparable. Ctrl-C keeps what was measured; a group that fails is reported (exit code 1), the others
go on.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from errors import UserError
from utils.cli import Parser, available_cpus, positive_int, run

if TYPE_CHECKING:
    from benchmarks.rows import Report


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    from benchmarks.jobs import GROUPS

    parser = Parser(__doc__)
    parser.epilog = "groups:\n" + "\n".join(f"  {name:12}{job.about}" for name, job in GROUPS.items())
    parser.add_argument(
        "--only", nargs="+", choices=list(GROUPS), default=list(GROUPS), metavar="GROUP", help="see the list below"
    )
    parser.add_argument("--quick", action="store_true", help="few rounds and small inputs: figures mean little")
    parser.add_argument(
        "--threads", type=positive_int, default=available_cpus(), metavar="N", help="of PyTorch (default: %(default)s)"
    )
    parser.add_argument("--device", default="cpu", help="of models: cpu (default), cuda, cuda:N, auto")
    parser.add_argument("--output", type=Path, metavar="DIR", help="default: output/bench/<time>")
    parser.add_argument(
        "--compare",
        type=Path,
        nargs="+",
        metavar="JSON",
        help="also print this run beside an earlier one's bench.json; with two files nothing is measured",
    )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, write, print."""
    from benchmarks.report import comparison, markdown
    from benchmarks.rows import Report

    args = build_parser().parse_args(argv)
    earlier = [Report.load(path) for path in args.compare or []]
    if len(earlier) > 2:
        raise UserError(f"--compare takes one or two files, not {len(earlier)}")
    if len(earlier) == 2:
        print(comparison(*earlier), end="")
        return 0
    output = args.output or Path("output/bench") / time.strftime("%Y-%m-%dT%H%M%S")
    report, interrupted = measure(args, output)
    table = markdown(report)
    write(report, table, output)
    print(table, end="")
    if earlier:
        print("\n" + comparison(earlier[0], report), end="")
    print(f"\nwrote {output}/bench.md, bench.json" + (" and plots" if report.growths else ""))
    return 130 if interrupted else int(bool(report.failed))


def measure(args: argparse.Namespace, output: Path) -> tuple[Report, bool]:
    """Run the groups; the report, and whether Ctrl-C ended it early."""
    from benchmarks.bench import Settings
    from benchmarks.inputs import described
    from benchmarks.jobs import StoppedError, run_jobs
    from benchmarks.machine import about
    from benchmarks.rows import Report

    output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="benchmark-") as work:
        settings = Settings(args.quick, args.threads, args.device, Path(work), output.resolve())
        report = Report(about={**about(args.threads), "data": described(settings)}, quick=args.quick)
        if args.quick:
            report.about["quick"] = f"few rounds, batches of {settings.batch_size}: these figures mean little"
        try:
            run_jobs(args.only, settings, report, say)
        except (StoppedError, KeyboardInterrupt):
            say("interrupted; what was measured is kept")
            return report, True
    return report, False


def write(report: Report, table: str, output: Path) -> None:
    """bench.json, bench.md, and a plot per growth."""
    from benchmarks.report import file_name, plot_growth
    from utils.files import write_text

    report.save(output / "bench.json")
    write_text(output / "bench.md", table)
    for growth in report.growths:
        plot_growth(growth, output / file_name(growth))


def say(line: str) -> None:
    """Progress."""
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    run(main)
