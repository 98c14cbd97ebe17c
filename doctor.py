"""Look at everything a dataset's scripts will need, before they do: one line per check, and what mends a problem.

    python doctor.py --dataset RAVDESS
    python doctor.py --dataset RAVDESS --set preprocess.path.corpus_path=/big/disk/RAVDESS
    make doctor DATASET=RAVDESS

Python, packages against the pins, torch and its devices, disk space, permissions, corpus, recordings, features,
lexicon, vocoder, the weights that ship, the speaker embedder. It runs where nothing is installed, and changes nothing.
The lines begin with ok, note (in nobody's way) or problem; with a problem the exit code is 2, without one 0.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from utils.cli import Parser, add_config_flags, run

if TYPE_CHECKING:
    from preflight.findings import Finding

REMEDIES = {  # where a check's own words say only what is wrong
    "lexicon": "mend it, or do without: --set preprocess.path.lexicon_path=null",
    "vocoder": "name another file: --set model.vocoder.checkpoint=FILE",
}


def build_parser() -> Parser:
    """The command line."""
    parser = Parser(__doc__)
    add_config_flags(parser, default="RAVDESS")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Print what is found; 2 where there is a problem."""
    args = build_parser().parse_args(argv)
    from preflight.findings import NOTE, PROBLEM

    levels: Counter[str] = Counter()
    for finding in find(args.dataset, args.overrides):
        levels[finding.level] += 1
        print(finding, flush=True)
    problems, notes = levels[PROBLEM], levels[NOTE]
    print(f"{problems or 'no'} problem{'' if problems == 1 else 's'}, {notes or 'no'} note{'' if notes == 1 else 's'}")
    return 2 if problems else 0


def find(dataset: str, overrides: Sequence[str]) -> Iterator[Finding]:
    """All findings, in the order in which a user would have to mend them."""
    from preflight import environment
    from preflight.findings import NOTE, Finding
    from utils.packages import ROOT, differences

    yield from environment.check_python()
    yield from environment.check_packages()
    yield from environment.check_optional_packages()
    if any(each.found is None for each in differences()):
        yield from environment.check_disks({"train.path.ckpt_path": ROOT / "output"})
        yield Finding(NOTE, "everything else", "not looked at before all packages are there")
        return
    yield from find_configured(dataset, overrides)


def find_configured(dataset: str, overrides: Sequence[str]) -> Iterator[Finding]:
    """What depends on the configuration, which raises UserError where it is wrong itself."""
    from config import load_config
    from preflight import weights
    from preflight.environment import check_disks, check_torch, check_writable
    from preflight.findings import Check, guarded
    from preflight.stages import Stages

    config = load_config(dataset, overrides)
    flags = ["--dataset", dataset, *(part for override in overrides for part in ("--set", override))]
    written = {
        f"{file}.path.{key}": Path(getattr(getattr(config, file).path, key))
        for file, keys in {
            "preprocess": ("raw_path", "preprocessed_path"),
            "train": ("ckpt_path", "log_path", "result_path"),
        }.items()
        for key in keys
    }
    checks: dict[str, Check] = {
        "torch": check_torch,
        "disk": partial(check_disks, written),
        "permissions": partial(check_writable, written),
        "corpus": Stages(config, flags).check,
        "lexicon": partial(weights.check_pronunciations, config),
        "weights that ship": partial(weights.check_shipped, config),
        "vocoder": partial(weights.check_vocoder, config),
        "speaker embedder": partial(weights.check_embedder, config),
        "checkpoints": partial(weights.check_runs, config),
    }
    for what, check in checks.items():
        yield from guarded(what, check, REMEDIES.get(what, ""))


if __name__ == "__main__":
    run(main)
