"""Losses and gradients that are not finite, where several processes train: they agree on what they skip, count and
when to end, though the trouble comes of one utterance that only one of them has."""

import hashlib
import re
import signal
import subprocess
import sys

import numpy as np
import pytest
import torch

from config import load_config
from tests.kill_harness import Script, temporaries
from tests.paths import ROOT
from tests.processes import ENVIRONMENT, assert_ok, with_overrides
from tests.test_distributed import EXACT, arguments
from tests.test_numerical_trouble import HUGE, feature
from tests.test_train import load, scalars
from tests.test_train_vocoder import data as recordings  # noqa: F401 - a fixture
from tests.test_train_vocoder import overrides as vocoder_overrides
from tests.tiny import make_tiny_dataset, save, tiny_overrides
from utils.checkpoint import known_steps
from utils.metadata import read_metadata

WARNING = re.compile(r"^warning: step (\d+): .* \((\d+) such steps, (\d+) in a row\); (.*)$", re.MULTILINE)
TWO = ("--device", "cpu:2")


@pytest.fixture(scope="module")
def spoilt(tmp_path_factory):
    """A data set in which one of 24 utterances is absurdly loud; (root, its name)."""
    root = make_tiny_dataset(tmp_path_factory.mktemp("spoilt") / "data")
    entry = read_metadata(root / "train.txt")[5]
    path = feature(root, "mel", entry)
    save(path, np.full_like(np.load(path), HUGE))
    return root, f"{entry.speaker}/{entry.name}"


def warnings(text: str) -> list[tuple[int, int, int, str]]:
    """Step, steps in trouble so far, those in a row, and what brought it about."""
    found = re.finditer(WARNING, text)
    return [(int(each[1]), int(each[2]), int(each[3]), each[4]) for each in found]


def train(root, output, *more, total=9):
    """As a process of its own; one that is left over fails the test. Its exit code, and what it told."""
    settings = (*EXACT, f"train.step.total_step={total}", *(value for value in more if "=" in value))
    flags = [value for value in more if "=" not in value]
    size = 4 if "cpu:2" in flags else 8
    script = Script(output / "told", "train.py", *arguments(root, output, size, *settings), *flags)
    return script.end(180), script


def updates(output, step) -> set[int]:
    """How many updates the optimiser has made of each weight."""
    return {int(values["step"]) for values in load(output, step)["optimizer"]["state"].values()}


def test_all_skip_the_step_of_one_process_s_utterance(spoilt, tmp_path):
    """Once in three steps; whoever has the utterance names it, once."""
    root, name = spoilt
    code, script = train(root, tmp_path, *TWO, "train.step.save_step=1", total=6)
    assert code == 0 and "Traceback" not in script.err, script.err
    told = warnings(script.err)
    bad = sorted({step for step, *_ in told})
    assert len(bad) == 2 and bad[0] <= 3 < bad[1]
    for number, step in enumerate(bad, 1):
        texts = [text for at, total, row, text in told if at == step and (total, row) == (number, 1)]
        assert len(texts) == sum(at == step for at, *_ in told) <= 2
        assert texts.count(f"brought about by {name}") == 1
        assert set(texts) <= {f"brought about by {name}", "no utterance of process 0's share does it alone"}
    counts = scalars(tmp_path, "train", "bad_steps")
    assert counts == {step: sum(at <= step for at in bad) for step in range(1, 7)}
    assert set(known_steps(tmp_path / "ckpt")) >= set(range(1, 6)) - set(bad)
    for step in known_steps(tmp_path / "ckpt"):
        assert updates(tmp_path, step) == {step - counts[step]}
        assert all(torch.isfinite(value).all() for value in load(tmp_path, step)["model"].values())


@pytest.mark.slow
def test_two_processes_with_a_bad_utterance_train_like_one(spoilt, tmp_path):
    """Which is known to change nothing in such steps: with the same batches, the same weights to rounding."""
    root, name = spoilt
    results = {}
    for flags in (TWO, ("--device", "cpu")):
        code, script = train(root, tmp_path / flags[1], *flags, total=9)
        assert code == 0, script.err
        told = warnings(script.err)
        assert sum(text == f"brought about by {name}" for *_, text in told) == 3
        results[flags] = sorted({step for step, *_ in told}), load(tmp_path / flags[1], 9)
    (bad, two), (alone_bad, alone) = results.values()
    assert bad == alone_bad and len(bad) == 3 and two["sampler"] == alone["sampler"]
    for weight, value in alone["model"].items():
        assert torch.allclose(value.float(), two["model"][weight].float(), rtol=1e-4, atol=1e-4), weight


@pytest.mark.slow
def test_too_many_in_a_row_end_all(spoilt, tmp_path):
    """Trouble that no process has alone: a learning rate beyond all measure. The last checkpoint loads."""
    root = make_tiny_dataset(tmp_path / "data")
    code, script = train(root, tmp_path, *TWO, "train.step.save_step=2", total=4)
    assert code == 0, script.err
    kept = {path.name: path.read_bytes() for path in (tmp_path / "ckpt").iterdir()}
    absurd = ("train.optimizer.lr_scale=1e37", "train.optimizer.max_bad_steps=3", "train.step.save_step=3")
    code, script = train(root, tmp_path, *TWO, *absurd, "--restore_step", "latest", total=100)
    assert code == 2 and "Traceback" not in script.err, script.err
    (error,) = [line for line in script.err.splitlines() if line.startswith("error:")]
    assert re.match(
        r"error: loss or gradient was not finite in 3 steps in a row, up to step 8 \(train.optimizer", error
    )
    assert "warnings above" in error and "--restore_step latest" in error
    steps = {step: (total, row) for step, total, row, _ in warnings(script.err)}
    assert steps == {6: (1, 1), 7: (2, 2), 8: (3, 3)}
    assert {path.name: path.read_bytes() for path in (tmp_path / "ckpt").iterdir()} == kept
    assert temporaries(tmp_path) == []
    code, script = train(root, tmp_path, *TWO, "--restore_step", "latest", total=5)
    assert code == 0, script.err


@pytest.mark.slow
def test_a_signal_in_the_midst_of_bad_steps_ends_all(tmp_path):
    """All steps are bad, in one process: every utterance of one speaker is too loud, and no limit ends it."""
    root = make_tiny_dataset(tmp_path / "data")
    for entry in read_metadata(root / "train.txt"):
        path = feature(root, "mel", entry)
        save(path, np.full_like(np.load(path), HUGE))
    endless = ("train.optimizer.max_bad_steps=1000000", "train.step.total_step=1000000")
    script = Script(tmp_path / "told", "train.py", *arguments(root, tmp_path, 4, *EXACT, *endless), *TWO)
    assert script.until(lambda: len(warnings(script.err)) > 6)
    script.send(signal.SIGTERM)
    assert script.end(60) == 128 + signal.SIGTERM, script.err
    assert "stopped at step" in script.out


def agree(root: str, output: str, steps: int) -> None:
    """Train by two processes; after every step their weights, statistics, optimisers and counts must be the same."""
    from pathlib import Path

    from training.processes import launch

    overrides = [*tiny_overrides(Path(root), Path(output)), "train.optimizer.batch_size=4", "train.optimizer.ema=0.9"]
    config = load_config("Sample", overrides)
    sys.exit(launch(steps_of_one, "cpu:2", config, steps, timeout=60, advice=str))


def steps_of_one(process, config, steps: int) -> int:
    """What each of them does."""
    from training.trainer import Trainer

    trainer = Trainer(config, process, False, None)
    trainer.begin()
    state = trainer.state
    for _ in range(steps):
        trainer.advance(0)
        tensors = {**state.model.state_dict(), **state.running.module.state_dict()}
        for index, values in state.optimizer.state_dict()["state"].items():
            tensors |= {f"{index}/{name}": value for name, value in values.items()}
        digest = hashlib.sha256(b"".join(value.numpy().tobytes() for value in tensors.values())).hexdigest()
        process.must_agree(f"all of step {trainer.step}", digest)
        process.must_agree(f"bad steps at {trainer.step}", f"{trainer.bad_steps.total} {trainer.bad_steps.in_a_row}")
        print(f"process {process.rank}, step {trainer.step}: {trainer.bad_steps.total}", flush=True)
    return 0


@pytest.mark.slow
def test_weights_and_counts_are_the_same_in_all_after_every_step(spoilt, tmp_path):
    """With dropout, augmentation and running means: to the last bit."""
    root, _ = spoilt
    code = f"from tests.test_numerical_trouble_processes import agree; agree({str(root)!r}, {str(tmp_path)!r}, 9)"
    result = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert_ok(result)
    for rank in (0, 1):
        assert f"process {rank}, step 9: 3" in result.stdout


@pytest.mark.slow
def test_the_vocoder_s_processes_end_likewise(recordings, tmp_path):  # noqa: F811
    """A learning rate beyond all measure spoils the weights at the first step."""
    absurd = ("vocoder.optimizer.learning_rate=1e37", "vocoder.optimizer.max_bad_steps=3")
    flags = with_overrides(vocoder_overrides(recordings, tmp_path, *absurd))
    script = Script(tmp_path / "told", "train_vocoder.py", "--dataset", "Sample", *flags, *TWO)
    assert script.end(180) == 2 and "Traceback" not in script.err, script.err
    (error,) = [line for line in script.err.splitlines() if line.startswith("error:")]
    assert "3 steps in a row, up to step 4 (vocoder.optimizer.max_bad_steps); see the warnings above" in error
    told = warnings(script.err)
    assert {step: (total, row) for step, total, row, _ in told} == {2: (1, 1), 3: (2, 2), 4: (3, 3)}
    assert all("brought about by" in text for *_, text in told) and len(told) == 6  # each process by its own
    assert not list((tmp_path / "ckpt").glob("*.pth.tar"))
