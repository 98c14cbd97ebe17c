"""`synthesize.py --mode batch`: order, independence of neighbours, errors and Ctrl-C; what it writes along the way."""

import json
import re
import signal
import subprocess
import time

import numpy as np
import pytest
import soundfile
from PIL import Image

from tests.processes import ENVIRONMENT, assert_ok, assert_refused, command, run_script, with_overrides
from tests.speaking import FLAGS, write_model

WORDS = ("K IH1 D Z", "AA1 R", "T AO1 K IH0 NG", "B AY1", "DH AH0", "D AO1 R")


@pytest.fixture(scope="module")
def overrides(tmp_path_factory):
    return write_model(tmp_path_factory.mktemp("model"))


def write_lines(path, count):
    """Lines of two to seven words, long and short ones in turn; their names in order."""
    lines = []
    for index in range(count):
        phones = " ".join([*WORDS[: 1 + index * 5 % 6], WORDS[index // 6 % 6]])
        emotion = ("happy", "sad", "angry")[index % 3]
        lines.append(f"{emotion}-{index}|Actor_0{1 + index % 2}|{{{phones}}}|line {index}")
    path.write_text("\n".join(lines))
    return [line.split("|")[0] for line in lines]


def batch(overrides, source, output, *more):
    return [*FLAGS, "--mode", "batch", "--source", source, "--output", output, *with_overrides(overrides), *more]


def samples(path):
    return soundfile.read(path, dtype="int16")[0].astype(int)


def test_results_are_told_in_the_lists_order_and_do_not_depend_on_neighbours(overrides, tmp_path):
    names = write_lines(tmp_path / "all.txt", 13)
    lines = (tmp_path / "all.txt").read_text().splitlines()
    (tmp_path / "some.txt").write_text("\n".join(reversed(lines[3:7])))
    runs = {
        "four": ("all.txt", "--batch_size", "4", "--threads", "2"),
        "one": ("all.txt", "--batch_size", "1", "--threads", "1"),
        "some": ("some.txt", "--batch_size", "1"),
    }
    told = {}
    for name, (source, *more) in runs.items():
        told[name] = run_script("synthesize.py", *batch(overrides, tmp_path / source, tmp_path / name, *more))
        assert_ok(told[name])
    written = re.findall(r"wrote \S+/(\S+)\.wav", told["four"].stdout)
    assert written == names
    assert "wrote 13 utterances" in told["four"].stdout and "utterances/s" in told["four"].stdout
    for name in names:
        one = samples(tmp_path / "one" / f"{name}.wav")
        # among others the acoustic model's sums are taken in another order: a step of 16 bit
        assert np.abs(samples(tmp_path / "four" / f"{name}.wav") - one).max() <= 1
        if name in names[3:7]:  # alone: bit for bit, whatever else is in the list
            assert np.array_equal(samples(tmp_path / "some" / f"{name}.wav"), one)
        made = json.loads((tmp_path / "four" / f"{name}.json").read_text())
        assert made["emotion"] == name.split("-")[0] and sum(made["chunks"][0]["frames"]) * 256 == len(one)
        with Image.open(tmp_path / "four" / f"{name}.png") as picture:
            assert picture.size[0] == 990
    assert len({(tmp_path / "four" / f"{name}.wav").read_bytes() for name in names}) == len(names)


def test_an_error_of_one_line_ends_all_in_one_line(overrides, tmp_path):
    names = write_lines(tmp_path / "all.txt", 600)
    blocked = tmp_path / "out" / f"{names[2]}.wav"
    (blocked / "in the way").mkdir(parents=True)
    result = run_script("synthesize.py", *batch(overrides, tmp_path / "all.txt", tmp_path / "out", "--threads", "2"))
    assert_refused(result, rf"cannot write \S+{names[2]}\.wav")
    assert [path for path in (tmp_path / "out").iterdir() if path.name.startswith(".")] == []
    assert len(list((tmp_path / "out").glob("*.json"))) < 599  # the others were not waited for


def test_ctrl_c_leaves_whole_files_only(overrides, tmp_path):
    write_lines(tmp_path / "all.txt", 3000)
    output = tmp_path / "out"
    process = subprocess.Popen(
        command("synthesize.py", *batch(overrides, tmp_path / "all.txt", output)),
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=ENVIRONMENT, text=True,
    )  # fmt: skip
    with process:
        deadline = time.monotonic() + 120
        while len(list(output.glob("*.json"))) < 3 and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        _, told = process.communicate(timeout=60)
    assert process.returncode == 130, told
    assert told.strip().splitlines()[-1] == "interrupted" and "Traceback" not in told
    assert 3 <= len(list(output.glob("*.json"))) < 3000
    assert [path.name for path in output.iterdir() if path.name.startswith(".")] == []
    for path in output.glob("*.wav"):
        assert len(samples(path)) > 1000
