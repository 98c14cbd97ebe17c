"""Files made to run something when they are read, given to every reader of files in the project: nothing runs.

The payloads would make a file, the marker. That they do where a careless reader takes them is shown first.
"""

import io
import pickle
import tarfile
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from config import load_config
from dataset import open_dataset
from errors import UserError
from synthesis.synthesizer import load_finite as load_embedding
from tests.fuzzing import attempt, put
from tests.parsers_binary import CHECKPOINT, WEIGHTS, binary_parsers, npy, saved, zipped
from tests.parsers_text import TEXT_PARSERS
from tests.processes import assert_refused, run_script, with_overrides
from tests.small_corpus import noise
from tests.tiny import make_tiny_dataset, tiny_overrides
from utils.metadata import IdMaps
from utils.shipped import ACOUSTIC, CONFIG, TRAINING, read_shipped, read_training
from utils.weights import load_content
from vocoder import load_vocoder
from vocoder_training.pitch import kept_track

pytestmark = pytest.mark.filterwarnings("ignore:Detected pickle protocol")


class Trap:
    """Unpickled, it makes the marker."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self):
        return Path.touch, (self.marker,)


def npz(array: np.ndarray) -> bytes:
    written = io.BytesIO()
    np.savez(written, keys=array, mel=array)
    return written.getvalue()


def tarred(name: str) -> bytes:
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w") as archive:
        member = tarfile.TarInfo(name)
        member.size = 1
        archive.addfile(member, io.BytesIO(b"x"))
    return written.getvalue()


def yaml_tag(marker: Path) -> bytes:
    return f"!!python/object/apply:os.system ['touch {marker}']\n".encode()


def header(marker: Path) -> bytes:
    """An .npy whose header is an expression."""
    text = f"{{'descr': '<f4', 'fortran_order': False, 'shape': (__import__('os').system('touch {marker}'),), }}"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode()


PAYLOADS: dict[str, Callable[[Path], bytes]] = {
    "pickle 0": lambda marker: pickle.dumps(Trap(marker), 0),
    "pickle 2": lambda marker: pickle.dumps({"model": {"a": Trap(marker)}, "generator": {"a": Trap(marker)}}, 2),
    "pickle 5": lambda marker: pickle.dumps([Trap(marker)], 5),
    "torch": lambda marker: saved({"generator": {**WEIGHTS, "trap": Trap(marker)}}),
    "torch legacy": lambda marker: saved({"generator": {**WEIGHTS, "trap": Trap(marker)}}, legacy=True),
    "checkpoint": lambda marker: saved({**CHECKPOINT, "config": Trap(marker)}),
    "checkpoint's key": lambda marker: saved({**CHECKPOINT, "trap": {"x": Trap(marker)}}, legacy=True),
    "zip of a pickle": lambda marker: zipped({"generator.pth.tar": pickle.dumps(Trap(marker))}),
    "zip of a checkpoint": lambda marker: zipped({"g.pth.tar": saved({"generator": {"a": Trap(marker)}})}),
    "npy": lambda marker: npy(np.array([Trap(marker)], object), pickled=True),
    "npz": lambda marker: npz(np.array([Trap(marker)], object)),
    "npy header": header,
    "yaml": yaml_tag,
    "yaml value": lambda marker: b"inherit: Whole\nseed: " + yaml_tag(marker),
    "yaml new": lambda marker: f"a: !!python/object/new:pathlib.Path [{marker}]\nb: !!python/name:os.system\n".encode(),
    "zip that leads out": lambda marker: zipped({f"../{marker.name}": b"x", f"../../{marker.name}": b"x"}),
    "zip to a place": lambda marker: zipped({str(marker): b"x"}),
    "tar that leads out": lambda marker: tarred(f"../{marker.name}"),
    "tar to a place": lambda marker: tarred(str(marker)),
    "expression": lambda marker: f"__import__('os').system('touch {marker}')\n".encode(),
    "shell": lambda marker: f"$(touch {marker})|`touch {marker}`|{{K}}|;touch {marker};\n".encode(),
    "csv": lambda marker: f'path,text,speaker\n"=cmd|touch {marker}",$(touch {marker}),a\n'.encode(),
    "template": lambda marker: f"train.path.ckpt_path=${{oc.env:X}}{{{{ ''.__class__ }}}}$(touch {marker})".encode(),
}


def careless_tar(path: Path, folder: Path) -> None:
    with tarfile.open(path) as archive:
        archive.extractall(folder, filter="fully_trusted")


CARELESS: dict[str, Callable[[Path, Path], object]] = {
    "pickle 0": lambda path, folder: pickle.loads(path.read_bytes()),
    "pickle 2": lambda path, folder: pickle.loads(path.read_bytes()),
    "pickle 5": lambda path, folder: pickle.loads(path.read_bytes()),
    "torch": lambda path, folder: torch.load(path, weights_only=False),
    "torch legacy": lambda path, folder: torch.load(path, weights_only=False),
    "checkpoint": lambda path, folder: torch.load(path, weights_only=False),
    "checkpoint's key": lambda path, folder: torch.load(path, weights_only=False),
    "npy": lambda path, folder: np.load(path, allow_pickle=True),
    "npz": lambda path, folder: np.load(path, allow_pickle=True)["mel"],
    "npy header": lambda path, folder: eval(path.read_bytes()[10:]),
    "yaml": lambda path, folder: yaml.unsafe_load(path.read_text()),
    "tar that leads out": careless_tar,
    "tar to a place": careless_tar,
    "zip to a place": lambda path, folder: [Path(m).write_bytes(b"") for m in zipfile.ZipFile(path).namelist()],
    "expression": lambda path, folder: eval(path.read_text()),
}


@pytest.mark.parametrize("kind", CARELESS)
def test_the_payloads_work_where_they_are_let(tmp_path, kind):
    marker, folder = tmp_path / "ran", tmp_path / "folder"
    folder.mkdir()
    path = put(PAYLOADS[kind](marker), tmp_path / "payload")
    CARELESS[kind](path, folder)
    assert marker.exists()


# --------------------------------------------------------------- readers that the fuzz tests do not have already


def shipped(data: bytes, folder: Path) -> object:
    put(data, folder / ACOUSTIC)
    if not (folder / CONFIG).exists():
        put(b'{"format": 1, "step": 5}', folder / CONFIG)
    return read_shipped(folder)


def shipped_json(data: bytes, folder: Path) -> object:
    put(data, folder / CONFIG)
    put(data, folder / TRAINING)
    both = []
    for read in (read_shipped, read_training):
        with pytest.raises(UserError):
            both.append(read(folder))
    raise UserError("both refused")


def vocoder_of(kind: str) -> Callable[[bytes, Path], object]:
    def read(data: bytes, folder: Path) -> object:
        path = put(data, folder / "generator.pth.tar")
        chosen = [f"model.vocoder.model={kind}", f"model.vocoder.checkpoint={path}"]
        return load_vocoder(load_config("RAVDESS", chosen), torch.device("cpu"))

    return read


def vocoder_beside(data: bytes, folder: Path) -> object:
    """The payload is the JSON beside weights."""
    put(data, folder / "generator.json")
    return vocoder_of("HiFi-GAN")(saved({"generator": WEIGHTS}), folder)


def features(kind: str) -> Callable[[bytes, Path], object]:
    """The payload is one of the files that training reads."""

    def read(data: bytes, folder: Path) -> object:
        root = folder / "data"
        if not root.exists():
            make_tiny_dataset(root)
            for speaker in ("Actor_01", "Actor_02"):
                put(npy(np.zeros((1, 512), np.float32)), root / "spker_embed" / f"{speaker}-spker_embed.npy")
        for path in sorted((root / kind).glob("*.npy")):
            put(data, path)
        options = [*tiny_overrides(root, folder / "out"), "preprocess.preprocessing.speaker_embedder=DeepSpeaker"]
        config = load_config("Sample", options)
        dataset = open_dataset(config, "val.txt", IdMaps.load(root))
        return [dataset[index] for index in range(len(dataset))]

    return read


def pitch_cache(data: bytes, folder: Path) -> object:
    """A damaged track is made anew, and what is returned is no part of the payload."""
    recording = put(b"x", folder / "a.wav")
    status = recording.stat()
    put(data, folder / "pitch" / f"a.{status.st_size}-{status.st_mtime_ns}.npy")
    track = kept_track(noise(0.1, 0.5, 1), 22050, recording, folder / "pitch")
    assert track.f0.dtype == np.float32
    raise UserError("made anew")


READERS: dict[str, Callable[[bytes, Path], object]] = {
    "shipped weights": shipped,
    "shipped JSON": shipped_json,
    "load_content": lambda data, folder: load_content(put(data, folder / "a.pt")),
    "speaker embedding": lambda data, folder: load_embedding(put(data, folder / "a-spker_embed.npy")),
    "vocoder HiFi-GAN": vocoder_of("HiFi-GAN"),
    "vocoder MelGAN": vocoder_of("MelGAN"),
    "vocoder auto": vocoder_of("auto"),
    "vocoder JSON beside": vocoder_beside,
    "mel": features("mel"),
    "duration": features("duration"),
    "speaker embeddings of training": features("spker_embed"),
    "pitch cache": pitch_cache,
}
FUZZED = {
    "audio", "checkpoint", "vocoder's weights", "safetensors", "npy", "cache of an evaluation", "archive",
    "Keras weights",
    *TEXT_PARSERS,
}  # fmt: skip
# these never refuse a file as a whole: lines or files that make no sense count for nothing, and any text can be spoken
LENIENT = {
    "YAML", "records", "manifest", "given val.txt", "stats.json", "speaker-info", "download notes", "SHA256SUMS",
    "corpora's texts", "cache of an evaluation", "text en", "text zh", "text ko",
}  # fmt: skip


# zips without a name that leads out are archives; such an override is text for a path
RIGHT = {
    "archive": {"torch", "checkpoint", "npz", "zip of a pickle", "zip of a checkpoint"},
    "override": {"template"},
}


@pytest.mark.parametrize("name", sorted(FUZZED | READERS.keys()))
def test_nothing_runs_and_only_user_errors_come_out(tmp_path, name):
    """Each payload, by each reader. The marker's folder is above what a reader may write to."""
    read = READERS.get(name)
    taken = set()
    for kind, payload in PAYLOADS.items():
        marker = tmp_path / "ran"
        data = payload(marker)
        folder = tmp_path / "place" / "folder"
        folder.mkdir(parents=True, exist_ok=True)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if read is None:
                parser = binary_parsers().get(name) or TEXT_PARSERS[name]
                if attempt(parser, data, folder):
                    taken.add(kind)
            else:
                try:
                    read(data, folder)
                    taken.add(kind)
                except UserError as error:
                    assert str(error).isprintable()
        assert not list(tmp_path.glob("**/ran")), f"{name} ran {kind}"
    if name not in LENIENT and not name.startswith("names of"):
        assert taken <= RIGHT.get(name, set()), f"{name} takes {taken} for what it reads"


# ------------------------------------------------------------------------------------------------ whole scripts


def test_scripts_refuse_a_hostile_checkpoint_in_one_line(tmp_path):
    marker = tmp_path / "ran"
    root = make_tiny_dataset(tmp_path / "data")
    put(PAYLOADS["checkpoint"](marker), tmp_path / "out" / "ckpt" / "5.pth.tar")
    flags = with_overrides(tiny_overrides(root, tmp_path / "out"))
    result = run_script("train.py", "--dataset", "Sample", "--restore_step", 5, "--device", "cpu", *flags)
    assert_refused(result, r"5\.pth\.tar")
    assert not marker.exists()


def test_scripts_refuse_a_hostile_configuration_in_one_line(tmp_path):
    marker = tmp_path / "ran"
    for override in (f"train.seed={yaml_tag(marker).decode()}", "train.seed=!!python/name:os.system"):
        result = run_script("preprocess.py", "--dataset", "Sample", "--set", override)
        assert_refused(result, "not valid YAML.*python/")
        assert not marker.exists()
