"""Recordings of a corpus -> mono 16-bit WAV at the model's sampling rate, and their texts, for alignment.

    python prepare_align.py --dataset RAVDESS
    python prepare_align.py --dataset RAVDESS --corpus_path /path/to/RAVDESS --jobs 4
    python prepare_align.py --dataset RAVDESS --set preprocess.preprocessing.audio.normalization=utterance_peak
    python prepare_align.py --dataset RAVDESS_LJSpeech --set preprocess.path.corpus_paths.LJSpeech=/path/to/LJSpeech-1.1

Writes raw_data/<DATASET>/<speaker>/<name>.wav and .lab. Finished files are kept on the next run; changed recordings or
settings are noticed and made again. A wrong file name, a recording that is there twice, or a missing or empty corpus
stops everything before the first file is written. A recording that is no audio, empty, silent or holds NaN stops its
speaker (exit code 2; the other speakers are finished), or with --skip_bad is left out and listed in skipped.json.

A dataset that joins others (preprocess.datasets) reads each one's corpus as its own configuration says. Speakers that
occur in several get the dataset's name in front.

--cluster spreads the work over the workers of a Dask cluster (pip install -r requirements-cluster.txt) that see the
same files; start `dask scheduler` on one machine and `dask worker tcp://host:8786 --nworkers N --nthreads 1` on each:
    python prepare_align.py --dataset LibriTTS --cluster tcp://host:8786

Next: python align.py --dataset RAVDESS (or copy TextGrids), then python preprocess.py --dataset RAVDESS
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from errors import UserError
from utils.cli import Parser, add_cluster_flag, add_config_flags, available_cpus, positive_int, run

if TYPE_CHECKING:
    from preprocessor.prepare import Prepared

CORPUS_PATH = "preprocess.path.corpus_path="


def build_parser() -> Parser:
    parser = Parser(__doc__)
    add_config_flags(parser)
    parser.add_argument(
        "--corpus_path", metavar="DIR", help="the corpus's folder; short for --set preprocess.path.corpus_path=DIR"
    )
    parser.add_argument(
        "--jobs", type=positive_int, default=available_cpus(), metavar="N", help="processes (default: all %(default)s)"
    )
    add_cluster_flag(parser)
    parser.add_argument("--force", action="store_true", help="make every file again")
    parser.add_argument(
        "--skip_bad", action="store_true", help="leave unusable recordings out and list them in skipped.json"
    )
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    args = build_parser().parse_args(argv)
    from tqdm import tqdm

    from config import load_config
    from preprocessor.joined import find
    from preprocessor.parallel import workers
    from preprocessor.prepare_corpus import prepare
    from preprocessor.prepare_manifest import Settings
    from text import check_languages
    from utils.lock import sole_user

    overrides = list(args.overrides)
    if args.corpus_path is not None:
        overrides.append(f"{CORPUS_PATH}{json.dumps(args.corpus_path)}")
    config = load_config(args.dataset, overrides).preprocess
    check_languages(config.preprocessing.text.languages)
    if config.datasets and any(override.startswith(CORPUS_PATH) for override in overrides):
        raise UserError(
            f"{args.dataset} joins {', '.join(config.datasets)}, each in a folder of its own: instead of a corpus_path "
            f"give --set preprocess.path.corpus_paths.{config.datasets[0]}=DIR"
        )
    audio = config.preprocessing.audio
    started = time.perf_counter()
    found = find(config)
    raw_path = Path(config.path.raw_path)
    settings = Settings(audio.sampling_rate, audio.normalization, audio.max_wav_value)
    results = []
    with sole_user(raw_path, "choose another folder: --set preprocess.path.raw_path=FOLDER"):
        with (
            workers(args.cluster, raw_path) as cluster,
            tqdm(total=len(found.utterances), unit="file", desc="prepare_align", disable=None) as bar,
        ):
            for result in prepare(found.utterances, raw_path, settings, args.jobs, args.force, args.skip_bad, cluster):
                results.append(result)
                bar.update(result.written + result.kept + len(result.bad))
        _report_bad(results, raw_path, args.skip_bad)
    _report(results, found.left_out, raw_path, audio.sampling_rate, time.perf_counter() - started)


def _report_bad(results: Sequence[Prepared], raw_path: Path, skip_bad: bool) -> None:
    from utils.files import write_json

    bad = [item for result in results for item in result.bad]
    if bad and not skip_bad:
        others = f"; so are {len(bad) - 1} more" if len(bad) > 1 else ""
        raise UserError(f"unusable recording: {bad[0].reason}{others}. Mend or remove, or leave out with --skip_bad")
    if not any(result.written + result.kept for result in results):
        raise UserError(f"none of the {len(bad)} recordings can be used; the first: {bad[0].reason}")
    if bad or (raw_path / "skipped.json").exists():
        listed = [
            {"speaker": item.utterance.speaker, "name": item.utterance.name, "reason": item.reason} for item in bad
        ]
        write_json(raw_path / "skipped.json", listed)
    if bad:
        print(f"skipped {len(bad)} unusable recordings, listed in {raw_path / 'skipped.json'}; first: {bad[0].reason}")


def _report(
    results: Sequence[Prepared],
    left_out: Mapping[str, Mapping[str, int]],
    raw_path: Path,
    sampling_rate: int,
    elapsed: float,
) -> None:
    for dataset, counts in left_out.items():
        if counts:
            print(f"left out of {dataset}: {', '.join(f'{count} of {kind}' for kind, count in sorted(counts.items()))}")
    speakers = {result.speaker for result in results}
    others = sorted({path.name for path in raw_path.iterdir() if path.is_dir()} - speakers)
    if others:
        print(f"{raw_path} also holds speakers that the corpus does not, left as they are: {', '.join(others)}")
    written, kept = sum(result.written for result in results), sum(result.kept for result in results)
    hours = sum(result.seconds for result in results) / 3600
    print(
        f"{written + kept:,} recordings of {len(speakers)} speakers, {hours:.2f} h at {sampling_rate:,} Hz, "
        f"in {raw_path}: {written:,} written, {kept:,} kept as they were ({elapsed:.1f} s)"
    )


if __name__ == "__main__":
    run(main)
