"""Parsers of audio, weights, arrays and archives."""

import io
import pickle
import struct
import tarfile
import tempfile
import zipfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import soundfile
import torch
from safetensors.torch import save as save_safetensors

from audio import load
from deepspeaker.keras_reader import read as read_keras
from deepspeaker.keras_weights import network, unreadable
from downloads.unpack import most_bytes, unpack
from evaluation.corpus import _read as read_cache
from tests.fuzzing import Parser, inside, put
from tests.mutation import mutated, mutated_tree
from tests.small_archives import zipped
from utils.arrays import load_array
from utils.checkpoint import FORMAT, read_checkpoint
from utils.weights import fold_weight_norm, read_safetensors, read_state

# ------------------------------------------------------------------------------------------------------ audio

SUBTYPES = {
    "WAV": ("PCM_16", "PCM_24", "PCM_32", "PCM_U8", "FLOAT", "DOUBLE", "ULAW", "ALAW", "MS_ADPCM", "IMA_ADPCM"),
    "WAVEX": ("PCM_24", "FLOAT"), "RF64": ("PCM_16",), "FLAC": ("PCM_S8", "PCM_16", "PCM_24"), "OGG": ("VORBIS",
    "OPUS"),
    "AIFF": ("PCM_16", "FLOAT"), "MP3": ("MPEG_LAYER_III",), "AU": ("PCM_16",), "W64": ("PCM_16",), "CAF": ("ALAC_16",),
}  # fmt: skip
RATES = (4000, 8000, 16000, 22050, 44100, 48000, 96000, 192000)


def sound(form: str, subtype: str, channels: int, rate: int, samples: int = 700) -> bytes:
    """A file with a tone; b"" where libsndfile does not write such files."""
    wav = 0.5 * np.sin(np.arange(samples)[:, None] * np.linspace(0.05, 0.1, channels)[None])
    written = io.BytesIO()
    try:
        soundfile.write(written, wav, rate, subtype=subtype, format=form)
    except (soundfile.SoundFileError, ValueError, TypeError):
        return b""
    return written.getvalue()


@lru_cache(maxsize=1)
def sounds() -> tuple[bytes, ...]:
    """Files of all kinds, channels 1 … 8 and rates 4 … 192 kHz."""
    kinds = [(form, subtype) for form, subtypes in SUBTYPES.items() for subtype in subtypes]
    made = [
        sound(form, subtype, 1 + (number + turn) % 8 if turn else 1, RATES[(3 * number + turn) % len(RATES)])
        for number, (form, subtype) in enumerate(kinds)
        for turn in range(3)
    ]
    return tuple(filter(None, made))


def _audio(data: bytes, folder: Path) -> object:
    path = put(data, folder / "a.wav")
    wav = load(path, None)
    assert wav.dtype == np.float32 and wav.ndim == 1 and len(wav) and np.isfinite(wav).all()
    return load(path, 22050)


AUDIO_PIECES = (
    b"RIFF", b"fmt ", b"data", b"fact", b"LIST", b"\xff\xff\xff\xff", b"\x03\x00", b"\xfe\xff", b"fLaC", b"OggS",
    b"FORM",
    struct.pack("<I", 1), struct.pack("<I", 192000), struct.pack("<f", float("nan")), struct.pack("<f", float("inf")),
)  # fmt: skip

# ---------------------------------------------------------------------------------------------------- weights

WEIGHTS = {"conv_pre.weight": torch.zeros(2, 3), "conv_pre.bias": torch.ones(2), "count": torch.tensor(3)}
CHECKPOINT: dict[str, Any] = {
    "format": FORMAT, "step": 5, "model": WEIGHTS, "optimizer": {"state": {0: {"step": torch.tensor(1.0)}},
    "param_groups": [{"lr": 0.1}]},
    "scaler": {}, "sampler": {"epoch": 1, "index": 2, "batches": 3}, "config": {"train": {"seed": 1}},
    "speakers": {"anna": 0, "bob": 1}, "emotions": {"angry": 0}, "symbols": ["a", "b"],
    "running": {"x": torch.zeros(1)},
}  # fmt: skip
ODD: tuple[Any, ...] = (
    torch.zeros(1).expand(2**40), torch.zeros(3, dtype=torch.complex64), torch.zeros(3, 3).to_sparse(),
    torch.zeros(3, device="meta"), torch.full((2,), float("nan")), torch.zeros(3, dtype=torch.bool), torch.zeros(0),
    torch.nn.Parameter(torch.zeros(2)),
)  # fmt: skip


def saved(content: Any, legacy: bool = False) -> bytes:
    """As torch writes it."""
    written = io.BytesIO()
    torch.save(content, written, _use_new_zipfile_serialization=not legacy)
    return written.getvalue()


@dataclass(frozen=True)
class Checkpoints(Parser):
    """Damaged in the file, in the pickle inside it, or in what it says."""

    content: Any = None

    def input(self, number: int) -> bytes:
        random = Random(f"{self.name}/{number}")
        kind = random.random()
        if kind < 0.3:
            return mutated(self.seeds, self.pieces, random)
        if kind < 0.65:
            return saved(_odd(mutated_tree(self.content, random), random), legacy=random.random() < 0.2)
        with zipfile.ZipFile(io.BytesIO(self.seeds[0])) as archive:
            members = {name: archive.read(name) for name in archive.namelist()}
        key = next(name for name in members if name.endswith("data.pkl"))
        members[key] = mutated([members[key]], PICKLE_PIECES, random)
        return zipped(members)


def _odd(content: Any, random: Random) -> Any:
    if random.random() < 0.3 and isinstance(content, dict):
        key = random.choice(["model", "generator", "running", "format", "step"])
        content = {**content, key: {"a": random.choice(ODD)} if random.random() < 0.8 else random.choice(ODD)}
    return content


PICKLE_PIECES = (
    b"cos\nsystem\n",
    b"(S'x'\ntR.",
    b"cbuiltins\neval\n",
    b"\x80\x02",
    b"R",
    b".",
    b"]",
    b"}",
    b"\x85",
    b"K\xff",
)


def _checkpoint(data: bytes, folder: Path) -> object:
    content = read_checkpoint(put(data, folder / "5.pth.tar"))
    for name in (*content.speakers, *content.emotions):
        assert inside(f"{name}.wav"), name
    return content


def _state(data: bytes, folder: Path) -> object:
    return fold_weight_norm(read_state(put(data, folder / "generator.pth.tar"), "generator"))


def _safetensors(data: bytes, folder: Path) -> object:
    read_safetensors(put(data, folder / "a.safetensors"))
    return read_state(folder / "a.safetensors", "generator")


def _keras(data: bytes, folder: Path) -> object:
    """As load_rescnn, without the process that keeps a crash or an endless loop away: see test_deepspeaker_damaged."""
    path = put(data, folder / "weights.h5")
    try:
        arrays = read_keras(path)
    except Exception as error:
        raise unreadable(path, error) from error
    return network(path, arrays)


KERAS: dict[str, Any] = {
    "names": ["conv64-s", "dense"],
    "layers": {
        layer: {"names": [f"{layer}/kernel:0", f"{layer}/bias:0"], "shapes": [[5, 5, 1, 4], [4]], "kinds": ["f4", "f4"]}
        for layer in ("conv64-s", "dense")
    },
}


def keras(tree: Any) -> bytes:
    """A file in the form of Keras's weights that says so. Its inner structure is whole: where that is damaged, the
    HDF5 library may loop for ever: test_deepspeaker_damaged.py."""
    import h5py

    written = io.BytesIO()
    with h5py.File(written, "w") as file, suppress(Exception):  # what is no HDF5 at all is left out
        for name, layer in dict(tree["layers"]).items():
            group = file.create_group(name)
            group.attrs["weight_names"] = layer["names"]
            for weight, shape, kind in zip(layer["names"], layer["shapes"], layer["kinds"], strict=False):
                group.create_dataset(
                    weight, shape, kind if isinstance(kind, str) else "f4", chunks=True if shape else None
                )
        file.attrs["layer_names"] = tree["names"]
    return written.getvalue()


KERAS_LARGE = {"names": ["a"], "layers": {"a": {"names": ["a/kernel:0"], "shapes": [[2**40]], "kinds": ["f4"]}}}


# ------------------------------------------------------------------------------------------ arrays, archives


def _array(data: bytes, folder: Path) -> object:
    path = put(data, folder / "a.npy")
    array = load_array(path)
    array.astype(np.float32).sum()
    torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32))
    return load_array(path, mmap_mode="r").shape


def npy(array: Any, version: tuple[int, int] | None = None, pickled: bool = False) -> bytes:
    """As numpy writes it."""
    written = io.BytesIO()
    np.lib.format.write_array(written, np.asanyarray(array), version, allow_pickle=pickled)
    return written.getvalue()


def _npz() -> bytes:
    written = io.BytesIO()
    np.savez(written, a=np.zeros(3))
    return written.getvalue()


def _cache(data: bytes, folder: Path) -> object:
    """What evaluate.py keeps; damaged, it counts for nothing."""
    return read_cache(put(data, folder / "cache.npz"))


ARRAYS = (
    npy(np.zeros((7, 80), np.float32)), npy(np.arange(5)), npy(np.zeros((2, 3), np.float32, order="F"), (2, 0)), _npz(),
    npy(np.zeros(3, ">f4")), npy(np.array(["a", "b"])), npy(np.zeros(2, [("a", "<i4"), ("b", "<f8")])),
    npy(np.float64(3)),
    npy(np.array([{"a": 1}], object), pickled=True), pickle.dumps([1, 2]),
)  # fmt: skip
NPY_PIECES = (
    b"'descr': '|O'", b"'shape': (99999999999999,)", b"'shape': (-1,)", b"(" * 300, b"'<f4'", b"fortran_order",
    b"\x93NUMPY",
    b"[('a', " * 60, b"1e9", b"-" * 3000, b"'''", b"#", b"L", b"PK\x03\x04",
)  # fmt: skip


def _archive(data: bytes, folder: Path) -> object:
    path = put(data, folder / "archive")
    before = {str(each) for each in folder.rglob("*")}
    try:
        with tempfile.TemporaryDirectory(dir=folder) as place:
            try:
                return unpack(path, Path(place) / "tree", "top", min(most_bytes(path, None), 2_000_000), 10**9)
            except OSError as error:  # download.py says this in one line: the disk refused, a name was too long …
                assert error.errno is not None
                return None
    finally:
        assert {str(each) for each in folder.rglob("*")} == before, "something was left outside"


def tarred(kind: int, mode: Any = "w") -> bytes:
    """A tar archive in one of the three forms, with long names and links, which need headers of their own."""
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode=mode, format=kind) as archive:
        for name in ("top/a.wav", "top/" + "d" * 120 + "/b.wav", "top/你好.txt"):
            member = tarfile.TarInfo(name)
            member.size = 5
            archive.addfile(member, io.BytesIO(b"hello"))
    return written.getvalue()


def many_headers() -> bytes:
    """Thousands of headers that describe the next one, as for a name of more than 100 letters."""
    header = tarfile.TarInfo("x" * 150).tobuf(tarfile.PAX_FORMAT)[:1024]
    return header * 3000


ARCHIVES = (
    zipped({"top/a.wav": b"hello", "top/你好/b.wav": b"x" * 200}), tarred(tarfile.USTAR_FORMAT),
    tarred(tarfile.GNU_FORMAT),
    tarred(tarfile.PAX_FORMAT), tarred(tarfile.PAX_FORMAT, "w:gz"), tarred(tarfile.GNU_FORMAT, "w:bz2"),
    tarred(tarfile.USTAR_FORMAT, "w:xz"),
)  # fmt: skip
ARCHIVE_PIECES = (
    b"../",
    b"/etc/",
    b"PK\x01\x02",
    b"PK\x05\x06",
    b"ustar",
    b"12 path=../x\n",
    b"20 size=99999999\n",
    b"x",
    b"L",
    b"2",
)


@lru_cache(maxsize=1)
def binary_parsers() -> dict[str, Parser]:
    """All of them; the first call makes the files that they start from."""
    states: tuple[bytes, ...] = (saved({"generator": WEIGHTS}), saved({"generator": WEIGHTS}, True), saved(WEIGHTS))
    states = (*states, zipped({"g.pth.tar": states[0]}))
    parsers: Sequence[Parser] = (
        Parser("audio", _audio, sounds(), AUDIO_PIECES),
        Checkpoints("checkpoint", _checkpoint, (saved(CHECKPOINT), saved(CHECKPOINT, True)), content=CHECKPOINT),
        Checkpoints("vocoder's weights", _state, states, content={"generator": WEIGHTS}),
        Parser("safetensors", _safetensors, (save_safetensors(WEIGHTS),), (b'"dtype":"F8_E4M3"', b'"shape":[',
            b'"data_offsets":[0,', b"BF16")),
        Parser("npy", _array, ARRAYS, NPY_PIECES),
        Parser("cache of an evaluation", _cache, (_npz(), ARRAYS[0]), NPY_PIECES),
        Parser("archive", _archive, ARCHIVES, ARCHIVE_PIECES),
        Parser("Keras weights", _keras, (b"\x89HDF\r\n", b""), trees=(KERAS, KERAS_LARGE), write=keras),
    )  # fmt: skip
    return {parser.name: parser for parser in parsers}
