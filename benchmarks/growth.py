"""How costs grow with the length of a text, the size of a batch, and the size of a corpus."""

from __future__ import annotations

import shutil
from collections import defaultdict
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import linear_regression, median
from typing import TYPE_CHECKING

from benchmarks.bench import Bench, Settings
from benchmarks.inputs import Recording, link_corpus, recordings
from benchmarks.rows import Timing
from benchmarks.timing import Finished, run_script, timing_of

if TYPE_CHECKING:
    from torch import Tensor

BASE_ACTORS = 3  # x 8 are the 24 that RAVDESS's names allow


def text(bench: Bench) -> None:
    """One unbroken text of 1 to 16 sentences: acoustic model and HiFi-GAN V3."""
    from benchmarks.speech import SENTENCE, load, load_one, speak

    device = bench.device()
    loaded, vocoder = load(bench.settings, device), load_one(bench.settings, "HiFi-GAN V3", device)
    times = (1, 2, 4) if bench.settings.quick else (1, 2, 4, 8, 16)
    bench.calibrate()
    phones = SENTENCE // 3 if bench.settings.quick else SENTENCE
    alone = {each: partial(speak, loaded.model, each * phones, 1, device) for each in times}
    bench.growth("acoustic model", "text length ×", bench.interleaved(alone))
    bench.calibrate()
    whole = {each: partial(_both, vocoder, say) for each, say in alone.items()}
    bench.growth("synthesis, HiFi-GAN V3", "text length ×", bench.interleaved(whole))


def _both(vocoder: Callable[[Tensor], object], say: Callable[[], Tensor]) -> object:
    return vocoder(say())


def batch(bench: Bench) -> None:
    """Training steps on 1 to 64 utterances of median length."""
    import torch

    from benchmarks.step import in_this_process, make_trainer
    from dataset import collate

    device = bench.device()
    trainer = make_trainer(bench.settings, torch.float32, device, in_this_process())
    train_set = trainer.state.train_set
    order = sorted(range(len(train_set)), key=lambda index: train_set.lengths[index])
    calls = {}
    for size in (1, 2, 4) if bench.settings.quick else (1, 2, 4, 8, 16, 32, 64):
        first = max(0, (len(order) - size) // 2)
        chosen = collate([train_set[order[(first + place) % len(order)]] for place in range(size)])
        calls[size] = partial(trainer.train_step, [chosen])
    bench.calibrate()
    bench.growth("training step", "batch of", bench.interleaved(calls))


def corpora(bench: Bench) -> None:
    """Both data scripts on a corpus and on 2, 4 and 8 linked copies of it under new speakers' names."""
    settings = bench.settings
    base = _base(settings)
    prepared: dict[int, list[Finished]] = defaultdict(list)
    featured: dict[int, list[Finished]] = defaultdict(list)
    bench.calibrate()
    times = (1, 2) if settings.quick else (1, 2, 4, 8)
    for _ in range(1 if settings.quick else 2):
        for each in times:
            folder = settings.work / f"grown-{each}"
            link_corpus(base, folder / "corpus", folder / "TextGrid", copies=each)
            prepared[each].append(_prepare(settings, folder))
            featured[each].append(_preprocess(settings, folder))
            shutil.rmtree(folder)
    for name, runs in (("prepare_align.py", prepared), ("preprocess.py", featured)):
        taken = {each: timing_of(finished) for each, finished in runs.items()}
        bench.growth(f"{name}, {len(base)} files", "corpus ×", taken, fixed=start_up(taken))
        peaks = [max(run.peak for run in runs[each]) for each in times]
        bench.plain(
            f"{name}, peak memory by corpus", [peaks[-1]], "MB", "×1 … : " + ", ".join(f"{peak:.0f}" for peak in peaks)
        )


def start_up(taken: dict[int, Timing]) -> float:
    """CPU seconds that every run of a script costs, whatever the corpus: where the straight line through all sizes
    meets zero. Where cost grows faster than its input that lies too low, which hides nothing."""
    sizes = sorted(taken)
    line = linear_regression(sizes, [median(taken[size].cpu) for size in sizes])
    return min(max(0.0, line.intercept), min(min(each.cpu) for each in taken.values()))


def _base(settings: Settings) -> list[Recording]:
    """Aligned recordings of BASE_ACTORS speakers."""
    found = recordings(settings)
    actors = sorted({recording.actor for recording in found})[:BASE_ACTORS]
    chosen = [recording for recording in found if recording.actor in actors]
    made = settings.work / "features" / "TextGrid"  # the alignments that the features were made with
    return [Recording(each.path, made / f"Actor_{each.actor}" / f"{each.name(each.actor)}.TextGrid") for each in chosen]


def _prepare(settings: Settings, folder: Path) -> Finished:
    places = ("--corpus_path", folder / "corpus", "--set", f"preprocess.path.raw_path={folder / 'raw'}")
    return run_script("prepare_align.py", *settings.dataset_flags, *places, "--jobs", "1")


def _preprocess(settings: Settings, folder: Path) -> Finished:
    places = {"raw_path": folder / "raw", "preprocessed_path": folder / "features"}
    overrides = [part for key, path in places.items() for part in ("--set", f"preprocess.path.{key}={path}")]
    overrides += ["--set", "preprocess.preprocessing.val_size=4", "--textgrids", str(folder / "TextGrid")]
    return run_script("preprocess.py", *settings.dataset_flags, *overrides, "--jobs", "1")
