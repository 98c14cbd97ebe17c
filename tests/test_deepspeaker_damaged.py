"""Keras weights on which the HDF5 library crashes or never ends: UserError, in time, and nothing goes on."""

import os
import time
from pathlib import Path
from random import Random

import pytest

from deepspeaker import SpeakerEmbedder
from deepspeaker.keras_weights import load_rescnn
from errors import UserError
from tests.fuzzing import put
from tests.parsers_binary import KERAS, keras
from tests.processes import processes_with

# Bytes of a small file, found by fuzzing, and what the library makes of them
LOOPS = {"names of the layers": {2128: 0}, "values": {8779: 84}}
CRASHES = {1889: 251}


def damaged(path: Path, changes: dict[int, int]) -> Path:
    data = bytearray(keras(KERAS))
    for at, value in changes.items():
        assert data[at] != value
        data[at] = value
    return put(bytes(data), path)


@pytest.fixture
def mark(monkeypatch):
    """A variable that everything started from here has; nothing that has it is left at the end."""
    name = f"DAMAGED_{os.getpid()}"
    monkeypatch.setenv(name, "1")
    yield name
    assert processes_with(name) == []


@pytest.mark.parametrize("where", LOOPS)
def test_an_endless_loop_is_ended(tmp_path, mark, where):
    path = damaged(tmp_path / "loops.h5", LOOPS[where])
    begin = time.monotonic()
    with pytest.raises(UserError, match=r"loops\.h5 is truncated.*came to no end in 1 s"):
        load_rescnn(path, cpu_seconds=1)
    assert time.monotonic() - begin < 20


def test_a_crash_is_survived(tmp_path, mark):
    path = damaged(tmp_path / "crashes.h5", CRASHES)
    with pytest.raises(UserError, match=r"crashes\.h5 is truncated.*the HDF5 library did not survive it: \w+"):
        SpeakerEmbedder.from_keras(path)
    assert list(tmp_path.iterdir()) == [path]  # no core


def test_a_file_that_never_comes_is_not_waited_for(tmp_path, mark):
    """As on a network drive whose server is gone: no time of a processor passes."""
    path = tmp_path / "never.h5"
    os.mkfifo(path)
    with pytest.raises(UserError, match=r"never\.h5 .*nothing came of it in 2 s"):
        load_rescnn(path, seconds=2)


def test_a_file_larger_than_any_memory_is_refused(tmp_path, mark):
    """It says that it has a thousand weights of a size that each would pass for one."""
    names = [f"a/w{number}:0" for number in range(1000)]
    tree = {"names": ["a"], "layers": {"a": {"names": names, "shapes": [[1 << 24]] * 1000, "kinds": ["f4"] * 1000}}}
    path = put(keras(tree), tmp_path / "large.h5")
    assert path.stat().st_size < 1_000_000
    with pytest.raises(UserError, match=r"large\.h5.* announces 16,777,216 numbers"):
        load_rescnn(path)


def test_the_process_costs_little(tmp_path):
    """Against importing the library here, reading a small file, and refusing it."""
    path = put(keras(KERAS), tmp_path / "small.h5")
    seconds = []
    for _ in range(3):
        begin = time.process_time() + sum(os.times()[2:4])
        with pytest.raises(UserError, match="lacks the layers"):
            load_rescnn(path)
        seconds.append(time.process_time() + sum(os.times()[2:4]) - begin)
    assert min(seconds) < 1.0


def changed(seed: bytes, random: Random) -> bytes:
    """A few bytes, addresses or stretches in place: nothing is moved, so that most of the structure still holds."""
    data = bytearray(seed)
    for _ in range(random.choice([1, 1, 2, 4, 16])):
        at, kind = random.randrange(len(data) - 64), random.random()
        if kind < 0.6:
            data[at] = random.randrange(256)
        elif kind < 0.8:
            address = random.randrange(len(data)) & ~7
            data[at : at + 8] = random.choice([b"\xff" * 8, b"\0" * 8, address.to_bytes(8, "little")])
        else:
            source, length = random.randrange(len(data) - 64), random.randrange(1, 64)
            data[at : at + length] = data[source : source + length]
    return bytes(data)


@pytest.mark.slow
def test_many_files_with_damaged_structure_are_refused(tmp_path, mark):
    """Each by the whole way, process included. One in a hundred is one on which the library never ends."""
    seed, told = keras(KERAS), {"came to no end": 0, "did not survive": 0, "lacks the layers": 0}
    for number in range(300):
        path = put(changed(seed, Random(number)), tmp_path / "damaged.h5")
        with pytest.raises(UserError, match=r"damaged\.h5") as refused:
            load_rescnn(path, cpu_seconds=1)
        for words in told:
            told[words] += words in str(refused.value)
    print(told)
    assert told["came to no end"] and told["lacks the layers"]  # the latter are those that could be read
