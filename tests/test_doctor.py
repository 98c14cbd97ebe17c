"""doctor.py: what is wrong is found, named and mended by the command it tells; what is right is no problem."""

import importlib
import os
import re
import shlex
import shutil
import subprocess
import sys

import numpy as np
import pytest

import doctor
from preflight import environment
from preflight.findings import NOTE, OK, PROBLEM, guarded
from tests.paths import ROOT
from tests.processes import ENVIRONMENT, run_script, with_overrides
from tests.small_corpus import tree, write_ravdess
from tests.speaking import write_model
from tests.tiny import make_tiny_dataset
from utils.lock import sole_user

LINE = re.compile(r"(ok|note|problem) +(.+?): (.+)")


@pytest.fixture
def folders(tmp_path):
    """Overrides that lead everything below tmp_path."""
    return [
        f"preprocess.path.corpus_path={tmp_path / 'corpus'}",
        f"preprocess.path.raw_path={tmp_path / 'raw'}",
        f"preprocess.path.preprocessed_path={tmp_path / 'features'}",
        *(f"train.path.{kind}_path={tmp_path / 'output' / kind}" for kind in ("ckpt", "log", "result", "pretrained")),
        "model.vocoder.model=Griffin-Lim",
    ]


@pytest.fixture
def trainable(tmp_path, folders):
    """Features are there; they are of the tiny kind, without prosody."""
    make_tiny_dataset(tmp_path / "features")
    return [*folders, "model.prosody.layer=0"]


def look(*overrides):
    """Subject -> findings; nothing is left behind, wherever it looked."""
    found = {}
    for finding in doctor.find("RAVDESS", overrides):
        assert LINE.fullmatch(str(finding)), finding
        assert finding.level != PROBLEM or finding.remedy or re.search("run |choose|--set|download", finding.text)
        found.setdefault(finding.what, []).append(finding)
    return found


def problems(found):
    return {what for what, findings in found.items() if any(each.level == PROBLEM for each in findings)}


def test_what_can_train_is_no_problem(tmp_path, trainable):
    before = tree(tmp_path)
    result = run_script("doctor.py", "--dataset", "RAVDESS", *with_overrides(trainable))
    assert result.returncode == 0 and result.stderr == "", result.stdout + result.stderr
    *lines, summary = result.stdout.splitlines()
    levels = [LINE.fullmatch(line)[1] for line in lines]
    assert summary == f"no problems, {levels.count('note')} notes"
    assert "24 in train.txt, 8 in val.txt, 2 speakers, 4 emotions" in result.stdout
    assert tree(tmp_path) == before and not (tmp_path / "output").exists()


def test_each_step_is_a_problem_until_the_told_command_has_been_run(tmp_path, folders):
    """Recordings -> raw_path -> features, without alignments; then nothing is a problem any more."""
    overrides = [*folders, "model.alignment=learned", "model.prosody.layer=0", "preprocess.preprocessing.val_size=2"]
    assert problems(look(*overrides)) == {"corpus"}
    write_ravdess(tmp_path / "corpus")
    for what, script in (("raw_path", "prepare_align.py"), ("preprocessed_path", "preprocess.py")):
        found = look(*overrides)
        assert problems(found) == {what}
        told = shlex.split(found[what][0].remedy.removeprefix("run: "))
        assert told[:2] == ["python", script]
        result = run_script(*told[1:], "--jobs", "1")
        assert result.returncode == 0, result.stderr
    found = look(*overrides)
    assert problems(found) == set()
    assert "8 recordings of 2 speakers" in found["corpus"][0].text
    assert "8 recordings and 8 texts" in found["raw_path"][0].text
    shutil.rmtree(tmp_path / "corpus")
    assert look(*overrides)["corpus"][0].level == NOTE


def test_alignment_comes_before_features_where_it_is_wanted(tmp_path, folders):
    (tmp_path / "raw" / "Actor_01").mkdir(parents=True)
    (tmp_path / "raw" / "Actor_01" / "x.wav").write_bytes(b"")
    (tmp_path / "raw" / "Actor_01" / "x.lab").write_text("Kids")
    assert re.match(
        r"run: python align.py .*, then: python preprocess.py ", look(*folders)["preprocessed_path"][0].remedy
    )
    (tmp_path / "features" / "TextGrid" / "Actor_01").mkdir(parents=True)
    (tmp_path / "features" / "TextGrid" / "Actor_01" / "x.TextGrid").write_text("")
    assert look(*folders)["preprocessed_path"][0].remedy.startswith("run: python preprocess.py ")


def lose_mel(folder):
    next((folder / "features" / "mel").iterdir()).unlink()
    return r"missing in .*: mel/Actor_0\d-mel-.*\.npy"


def lose_speakers(folder):
    (folder / "features" / "speakers.json").unlink()
    return r"speakers\.json is missing"


def spoil_list(folder):
    (folder / "features" / "val.txt").write_text("no line of ours\n")
    return r"val\.txt"


@pytest.mark.parametrize("damage", [lose_mel, lose_speakers, spoil_list])
def test_damaged_features_are_a_problem(tmp_path, trainable, damage):
    said = damage(tmp_path)
    found = look(*trainable)
    assert problems(found) == {"preprocessed_path"}
    [finding] = found["preprocessed_path"]
    assert re.search(said, finding.text) and finding.remedy.startswith("run: python preprocess.py --dataset RAVDESS")


def test_features_that_the_configuration_asks_for_are_missed(tmp_path, trainable):
    shutil.rmtree(tmp_path / "features" / "pitch", ignore_errors=True)
    assert "pitch/" in look(*trainable, "model.prosody.layer=1")["preprocessed_path"][0].text
    found = look(*trainable, "preprocess.preprocessing.speaker_embedder=DeepSpeaker",
                 "preprocess.preprocessing.speaker_embedder_checkpoint=/nowhere.h5")  # fmt: skip
    assert problems(found) == {"preprocessed_path", "speaker embedder"}
    assert "spker_embed/Actor_01" in found["preprocessed_path"][0].text
    assert "/nowhere.h5" in found["speaker embedder"][0].text


def test_a_lexicon_and_a_vocoder_that_cannot_be_used_are_problems(tmp_path, trainable):
    lexicon = tmp_path / "own.txt"
    lexicon.write_text("KIDS K IH1 D Z\nDOGS QQ\n")
    found = look(*trainable, f"preprocess.path.lexicon_path={lexicon}", "model.vocoder.model=HiFi-GAN",
                 f"model.vocoder.checkpoint={tmp_path / 'none.pth.tar'}")  # fmt: skip
    assert problems(found) == {"lexicon", "vocoder"}
    assert "own.txt:2" in found["lexicon"][0].text and "none.pth.tar" in found["vocoder"][0].text
    lexicon.write_text("KIDS K IH1 D Z\n")
    settings = write_model(tmp_path / "model")
    found = look(*trainable, f"preprocess.path.lexicon_path={lexicon}", *settings)
    assert problems(found) == set()
    assert "generator.pth.tar" in found["vocoder"][0].text and "own.txt first" in found["lexicon"][0].text
    assert "the latest of step 5" in found["checkpoints"][0].text


def test_shipped_weights_are_compared_with_their_sums(tmp_path, trainable):
    ours = ROOT / "pretrained" / "RAVDESS"
    if not ours.is_dir():
        pytest.skip("no weights ship with this copy")
    shipped = tmp_path / "shipped"
    shutil.copytree(ours, shipped)
    overrides = [*trainable, f"train.path.pretrained_path={shipped}"]
    assert look(*overrides)["weights that ship"][0].level == OK
    data = bytearray((shipped / "vocoder.json").read_bytes())
    data[len(data) // 2] ^= 1
    (shipped / "vocoder.json").write_bytes(data)
    (shipped / "README.md").unlink()
    found = look(*overrides)
    assert problems(found) == {"weights that ship"}
    [finding] = found["weights that ship"]
    assert "README.md" in finding.text and "vocoder.json" in finding.text and "git checkout" in finding.remedy


def test_folders_that_cannot_be_written_are_named_with_their_key(tmp_path, trainable):
    (tmp_path / "file").write_text("in the way")
    found = look(*trainable, f"train.path.log_path={tmp_path / 'file' / 'log'}")
    assert problems(found) == {"permissions"}
    bad = next(each for each in found["permissions"] if each.level == PROBLEM)
    assert str(tmp_path / "file") in bad.text and "--set train.path.log_path=FOLDER" in bad.remedy


def test_a_folder_without_permission_is_a_problem(tmp_path, trainable):
    (tmp_path / "output").mkdir(mode=0o555)
    if os.access(tmp_path / "output", os.W_OK):
        pytest.skip("root may write everywhere")
    found = look(*trainable)
    assert problems(found) == {"permissions"}
    assert f"chmod u+w {tmp_path / 'output'}" in found["permissions"][0].remedy


def test_a_full_disk_is_a_problem_and_a_nearly_full_one_a_note(tmp_path, monkeypatch):
    """The thresholds lie where the disk is; where that is, no test can choose."""
    free = shutil.disk_usage(tmp_path).free / environment.GIGABYTE
    for least, enough, level in ((0, free / 2, OK), (0, 2 * free, NOTE), (2 * free, 4 * free, PROBLEM)):
        monkeypatch.setattr(environment, "LEAST", least)
        monkeypatch.setattr(environment, "ENOUGH", enough)
        [finding] = environment.check_disks({"train.path.ckpt_path": tmp_path / "a" / "b"})
        assert finding.level == level and str(tmp_path / "a" / "b") in finding.text


def test_who_is_at_work_is_told(tmp_path, trainable):
    with sole_user(tmp_path / "features"):
        [note] = look(*trainable)["at work"]
    assert note.level == NOTE and f"process {os.getpid()}" in note.text
    assert "at work" not in look(*trainable)


def test_a_bare_python_gets_the_command_that_installs(tmp_path):
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "venv")], check=True)
    call = [str(tmp_path / "venv" / "bin" / "python"), str(ROOT / "doctor.py")]
    result = subprocess.run(
        call, env=ENVIRONMENT, capture_output=True, text=True, check=False, timeout=60, cwd=tmp_path
    )
    assert result.returncode == 2 and result.stderr == "", result.stderr
    lines = result.stdout.splitlines()
    assert [line for line in lines if line.startswith("problem")] == [
        line
        for line in lines
        if re.match(r"problem  packages: torch is missing, .*make setup.*pip install -r req", line)
    ]
    assert lines[-1].startswith("1 problem, ")


def test_another_version_than_the_pinned_is_a_problem_of_its_own(tmp_path, trainable):
    """Everything else is looked at all the same."""
    (tmp_path / "path" / "tqdm-1.0.dist-info").mkdir(parents=True)
    (tmp_path / "path" / "tqdm-1.0.dist-info" / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: tqdm\nVersion: 1.0\n"
    )
    call = [sys.executable, str(ROOT / "doctor.py"), *with_overrides(trainable)]
    result = subprocess.run(
        call, env=ENVIRONMENT | {"PYTHONPATH": str(tmp_path / "path")}, capture_output=True, text=True, check=False
    )
    assert result.returncode == 2 and result.stdout.splitlines()[-1].startswith("1 problem, ")
    assert re.search(r"^problem  packages: tqdm is 1\.0 instead of .*pip install -r", result.stdout, re.MULTILINE)
    assert "24 in train.txt" in result.stdout


def test_checks_that_fail_are_findings_and_bugs_are_not_hidden():
    def broken_package():
        importlib.import_module("numpy.nowhere")
        yield

    def unreadable():
        np.load("/nowhere/x.npy")
        yield

    def bug():
        raise RuntimeError("ours")
        yield

    [finding] = guarded("torch", broken_package)
    assert finding.level == PROBLEM and "numpy" in finding.text and "pip install" in finding.text
    [finding] = guarded("lexicon", unreadable)
    assert finding.level == PROBLEM and "/nowhere/x.npy" in finding.text
    with pytest.raises(RuntimeError):
        list(guarded("torch", bug))


def test_an_unknown_dataset_is_one_line():
    result = run_script("doctor.py", "--dataset", "Nowhere")
    assert result.returncode == 2
    assert result.stderr.startswith("error: unknown dataset 'Nowhere'") and len(result.stderr.splitlines()) == 1
