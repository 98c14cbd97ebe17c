"""Full disks, read-only and vanished folders, permissions: one line, exit code 2, what was good stays, no half-written
file, no temporary one. The disk is a real one of a few hundred kilobytes in memory, mounted for the test."""

import json
import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from tests.processes import ENVIRONMENT, assert_ok, command, run_script, with_overrides
from tests.small_corpus import tree, write_ravdess, write_raw
from tests.speaking import write_model
from tests.tiny import make_tiny_dataset, tiny_overrides

# Root may write everywhere unless it gives these up
PLAIN = ["setpriv", "--bounding-set=-dac_override,-dac_read_search,-fowner"] if os.geteuid() == 0 else []


@pytest.fixture
def disk(tmp_path):
    """A disk of 256 kB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "none", folder], capture_output=True, check=False)
    if made.returncode:
        pytest.skip(f"no disk can be mounted here: {made.stderr.decode().strip()}")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def fill(disk, leave=0):
    """Leave only so many bytes."""
    free = os.statvfs(disk)
    size = free.f_bavail * free.f_frsize - leave
    with (disk / "filled").open("wb") as file:
        file.write(bytes(max(0, size)))


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """All that the scripts need, small: a corpus, raw data, features, a model that speaks."""
    root = tmp_path_factory.mktemp("inputs")
    write_ravdess(root / "corpus")
    write_raw(root / "raw", root / "grids")
    make_tiny_dataset(root / "data")
    speaking = write_model(root / "model")
    (root / "speaking.json").write_text(json.dumps(speaking))
    lines = [f"happy-{index}|Actor_01|{{K IH1 D Z}}|kids" for index in range(200)]
    (root / "lines.txt").write_text("\n".join(lines))
    steps = ["train.step.total_step=4", "train.step.save_step=4"]
    trained = [*tiny_overrides(root / "data", root / "trained"), *steps]
    assert_ok(run_script("train.py", "--dataset", "Sample", *with_overrides(trained)))
    return root


def call(what, inputs, output):
    """Arguments of a script that writes below `output`."""
    speaking = with_overrides(json.loads((inputs / "speaking.json").read_text()))
    tiny, spoken = (
        tiny_overrides(inputs / "data", inputs / "trained"),
        ("--dataset", "RAVDESS", "--restore_step", "latest"),
    )
    single = (*spoken, *speaking, "--mode", "single", "--text", "kids are talking", "--speaker_id", "Actor_01")
    features = [f"preprocess.path.raw_path={inputs / 'raw'}", f"preprocess.path.preprocessed_path={output / 'out'}"]
    features += ["preprocess.preprocessing.val_size=2"]
    corpus = (f"preprocess.path.raw_path={output / 'out'}",)
    trains = with_overrides([*tiny_overrides(inputs / "data", output / "out"), "train.step.total_step=100000"])
    return {
        "prepare_align": ("--dataset", "RAVDESS", "--corpus_path", inputs / "corpus", "--jobs", 1,
                          *with_overrides(corpus)),
        "preprocess": ("--dataset", "Sample", "--textgrids", inputs / "grids", "--jobs", 1, *with_overrides(features)),
        "train": ("--dataset", "Sample", *trains),
        "synthesize": (*single, "--emotion_id", "all", "--output", output / "out"),
        "batch": (*spoken, *speaking, "--mode", "batch", "--source", inputs / "lines.txt", "--output", output / "out"),
        "evaluate": ("--dataset", "Sample", "--restore_step", "latest", "--losses_only", *with_overrides(tiny),
                     "--output", output / "out"),
        "export": ("--dataset", "Sample", "--restore_step", "latest", *with_overrides(tiny),
                   "--output", output / "out"),
    }[what]  # fmt: skip


SCRIPTS = {"batch": "synthesize"}
EVERY = ("prepare_align", "preprocess", "train", "synthesize", "batch", "evaluate", "export")


def attempt(what, inputs, output):
    """Run it without root's privilege to write everywhere."""
    line = [*PLAIN, *command(f"{SCRIPTS.get(what, what)}.py", *call(what, inputs, output))]
    return subprocess.run(line, capture_output=True, text=True, timeout=200, env=ENVIRONMENT, check=False)


def assert_told(result, *patterns):
    """Exit code 2; the last line says what is wrong, and nothing else is complained about."""
    lines = [line for line in result.stderr.replace("\r", "\n").splitlines() if line.strip()]
    assert result.returncode == 2, result.stderr
    assert "Traceback" not in result.stderr and "Exception" not in result.stderr, result.stderr
    assert lines[-1].startswith("error: ") and sum(line.startswith("error: ") for line in lines) == 1, result.stderr
    assert any(pattern in lines[-1] for pattern in patterns), lines[-1]


def temporary(folder):
    return [path for path in folder.rglob("*") if ".tmp" in path.name]


def quick(*names):
    """All scripts as parameters; all but `names` belong to the slow tests."""
    return [pytest.param(each, marks=() if each in names else pytest.mark.slow) for each in EVERY]


@pytest.mark.parametrize("what", quick("preprocess", "train", "batch"))
def test_a_full_disk(what, inputs, disk):
    """From the first byte on."""
    (disk / "good.txt").write_text("good")
    fill(disk)
    assert_told(attempt(what, inputs, disk), "No space left", "disk is full", "free space")
    assert (disk / "good.txt").read_text() == "good" and temporary(disk) == []


@pytest.mark.slow
@pytest.mark.parametrize("leave", [8192, 20000, 60000, 120000])
@pytest.mark.parametrize("what", EVERY)
def test_a_disk_that_fills_up_and_has_room_again(what, leave, inputs, disk, tmp_path):
    """What is written until then is whole, and with more room the same command goes on."""
    fill(disk, leave)
    result = attempt(what, inputs, disk)
    if result.returncode:
        assert_told(result, "No space left", "disk is full", "free space")
    assert temporary(disk) == []
    if what not in ("prepare_align", "preprocess", "batch"):
        return
    subprocess.run(["mount", "-o", "remount,size=64m", disk], check=True)
    again, whole = attempt(what, inputs, disk), attempt(what, inputs, tmp_path)
    assert again.returncode == whole.returncode == 0, again.stderr
    assert tree(disk / "out") == tree(tmp_path / "out")


@pytest.mark.parametrize("what", quick("train"))
def test_a_read_only_disk(what, inputs, disk):
    (disk / "good.txt").write_text("good")
    subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
    assert_told(attempt(what, inputs, disk), "Read-only file system")
    assert [path.name for path in disk.iterdir()] == ["good.txt"]


@pytest.mark.skipif(bool(PLAIN) and shutil.which("setpriv") is None, reason="root needs setpriv to be refused anything")
@pytest.mark.parametrize("what", quick("batch"))
def test_a_folder_that_may_not_be_written(what, inputs, tmp_path):
    folder = tmp_path / "closed"
    folder.mkdir()
    folder.chmod(0o555)
    try:
        assert_told(attempt(what, inputs, folder), "Permission denied")
        assert list(folder.iterdir()) == []
    finally:
        folder.chmod(0o755)


def test_a_stream_into_a_full_disk(inputs):
    line = command("synthesize.py", *call("synthesize", inputs, inputs)[:-4], "--emotion_id", "sad", "--stream")
    with Path("/dev/full").open("wb") as full:
        result = subprocess.run(line, stdout=full, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT, check=False)
    assert_told(result, "cannot write samples to standard output: No space left on device")


def test_what_is_printed_may_not_fit_either(inputs, tmp_path):
    """`> log` on a full disk: the files are there, and the exit code says that not all went well."""
    with Path("/dev/full").open("wb") as full:
        line = command("evaluate.py", *call("evaluate", inputs, tmp_path))
        result = subprocess.run(line, stdout=full, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT, check=False)
    assert_told(result, "No space left on device")


def test_the_last_checkpoint_survives_a_disk_that_is_full_later(inputs, disk, tmp_path):
    """Checkpoints on the small disk, logs elsewhere; then there is room again, and training goes on."""
    subprocess.run(["mount", "-o", "remount,size=30m", disk], check=True)
    flags = [*tiny_overrides(inputs / "data", tmp_path), f"train.path.ckpt_path={disk}", "train.step.save_step=2"]
    result = run_script("train.py", "--dataset", "Sample", *with_overrides([*flags, "train.step.total_step=8"]))
    assert_told(result, "cannot write", ".pth.tar: No space left")
    assert temporary(disk) == [] and list(disk.glob("*.pth.tar"))
    subprocess.run(["mount", "-o", "remount,size=200m", disk], check=True)
    more = with_overrides([*flags, "train.step.total_step=10"])
    assert_ok(run_script("train.py", "--dataset", "Sample", *more, "--restore_step", "latest"))


@pytest.mark.parametrize("what", [pytest.param("preprocess", marks=pytest.mark.slow), "batch"])
def test_an_output_folder_that_vanishes_under_way(what, inputs, tmp_path):
    """It is made again or missed in one line; either way nothing is left half-written."""
    output = tmp_path / "out"
    line = command(f"{SCRIPTS.get(what, what)}.py", *call(what, inputs, tmp_path))
    process = subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=ENVIRONMENT, text=True)
    deadline = time.monotonic() + 120
    while not (output.exists() and any(output.rglob("*.*"))) and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.01)
    shutil.rmtree(output, ignore_errors=True)
    _, told = process.communicate(timeout=120)
    assert process.returncode in (0, 2) and "Traceback" not in told, told
    if process.returncode:
        assert told.strip().splitlines()[-1].startswith("error: "), told
    assert temporary(tmp_path) == []


def test_folders_of_a_training_that_vanish_under_way(inputs, tmp_path):
    """Logs: told in one line; the checkpoints are those that were written, none of them half."""
    flags = [*tiny_overrides(inputs / "data", tmp_path), "train.step.total_step=100000", "train.step.save_step=4"]
    line = command("train.py", "--dataset", "Sample", *with_overrides(flags))
    process = subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=ENVIRONMENT, text=True)
    deadline = time.monotonic() + 120
    while not (tmp_path / "ckpt" / "4.pth.tar").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    shutil.rmtree(tmp_path / "log")
    try:
        _, told = process.communicate(timeout=100)
    finally:
        process.kill()
    assert process.returncode == 2 and "Traceback" not in told, told
    assert told.strip().splitlines()[-1].startswith("error: cannot write logs to"), told
    assert temporary(tmp_path) == []
    from utils.checkpoint import read_checkpoint

    assert all(read_checkpoint(path).step for path in (tmp_path / "ckpt").glob("*.pth.tar"))
