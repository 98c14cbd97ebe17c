"""Whole processes: prepare_align.py, align.py, preprocess.py, synthesize.py. Nothing heavy is loaded here, so that a
measured process's memory is its own."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.bench import Bench
from benchmarks.inputs import TEXT, Recording, link_corpus, real_data, recordings
from benchmarks.rows import Timing
from benchmarks.timing import Finished, run_script, timing_of

MANY, FEW = 1320, 24  # recordings; their difference tells what each costs, and what starting costs
ALIGNED = 32  # recordings


def prepare(bench: Bench) -> None:
    """Cost per recording, with one process and two, start-up apart; a second run; memory."""

    def run(number: int, jobs: int) -> Finished:
        corpus, raw = _corpus(bench, number)[0], _fresh(bench, "prepared")
        return run_script(
            "prepare_align.py", *_flags(bench), "--corpus_path", corpus, *_set(raw_path=raw), "--jobs", str(jobs)
        )

    _per_file(bench, "prepare_align", run)
    run(_many(bench), 1)
    corpus, raw = _corpus(bench, _many(bench))[0], bench.settings.work / "prepared"
    again = [
        run_script("prepare_align.py", *_flags(bench), "--corpus_path", corpus, *_set(raw_path=raw), "--jobs", "1")
        for _ in range(bench.settings.process_rounds)
    ]
    bench.timed("prepare_align, second run", timing_of(again), f"{_many(bench)} recordings, nothing to do")


def preprocess(bench: Bench) -> None:
    """As `prepare`, for features."""

    def run(number: int, jobs: int) -> Finished:
        raw, textgrids = _prepared(bench, number)
        output = _fresh(bench, "preprocessed")
        places = _set(raw_path=raw, preprocessed_path=output)
        held_out = ("--set", "preprocess.preprocessing.val_size=4")
        return run_script(
            "preprocess.py", *_flags(bench), *places, *held_out, "--textgrids", textgrids, "--jobs", str(jobs)
        )

    _per_file(bench, "preprocess", run)


def align(bench: Bench) -> None:
    """pocketsphinx on a few recordings."""
    settings = bench.settings
    number = 4 if settings.quick else ALIGNED
    raw = settings.work / "to_align"
    corpus = _corpus(bench, number)[0]
    run_script("prepare_align.py", *_flags(bench), "--corpus_path", corpus, *_set(raw_path=raw), "--jobs", "1")
    bench.calibrate()
    runs = []
    for _ in range(1 if settings.quick else 2):
        places = _set(raw_path=raw, preprocessed_path=_fresh(bench, "aligned"))
        runs.append(run_script("align.py", *_flags(bench), *places, "--jobs", "1"))
    per_file = timing_of(runs).per(number)
    bench.timed("align (pocketsphinx), per file", per_file, f"whole process, {number} recordings, {_rate(per_file)}")
    bench.plain("align, peak memory", [run.peak for run in runs], "MB")


def synthesize(bench: Bench) -> None:
    """--help; one sentence, cold; a list; memory."""
    settings = bench.settings
    rounds = settings.process_rounds
    vocoder = (
        "--set",
        "model.vocoder.model=HiFi-GAN",
        "--set",
        f"model.vocoder.checkpoint={settings.work}/vocoders/V3.pt",
    )
    common = ("synthesize.py", *_flags(bench), *vocoder, "--restore_step", "latest", "--device", "cpu")
    single = (*common, "--mode", "single", "--text", TEXT, "--speaker_id", "Actor_01", "--emotion_id", "happy")
    bench.calibrate()
    bench.timed("synthesize.py --help", timing_of([run_script("synthesize.py", "--help") for _ in range(rounds)]))
    runs = [run_script(*single) for _ in range(rounds)]
    bench.timed("synthesize.py single, cold", timing_of(runs), "process start to finished wav, png, json; HiFi-GAN V3")
    bench.plain("synthesize.py single, peak memory", [run.peak for run in runs], "MB")

    def batch(number: int) -> Finished:
        lines = (settings.work / "batch.txt").read_text(encoding="utf-8").splitlines(keepends=True)[:number]
        source = settings.work / f"batch-{number}.txt"
        source.write_text("".join(lines), encoding="utf-8")
        return run_script(*common, "--mode", "batch", "--source", source, "--output", _fresh(bench, "spoken"))

    few, many = (2, 8) if settings.quick else (8, 64)
    small, large = [batch(few) for _ in range(rounds)], [batch(many) for _ in range(rounds)]
    each = timing_of(large).less(timing_of(small), many - few)
    bench.timed("synthesize.py batch, per utterance", each, f"start-up apart; {_rate(each, 'utterances')}; HiFi-GAN V3")
    bench.plain("synthesize.py batch, peak memory", [run.peak for run in large], "MB", f"{many} utterances")


def _per_file(bench: Bench, script: str, run: Callable[[int, int], Finished]) -> None:
    """Rows of a script whose cost is start-up plus so much per recording."""
    many, few = _many(bench), _few(bench)
    rounds = range(bench.settings.process_rounds)
    one: Timing | None = None
    for jobs in (1,) if bench.settings.quick else (1, 2):
        bench.calibrate()
        large, small = [], []
        for _ in rounds:
            large.append(run(many, jobs))
            small.append(run(few, jobs))
        each = timing_of(large).less(timing_of(small), many - few)
        start = timing_of(small).less(each.per(1 / few))
        note = f"{_rate(each)}, {1000 * _median(each.cpu):.1f} CPU ms per file"
        if one is not None and _median(each.wall) > 0:
            note += f"; {_median(one.wall) / _median(each.wall):.2f}× the speed of one process"
        one = one or each
        bench.timed(f"{script} --jobs {jobs}, start-up", start)
        bench.timed(f"{script} --jobs {jobs}, per file", each, note)
        bench.plain(f"{script} --jobs {jobs}, peak memory", [each.peak for each in large], "MB", "largest process")


def _many(bench: Bench) -> int:
    return min(12 if bench.settings.quick else MANY, len(recordings(bench.settings)))


def _few(bench: Bench) -> int:
    return 6 if bench.settings.quick else FEW


def _rate(each: Timing, what: str = "files") -> str:
    wall = _median(each.wall)
    return f"{1 / wall:.0f} {what}/s" if wall > 0 else "too little to tell from start-up's own swings"


def _median(values: Sequence[float]) -> float:
    return sorted(values)[len(values) // 2]


def _spread_out(found: list[Recording], number: int) -> list[Recording]:
    """`number` of them, from all speakers."""
    return [found[index * len(found) // number] for index in range(number)]


def _corpus(bench: Bench, number: int) -> tuple[Path, Path]:
    """A corpus of `number` recordings, and their TextGrids."""
    corpus, textgrids = (bench.settings.work / f"{kind}-{number}" for kind in ("corpus", "textgrids"))
    if not corpus.exists():
        link_corpus(_spread_out(recordings(bench.settings), number), corpus, textgrids)
    return corpus, textgrids


def _prepared(bench: Bench, number: int) -> tuple[Path, Path]:
    """The same as prepare_align.py leaves it, and TextGrids of the recordings: given, or from the features' own."""
    corpus, textgrids = _corpus(bench, number)
    raw = bench.settings.work / f"raw-{number}"
    if not raw.exists():
        run_script("prepare_align.py", *_flags(bench), "--corpus_path", corpus, *_set(raw_path=raw), "--jobs", "1")
    return raw, textgrids if real_data() else bench.settings.work / "features" / "TextGrid"


def _fresh(bench: Bench, name: str) -> Path:
    """An output folder that does not exist yet."""
    folder = bench.settings.work / name
    shutil.rmtree(folder, ignore_errors=True)
    return folder


def _flags(bench: Bench) -> list[str]:
    return bench.settings.dataset_flags


def _set(**paths: Path) -> list[str]:
    return [part for key, path in paths.items() for part in ("--set", f"preprocess.path.{key}={path}")]
