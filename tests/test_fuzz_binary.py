"""Whatever recordings, weights, arrays and archives hold: UserError or a result, and nothing runs."""

import time
import warnings

import numpy as np
import pytest
import soundfile

from audio import load
from errors import UserError
from tests.fuzzing import attempt, memory_folder, put, run
from tests.parsers_binary import KERAS_LARGE, ODD, RATES, SUBTYPES, binary_parsers, keras, saved, sound
from utils.weights import read_state

NAMES = (
    "audio",
    "checkpoint",
    "vocoder's weights",
    "safetensors",
    "npy",
    "cache of an evaluation",
    "archive",
    "Keras weights",
)
EXAMPLES = {"audio": 400, "archive": 150}
MANY = {"audio": 20_000, "archive": 20_000, "Keras weights": 20_000, "npy": 50_000}


def fed(name: str, numbers: range) -> int:
    with memory_folder() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # damaged numbers overflow in the sums of these tests
        return run(binary_parsers()[name], numbers, folder)


@pytest.mark.parametrize("name", NAMES)
def test_damaged_files_are_taken_or_refused(name):
    fed(name, range(EXAMPLES.get(name, 250)))


def test_all_parsers_are_there_and_take_what_is_right():
    assert tuple(binary_parsers()) == NAMES
    with memory_folder() as folder:
        for name in set(NAMES) - {"Keras weights"}:  # the right ones have 24 million numbers: test_deepspeaker.py
            parser = binary_parsers()[name]
            assert sum(attempt(parser, seed, folder) for seed in parser.seeds), name


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_many_damaged_files_are_taken_or_refused(name):
    count = MANY.get(name, 30_000)
    begin = time.monotonic()
    taken = fed(name, range(1_000_000, 1_000_000 + count))
    seconds = time.monotonic() - begin
    print(f"\n{name}: {count:,} inputs in {seconds:.0f} s, {count / seconds:.0f}/s, {taken:,} taken")


# ----------------------------------------------------------------------------------------------- recordings


@pytest.mark.parametrize("channels", [1, 2, 3, 8])
@pytest.mark.parametrize(
    "subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "FLAC 8", "FLAC 16", "FLAC 24"]
)
def test_every_depth_channel_count_and_rate_is_read_the_same(subtype, channels):
    form, depth = ("FLAC", f"PCM_{subtype[5:]}") if subtype.startswith("FLAC") else ("WAV", subtype)
    depth = "PCM_S8" if depth == "PCM_8" else depth
    step = {"PCM_U8": 2**-7, "PCM_S8": 2**-7, "PCM_16": 2**-15}.get(depth, 2**-20)
    with memory_folder() as folder:
        for rate in RATES:
            wav = load(put(sound(form, depth, channels, rate), folder / "a.wav"), None)
            wanted = np.mean([0.5 * np.sin(np.arange(700) * f) for f in np.linspace(0.05, 0.1, channels)], axis=0)
            assert wav.shape == wanted.shape and np.abs(wav - wanted).max() <= step, (rate, subtype)
            resampled = load(folder / "a.wav", 22050)
            assert len(resampled) == -(-700 * 22050 // rate)


@pytest.mark.parametrize("form", ["WAV", "FLAC"])
def test_a_recording_cut_off_anywhere_is_shorter_or_refused(form):
    whole = sound(form, "PCM_16", 2, 16000)
    with memory_folder() as folder:
        lengths = []
        for size in range(0, len(whole), 7):
            try:
                lengths.append(len(load(put(whole[:size], folder / "a.wav"), None)))
            except UserError as error:
                assert "a.wav" in str(error)
        assert max(lengths, default=0) <= 700 and (form == "FLAC" or len(lengths) > 300)


@pytest.mark.parametrize("rate", [0, 1, 999, 2_000_000, 0x7FFFFFFF])
def test_a_rate_that_no_recording_has_is_refused(rate):
    """From 1 Hz to 22,050 Hz would be 22,050 samples for each: a megabyte of them fills the memory."""
    data = bytearray(sound("WAV", "PCM_16", 1, 8000))
    data[24:28] = rate.to_bytes(4, "little")
    with memory_folder() as folder, pytest.raises(UserError, match=r"a\.wav: not readable as audio"):
        load(put(bytes(data), folder / "a.wav"), 22050)


def test_a_length_that_would_fill_the_memory_is_refused():
    """A FLAC of 700 samples that announces 2^36 - 1."""
    data = bytearray(sound("FLAC", "PCM_16", 1, 8000))
    data[21] |= 0x0F
    data[22:26] = b"\xff" * 4
    with memory_folder() as folder:
        path = put(bytes(data), folder / "a.wav")
        with soundfile.SoundFile(path) as file:
            assert file.frames == 2**36 - 1
        with pytest.raises(UserError, match=r"68,719,476,735 samples .*cut it into utterances"):
            load(path, None)


def test_the_kinds_of_files_that_are_fuzzed_are_there():
    kinds = {(form, subtype) for form in SUBTYPES for subtype in SUBTYPES[form] if sound(form, subtype, 1, 16000)}
    assert len(kinds) >= 18 and {"WAV", "FLAC", "OGG"} <= {form for form, _ in kinds}


# -------------------------------------------------------------------------------------------------- weights


@pytest.mark.parametrize("index", [0, 1, 2, 3])  # larger than any memory, complex, sparse, without memory
def test_tensors_that_are_no_weights_are_refused(index):
    with memory_folder() as folder, pytest.raises(UserError, match="is no weight of a model"):
        read_state(put(saved({"generator": {"a": ODD[index]}}), folder / "g.pth.tar"), "generator")


def test_keras_weights_that_announce_more_than_they_hold_are_refused():
    data = keras(KERAS_LARGE)
    assert len(data) < 20_000
    with memory_folder() as folder, pytest.raises(UserError, match="1,099,511,627,776 numbers"):
        binary_parsers()["Keras weights"].read(data, folder)
