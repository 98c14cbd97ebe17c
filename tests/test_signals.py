"""Ctrl-C and SIGTERM at any moment: saved, one line, the right exit code, and nobody left behind."""

import ctypes
import random
import re
import signal
import time
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tests import aligning
from tests.kill_harness import TEMPORARY, Script, files, temporaries
from tests.processes import assert_ok, run_script, with_overrides
from tests.small_corpus import write_ravdess, write_raw
from tests.speaking import FLAGS, write_model
from tests.test_batch_synthesis import write_lines
from tests.tiny import make_tiny_dataset, tiny_overrides
from utils.checkpoint import checkpoint_path, known_steps, read_checkpoint

pytestmark = pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="looks for processes in /proc")
CODES = {signal.SIGINT: 130, signal.SIGTERM: 143}
BAR = re.compile(r"step/s|s/step|^step \d+: val |^\s*$")  # what is no message
TWO = ("--device", "cpu:2")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return make_tiny_dataset(tmp_path_factory.mktemp("signals") / "data")


def training(data, output, *more) -> Script:
    """A run that would not end; every step is logged."""
    endless = ("train.step.total_step=100000", "train.step.save_step=100000", "train.step.log_step=1")
    settings = [value for value in more if "=" in value]
    flags = [value for value in more if "=" not in value]
    return Script(
        output / "told", "train.py", "--dataset", "Sample",
        *with_overrides([*tiny_overrides(data, output), *endless, *settings]), *flags,
    )  # fmt: skip


def has_logged(output) -> bool:
    return any(size > 500 for path, size in files(output / "log" / "train").items())


def is_writing(output) -> bool:
    return any(TEMPORARY.match(path.name) for path in files(output / "ckpt"))


def messages(script: Script) -> list[str]:
    return [line for line in script.err.splitlines() if not BAR.search(line)]


def assert_saved(output, script: Script, code: int, number: signal.Signals) -> int:
    """The step where it stopped: the only checkpoint after that moment, told with the command that goes on."""
    assert code == CODES[number], script.err
    assert messages(script) == []
    (line,) = [line for line in script.out.splitlines() if line.startswith("stopped at step")]
    told = re.match(r"stopped at step (\d+), saved \S+; go on with: python train.py .*--restore_step \1$", line)
    assert told is not None, line
    step = int(told[1])
    assert known_steps(output / "ckpt")[-1] == step
    assert read_checkpoint(checkpoint_path(output / "ckpt", step)).step == step
    assert temporaries(output) == []
    return step


def steps_since(output, moment: float) -> int:
    """Steps logged after a moment, in seconds of time.time()."""
    events = EventAccumulator(str(output / "log" / "train")).Reload()
    return sum(event.wall_time > moment for event in events.Scalars("loss/total"))


@pytest.mark.parametrize(
    ("number", "devices", "to_all"),
    [
        pytest.param(signal.SIGINT, (), False, marks=pytest.mark.slow),
        pytest.param(signal.SIGTERM, (), True, marks=pytest.mark.slow),
        (signal.SIGINT, TWO, True),
        pytest.param(signal.SIGINT, TWO, False, marks=pytest.mark.slow),
        pytest.param(signal.SIGTERM, TWO, True, marks=pytest.mark.slow),
        pytest.param(signal.SIGTERM, TWO, False, marks=pytest.mark.slow),
    ],
)
def test_training_saves_within_one_step(data, tmp_path, number, devices, to_all):
    """Sent to the process, or to all of its group as a terminal does."""
    script = training(data, tmp_path, *devices)
    assert script.until(lambda: has_logged(tmp_path))
    time.sleep(0.5)
    script.send(signal.SIGSTOP, to_all=True)
    moment = time.time()
    script.send(number, to_all)
    script.send(signal.SIGCONT, to_all=True)
    assert_saved(tmp_path, script, script.end(30), number)
    # one that was not logged yet, one begun, then the one that knows; of two processes, each with threads of which any
    # may be given the signal, some begin another of these steps of 10 ms before that thread has its turn
    assert steps_since(tmp_path, moment) <= (6 if devices else 3)


def test_a_signal_that_comes_upon_another_thread_of_the_launcher(data, tmp_path):
    """The kernel chooses the thread, and not always the one that waits for the processes."""
    script = training(data, tmp_path, *TWO)
    assert script.until(lambda: has_logged(tmp_path))
    pid = script.process.pid
    other = max(int(thread.name) for thread in Path(f"/proc/{pid}/task").iterdir())
    assert other != pid
    assert ctypes.CDLL(None).tgkill(pid, other, int(signal.SIGINT)) == 0
    assert_saved(tmp_path, script, script.end(30), signal.SIGINT)


@pytest.mark.parametrize("number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)])
@pytest.mark.parametrize("devices", [(), pytest.param(TWO, marks=pytest.mark.slow)])
def test_during_validation_and_while_a_checkpoint_is_written(data, tmp_path, number, devices):
    """Every step validates and saves, so that the signals come upon both."""
    script = training(data, tmp_path, "train.step.save_step=1", "train.step.val_step=1", *devices)
    assert script.until(lambda: is_writing(tmp_path))
    script.send(number, to_all=True)
    assert_saved(tmp_path, script, script.end(30), number)


@pytest.mark.slow
@pytest.mark.parametrize("devices", [(), TWO])
def test_a_second_one_while_saving_ends_it_and_spoils_nothing(data, tmp_path, devices):
    script = training(data, tmp_path, "train.step.save_step=2", *devices)
    assert script.until(lambda: len(known_steps(tmp_path / "ckpt")) > 1)
    script.send(signal.SIGINT, to_all=True)
    before = set(files(tmp_path))
    script.until(lambda: any(TEMPORARY.match(path.name) for path in set(files(tmp_path)) - before))
    script.send(signal.SIGINT, to_all=True)
    assert script.end(30) == 130, script.err
    assert temporaries(tmp_path) == []
    for step in known_steps(tmp_path / "ckpt"):
        assert read_checkpoint(checkpoint_path(tmp_path / "ckpt", step)).step == step


@pytest.mark.slow
@pytest.mark.parametrize("devices", [(), TWO])
@pytest.mark.parametrize("number", CODES)
@pytest.mark.parametrize("seed", range(4))
def test_while_training_starts(data, tmp_path, number, devices, seed):
    """Ended, or saved after the first step; a SIGTERM before there is anything to save may end it as it ends any
    process, whose exit code shells report as 143."""
    script = training(data, tmp_path, *devices)
    time.sleep(random.Random(seed).uniform(0.15, 8.0))
    script.send(number, to_all=True)
    code = script.end(40)
    assert code in (CODES[number], *([-signal.SIGTERM] if number == signal.SIGTERM else [])), script.err
    assert "Traceback" not in script.err
    if known_steps(tmp_path / "ckpt"):
        assert_saved(tmp_path, script, code, number)
    else:
        assert messages(script) in ([], ["interrupted"]), script.err
        assert [path for path in temporaries(tmp_path) if TEMPORARY.match(path.name)] == []


def prepare_align(root, output):
    write_ravdess(root / "corpus", actors=range(1, 25), emotions=range(1, 9))
    return ["prepare_align.py", "--dataset", "RAVDESS", "--corpus_path", root / "corpus", "--jobs", "2",
            "--set", f"preprocess.path.raw_path={output}"]  # fmt: skip


def align(root, output):
    """Noise: pocketsphinx tries every speed on it before it gives up."""
    aligning.write_raw(root / "raw", {f"Actor_0{1 + n % 4}/{n}": aligning.KIDS for n in range(40)}, 2.0)
    return [*aligning.command(root / "raw", output), "--jobs", "2"]


def preprocess(root, output):
    write_raw(root / "raw", root / "grids", speakers=[f"Actor_{number:02d}" for number in range(1, 21)])
    values = [f"preprocess.path.raw_path={root / 'raw'}", f"preprocess.path.preprocessed_path={output}"]
    return ["preprocess.py", "--dataset", "RAVDESS", "--textgrids", root / "grids", "--jobs", "2",
            *with_overrides([*values, "preprocess.preprocessing.val_size=3"])]  # fmt: skip


def synthesize(root, output):
    settings = with_overrides(write_model(root / "model"))
    write_lines(root / "lines.txt", 3000)
    return ["synthesize.py", *FLAGS, "--mode", "batch", "--source", root / "lines.txt", "--output", output,
            "--threads", "2", *settings]  # fmt: skip


def at_random(root, output, script, seed):
    """Start-up, mostly."""
    time.sleep(random.Random(seed).uniform(0.15, 5.0))


def at_work(root, output, script, seed):
    script.until(lambda: any(not path.name.endswith(".lock") for path in files(output.parent)))


SCRIPTS = (prepare_align, align, preprocess, synthesize)
CASES = [
    *(pytest.param(make, at_work, 0, id=f"{make.__name__}-at_work") for make in (align, preprocess)),
    *(
        pytest.param(make, moment, seed, id=f"{make.__name__}-{moment.__name__}-{seed}", marks=pytest.mark.slow)
        for make in SCRIPTS
        for moment in (at_random, at_work)
        for seed in range(1, 4)
    ),
]


def asked_to_end(tmp_path, make, moment, seed, number, to_all, patience) -> tuple[Script, int] | None:
    """A script that gets a signal at some moment, and its exit code; None where it was done before that."""
    output = tmp_path / "results" / "out"
    arguments = make(tmp_path, output)
    script = Script(tmp_path / "told", *arguments)
    moment(tmp_path, output, script, seed)
    if script.has_ended:
        done = 2 if make is align else 0  # noise cannot be aligned
        assert script.end() == done and moment is at_random, script.err
        return None
    begin = time.monotonic()
    script.send(number, to_all)
    code = script.end(30)
    assert time.monotonic() - begin < patience
    if code == 0:  # it was at its very end
        assert messages(script) == []
    return script, code


@pytest.mark.parametrize(("make", "moment", "seed"), CASES)
def test_ctrl_c_ends_every_script_within_seconds_with_one_line(tmp_path, make, moment, seed):
    ended = asked_to_end(tmp_path, make, moment, seed, signal.SIGINT, True, 15)
    if ended is None:
        return
    script, code = ended
    if code != 0:
        assert (code, messages(script)) == (130, ["interrupted"])
    assert temporaries(tmp_path / "results") == []


@pytest.mark.slow
def test_what_ctrl_c_interrupted_is_completed_by_the_next_run(tmp_path):
    from tests.small_corpus import tree

    output = tmp_path / "results" / "out"
    arguments = preprocess(tmp_path, output)
    script = Script(tmp_path / "told", *arguments)
    at_work(tmp_path, output, script, 0)
    script.send(signal.SIGINT, to_all=True)
    assert script.end(30) == 130
    assert_ok(run_script(*arguments))
    assert_ok(run_script(*[str(value).replace(str(output), str(tmp_path / "whole")) for value in arguments]))
    assert tree(output) == tree(tmp_path / "whole")
