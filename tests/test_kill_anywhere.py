"""SIGKILL at any moment, again and again: nothing half-written, and in the end what an unbroken run makes."""

import itertools
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest
import torch

from tests import aligning, test_train_vocoder
from tests.comparing import equal, logged
from tests.kill_harness import Job, kill_again_and_again, temporaries
from tests.paths import ROOT
from tests.processes import assert_ok, run_script, with_overrides
from tests.sample import sample_corpus, utterances_of, write_raw_data
from tests.small_corpus import tree, write_ravdess, write_raw
from tests.speaking import FLAGS, write_model
from tests.test_batch_synthesis import write_lines
from tests.tiny import make_tiny_dataset, tiny_overrides
from utils.checkpoint import checkpoint_path, known_steps, read_checkpoint
from utils.files import remove_abandoned

pytestmark = pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="looks for processes in /proc")
SAVE, TOTAL = 3, 24  # steps; validation every 5, logs of every 2: no checkpoint's step is sure to be that of a log


def often(few: int, many: int, parts: int = 1):
    """Seed and number of kills: `few`, if any, for every day; `many`, in several parts, for the slow suite."""
    slow = [pytest.param(seed, many // parts, marks=pytest.mark.slow) for seed in range(1, parts + 1)]
    return pytest.mark.parametrize(("seed", "kills"), [*([(0, few)] if few else []), *slow])


def timed(script, *arguments) -> float:
    """Seconds that an unbroken run takes."""
    begin = time.monotonic()
    assert_ok(run_script(script, *arguments))
    return time.monotonic() - begin


def assert_same_logs(broken: Path, whole: Path) -> None:
    """The same points on every curve; steps done twice were logged twice, with one value."""
    expected, found = logged(whole), logged(broken)
    assert found.keys() == expected.keys()
    for point, values in found.items():
        assert set(values) == set(expected[point]), point


def assert_same_checkpoint(left: Path, right: Path) -> None:
    contents = [torch.load(path, weights_only=True) for path in (left, right)]
    for content in contents:
        for file in content["config"].values():
            if isinstance(file, dict):
                file.pop("path", None)
    for part in contents[1]:
        assert equal(contents[0][part], contents[1][part]), part


def resuming(arguments, folder: Path):
    """Arguments of the next start: it goes on where there is a checkpoint."""
    return lambda: [*arguments, *(["--restore_step", "latest"] if known_steps(folder) else [])]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """Data to train on, the flags of a run into a folder, and an unbroken run with its duration in seconds."""
    root = tmp_path_factory.mktemp("kill_train")
    data = make_tiny_dataset(root / "data")
    steps = [f"train.step.total_step={TOTAL}", f"train.step.save_step={SAVE}", "train.step.val_step=5"]

    def flags(output):
        return ["--dataset", "Sample", *with_overrides([*tiny_overrides(data, output), *steps])]

    return flags, root / "whole", timed("train.py", *flags(root / "whole"))


def train_job(flags, output: Path, seconds: float) -> Job:
    checkpoints, seen = output / "ckpt", set()

    def check() -> None:
        """Whatever bears a checkpoint's name is one, and no more than one interval is lost."""
        steps = known_steps(checkpoints)
        for step in steps:
            if step not in seen:
                assert read_checkpoint(checkpoint_path(checkpoints, step)).step == step
                seen.add(step)
        reached = max((step for split, _, step in logged(output / "log") if split == "train"), default=0)
        assert reached - max(steps, default=0) <= SAVE

    return Job("train.py", resuming(flags(output), checkpoints), output, seconds, delay=2.0, check=check)


@often(2, 100, parts=5)
def test_training(tiny, tmp_path, seed, kills):
    flags, whole, seconds = tiny
    jobs = (train_job(flags, tmp_path / str(number) / "run", seconds) for number in itertools.count())
    done, tally = kill_again_and_again(jobs, kills, seed, at_a_time=12)
    assert tally.total() == kills
    for job in done:
        assert known_steps(job.folder / "ckpt") == known_steps(whole / "ckpt")
        for step in known_steps(whole / "ckpt"):
            assert_same_checkpoint(*(checkpoint_path(each / "ckpt", step) for each in (job.folder, whole)))
        assert_same_logs(job.folder / "log", whole / "log")


@pytest.fixture(scope="module")
def vocoder_data(tmp_path_factory):
    return test_train_vocoder.data.__wrapped__(tmp_path_factory)


@often(0, 20)  # every day one kill in test_train_vocoder.py
def test_vocoder_training(vocoder_data, tmp_path, seed, kills):
    more = ("vocoder.step.total_step=9", "vocoder.step.log_step=2", "vocoder.step.save_step=3")

    def flags(output):
        return test_train_vocoder.flags(vocoder_data, output, *more, f"vocoder.path.pitch_path={output / 'pitch'}")

    def job(output) -> Job:
        return Job("train_vocoder.py", resuming(flags(output), output / "ckpt"), output, seconds, delay=1.0)

    whole = tmp_path / "whole"
    seconds = timed("train_vocoder.py", *flags(whole))
    done, _ = kill_again_and_again((job(tmp_path / str(n) / "run") for n in itertools.count()), kills, seed)
    for each in done:
        assert sorted(path.name for path in (each.folder / "ckpt").iterdir()) == sorted(
            path.name for path in (whole / "ckpt").iterdir()
        )
        for path in (whole / "ckpt").glob("[0-9]*"):
            assert_same_checkpoint(each.folder / "ckpt" / path.name, path)
        for path in (whole / "ckpt").glob("*.json"):
            assert (each.folder / "ckpt" / path.name).read_text() == path.read_text()
        assert_same_logs(each.folder / "log", whole / "log")


def equal_files(script, flags, tmp_path, kills, seed, **how) -> None:
    """Kill `script` again and again; its files below the folder that `flags(folder)` names equal an unbroken run's."""
    whole = tmp_path / "whole" / "out"
    seconds = timed(script, *flags(whole))
    jobs = (
        Job(script, partial(flags, folder), folder, seconds, **how)
        for folder in (tmp_path / str(number) / "out" for number in itertools.count())
    )
    done, tally = kill_again_and_again(jobs, kills, seed)
    assert tally.total() == kills
    expected = tree(whole)
    for job in done:
        assert tree(job.folder) == expected


@often(1, 40)
def test_prepare_align(tmp_path, seed, kills):
    write_ravdess(tmp_path / "corpus", actors=range(1, 13), emotions=range(1, 9))

    def flags(folder):
        return ["--dataset", "RAVDESS", "--corpus_path", tmp_path / "corpus", "--jobs", "2",
                "--set", f"preprocess.path.raw_path={folder}"]  # fmt: skip

    equal_files("prepare_align.py", flags, tmp_path, kills, seed, writes=40)


@often(1, 30)
def test_align(tmp_path, seed, kills):
    corpus = utterances_of(sample_corpus())
    names = [f"{emotion}-normal-01-01-Actor_0{number}" for number, emotion in enumerate(("neutral", "angry", "sad"), 1)]
    write_raw_data([corpus[name] for name in names], tmp_path / "raw")

    def flags(folder):
        return [*aligning.command(tmp_path / "raw", folder)[1:], "--jobs", "2"]

    equal_files("align.py", flags, tmp_path, kills, seed, delay=1.0)


@often(1, 30)
def test_preprocess(tmp_path, seed, kills):
    write_raw(tmp_path / "raw", tmp_path / "grids", speakers=[f"Actor_{number:02d}" for number in range(1, 6)])

    def flags(folder):
        values = [f"preprocess.path.raw_path={tmp_path / 'raw'}", f"preprocess.path.preprocessed_path={folder}",
                  "preprocess.preprocessing.val_size=3"]  # fmt: skip
        return ["--dataset", "RAVDESS", "--textgrids", tmp_path / "grids", "--jobs", "2", *with_overrides(values)]

    equal_files("preprocess.py", flags, tmp_path, kills, seed, writes=40, delay=1.0)


@often(1, 30)
def test_batch_synthesis(tmp_path, seed, kills):
    settings = with_overrides(write_model(tmp_path / "model"))
    write_lines(tmp_path / "lines.txt", 40)

    def flags(folder):
        source = tmp_path / "lines.txt"
        return [*FLAGS, "--mode", "batch", "--source", source, "--output", folder, "--threads", "2", *settings]

    equal_files("synthesize.py", flags, tmp_path, kills, seed, writes=60)


def test_what_killed_processes_left_is_found_below_a_folder(tmp_path):
    """A process killed while it writes into a subfolder, which is what the pitches of a vocoder's training have."""
    target = tmp_path / "Actor_01" / "pitch.npy"
    target.parent.mkdir()
    code = "import os, sys; from pathlib import Path; from utils.files import atomic_path\n"
    code += "with atomic_path(Path(sys.argv[1])) as path: path.write_text('x'); os.kill(os.getpid(), 9)"
    subprocess.run([sys.executable, "-c", code, target], cwd=ROOT, check=False)
    assert len(temporaries(tmp_path)) == 1
    remove_abandoned(tmp_path, alone=True)
    assert len(temporaries(tmp_path)) == 1
    remove_abandoned(tmp_path, alone=True, below=True)
    assert temporaries(tmp_path) == [] and not target.exists()
