"""model.alignment=learned: from recordings to speech without any TextGrid, and the TextGrids that come out of it."""

import json
import shutil

import numpy as np
import pytest
import soundfile

from preprocessor.alignment import read_alignment
from tests.paths import real_data
from tests.processes import assert_ok, assert_refused, run_script, with_overrides
from tests.sample import sample_corpus
from tests.test_train import load, same_state, scalars
from tests.tiny import make_tiny_dataset, tiny_overrides

LEARNED = ["model.alignment=learned"]


def boundaries(path):
    """Seconds at which one phone ends and the next begins."""
    alignment = read_alignment(path, 1000, 1, fill_gaps=True)
    spoken = [phone for phone in alignment.phones if phone != "sp"]
    ends = alignment.start + np.cumsum(alignment.durations)[:-1] / 1000
    return spoken, [end for end, phone in zip(ends, alignment.phones, strict=False) if phone != "sp"]


def differences(folder, reference):
    """Milliseconds between the boundaries of utterances without inner pauses in two folders of TextGrids."""
    found = []
    for path in sorted(folder.glob("*/*.TextGrid")):
        other = reference / path.parent.name / path.name
        if other.is_file() and "sp" not in (alignment := read_alignment(other, 1000, 1)).phones:
            (phones, times), (expected, truth) = boundaries(path), boundaries(other)
            assert phones == expected == list(alignment.phones)
            found.append(np.abs(np.subtract(times, truth)) * 1000)
    return np.concatenate(found)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A short training on two speakers of the generated corpus; its folder and its flags."""
    folder = tmp_path_factory.mktemp("learned")
    for actor in ("Actor_01", "Actor_02"):
        (folder / "corpus" / actor).mkdir(parents=True)
        for wav in sorted((sample_corpus() / actor).glob("*.wav"))[::3]:
            shutil.copy(wav, folder / "corpus" / actor)
    overrides = [
        f"preprocess.path.corpus_path={folder / 'corpus'}",
        f"preprocess.path.raw_path={folder / 'raw'}",
        *tiny_overrides(folder / "preprocessed", folder / "output"),
        "preprocess.preprocessing.val_size=4",
        "train.step.total_step=60",
        "train.step.val_step=20",
        "train.step.save_step=60",
    ]
    flags = ["--dataset", "Sample", *with_overrides(overrides)]
    assert_ok(run_script("prepare_align.py", *flags))
    for script in ("preprocess.py", "train.py"):
        assert_ok(run_script(script, *flags, *with_overrides(LEARNED)))
    return folder, flags


def test_no_textgrid_is_needed_and_the_losses_of_alignment_fall(trained):
    folder, _ = trained
    preprocessed, output = folder / "preprocessed", folder / "output"
    assert not list(preprocessed.rglob("*.TextGrid")) and not list((preprocessed / "duration").glob("*"))
    assert "{sil K IH1 D Z AA1 R T AO1 K IH0 NG B AY1 DH AH0 D AO1 R sil}" in (preprocessed / "train.txt").read_text()
    for split in ("train", "val"):
        losses = scalars(output, split, "loss/alignment")
        assert losses[max(losses)] < losses[min(losses)]
        assert min(scalars(output, split, "loss/binarisation").values()) >= 0


@pytest.mark.slow
def test_its_model_speaks_and_is_evaluated(trained):
    folder, flags = trained
    single = ["--restore_step", "latest", "--mode", "single", "--speaker_id", "Actor_02", "--emotion_id", "angry"]
    assert_ok(run_script("synthesize.py", *flags, *single, "--text", "Dogs are talking", "--output", folder / "spoken"))
    (result,) = (folder / "spoken").glob("*.json")
    chunk = json.loads(result.read_text())["chunks"][0]
    assert chunk["phones"] == ["sil", "D", "AA1", "G", "Z", "AA1", "R", "T", "AO1", "K", "IH0", "NG", "sil"]
    assert len(chunk["frames"]) == len(chunk["phones"])
    assert soundfile.info(result.with_suffix(".wav")).frames == sum(chunk["frames"]) * 256
    batch = ["--restore_step", "60", "--mode", "batch", "--source", folder / "preprocessed" / "val.txt"]
    assert_ok(run_script("synthesize.py", *flags, *batch, "--output", folder / "batch"))
    for result in (folder / "batch").glob("*.json"):
        assert json.loads(result.read_text())["chunks"][0]["phones"].count("sil") == 2
    assert_ok(run_script("evaluate.py", *flags, "--restore_step", "60", "--output", folder / "report"))
    report = json.loads((folder / "report" / "report.json").read_text())
    logged = scalars(folder / "output", "val", "loss/total")[60]
    assert report["losses"]["total"] == pytest.approx(logged, rel=1e-4)
    assert report["losses"]["alignment"] > 0 and report["overall"]["phone_error_ms"] > 0


@pytest.mark.slow
def test_what_it_learned_becomes_textgrids_that_others_can_train_on(trained):
    folder, flags = trained
    grids = folder / "preprocessed" / "TextGrid"
    result = run_script("align.py", *flags, "--aligner", "learned", "--restore_step", "latest")
    assert_ok(result)
    assert "aligned 40 of 40" in result.stdout
    learned = {path.name: path.read_bytes() for path in grids.glob("*/*.TextGrid")}
    again = run_script("align.py", *flags, "--aligner", "learned", "--restore_step", "60", "--force")
    assert_ok(again)
    assert {path.name: path.read_bytes() for path in grids.glob("*/*.TextGrid")} == learned
    shutil.move(grids, folder / "learned")
    assert_ok(run_script("align.py", *flags))  # pocketsphinx
    assert np.median(differences(folder / "learned", grids)) < 50  # ms
    other = ["--set", f"preprocess.path.preprocessed_path={folder / 'again'}", "--textgrids", folder / "learned"]
    assert_ok(run_script("preprocess.py", *flags, *other))
    assert len((folder / "again" / "train.txt").read_text().splitlines()) == 36


def test_wrong_combinations_are_one_line(trained, tmp_path):
    folder, flags = trained
    learned = with_overrides(LEARNED)
    assert_refused(run_script("preprocess.py", *flags, *learned, "--textgrids", folder), "--textgrids", "learned")
    assert_refused(run_script("align.py", *flags, "--restore_step", "60"), "--restore_step", "--aligner learned")
    assert_refused(run_script("train.py", *flags, "--restore_step", "60"), "duration", "--set model.alignment=learned")
    data = make_tiny_dataset(tmp_path / "data")
    tiny = ["--dataset", "Sample", *with_overrides([*tiny_overrides(data, tmp_path), "train.step.total_step=1"])]
    assert_ok(run_script("train.py", *tiny))
    raw = with_overrides([f"preprocess.path.raw_path={folder / 'raw'}"])
    result = run_script("align.py", *tiny, *raw, "--aligner", "learned", "--force")
    assert_refused(result, "cannot align", "model.alignment=learned")
    other = run_script("train.py", *tiny, *learned, "--restore_step", "1")
    assert_refused(other, "trained with other model: alignment is textgrid there and learned here")


def test_texts_that_cannot_be_aligned_are_left_out_with_a_reason(trained, tmp_path):
    folder, flags = trained
    raw = tmp_path / "raw"
    shutil.copytree(folder / "raw", raw)
    first, second, *_ = sorted((raw / "Actor_01").glob("*.lab"))
    first.write_text("Supercalifragilistic talking by the door, " * 12)
    second.write_text("…")
    target = with_overrides([f"preprocess.path.raw_path={raw}", f"preprocess.path.preprocessed_path={tmp_path / 'p'}"])
    assert_ok(run_script("preprocess.py", *flags, *target, *with_overrides(LEARNED)))
    skipped = {item["name"]: item["kind"] for item in json.loads((tmp_path / "p" / "skipped.json").read_text())}
    assert skipped == {first.stem: "too short for its text", second.stem: "unspeakable text"}


@pytest.mark.slow
def test_a_resumed_run_equals_an_unbroken_one(tmp_path):
    data = make_tiny_dataset(tmp_path / "data")
    for folder, ends in (("whole", (8,)), ("parts", (4, 8))):
        overrides = [*tiny_overrides(data, tmp_path / folder), *LEARNED, "model.min_phone_frames=2"]
        for index, end in enumerate(ends):
            flags = ["--dataset", "Sample", *with_overrides([*overrides, f"train.step.total_step={end}"])]
            assert_ok(run_script("train.py", *flags, *(["--restore_step", "latest"] if index else [])))
    same_state(load(tmp_path / "whole", 8), load(tmp_path / "parts", 8))


@pytest.mark.slow
@pytest.mark.data
def test_boundaries_on_real_recordings(tmp_path):
    """Twelve real actors, 240 steps: the median distance from the TextGrids is under 40 ms."""
    actors = sorted(real_data("RAVDESS").glob("Actor_*"))[:12]
    (tmp_path / "corpus").mkdir()
    for actor in actors:
        (tmp_path / "corpus" / actor.name).symlink_to(actor)
    overrides = [
        f"preprocess.path.corpus_path={tmp_path / 'corpus'}",
        f"preprocess.path.raw_path={tmp_path / 'raw'}",
        *tiny_overrides(tmp_path / "preprocessed", tmp_path / "output"),
        *("train.optimizer.batch_size=32", "train.optimizer.warm_up_step=100", *LEARNED),
        *("train.step.total_step=240", "train.step.save_step=240"),
    ]
    flags = ["--dataset", "RAVDESS", *with_overrides(overrides)]
    for script in ("prepare_align.py", "preprocess.py", "train.py"):
        assert_ok(run_script(script, *flags))
    assert_ok(run_script("align.py", *flags, "--aligner", "learned"))
    found = differences(tmp_path / "preprocessed" / "TextGrid", real_data("TextGrid"))
    print(f"\nlearned alignment: median {np.median(found):.1f} ms, mean {found.mean():.1f} ms")
    assert np.median(found) < 40
