"""Speech while it is computed: `synthesize.py --stream`, and long texts in bounded memory."""

import json
import os
import re
import subprocess
import sys

import numpy as np
import pytest
import soundfile

from tests.paths import ROOT
from tests.processes import ENVIRONMENT, assert_ok, assert_refused, command, run_script, with_overrides
from tests.speaking import FLAGS, write_model

TEXT = "Kids are talking by the door. Dogs are sitting by the door, and the kids are talking."
WHO = ("--speaker_id", "Actor_02", "--emotion_id", "happy")


@pytest.fixture(scope="module")
def overrides(tmp_path_factory):
    return write_model(tmp_path_factory.mktemp("model"))


def single(overrides, *more, text=TEXT):
    return [*FLAGS, "--mode", "single", "--text", text, *WHO, *with_overrides(overrides), *more]


def stream(overrides, *more, text=TEXT):
    """The process's result, its output as bytes."""
    arguments = command("synthesize.py", *single(overrides, "--stream", *more, text=text))
    return subprocess.run(arguments, capture_output=True, env=ENVIRONMENT, timeout=300, check=False)


def test_a_stream_is_what_the_file_holds(overrides, tmp_path):
    streamed = stream(overrides, "--output", tmp_path, "--name", "streamed")
    assert streamed.returncode == 0, streamed.stderr
    assert_ok(run_script("synthesize.py", *single(overrides, "--output", tmp_path, "--name", "whole")))
    samples = np.frombuffer(streamed.stdout, "<i2").astype(int)
    kept, rate = soundfile.read(tmp_path / "streamed.wav", dtype="int16")
    assert rate == 22050 and np.array_equal(kept, samples)
    whole, _ = soundfile.read(tmp_path / "whole.wav", dtype="int16")
    assert len(samples) == len(whole) > 40000 and np.abs(whole).max() > 100
    assert np.abs(samples - whole).max() <= 3  # 1e-4 of full scale
    made = [json.loads((tmp_path / f"{name}.json").read_text()) for name in ("streamed", "whole")]
    assert made[0] == made[1] and len(made[0]["chunks"]) == 2
    told = streamed.stderr.decode()
    assert "Kids -> K IH1 D Z (dictionary)" in told and "22050 Hz, 16-bit little-endian, one channel" in told
    assert float(re.search(r"the first after ([\d.]+) s", told)[1]) > 0


def test_a_stream_alone_writes_no_files(overrides, tmp_path):
    result = stream([*overrides, f"train.path.result_path={tmp_path / 'result'}"], text="Kids.")
    assert result.returncode == 0, result.stderr
    assert len(result.stdout) > 2000 and list(tmp_path.iterdir()) == []


def test_a_closed_pipe_ends_quietly_and_leaves_no_file(overrides, tmp_path):
    """As in `synthesize.py --stream … | head -c 1000`."""
    arguments = command("synthesize.py", *single(overrides, "--stream", "--output", tmp_path, text=f"{TEXT} " * 40))
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=ENVIRONMENT) as process:
        assert len(process.stdout.read(1000)) == 1000
        process.stdout.close()
        told = process.stderr.read().decode()
        assert process.wait(timeout=120) == 141, told
    assert "Traceback" not in told and "error" not in told and "s of speech in" not in told
    assert list(tmp_path.iterdir()) == []


def test_the_first_samples_come_before_the_last_are_computed(overrides):
    """A reader that takes one sample holds the writer up: the pipe and little else has been computed by then."""
    text = f"{TEXT} " * 12
    arguments = command("synthesize.py", *single(overrides, "--stream", text=text))
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=ENVIRONMENT) as process:
        assert len(process.stdout.read(2)) == 2
        assert process.poll() is None  # half a minute of speech doesn't fit into a pipe
        rest = process.stdout.read()
        assert process.wait(timeout=120) == 0
    assert len(rest) > 22050 * 2 * 20


@pytest.mark.parametrize(
    ("flags", "pattern"),
    [
        (["--mode", "batch", "--source", "x.txt", "--stream"], "--stream belongs to --mode single"),
        (["--mode", "single", "--text", TEXT, "--speaker_id", "x", "--emotion_id", "all", "--stream"], "one emotion"),
    ],
)  # fmt: skip
def test_streams_that_make_no_sense_are_refused(overrides, flags, pattern):
    result = run_script("synthesize.py", *FLAGS, *flags, *with_overrides(overrides))
    assert_refused(result, pattern)
    assert result.stdout == ""


def test_samples_do_not_go_to_a_terminal(overrides):
    master, slave = os.openpty()
    arguments = command("synthesize.py", *single(overrides, "--stream"))
    result = subprocess.run(
        arguments, stdout=slave, stderr=subprocess.PIPE, env=ENVIRONMENT, timeout=60, text=True, check=False
    )
    os.close(slave)
    os.close(master)
    assert_refused(result, "terminal.*aplay -r 22050 -f S16_LE -c 1")


MEASURE = """
import resource, sys
sys.path.insert(0, sys.argv.pop(1))
import synthesize
from utils.cli import run
try:
    run(synthesize.main)
finally:
    print("peak", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=sys.stderr)
"""


@pytest.mark.parametrize("streamed", [False, True])
def test_memory_does_not_grow_with_the_text(overrides, tmp_path, streamed):
    """Peak of 20 and of 80 sentences: their waveforms alone differ by 8 MB. Measured: 1 MB; 3 MB for 200 sentences."""
    peaks = {}
    for count in (20, 80):
        more = ["--stream"] if streamed else ["--output", tmp_path, "--name", str(count)]
        arguments = single(overrides, *more, text="Kids are talking by the door. " * count)
        result = subprocess.run(
            [sys.executable, "-c", MEASURE, str(ROOT), *map(str, arguments)],
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=ENVIRONMENT, text=True, timeout=300, check=False,
        )  # fmt: skip
        assert result.returncode == 0, result.stderr
        peaks[count] = int(re.search(r"peak (\d+)", result.stderr)[1]) / 1024
    assert peaks[80] - peaks[20] < 5, peaks
