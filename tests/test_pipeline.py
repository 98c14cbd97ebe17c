"""From recordings to speech through all the scripts, on generated and on real recordings."""

import json
import random
import shutil
import signal
import subprocess
import time

import numpy as np
import pytest
import soundfile
import torch

from tests.outside_packages import install
from tests.paths import real_data
from tests.processes import ENVIRONMENT, assert_ok, command, run_script, with_overrides
from tests.sample import sample_corpus
from tests.test_train import same_state, scalars
from tests.tiny import make_tiny_dataset, tiny_overrides


def settings(folder) -> list[str]:
    return [
        f"preprocess.path.corpus_path={folder / 'corpus'}",
        f"preprocess.path.raw_path={folder / 'raw'}",
        *tiny_overrides(folder / "preprocessed", folder / "output"),
    ]


def test_recordings_to_speech(tmp_path):
    """Two speakers' recordings of the generated corpus: every script, in the README's order."""
    source = sample_corpus()
    for actor in ("Actor_01", "Actor_02"):
        (tmp_path / "corpus" / actor).mkdir(parents=True)
        for wav in sorted((source / actor).glob("*.wav"))[::4]:
            shutil.copy(wav, tmp_path / "corpus" / actor)
    more = ["preprocess.preprocessing.val_size=4", "train.step.total_step=30", "train.step.save_step=30"]
    flags = ["--dataset", "Sample", *with_overrides([*settings(tmp_path), *more])]
    for script in ("prepare_align.py", "align.py", "preprocess.py", "train.py"):
        assert_ok(run_script(script, *flags))
    stats = json.loads((tmp_path / "preprocessed" / "stats.json").read_text())
    assert stats["utterances"] == 30 and stats["val"] == 4
    single = ["--restore_step", "30", "--mode", "single", "--text", "Dogs are talking", "--speaker_id", "Actor_02"]
    reference = next((tmp_path / "corpus" / "Actor_01").glob("*.wav"))
    for name, emotion in (("hard", ("--emotion_id", "sad")), ("soft", ("--ref_audio", reference))):
        assert_ok(run_script("synthesize.py", *flags, *single, *emotion, "--name", name))
        wav, rate = soundfile.read(tmp_path / "output" / "result" / "30" / f"{name}.wav")
        assert rate == 22050 and len(wav) > 4000 and np.abs(wav).max() > 1e-3
    batch = ["--restore_step", "30", "--mode", "batch", "--source", tmp_path / "preprocessed" / "val.txt"]
    assert_ok(run_script("synthesize.py", *flags, *batch))
    check_evaluation(flags, tmp_path / "eval")


def check_evaluation(flags, folder) -> None:
    """Every system is there, copies are nearer to the recordings than a model that has seen 30 steps."""
    arguments = ("evaluate.py", *flags, "--restore_step", "30", "--output", folder)
    judges = ("--judges", "whisper", "emotion2vec", "utmos")
    packages = install(folder.parent / "packages")
    comparing = (*arguments, *judges, "--griffin_lim", "--limit", "3")
    assert_ok(run_script(*comparing, "--save_audio", "--jobs", "2", PYTHONPATH=str(packages)))
    report = json.loads((folder / "report.json").read_text())
    systems = report["comparison"]["systems"]
    speaking = {"true_durations", "predicted", "soft_own", "soft_other"}
    assert set(systems) == {"real", "copy", "griffin_lim"} | speaking
    for name, system in systems.items():
        assert len(list((folder / "audio" / name).glob("*.wav"))) == 3 == system["utterances"]
        assert sum(map(sum, system["confusion"])) == 3
    mcd = {name: system["overall"]["mcd"] for name, system in systems.items()}
    assert mcd["real"][:3] == [0.0, 0.0, 0.0]
    assert mcd["copy"][2] < min(mcd[name][0] for name in speaking)
    assert systems["copy"]["overall"]["duration_error"][0] == 0.0 < systems["predicted"]["overall"]["duration_error"][0]
    for metric in ("whisper_words", "utmos"):
        assert all(system["overall"][metric][3] == 3 for system in systems.values())
    text = (folder / "report.md").read_text()
    assert "naturalness (UTMOS)" in text
    assert "## By emotion" in text and "| griffin_lim |" in text
    assert {path.name for path in folder.glob("*.png")} >= {
        "confusion.png",
        "systems.png",
        "emotions.png",
        "judged.png",
    }
    # again, with what the recordings are known by in the cache: the same numbers
    assert_ok(run_script(*comparing, "--jobs", "1", PYTHONPATH=str(packages)))
    assert json.loads((folder / "report.json").read_text()) == report


@pytest.mark.slow
def test_the_whole_of_ravdess(tmp_path):
    """All real recordings at hand are kept; the model's losses fall as they should in 300 steps."""
    corpus = ["--corpus_path", real_data("RAVDESS")]
    flags = [
        "--dataset",
        "RAVDESS",
        *with_overrides(
            [
                f"preprocess.path.raw_path={tmp_path / 'raw'}",
                f"preprocess.path.preprocessed_path={tmp_path / 'data'}",
                *(f"train.path.{kind}_path={tmp_path / kind}" for kind in ("ckpt", "log", "result")),
            ]
        ),
    ]
    assert_ok(run_script("prepare_align.py", *flags, *corpus))
    assert_ok(run_script("preprocess.py", *flags, "--textgrids", real_data("TextGrid")))
    stats = json.loads((tmp_path / "data" / "stats.json").read_text())
    assert stats["utterances"] + stats["skipped"] == len(list(real_data("RAVDESS").rglob("*.flac")))
    assert stats["skipped"] <= 5
    short = ["train.step.total_step=300", "train.step.val_step=100", "train.step.synth_step=1000"]
    assert_ok(run_script("train.py", *flags, *with_overrides(short), timeout=1200))
    mel, duration = (scalars(tmp_path, "val", f"loss/{name}") for name in ("mel_last", "duration"))
    assert mel[300] < mel[200] < mel[100] and mel[300] < 2.0
    assert duration[300] < 0.2


@pytest.mark.slow
def test_killed_at_random_moments_again_and_again(tmp_path):
    """Ten SIGKILLs anywhere, writing of checkpoints included; the end equals an unbroken run's."""
    data = make_tiny_dataset(tmp_path / "data")
    steps = ["train.step.total_step=24", "train.step.save_step=2", "train.step.synth_step=1000"]

    def flags(output):
        return ["--dataset", "Sample", *with_overrides([*tiny_overrides(data, output), *steps])]

    assert_ok(run_script("train.py", *flags(tmp_path / "unbroken")))
    output, moment = tmp_path / "killed", random.Random(5)
    checkpoints = output / "ckpt"
    for _ in range(10):
        resume = ["--restore_step", "latest"] if checkpoints.exists() and any(checkpoints.glob("[0-9]*")) else []
        process = subprocess.Popen(command("train.py", *flags(output), *resume), env=ENVIRONMENT)
        time.sleep(moment.uniform(2.0, 8.0))
        process.send_signal(signal.SIGKILL)
        process.wait()
        for path in checkpoints.glob("[0-9]*.pth.tar"):
            torch.load(path, weights_only=True)  # whatever bears a checkpoint's name is one
    assert_ok(run_script("train.py", *flags(output), "--restore_step", "latest"))
    left, right = (
        torch.load(folder / "ckpt" / "24.pth.tar", weights_only=True) for folder in (output, tmp_path / "unbroken")
    )
    same_state(left, right)
