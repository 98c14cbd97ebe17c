"""Two processes on the same folders: the second is refused by name, and a killed one is no obstacle."""

import json
import os
import random
import signal
import socket
import subprocess
import sys
import time

import pytest
import soundfile

from errors import UserError
from tests import aligning
from tests.paths import ROOT
from tests.processes import ENVIRONMENT, assert_ok, assert_refused, command, run_script, wait_for, with_overrides
from tests.small_corpus import tree, write_ravdess
from tests.speaking import FLAGS, write_model
from tests.tiny import make_tiny_dataset, tiny_overrides
from utils.lock import lock_path, refuse_if_used, sole_user

HOLD = "import sys, time, pathlib; from utils.lock import sole_user\nwith sole_user(pathlib.Path(sys.argv[1])): "


def python(code, *arguments, **options):
    return subprocess.Popen([sys.executable, "-c", code, *map(str, arguments)], cwd=ROOT, env=ENVIRONMENT, **options)


def holder_of(folder, then="print('held', flush=True); time.sleep(600)"):
    """A process that holds `folder`."""
    process = python(HOLD + then, folder, stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"held\n"
    return process


def end(process):
    process.kill()
    process.communicate()


def test_the_second_is_told_who_is_at_work_and_the_lock_goes_with_its_holder(tmp_path):
    folder = tmp_path / "a" / "folder"
    with sole_user(folder):
        assert lock_path(folder).exists()
        refusal = rf"folder is in use by process {os.getpid()} \(.*since .*kill {os.getpid()}; or take another$"
        with pytest.raises(UserError, match=refusal), sole_user(folder, "take another"):
            pass
        with pytest.raises(UserError, match=r"; or take another$"):
            refuse_if_used(folder, "take another")
        with sole_user(tmp_path / "a" / "other"):
            pass
    assert list(tmp_path.iterdir()) == []  # nothing was there before, nothing is left
    refuse_if_used(folder)
    assert list(tmp_path.iterdir()) == []


def test_what_is_made_meanwhile_stays_and_links_lead_to_the_same_lock(tmp_path):
    folder, link = tmp_path / "new" / "folder", tmp_path / "link"
    link.symlink_to(folder)
    with sole_user(folder):
        folder.mkdir()
        with pytest.raises(UserError, match="in use"), sole_user(link):
            pass
    assert folder.is_dir() and list(folder.iterdir()) == []


def test_a_killed_holder_is_no_obstacle(tmp_path):
    folder = tmp_path / "folder"
    process = holder_of(folder)
    with pytest.raises(UserError, match=f"process {process.pid} "), sole_user(folder):
        pass
    end(process)
    assert lock_path(folder).exists()
    with sole_user(folder):
        assert json.loads(lock_path(folder).read_text())["pid"] == os.getpid()
    assert not lock_path(folder).exists()


@pytest.mark.parametrize("rounds", [20, pytest.param(1000, marks=pytest.mark.slow)])
def test_holders_killed_at_any_moment_are_no_obstacle(tmp_path, rounds):
    folder, moments = tmp_path / "a" / "folder", random.Random(1)
    for _ in range(rounds):
        process = python(HOLD + "time.sleep(600)", folder)
        time.sleep(moments.random() * 0.1)  # a Python starts in 0.04 s
        end(process)
        with sole_user(folder):
            assert json.loads(lock_path(folder).read_text())["pid"] == os.getpid()
    assert [*tmp_path.rglob(".*.lock")] == []


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x00\xff not json",
        b"[1, 2]",
        json.dumps({"pid": os.getppid(), "host": socket.gethostname(), "since": "1999", "command": "x"}).encode(),
        json.dumps({"pid": 2**22 + 1, "host": socket.gethostname(), "since": "1999", "command": "x"}).encode(),
        json.dumps({"pid": 1, "host": "elsewhere", "since": "1999", "command": "x"}).encode(),
    ],
    ids=["empty", "rubbish", "list", "a living process with the same number", "a dead process", "another machine"],
)
def test_a_file_that_nobody_holds_is_taken_over_whatever_it_says(tmp_path, content):
    folder = tmp_path / "folder"
    lock_path(folder).write_bytes(content)
    refuse_if_used(folder)
    with sole_user(folder):
        assert json.loads(lock_path(folder).read_text())["pid"] == os.getpid()
    assert not lock_path(folder).exists()


def test_a_child_does_not_hold_its_killed_parents_lock(tmp_path):
    """Loading processes and the like may outlive their parent by seconds."""
    folder = tmp_path / "folder"
    then = "\n    import os\n    child = os.fork()\n    child and print('held', flush=True)\n    time.sleep(600)"
    process = python(HOLD + then, folder, stdout=subprocess.PIPE, process_group=0) if sys.version_info >= (3, 11) else (
        python(HOLD + then, folder, stdout=subprocess.PIPE, start_new_session=True)
    )  # fmt: skip
    try:
        assert process.stdout.readline() == b"held\n"
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        with sole_user(folder):
            pass
    finally:
        os.killpg(process.pid, signal.SIGKILL)  # the child


def test_many_at_once_are_never_two_inside(tmp_path):
    """Eight processes add to a number in a file without any other care; the lock's file comes and goes all the time."""
    number = tmp_path / "number"
    number.write_text("0")
    code = """
import sys, pathlib
from errors import UserError
from utils.lock import sole_user
number, done = pathlib.Path(sys.argv[1]), 0
while done < 40:
    try:
        with sole_user(number.parent / "work" / "folder"):
            value = int(number.read_text())
            number.write_text(str(value + 1))
            done += 1
    except UserError as error:
        assert "in use by" in str(error)
"""
    processes = [python(code, number, stderr=subprocess.PIPE) for _ in range(8)]
    for process in processes:
        assert process.communicate(timeout=120)[1] == b""
    assert number.read_text() == str(8 * 40)
    assert [*tmp_path.rglob(".*.lock")] == []


def test_a_folder_whose_parent_cannot_be_written_is_locked_inside(tmp_path):
    folder = tmp_path / "mount" / "folder"
    folder.mkdir(parents=True)
    folder.parent.chmod(0o555)
    try:
        if os.access(folder.parent, os.W_OK):
            pytest.skip("root may write everywhere")
        with sole_user(folder), pytest.raises(UserError, match="in use"), sole_user(folder):
            pass
        assert list(folder.iterdir()) == []
    finally:
        folder.parent.chmod(0o755)


def signed(lock):
    try:
        return lock.stat().st_size > 0
    except FileNotFoundError:
        return False


def paused_inside(arguments, lock):
    """The script, stopped (SIGSTOP) while it holds its lock."""
    for _ in range(5):
        process = subprocess.Popen(command(*arguments), env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        while not signed(lock) and process.poll() is None:
            time.sleep(0.001)
        process.send_signal(signal.SIGSTOP)
        time.sleep(0.05)
        if signed(lock):
            return process
        process.send_signal(signal.SIGCONT)
        end(process)
    raise AssertionError("never met at work")


def prepare_align(tmp_path, output):
    write_ravdess(tmp_path / "corpus", actors=range(1, 13), emotions=(3, 4, 5, 6))
    return ["prepare_align.py", "--dataset", "RAVDESS", "--jobs", 1, "--force", "--corpus_path", tmp_path / "corpus",
            "--set", f"preprocess.path.raw_path={output}"]  # fmt: skip


def align(tmp_path, output):
    aligning.write_raw(tmp_path / "raw", {f"Actor_01/{number}": aligning.KIDS for number in range(6)}, 1.0)
    aligning.write_raw(tmp_path / "raw", {"Actor_01/7": "Kids"}, 4.0)
    return [*aligning.command(tmp_path / "raw", output), "--jobs", 1, "--force"]


def preprocess(tmp_path, output):
    from tests.small_corpus import write_raw

    write_raw(tmp_path / "raw", tmp_path / "grids")
    paths = [f"preprocess.path.raw_path={tmp_path / 'raw'}", f"preprocess.path.preprocessed_path={output}"]
    return ["preprocess.py", "--dataset", "RAVDESS", "--textgrids", tmp_path / "grids", "--jobs", 1, "--force",
            *with_overrides([*paths, "preprocess.preprocessing.val_size=3"])]  # fmt: skip


@pytest.mark.parametrize("prepare", [prepare_align, align, preprocess])
def test_the_second_script_on_a_folder_is_refused_and_the_first_goes_on(tmp_path, prepare):
    output = tmp_path / "output"
    arguments = prepare(tmp_path, output)
    alone = run_script(*arguments)
    expected = tree(output)
    first = paused_inside(arguments, lock_path(output))
    before = tree(output)
    begin = time.monotonic()
    second = run_script(*arguments)
    assert_refused(second, rf"{output} is in use by process {first.pid} \({arguments[0]} .*", "kill", "--set preproc")
    assert time.monotonic() - begin < 30
    assert tree(output) == before
    first.send_signal(signal.SIGCONT)
    _, err = first.communicate(timeout=60)
    assert first.returncode == alone.returncode, err
    assert tree(output) == expected
    assert not lock_path(output).exists()


def test_a_second_training_is_refused_until_the_first_is_gone(tmp_path):
    """The first has two processes of its own, which do not stand in each other's way."""
    data = make_tiny_dataset(tmp_path / "data")
    arguments = ["train.py", "--dataset", "Sample", *with_overrides(tiny_overrides(data, tmp_path))]
    long = [*arguments, *with_overrides(["train.step.total_step=100000", "train.step.save_step=100000"])]
    first = subprocess.Popen(
        command(*long, "--device", "cpu:2"), env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    lock = lock_path(tmp_path / "ckpt")
    try:
        wait_for(lambda: (tmp_path / "log" / "train").exists() or first.poll() is not None)
        assert first.poll() is None, first.stderr.read()
        for start in ([], ["--from_scratch"]):
            second = run_script(*arguments, *start)
            assert_refused(second, r"ckpt is in use by process \d+ \(", "--set train.path.ckpt_path=FOLDER")
        worker = json.loads(lock.read_text())["pid"]
        os.kill(worker, signal.SIGKILL)
        first.communicate(timeout=60)
    finally:
        first.kill()
        first.communicate()
    assert_ok(run_script(*arguments, "--set", "train.step.total_step=2"))
    assert not lock.exists()


def test_a_second_vocoder_training_is_refused(tmp_path):
    first = holder_of(tmp_path / "ckpt")
    second = run_script(
        "train_vocoder.py", "--dataset", "RAVDESS", "--set", f"vocoder.path.ckpt_path={tmp_path / 'ckpt'}"
    )
    end(first)
    assert_refused(second, rf"ckpt is in use by process {first.pid} ", "--set vocoder.path.ckpt_path=FOLDER")


def speaking(tmp_path, text, name):
    settings = with_overrides(write_model(tmp_path / "model"))
    return command(
        "synthesize.py", *FLAGS, *settings, "--mode", "single", "--speaker_id", "Actor_01", "--emotion_id", "happy",
        "--text", text, "--name", name, "--output", tmp_path / "spoken",
    )  # fmt: skip


def test_two_synthesisers_share_a_folder_and_of_one_name_each_file_is_one_of_theirs(tmp_path):
    def together(*commands):
        processes = [
            subprocess.Popen(each, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE) for each in commands
        ]
        for process in processes:
            _, err = process.communicate(timeout=120)
            assert process.returncode == 0, err

    texts = {"one": "Kids", "two": "Dogs are sitting by the door"}
    folder = tmp_path / "spoken"
    together(*(speaking(tmp_path, text, name) for name, text in texts.items()))
    kinds = (".wav", ".png", ".json")
    assert {path.name for path in folder.iterdir()} == {f"{name}{kind}" for name in texts for kind in kinds}
    together(*(speaking(tmp_path, text, "same") for text in texts.values()))
    assert {path.name for path in folder.iterdir()} == {f"{n}{kind}" for n in (*texts, "same") for kind in kinds}
    spoken = soundfile.read(folder / "same.wav")[0]
    assert any((folder / "same.wav").read_bytes() == (folder / f"{name}.wav").read_bytes() for name in texts)
    assert any((folder / "same.png").read_bytes() == (folder / f"{name}.png").read_bytes() for name in texts)
    assert len(spoken) and json.loads((folder / "same.json").read_text())["text"] in texts.values()
