"""Losses and gradients that are not finite: skipped, counted, named; too many of them end the run. Features that hold
such numbers are refused when they are read."""

import re

import numpy as np
import pytest
import torch

from config import load_config
from tests.processes import assert_ok, assert_refused, run_script
from tests.test_train import in_process_trainer, load, same_state, scalars, train_arguments
from tests.test_train_vocoder import data as recordings  # noqa: F401 - a fixture
from tests.test_train_vocoder import overrides as vocoder_overrides
from tests.tiny import make_tiny_dataset, save
from utils.metadata import read_metadata

HUGE = 1e38  # finite, but a sum of eighty is not


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return make_tiny_dataset(tmp_path_factory.mktemp("tiny") / "data")


@pytest.fixture
def spoilt(tmp_path):
    """A data set in which one training utterance's mel spectrogram is absurdly loud; (root, its entry)."""
    root = make_tiny_dataset(tmp_path / "data")
    entry = read_metadata(root / "train.txt")[5]
    path = feature(root, "mel", entry)
    save(path, np.full_like(np.load(path), HUGE))
    return root, entry


def feature(root, kind, entry):
    return root / kind / f"{entry.speaker}-{kind}-{entry.name}.npy"


def everything(trainer):
    """Copies of all that an update changes: weights, statistics, running mean, the optimiser's state."""
    state = trainer.state
    kept = {f"model/{name}": value.clone() for name, value in state.model.state_dict().items()}
    kept |= {f"running/{name}": value.clone() for name, value in state.running.module.state_dict().items()}
    for index, values in state.optimizer.state_dict()["state"].items():
        kept |= {f"optimizer/{index}/{name}": value.clone() for name, value in values.items()}
    return kept


def test_a_bad_step_changes_nothing_and_names_its_utterance(spoilt, tmp_path, capsys):
    root, entry = spoilt
    trainer = in_process_trainer(root, tmp_path, "train.optimizer.ema=0.9")
    good, bad = [], []
    for batch in trainer.loader:
        (bad if entry.name in batch.names else good).append(batch)
        if len(good) > 2 and bad:
            break
    trainer.train_step([good[0]])
    before = everything(trainer)
    metrics, _ = trainer.train_step([bad[0]])
    assert not torch.isfinite(metrics["total"])
    after = everything(trainer)
    assert before.keys() == after.keys() and any(name.startswith("optimizer/") for name in before)
    assert all(torch.equal(after[name], value) for name, value in before.items())
    assert all(torch.isfinite(value).all() for value in after.values())
    assert trainer.step == 2 and trainer.bad_steps.total == trainer.bad_steps.in_a_row == 1
    told = capsys.readouterr().err.strip().splitlines()
    assert len(told) == 1 and "step 2" in told[0]
    assert told[0].endswith(f"brought about by {entry.speaker}/{entry.name}")
    trainer.train_step([good[1]])
    assert trainer.bad_steps.total == 1 and trainer.bad_steps.in_a_row == 0
    changed = everything(trainer)
    assert not all(torch.equal(changed[name], value) for name, value in before.items())


def test_training_goes_on_around_a_bad_utterance_and_resumes_exactly(spoilt, tmp_path):
    """One batch of three is bad: skipped and counted; the losses that are logged are those of the others; a resumed run
    equals an unbroken one; whatever is written is finite."""
    root, entry = spoilt
    arguments = train_arguments(root, tmp_path, "train.step.total_step=12")
    whole = run_script("train.py", *arguments)
    assert_ok(whole)
    warnings = [line for line in whole.stderr.splitlines() if "warning: step" in line]
    assert len(warnings) == 4 and all(f"{entry.speaker}/{entry.name}" in line for line in warnings)
    counts = scalars(tmp_path, "train", "bad_steps")
    assert counts[12] == 4 and list(counts.values()) == sorted(counts.values())
    assert all(np.isfinite(list(scalars(tmp_path, "train", "loss/total").values())))
    unbroken = load(tmp_path, 12)
    assert all(torch.isfinite(value).all() for part in ("model", "running") for value in unbroken[part].values())
    steps = sorted(int(path.name.split(".")[0]) for path in (tmp_path / "ckpt").iterdir())
    bad = {int(re.search(r"warning: step (\d+)", line)[1]) for line in warnings}
    assert (
        not bad & set(steps[:-1]) and len(steps) == 3
    )  # one that is due at a bad step is written at the next good one
    for step in steps[1:]:
        (tmp_path / "ckpt" / f"{step}.pth.tar").unlink()
    assert_ok(run_script("train.py", *arguments, "--restore_step", steps[0]))
    same_state(load(tmp_path, 12), unbroken)


def test_too_many_in_a_row_end_the_run_with_the_last_good_checkpoint(data, tmp_path):
    arguments = train_arguments(data, tmp_path, "train.step.save_step=2")
    assert_ok(run_script("train.py", *arguments, "--set", "train.step.total_step=4"))
    kept = {path.name: path.read_bytes() for path in (tmp_path / "ckpt").iterdir()}
    absurd = ("--set", "train.optimizer.lr_scale=1e37", "--set", "train.optimizer.max_bad_steps=3")
    more = ("--restore_step", "4", "--set", "train.step.total_step=100", "--set", "train.step.save_step=3")
    result = run_script("train.py", *arguments, *absurd, *more)
    last = result.stderr.strip().splitlines()[-1]
    assert result.returncode == 2 and "Traceback" not in result.stderr
    assert re.match(r"error: loss or gradient was not finite in 3 steps in a row, up to step 8 \(train.optimizer", last)
    assert "train.optimizer.lr_scale" in last and "--restore_step latest" in last
    assert {path.name: path.read_bytes() for path in (tmp_path / "ckpt").iterdir()} == kept
    assert_ok(run_script("train.py", *arguments, "--restore_step", "latest", "--set", "train.step.total_step=5"))


def test_an_overflow_of_loss_scaling_is_no_trouble(data, tmp_path):
    """float16 gradients overflow at the first scales: the update is skipped, the scale falls, nothing is warned of."""
    arguments = train_arguments(data, tmp_path, "train.step.total_step=4", "train.optimizer.amp_dtype=float16",
                                "train.optimizer.max_bad_steps=1", "model.prosody.layer=1",
                                "train.loss.epsilon=10000.0")  # fmt: skip
    result = run_script("train.py", *arguments, "--use_amp")
    assert_ok(result)
    assert "warning" not in result.stderr
    content = load(tmp_path, 4)
    assert content["scaler"]["scale"] < 65536  # there were overflows
    taken = {int(value["step"]) for value in content["optimizer"]["state"].values()}
    assert max(taken) < 4  # and steps without an update
    assert scalars(tmp_path, "train", "bad_steps")[4] == 0


def test_loss_scaling_is_left_alone_by_trouble_that_it_cannot_mend():
    from training.trouble import judge, update_scale

    scaler = torch.amp.GradScaler("cpu", init_scale=8.0)
    weight = torch.nn.Parameter(torch.ones(2))
    optimizer = torch.optim.Adam([weight], fused=True)
    fine, nan, inf = torch.tensor(1.0), torch.tensor(float("nan")), torch.tensor(float("inf"))
    scales, verdicts = [], []
    for loss, gradient in ((fine, fine), (nan, nan), (nan, fine), *[(fine, inf)] * 5, (fine, nan)):
        scaler.scale(torch.ones(()))
        weight.grad = torch.full((2,), float(gradient))
        scaler.unscale_(optimizer)
        verdict = judge(loss, weight.grad.norm(), scaler)
        update_scale(scaler, verdict.bad)
        scales.append(scaler.get_scale())
        verdicts.append((bool(verdict.skip), bool(verdict.bad)))
    assert scales == [8.0, 8.0, 8.0, 4.0, 2.0, 1.0, 1.0, 1.0, 1.0]
    overflow, trouble = (True, False), (True, True)
    assert verdicts == [(False, False), trouble, trouble, overflow, overflow, overflow, trouble, trouble, trouble]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("kind", ["mel", "pitch"])
def test_features_that_are_no_finite_numbers_are_refused_by_name(tmp_path, kind, value):
    root = make_tiny_dataset(tmp_path / "data")
    path = feature(root, kind, read_metadata(root / "train.txt")[0])
    array = np.load(path)
    array[len(array) // 2] = value
    np.save(path, array)
    arguments = train_arguments(root, tmp_path, "train.step.total_step=3", "model.prosody.layer=2")
    result = run_script("train.py", *arguments)
    assert result.returncode == 2 and "Traceback" not in result.stderr
    assert re.search(rf"error: {path} .*finite.*preprocess.py --force", result.stderr.strip().splitlines()[-1])
    assert not list((tmp_path / "ckpt").glob("*.pth.tar"))


@pytest.mark.parametrize("change", ["negative", "fractions", "wrong sum", "huge"])
def test_durations_that_cannot_be_are_refused_by_name(tmp_path, change):
    root = make_tiny_dataset(tmp_path / "data")
    path = feature(root, "duration", read_metadata(root / "train.txt")[0])
    durations = np.load(path)
    if change == "negative":
        durations[0], durations[1] = -1, durations[1] + durations[0] + 1
    elif change == "fractions":
        durations = durations + 0.5
    elif change == "wrong sum":
        durations[0] += 3
    else:
        durations[0] = 2**40
    np.save(path, durations)
    result = run_script("train.py", *train_arguments(root, tmp_path, "train.step.total_step=3"))
    name = path.name if change in ("negative", "fractions") else path.name.replace("duration", "mel")
    assert result.returncode == 2 and "Traceback" not in result.stderr, result.stderr
    assert re.search(re.escape(name), result.stderr.strip().splitlines()[-1]), result.stderr


def test_one_phone_one_frame_and_phones_without_a_frame_train(tmp_path):
    root = make_tiny_dataset(tmp_path / "data")
    lines = (root / "train.txt").read_text().splitlines()
    for line, phones, durations in ((0, "K", [1]), (1, "K IH1 D", [0, 2, 0]), (2, "K", [5])):
        parts = lines[line].split("|")
        lines[line] = "|".join([parts[0], parts[1], f"{{{phones}}}", parts[3]])
        entry = read_metadata(root / "train.txt")[line]
        frames = sum(durations)
        for kind in ("mel", "pitch"):
            save(feature(root, kind, entry), np.load(feature(root, kind, entry))[:frames])
        save(feature(root, "duration", entry), np.array(durations))
    (root / "train.txt").write_text("\n".join(lines) + "\n")
    for number, size in enumerate((8, 1)):
        arguments = train_arguments(root, tmp_path / str(number), "train.step.total_step=6", "train.step.log_step=1")
        result = run_script("train.py", *arguments, "--set", f"train.optimizer.batch_size={size}")
        assert_ok(result)
        assert "warning" not in result.stderr
        assert all(np.isfinite(list(scalars(tmp_path / str(number), "train", "loss/total").values())))


def test_an_utterance_beyond_max_seq_len_is_refused_by_name(data, tmp_path):
    """Phones it is that count; mel spectrograms may be longer."""
    phones = max(len(entry.phones) for entry in read_metadata(data / "train.txt"))
    assert max(np.load(path).sum() for path in (data / "duration").iterdir()) > phones
    for limit, refused in ((phones - 1, True), (phones, False)):
        arguments = train_arguments(data, tmp_path, f"model.max_seq_len={limit}", "train.step.total_step=1")
        result = run_script("train.py", *arguments)
        if refused:
            assert_refused(result, f"has {phones} phones, more than model.max_seq_len", r"Actor_0\d")
        else:
            assert_ok(result)


def test_vocoder_training_skips_and_ends_likewise(recordings, tmp_path, capsys):  # noqa: F811
    """A learning rate beyond all measure spoils the weights at the first step; no later one changes anything."""
    from errors import UserError
    from training.processes import Process
    from vocoder_training.data import find_data
    from vocoder_training.trainer import VocoderTrainer

    settings = (
        "vocoder.optimizer.learning_rate=1e37",
        "vocoder.optimizer.ema=0.9",
        "vocoder.optimizer.max_bad_steps=3",
    )
    config = load_config("Sample", vocoder_overrides(recordings, tmp_path, *settings))
    trainer = VocoderTrainer(config, find_data(config), Process(0, 1, torch.device("cpu")), False, None)
    trainer.begin()
    trainer.advance(0)
    state = trainer.state
    before = {name: value.clone() for name, value in state.trainee.state_dict().items()}
    mean = {name: value.clone() for name, value in state.running.module.state_dict().items()}
    for _ in range(2):
        trainer.advance(0)
    with pytest.raises(
        UserError, match=r"3 steps in a row, up to step 4 \(vocoder.optimizer.max_bad_steps\).*learning_rate"
    ):
        trainer.advance(0)
    assert all(torch.equal(value, before[name]) for name, value in state.trainee.state_dict().items())
    assert all(torch.equal(value, mean[name]) for name, value in state.running.module.state_dict().items())
    told = capsys.readouterr().err
    assert told.count("warning: step") == 3 and "brought about by Actor_0" in told
