"""What fuzzing found, each by the very input (shortened): before, something else than UserError came out, or worse."""

import io
import json
import tarfile
import time
import zipfile

import numpy as np
import pytest
import torch

from errors import UserError
from preprocessor.corpora.crema_d import read_sexes as read_demographics
from tests.fuzzing import attempt, memory_folder, put
from tests.parsers_binary import ARRAYS, CHECKPOINT, ODD, binary_parsers, many_headers, npy, saved, zipped
from tests.parsers_text import AS_JSON, HIFIGAN, MANIFESTS, RECORDS, TEXT_PARSERS
from tests.small_corpus import textgrid
from utils.files import read_json

DEEP = b"[" * 100_000
LINE = RECORDS[0].line()
PHONES = AS_JSON["tiers"]["phones"]


def line(**changes: object) -> bytes:
    """A line of features.jsonl with other values."""
    return (json.dumps({**json.loads(LINE), **changes}) + "\n").encode()


def manifest(**changes: object) -> bytes:
    """prepare_align.json with other values."""
    return json.dumps({**MANIFESTS, **changes}).encode()


BOMB = b"a: &a [x, x, x, x, x, x, x, x, x]\n" + b"".join(
    b"%c: &%c [%s]\n" % (letter, letter, b", ".join([b"*%c" % (letter - 1)] * 9))
    for letter in range(ord("b"), ord("k"))
)
SOME = {"source": {}, "samples": 1}
FOUND: dict[str, tuple[str, bytes]] = {
    "YAML: a timestamp that is none (AttributeError)": ("YAML", b"optimizer:\n  !!timestamp xbatch_size:"),
    "YAML: a number that is none (ValueError)": ("YAML", b"c: {!!int x: 1}\n"),
    "YAML: a truth that is none (KeyError)": ("YAML", b"optimizer:\n  !!bool "),
    "YAML: a list as a key (TypeError)": ("YAML", b"{[a]: b}"),
    "YAML: a 13th month (ValueError)": ("YAML", b"seed: 2001-13-45"),
    "YAML: a hexadecimal number without digits (ValueError)": ("YAML", b"seed: 0x_"),
    "YAML: brackets in brackets (RecursionError)": ("YAML", b"{a: " * 2000),
    "YAML: a value that holds itself (ValueError)": ("YAML", b"seed: &a [*a]"),
    "YAML: aliases of aliases (10^9 values)": ("YAML", BOMB),
    "YAML: pairs of aliases": ("YAML", BOMB + b"l: !!pairs [a: *j, b: *j]\n"),
    "YAML: a number of 5,000 digits (ValueError)": ("YAML", b"seed: 0x" + b"f" * 5000),
    "configuration: a parent of 300 letters (OSError)": ("configuration", b"inherit: " + b"a" * 300),
    "records: a string of JSON that is none": ("records", LINE.replace('"angry-a"', '"\\q"').encode()),
    "records: a tab in a name (JSONDecodeError)": ("records", LINE.replace("angry-a", "angr\ty-a").encode()),
    "records: phones that are no text (AttributeError)": ("records", line(phones=float("nan"))),
    "records: frames that are text (TypeError)": ("records", line(frames="/etc/evil")),
    "records: endless frames (ValueError)": ("records", line(frames=float("inf"))),
    "records: sums of nothing (ZeroDivisionError)": ("records", line(mel=[0, -1.5, 30.25, -11.5, 1.0])),
    "records: a language that is an object (TypeError)": ("records", line(language={"a": "nul"})),
    "records: a text that no list can hold (UnicodeEncodeError)": ("records", line(text="\ud800")),
    "records: a NUL in a speaker (ValueError)": ("records", line(speaker="a\0b")),
    "ids: names that lead out": ("ids", b'{"bob": 1, "/etc/evil": 0}'),
    "ids: a NUL (ValueError)": ("ids", b'{"a\\u0000b": 1, "../../evil": 0}'),
    "ids: brackets in brackets (RecursionError)": ("ids", DEEP),
    "manifest: an entry that is text (AttributeError)": ("manifest", manifest(files={"angry-a": "x"})),
    "manifest: settings that are text (AttributeError)": ("manifest", manifest(settings="😀")),
    "manifest: a name that leads out": ("manifest", manifest(files={"../../evil": SOME})),
    "manifest: a NUL in a name (ValueError)": ("manifest", manifest(files={"a\0b": SOME})),
    "manifest: a sex that is none (KeyError)": ("manifest", manifest(files={"a": {"facts": {"sex": "robot"}}})),
    "manifest: brackets in brackets (RecursionError)": ("manifest", DEEP),
    "stats.json: a text (AttributeError)": ("stats.json", b'"a|b"'),
    "stats.json: a split that is text (AttributeError)": ("stats.json", b'{"split": "\\ud800"}'),
    "speaker-info: no UTF-8 (UnicodeDecodeError)": ("speaker-info", b"Actor_01|M\nanna|\xc6\n"),
    "notes: an ETag that is an object (AttributeError)": ("download notes", b'{"url": "https://x/", "etag": {"a": 1}}'),
    "notes: folders that are a number (TypeError)": ("download notes", b'{"files": 3, "parts": {}, "adding": 1.5}'),
    "notes: brackets in brackets (RecursionError)": ("download notes", DEEP),
    "vocoder: brackets in brackets (RecursionError)": ("vocoder JSON", DEEP),
    "vocoder: more channels than can be counted (RuntimeError)": (
        "vocoder JSON", json.dumps({**HIFIGAN, "upsample_initial_channel": 2**31}).encode(),
    ),
    "metadata: a NUL (ValueError)": ("metadata", b"angry-strong-01-02\0\0ctor_05|Actor_05|{K}|Kids\n"),
    "metadata: a name of 400 digits (OSError)": ("metadata", b"happy-a|a" + b"9" * 400 + b"|{K}|x\n"),
    "textgrid: a name that is no text": ("textgrid", json.dumps({**AS_JSON, "tiers": {"\ud800": PHONES}}).encode()),
    "textgrid: 10^308 seconds (OverflowError)": (
        "textgrid",
        textgrid(((0.0, 0.5, "K"), (0.5, 1.0, "AE1"))).replace("= 0.5", "= " + "9" * 308).replace("= 1.0",
        "= inf").encode(),
    ),
    "textgrid: times that numpy cannot count": (
        "textgrid", textgrid(((0.0, 0.5, "K"), (0.5, 1.0, "AE1"))).replace("= 1.0", "= " + "9" * 300).encode(),
    ),
    "names: TESS's emotion with a long s (KeyError)": ("names of TESS", "OAF_back_ſad.wav".encode()),
    "npy: a header that does not end (TokenError)": (
        "npy", b"\x93NUMPY\x01\x00v\x00" + b"{'descr': '<f8'UMPY\x01\x00v\x00{'descr': '<f8'".ljust(118),
    ),
    "npy: an archive that is none (BadZipFile)": ("npy", b"PK\x03\x04-\0\0\0"),
    "npy: an archive (AttributeError)": ("npy", ARRAYS[3]),
    "npy: texts (ValueError)": ("npy", npy(np.array(["a", "b"]))),
    "npy: objects of two fields (TypeError)": ("npy", npy(np.zeros(2, [("a", "<i4"), ("b", "<f8")]))),
    "npy: texts beyond Unicode (SystemError)": ("npy", npy(np.array(["a"])).replace(b"a\0\0\0", b"\xff" * 4)),
    "npy: more numbers than there is memory (MemoryError)": (
        "npy", npy(np.zeros(3)).replace(b"'shape': (3,)", b"'shape': (9" + b"9" * 12 + b",)"),
    ),
    "checkpoint: a format of many numbers (RuntimeError)": ("checkpoint", saved({**CHECKPOINT,
    "format": torch.zeros(2)})),
    "checkpoint: a speaker that leads out": ("checkpoint", saved({**CHECKPOINT, "speakers": {"../../x": 0}})),
    "checkpoint: a NUL in a speaker (ValueError)": ("checkpoint", saved({**CHECKPOINT, "speakers": {"a\0b": 0}})),
    "vocoder: larger than any memory (RuntimeError)": ("vocoder's weights", saved({"generator": {"a": ODD[0]}})),
    "vocoder: sparse (NotImplementedError)": ("vocoder's weights", saved({"generator": {"a": ODD[2]}})),
    "vocoder: without memory (RuntimeError)": ("vocoder's weights", saved({"generator": {"a": ODD[3]}})),
    "archive: thousands of headers (RecursionError)": ("archive", many_headers()),
    "archive: a name that is no UTF-8 (UnicodeDecodeError)": (
        "archive", zipped({"é.wav": b"x"}).replace("é".encode(), b"\xff\xff"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FOUND)
def test_what_was_found_stays_mended(name):
    parser, data = FOUND[name]
    begin = time.monotonic()
    with memory_folder() as folder:
        attempt(TEXT_PARSERS.get(parser) or binary_parsers()[parser], data, folder)
    assert time.monotonic() - begin < 10


def test_blank_lines_in_a_textgrid_take_no_hours():
    """Two ways to match a line break made n blank lines take n^2 steps: hours for a megabyte."""
    whole = textgrid(((0.0, 0.5, "K"), (0.5, 1.0, "AE1")))
    for place in ("xmax", "xmin", "text", "name", "intervals [2]"):
        data = whole.replace(f"{place} ", "\n" * 300_000 + f"{place}  ", 1).encode()
        begin = time.monotonic()
        with memory_folder() as folder:
            attempt(TEXT_PARSERS["textgrid"], data, folder)
        assert time.monotonic() - begin < 5, place


def test_nested_json_is_no_error_of_ours(tmp_path):
    path = put(DEEP, tmp_path / "a.json")
    with pytest.raises(UserError, match="not readable JSON"):
        read_json(path, "x")


def test_a_list_of_demographics_with_a_field_of_200_kilobytes_is_refused(tmp_path):
    path = put(b"ActorID,Sex\n1001," + b"M" * 200_000 + b"\n", tmp_path / "VideoDemographics.csv")
    with pytest.raises(UserError, match="field larger than field limit"):
        read_demographics(path)


def test_a_tar_whose_numbers_are_none_is_damaged():
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w", format=tarfile.PAX_FORMAT) as archive:
        member = tarfile.TarInfo("a.wav")
        member.pax_headers = {"size": "x", "GNU.sparse.map": "a,b", "GNU.sparse.major": "1", "GNU.sparse.minor": "0"}
        archive.addfile(member)
    with memory_folder() as folder:
        assert not attempt(binary_parsers()["archive"], written.getvalue(), folder)


def test_an_archive_in_which_bytes_are_missing_is_damaged():
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.wav", bytes(range(256)) * 30)
    data = written.getvalue()
    with memory_folder() as folder:
        for size in range(1, len(data), 11):
            assert not attempt(binary_parsers()["archive"], data[:size], folder)


@pytest.mark.parametrize("index", range(len(ODD) - 1))
@pytest.mark.parametrize("part", ["step", "model", "optimizer", "sampler", "speakers", "symbols", "running", "format"])
def test_a_checkpoint_whose_parts_are_other_things_is_refused(part, index):
    if part in ("model", "running") and index > 3:  # what weights may be: read_state looks at the numbers
        return
    value = {"a": ODD[index]} if part in ("model", "running") else ODD[index]
    with memory_folder() as folder:
        assert not attempt(binary_parsers()["checkpoint"], saved({**CHECKPOINT, part: value}), folder)
