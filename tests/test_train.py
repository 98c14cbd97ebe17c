"""train.py as a real process: it learns, resumes exactly, stops cleanly, logs, and shares work between processes."""

import math
import re
import resource
import signal
import subprocess
import time

import pytest
import torch

from config import load_config
from dataset import choose_unlabelled
from tests.processes import ENVIRONMENT, assert_ok, assert_refused, command, run_script, with_overrides
from tests.tiny import make_tiny_dataset, tiny_overrides
from utils.metadata import Entry, IdMaps, read_metadata


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return make_tiny_dataset(tmp_path_factory.mktemp("tiny") / "data")


def train_arguments(data, output, *overrides: str) -> list[str]:
    return ["--dataset", "Sample", *with_overrides([*tiny_overrides(data, output), *overrides])]


def load(output, step):
    return torch.load(output / "ckpt" / f"{step}.pth.tar", weights_only=True)


def events(output, split):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    accumulator = EventAccumulator(str(output / "log" / split))
    accumulator.Reload()
    return accumulator


def scalars(output, split, tag):
    return {event.step: event.value for event in events(output, split).Scalars(tag)}


@pytest.fixture(scope="module")
def run12(data, tmp_path_factory):
    """An unbroken run of 12 steps."""
    output = tmp_path_factory.mktemp("unbroken")
    result = run_script("train.py", *train_arguments(data, output, "train.step.total_step=12"))
    assert_ok(result)
    assert "saved" in result.stdout and "synthesize.py" in result.stdout
    return output


def same_state(left, right):
    assert left["step"] == right["step"]
    assert left["sampler"] == right["sampler"]
    for part in ("model", "running"):
        for name, tensor in left[part].items():
            assert torch.equal(tensor, right[part][name]), name
    for index, state in left["optimizer"]["state"].items():
        for name, value in state.items():
            assert torch.equal(value, right["optimizer"]["state"][index][name]), (index, name)


def test_checkpoints_carry_what_is_needed_to_go_on(run12):
    assert sorted(path.name for path in (run12 / "ckpt").iterdir()) == ["12.pth.tar", "4.pth.tar", "8.pth.tar"]
    content = load(run12, 8)
    assert content["step"] == 8
    assert content["config"]["train"]["optimizer"]["batch_size"] == 8
    assert content["speakers"] == {"Actor_01": 0, "Actor_02": 1}
    assert list(content["emotions"]) == ["angry", "calm", "happy", "sad"]
    assert len(content["symbols"]) == 360


def test_resumed_run_equals_an_unbroken_one_bit_for_bit(data, run12, tmp_path):
    """Killed by SIGKILL after its second checkpoint, then resumed: weights, optimiser and logged losses are equal."""
    arguments = train_arguments(data, tmp_path, "train.step.total_step=12")
    process = subprocess.Popen(command("train.py", *arguments), env=ENVIRONMENT, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not (tmp_path / "ckpt" / "8.pth.tar").exists() and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.kill()
    process.wait()
    (tmp_path / "ckpt" / "12.pth.tar").unlink(missing_ok=True)  # should the kill have come too late
    assert_ok(run_script("train.py", *arguments, "--restore_step", "8"))
    same_state(load(tmp_path, 12), load(run12, 12))
    for tag in ("loss/total", "gradient_norm", "emotion_accuracy"):
        unbroken, resumed = scalars(run12, "train", tag), scalars(tmp_path, "train", tag)
        assert {step: value for step, value in resumed.items() if step > 8} == {
            step: value for step, value in unbroken.items() if step > 8
        }


@pytest.mark.slow
def test_data_order_continues_in_the_middle_of_an_epoch(data, tmp_path, run12):
    """24 utterances in batches of 8: an epoch has 3 batches, so step 4 lies inside the second."""
    arguments = train_arguments(data, tmp_path)
    assert_ok(run_script("train.py", *arguments, "--set", "train.step.total_step=4"))
    assert_ok(run_script("train.py", *arguments, "--set", "train.step.total_step=8", "--restore_step", "latest"))
    assert load(tmp_path, 4)["sampler"] == {"epoch": 1, "index": 1, "batches": 3}
    same_state(load(tmp_path, 8), load(run12, 8))


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), pytest.param(signal.SIGTERM, 143, marks=pytest.mark.slow)]
)
def test_a_signal_saves_and_says_how_to_go_on(data, tmp_path, number, code):
    arguments = train_arguments(data, tmp_path, "train.step.save_step=100000", "train.step.total_step=100000")
    process = subprocess.Popen(
        command("train.py", *arguments), env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    log = tmp_path / "log" / "train"
    deadline = time.monotonic() + 120
    while not (log.exists() and any(path.stat().st_size > 500 for path in log.iterdir())):
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.05)
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == code, err
    step = int(re.search(r"stopped at step (\d+)", out)[1])
    assert (tmp_path / "ckpt" / f"{step}.pth.tar").exists()
    assert f"--restore_step {step}" in out
    assert "Traceback" not in err
    again = run_script("train.py", *arguments, "--restore_step", "latest", "--set", f"train.step.total_step={step + 1}")
    assert_ok(again)
    assert load(tmp_path, step + 1)["step"] == step + 1


def test_logs_can_be_read_back(run12):
    train, val = events(run12, "train"), events(run12, "val")
    losses = {f"loss/{name}" for name in ("total", "mel", "mel_last", "emotion", "duration")}
    assert losses | {"gradient_norm", "learning_rate", "emotion_accuracy"} <= set(train.Tags()["scalars"])
    assert losses | {"emotion_accuracy"} <= set(val.Tags()["scalars"])
    assert [event.step for event in train.Scalars("loss/total")] == [2, 4, 6, 8, 10, 12]
    assert all(math.isfinite(event.value) for tag in losses for event in train.Scalars(tag))
    assert any(tag.startswith("mel/") for tag in val.Tags()["images"])
    assert set(val.Tags()["audio"]) == {"audio/predicted", "audio/target_resynthesised"}
    rates = [event.value for event in train.Scalars("learning_rate")]
    assert rates == sorted(rates)  # warming up


def test_the_running_mean_of_weights_is_what_is_validated_and_spoken(data, tmp_path):
    """Also a resumed run's is bit-equal (test_resumed_run_equals_…); with ema 0 there is none."""
    from acoustic import load_model

    steps = ("train.step.total_step=6", "train.step.save_step=6", "train.step.val_step=100")
    arguments = train_arguments(data, tmp_path, *steps, "train.optimizer.ema=0.5")
    assert_ok(run_script("train.py", *arguments))
    content = load(tmp_path, 6)
    assert content["running"].keys() == content["model"].keys()
    name = "decoder.mel_projections.0.weight"
    assert not torch.equal(content["running"][name], content["model"][name])
    statistics = [key for key in content["model"] if ".standardise." in key]  # no mean of means
    assert statistics and all(torch.equal(content["running"][key], content["model"][key]) for key in statistics)
    overrides = [argument for argument in arguments if "=" in argument]
    spoken = load_model(load_config("Sample", overrides), 6, torch.device("cpu")).model.state_dict()
    assert all(torch.equal(spoken[key], value) for key, value in content["running"].items())
    plain = train_arguments(data, tmp_path / "plain", *steps, "train.optimizer.ema=0")
    assert_ok(run_script("train.py", *plain))
    assert load(tmp_path / "plain", 6)["running"] == {}


def test_it_learns(data, tmp_path):
    """Losses of a model that works fall on a task this small."""
    arguments = train_arguments(
        data,
        tmp_path,
        "train.step.total_step=60",
        "train.step.save_step=1000",
        "train.step.val_step=20",
        "train.optimizer.lr_scale=0.4",
    )
    assert_ok(run_script("train.py", *arguments))
    mel, duration = (scalars(tmp_path, "val", f"loss/{name}") for name in ("mel_last", "duration"))
    train_mel = scalars(tmp_path, "train", "loss/mel_last")
    assert mel[60] < mel[20] and mel[60] < 1.5  # a level of -5 predicted as 0 would be 5
    assert train_mel[60] < 0.5 * train_mel[2]
    train_duration = scalars(tmp_path, "train", "loss/duration")
    assert train_duration[60] < 0.5 * train_duration[2] and duration[60] < 0.5 * train_duration[2]
    assert train_mel[60] == pytest.approx(mel[60], rel=0.5)  # one quantity, on the same scale


def test_amp_trains_close_to_float32(data, tmp_path):
    """bfloat16, and float16 with loss scaling: both run, losses stay near float32's."""
    losses = {}
    for name, flags in {
        "float32": [],
        "bfloat16": ["--use_amp", "--set", "train.optimizer.amp_dtype=bfloat16"],
        "float16": ["--use_amp", "--set", "train.optimizer.amp_dtype=float16"],
    }.items():
        arguments = train_arguments(data, tmp_path / name, "train.step.total_step=4", "train.step.log_step=1")
        result = run_script("train.py", *arguments, *flags)
        assert_ok(result)
        assert f"({name})" in result.stdout
        losses[name] = scalars(tmp_path / name, "train", "loss/total")
    assert losses["bfloat16"] == pytest.approx(losses["float32"], rel=0.02)
    assert losses["float16"][1] == pytest.approx(losses["float32"][1], rel=0.02)
    assert losses["float16"][4] < losses["float16"][1]  # later, for its first steps only find the loss scale
    assert load(tmp_path / "float16", 4)["scaler"]["scale"] > 0


def test_amp_chooses_what_the_device_is_fast_in():
    from training.precision import Precision, bfloat16_pays

    cpu = torch.device("cpu")
    assert Precision.choose(True, "auto", cpu).dtype == (torch.bfloat16 if bfloat16_pays() else torch.float32)
    share = product_time(torch.bfloat16) / product_time(torch.float32)
    if not 0.6 < share < 1.3:  # else either is right
        assert bfloat16_pays() == (share < 1.0)
    assert Precision.choose(False, "bfloat16", cpu).dtype == torch.float32
    assert Precision.choose(True, "float16", cpu).scaler(cpu).is_enabled()


def product_time(dtype: torch.dtype) -> float:
    """Of one matrix product, seconds."""
    x = torch.randn(1024, 1024).to(dtype)
    torch.mm(x, x)
    taken = []
    for _ in range(5):
        begin = time.perf_counter()
        torch.mm(x, x)
        taken.append(time.perf_counter() - begin)
    return min(taken)


def in_process_trainer(data, output, *overrides: str):
    from training.processes import Process
    from training.trainer import Trainer

    config = load_config("Sample", [*tiny_overrides(data, output), *overrides])
    return Trainer(config, Process(0, 1, torch.device("cpu")), use_amp=False, restore_step=None)


NO_DROPOUT = (
    "model.transformer.encoder_dropout=0.0",
    "model.transformer.duration_predictor_dropout=0.0",
    "model.decoder.decoder_dropout=0.0",
    "train.emotion.soft_token_rate=0.0",
    "model.emotion_token_layer.ref_enc_dropout=0.0",
    "train.emotion.augment={}",
)


def gradients(trainer, batches):
    """Gradient of one step, before clipping and the optimiser."""
    trainer.config = trainer.config.model_copy(
        update={
            "train": trainer.config.train.model_copy(
                update={
                    "optimizer": trainer.config.train.optimizer.model_copy(
                        update={"grad_clip_thresh": 1e9, "grad_acc_step": len(batches)}
                    )
                }
            )
        }
    )
    trainer.state.model.emotion.reference_encoder.standardise.eval()
    before = {name: value.clone() for name, value in trainer.state.model.named_parameters()}
    trainer.state.optimizer = torch.optim.SGD(trainer.state.model.parameters(), lr=1.0)
    trainer.train_step(batches)
    rate = trainer.state.optimizer.param_groups[0]["lr"]
    return {name: (before[name] - value).detach() / rate for name, value in trainer.state.model.named_parameters()}


def test_gradient_accumulation_equals_one_large_batch(data, tmp_path):
    from dataset import collate

    items = in_process_trainer(data, tmp_path).state.train_set
    parts = [[0, 1, 2, 3, 4], [5, 6, 7]]  # unequal on purpose
    batches = [collate([items[i] for i in part]) for part in (*parts, parts[0] + parts[1])]
    exact = (*NO_DROPOUT, "train.optimizer.lr_scale=1000.0")  # a rate near 1: weights move by their gradient
    whole = gradients(in_process_trainer(data, tmp_path, *exact), batches[2:])
    split = gradients(in_process_trainer(data, tmp_path, *exact), batches[:2])
    for name, gradient in whole.items():
        assert torch.allclose(split[name], gradient, rtol=1e-3, atol=1e-4 * float(gradient.abs().max()) + 1e-7), name


@pytest.mark.parametrize("how", ["speakers", "fraction"])
def test_labels_of_unlabelled_utterances_are_never_read(data, tmp_path, how):
    """Flip them: losses and gradients stay the same, bit for bit."""
    override = {
        "speakers": "train.semi_supervised.unlabelled_speakers=[Actor_02]",
        "fraction": "train.semi_supervised.unlabelled_fraction=0.5",
    }[how]

    def step(flip: bool):
        trainer = in_process_trainer(data, tmp_path, override)
        train_set = trainer.state.train_set
        assert len(train_set.unlabelled) == 12
        for index, entry in enumerate(train_set.entries):
            if flip and entry.key in train_set.unlabelled:
                train_set.emotions[index] = (train_set.emotions[index] + 1) % 4
        batch = next(iter(trainer.loader))
        assert (batch.emotions < 0).any() and (batch.emotions >= 0).any()
        metrics, _ = trainer.train_step([batch])
        return metrics, dict(trainer.state.model.named_parameters())

    (straight, weights), (flipped, flipped_weights) = step(flip=False), step(flip=True)
    assert all(torch.equal(straight[name], flipped[name]) for name in straight)
    assert all(torch.equal(weights[name], flipped_weights[name]) for name in weights)


def rename(root, old, new):
    """Call an utterance of a preprocessed data set otherwise."""
    for path in (*root.glob(f"*/*-{old}.npy"), *root.glob("*.txt")):
        if path.suffix == ".npy":
            path.rename(path.with_name(path.name.replace(old, new)))
        else:
            path.write_text(path.read_text().replace(f"{old}|", f"{new}|"))


def test_utterances_without_a_label_train_like_those_whose_label_is_withheld(data, tmp_path):
    """The same features under names without an emotion: weights come out the same, bit for bit."""
    own = make_tiny_dataset(tmp_path / "data")
    for entry in read_metadata(own / "train.txt"):
        if entry.speaker == "Actor_02":
            rename(own, entry.name, f"none-{entry.name}")

    def step(root, *overrides):
        trainer = in_process_trainer(root, tmp_path, *overrides)
        assert len(trainer.state.train_set.unlabelled) == 12
        batch = next(iter(trainer.loader))
        assert (batch.emotions < 0).any() and (batch.emotions >= 0).any()
        trainer.train_step([batch])
        return dict(trainer.state.model.named_parameters())

    withheld, absent = step(data, "train.semi_supervised.unlabelled_speakers=[Actor_02]"), step(own)
    assert all(torch.equal(withheld[name], absent[name]) for name in withheld)


def test_a_share_of_the_labels_is_withheld_from_those_that_have_one():
    ids = IdMaps.of(["a", "b"], ["sad"])
    entries = [Entry(f"{kind}-{number}", speaker, ("K",), "") for kind in ("sad", "none") for speaker in ids.speakers
               for number in range(8)]  # fmt: skip
    config = load_config("Sample", ["train.semi_supervised.unlabelled_fraction=0.5"])
    chosen = choose_unlabelled(entries, config, ids)
    assert len(chosen) == 8 and all(name.startswith("sad") for _, name in chosen)
    assert chosen == choose_unlabelled(entries[::-1], config, ids)


def test_a_validation_set_without_labels_has_no_accuracy(data, tmp_path):
    own = make_tiny_dataset(tmp_path / "data")
    for entry in read_metadata(own / "val.txt"):
        rename(own, entry.name, f"none-{entry.name}")
    labelled, unlabelled = in_process_trainer(data, tmp_path).validate(), in_process_trainer(own, tmp_path).validate()
    assert labelled.keys() - unlabelled.keys() == {"emotion_accuracy"}
    assert unlabelled["emotion"] == 0.0 and all(math.isfinite(value) for value in unlabelled.values())


def test_labels_of_labelled_utterances_are_read(data, tmp_path):
    """The counterpart, lest the test above pass because nothing reads labels."""

    def total(flip: bool):
        trainer = in_process_trainer(data, tmp_path)
        if flip:
            trainer.state.train_set.emotions = [(emotion + 1) % 4 for emotion in trainer.state.train_set.emotions]
        return trainer.train_step([next(iter(trainer.loader))])[0]["total"]

    assert not torch.equal(total(flip=False), total(flip=True))


def test_soft_token_rate_one_trains_everything_through_the_reference(data, tmp_path):
    trainer = in_process_trainer(data, tmp_path, "train.emotion.soft_token_rate=1.0", "train.loss.alpha=0.0")
    trainer.state.optimizer = torch.optim.SGD(trainer.state.model.parameters(), lr=1.0)
    first = trainer.state.model.emotion.reference_encoder.output.weight
    before = first.detach().clone()
    trainer.train_step([next(iter(trainer.loader))])
    assert not torch.equal(before, first)


def limited_files(megabytes: int):
    """Files of this process may not grow beyond a size: what a full disk does, without filling one."""

    def apply():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (megabytes * 2**20, megabytes * 2**20))

    return apply


def test_a_full_disk_leaves_the_previous_checkpoint_good(data, tmp_path):
    arguments = train_arguments(data, tmp_path, "train.step.synth_step=100000", "train.step.log_step=100000")
    assert_ok(run_script("train.py", *arguments, "--set", "train.step.total_step=4"))
    before = (tmp_path / "ckpt" / "4.pth.tar").read_bytes()
    result = subprocess.run(
        command("train.py", *arguments, "--set", "train.step.total_step=8", "--restore_step", "latest"),
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=limited_files(5),
    )
    assert result.returncode == 2, result.stderr
    lines = [line for line in result.stderr.splitlines() if "step/s" not in line and line.strip()]
    assert lines[-1].startswith("error: cannot write") and "8.pth.tar" in lines[-1]
    assert "Traceback" not in result.stderr
    assert [path.name for path in (tmp_path / "ckpt").iterdir()] == ["4.pth.tar"]
    assert (tmp_path / "ckpt" / "4.pth.tar").read_bytes() == before
    assert_ok(run_script("train.py", *arguments, "--set", "train.step.total_step=8", "--restore_step", "latest"))


def spawned(processes: int, *arguments: str) -> subprocess.CompletedProcess:
    return run_script("train.py", *arguments, "--device", f"cpu:{processes}")


def test_a_new_run_never_overwrites_an_old_one(data, run12, tmp_path):
    arguments = train_arguments(data, run12, "train.step.total_step=12")
    before = (run12 / "ckpt" / "12.pth.tar").read_bytes()
    assert_refused(run_script("train.py", *arguments), "checkpoints up to step 12", "--restore_step latest")
    assert (run12 / "ckpt" / "12.pth.tar").read_bytes() == before
    done = run_script("train.py", *arguments, "--restore_step", "latest")
    assert_ok(done)
    assert "nothing to do" in done.stdout


def test_from_scratch_moves_the_old_run_aside(data, tmp_path):
    arguments = train_arguments(data, tmp_path, "train.step.total_step=2")
    assert_ok(run_script("train.py", *arguments))
    assert_ok(run_script("train.py", *arguments, "--from_scratch"))
    assert (tmp_path / "ckpt" / "2.pth.tar").exists()
    assert (tmp_path / "ckpt.old-1" / "2.pth.tar").exists()
    assert (tmp_path / "log.old-1").is_dir()


def test_spawned_processes_end_together(data, tmp_path):
    """An error of all is told once; SIGTERM to the parent makes all save and end."""
    wrong = train_arguments(data, tmp_path, "train.semi_supervised.unlabelled_speakers=[Nobody]")
    assert_refused(spawned(2, *wrong), "unknown speaker 'Nobody'")
    arguments = train_arguments(data, tmp_path, "train.step.save_step=100000", "train.step.total_step=100000")
    process = subprocess.Popen(
        command("train.py", *arguments, "--device", "cpu:2"), env=ENVIRONMENT, stdout=subprocess.PIPE, text=True
    )
    log = tmp_path / "log" / "train"
    deadline = time.monotonic() + 120
    while not (log.exists() and any(path.stat().st_size > 500 for path in log.iterdir())):
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 143
    assert out.count("stopped at step") == 1
    assert len(list((tmp_path / "ckpt").iterdir())) == 1


def test_wrong_arguments_are_refused(data, run12, tmp_path):
    arguments = train_arguments(data, run12)
    assert_refused(run_script("train.py", *arguments, "--restore_step", "7"), "no checkpoint of step 7", "4, 8, 12")
    assert_refused(run_script("train.py", *arguments, "--restore_step", "last"), "neither a step number nor")
    assert_refused(run_script("train.py", "--dataset", "Nothing"), "unknown dataset 'Nothing'", "RAVDESS")
    assert_refused(run_script("train.py"), "--dataset")
    assert_refused(
        run_script("train.py", *arguments, "--restore_step", "8", "--set", "model.decoder.decoder_layer=3"),
        "trained with other model: decoder",
    )
    assert_refused(
        run_script("train.py", *train_arguments(tmp_path / "nowhere", tmp_path)), "speakers.json is missing", "preproc"
    )
    assert_refused(
        run_script("train.py", *train_arguments(data, tmp_path), "--device", "cuda:7"), "no such device", "cpu"
    )
    assert_refused(
        run_script(
            "train.py",
            *train_arguments(data, tmp_path, "train.semi_supervised.unlabelled_speakers=[Nobody]"),
        ),
        "unknown speaker 'Nobody'",
    )
    assert not (tmp_path / "ckpt").exists()


@pytest.mark.slow
def test_checkpoints_older_than_an_option_go_on(data, tmp_path):
    """Where the configuration says what was then the only way."""
    output = tmp_path / "run"
    settings = ["model.emotion_token_layer={}", "train.emotion.augment={}"]
    assert_ok(run_script("train.py", *train_arguments(data, output, *settings, "train.step.total_step=2")))
    path = output / "ckpt" / "2.pth.tar"
    content = torch.load(path, weights_only=True)
    for option in ("ref_enc_type", "pooling", "normalise_input", "ref_enc_dropout"):
        del content["config"]["model"]["emotion_token_layer"][option]
    del content["config"]["train"]["emotion"]["augment"]
    torch.save(content, path)
    settings.append("train.step.total_step=3")
    assert_ok(run_script("train.py", *train_arguments(data, output, *settings), "--restore_step", "2"))
