import json
import lzma
import os
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

import audio
from deepspeaker import PUBLISHED_WEIGHTS, SpeakerEmbedder
from deepspeaker.features import features, filterbank_energies, voiced_span, windows
from deepspeaker.rescnn import ResCNN, keras_layers
from errors import UserError
from tests.paths import golden, real_data


@pytest.fixture(scope="session")
def keras_file(tmp_path_factory) -> Path:
    """The golden random weights, unpacked; DEEPSPEAKER_H5_XZ names others."""
    packed = os.environ.get("DEEPSPEAKER_H5_XZ") or golden("deepspeaker_random.h5.xz")
    path = tmp_path_factory.mktemp("deepspeaker") / "weights.h5"
    with lzma.open(packed) as source, path.open("wb") as target:
        shutil.copyfileobj(source, target)
    return path


@pytest.fixture(scope="session")
def embedder(keras_file) -> SpeakerEmbedder:
    return SpeakerEmbedder.from_keras(keras_file, torch.device("cpu"))


@pytest.fixture(scope="session")
def arrays() -> dict[str, np.ndarray]:
    with np.load(golden("deepspeaker.npz")) as file:
        return dict(file)


@pytest.fixture
def close(parity):
    """close(ours, wanted, quantity): within 1e-5, noted in the closing table."""

    def check(ours, wanted, quantity: str) -> None:
        np.testing.assert_allclose(np.asarray(ours), wanted, atol=1e-5, rtol=0)
        parity("deepspeaker", quantity, float(np.abs(np.asarray(ours, dtype=np.float64) - wanted).max()))

    return check


# ------------------------------------------------------------------------------------------------------------- golden


@pytest.mark.parametrize("case", ["w0", "w1"])
def test_golden_features_and_embeddings(embedder, arrays, case, close):
    meta = json.loads(golden("deepspeaker.json").read_text())["meta"][case]
    frames = features(arrays[f"{case}_wav"], 22050)
    close(frames, arrays[f"{case}_fbank_full"], "filterbank")
    start = meta["crop_offset"] or 0
    window = windows(frames[start : start + 160])
    assert window.shape == (1, 160, 64)
    close(window[0], arrays[f"{case}_sample_160x64x1"][..., 0], "window")
    close(embedder.embed(window), arrays[f"{case}_embedding"][0], "embedding")


def test_golden_network(embedder, arrays, close):
    model, x = embedder.model, torch.from_numpy(arrays["rand_in"][..., 0])
    with torch.no_grad():
        first = model.strided[0](x[:, None])[:, :8].permute(0, 2, 3, 1)
        average = model.average(x)
        close(first, arrays["rand_conv64_bn_first8ch"], "rand_conv64_bn_first8ch")
        close(average, arrays["rand_average"], "rand_average")
        close(model.affine(average), arrays["rand_affine"], "rand_affine")
        close(model(x), arrays["rand_embedding"], "rand_embedding")


def test_golden_size_and_layer_names(embedder):
    described = json.loads(golden("deepspeaker.json").read_text())
    model = embedder.model
    tensors = [
        *model.parameters(),
        *(b for name, b in model.named_buffers() if not name.endswith("num_batches_tracked")),
    ]
    assert sum(tensor.numel() for tensor in tensors) == described["params"] == 24_185_728
    assert set(keras_layers(model)) == {name.split("/")[0] for name, _ in described["weights"]}


# --------------------------------------------------------------------------------------------------------- properties


def test_same_recording_same_embedding(embedder):
    wav = audio.load(real_data("RAVDESS/Actor_02/03-01-05-01-01-01-02.flac"), 22050)
    first = embedder(wav, 22050)
    assert first.shape == (512,) and first.dtype == np.float32
    assert np.linalg.norm(first) == pytest.approx(1.0, abs=1e-5)
    np.random.seed(1)
    torch.manual_seed(1)
    assert np.array_equal(embedder(wav, 22050), first)
    assert embedder(wav * 0.25, 22050) @ first > 0.999  # loudness tells nothing


def test_windows_are_embedded_alike_in_any_batch(embedder, monkeypatch):
    monkeypatch.setattr("deepspeaker.embedder.BATCH", 2)
    batch = np.random.default_rng(0).standard_normal((5, 160, 64)).astype(np.float32)
    with torch.no_grad():
        alone = torch.cat([embedder.model(torch.from_numpy(window)[None]) for window in batch])
    together = torch.nn.functional.normalize(alone.mean(dim=0), dim=0)
    np.testing.assert_allclose(embedder.embed(batch), together, atol=1e-5, rtol=0)


@pytest.mark.parametrize(("frames", "count"), [(1, 1), (159, 1), (160, 1), (161, 2), (320, 2), (321, 3), (1000, 7)])
def test_windows_cover_every_frame(frames, count):
    numbered = np.repeat(np.arange(1, frames + 1, dtype=np.float32)[:, None], 64, axis=1)
    cut = windows(numbered)
    assert cut.shape == (count, 160, 64)
    assert set(cut[cut > 0].astype(int)) == set(range(1, frames + 1))


def test_frames_are_normalised():
    wav = np.random.default_rng(0).standard_normal(22050).astype(np.float32) * 0.1
    frames = features(wav, 16000)
    assert frames.dtype == np.float32
    np.testing.assert_allclose(frames.mean(axis=1), 0, atol=1e-5)
    np.testing.assert_allclose(frames.std(axis=1), 1, atol=1e-5)


def test_voiced_span_drops_quiet_ends():
    wav = np.concatenate([np.full(5000, 0.001), np.full(600, 0.5), np.full(3000, 0.001)]).astype(np.float32)
    wav[5000] = wav[5300] = 0.9  # ends exclude the last loud sample, as in the original
    assert len(voiced_span(wav)) in (300, 599)
    tone = np.sin(np.arange(10000) * 0.1)
    assert len(voiced_span(tone)) > 9000


@pytest.mark.parametrize("wav", [np.zeros(22050, np.float32), np.zeros(0, np.float32), np.ones(3000, np.float32)])
def test_silence_has_no_speaker(wav):
    with pytest.raises(UserError, match="silent"):
        features(wav, 22050)


@pytest.mark.parametrize("rate", [8000, 16000, 22050, 48000])
def test_bands_follow_the_frequency(rate):
    peaks = [
        filterbank_energies(np.sin(2 * np.pi * hertz / rate * np.arange(rate // 5)), rate)[3:-3].mean(axis=0).argmax()
        for hertz in (300, 1000, 2000, 3500)
    ]
    assert peaks == sorted(set(peaks))
    assert len(filterbank_energies(np.ones(1), rate)) == 1


# ------------------------------------------------------------------------------------------------------ weights files


def test_missing_weights_say_where_to_get_them(tmp_path):
    with pytest.raises(UserError) as error:
        SpeakerEmbedder.from_keras(tmp_path / "nothing.h5")
    parts = ["nothing.h5", "deepspeaker/ResCNN_triplet_training_checkpoint_265.h5", "philipperemy/deep-speaker"]
    assert all(part in str(error.value) for part in parts)
    assert PUBLISHED_WEIGHTS.parts[-2:] == ("deepspeaker", "ResCNN_triplet_training_checkpoint_265.h5")


def _write(path: Path, drop: str = "", rename: str = "", shape_of: str = "", whole_model: bool = False) -> Path:
    """A Keras file with zero weights; `drop` leaves a layer out, `rename` calls it otherwise, `shape_of` cuts it."""
    keras = {"running_mean": "moving_mean", "running_var": "moving_variance"}
    with torch.device("meta"):
        layers = keras_layers(ResCNN())
    with h5py.File(path, "w") as file:
        root = file.create_group("model_weights") if whole_model else file
        names = []
        for name, module in layers.items():
            if name == drop:
                continue
            norm = isinstance(module, torch.nn.BatchNorm2d)
            shown = "other" if name == rename else name
            names.append(shown.encode())
            weights = []
            for ours, tensor in module.state_dict().items():
                if ours == "num_batches_tracked":
                    continue
                theirs = keras.get(
                    ours, {"weight": "gamma" if norm else "kernel", "bias": "beta" if norm else "bias"}.get(ours)
                )
                shape = list(tensor.shape)
                shape = [shape[i] for i in (2, 3, 1, 0)] if len(shape) == 4 else shape[::-1]
                if name == shape_of:
                    shape[0] += 1
                weights.append(f"{shown}/{theirs}:0".encode())
                root.create_dataset(f"{shown}/{shown}/{theirs}:0", shape, "f4")  # zeros, not stored
            root[shown].attrs["weight_names"] = weights
        root.create_group("clipped_relu_0").attrs["weight_names"] = np.zeros(0)
        root.attrs["layer_names"] = [*names, b"clipped_relu_0"]
    return path


@pytest.mark.parametrize("whole_model", [False, True])
def test_both_kinds_of_keras_file_load(tmp_path, whole_model):
    embedder = SpeakerEmbedder.from_keras(_write(tmp_path / "w.h5", whole_model=whole_model))
    assert embedder.model.affine.weight.abs().max() == 0


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"drop": "res3_1_branch_2b_bn"}, ["lacks", "res3_1_branch_2b_bn"]),
        ({"rename": "conv256-s"}, ["lacks", "conv256-s"]),
        ({"shape_of": "affine"}, ["affine/kernel", "[512, 2048]"]),
    ],
)
def test_other_networks_are_refused(tmp_path, change, named):
    with pytest.raises(UserError) as error:
        SpeakerEmbedder.from_keras(_write(tmp_path / "other.h5", **change))
    assert all(part in str(error.value) for part in ["other.h5", *named])


def test_extra_and_broken_contents_are_refused(tmp_path):
    path = _write(tmp_path / "extra.h5")
    with h5py.File(path, "a") as file:
        file.create_group("softmax").attrs["weight_names"] = [b"softmax/kernel:0"]
        file["softmax/softmax/kernel:0"] = np.zeros((512, 9), np.float32)
        file.attrs["layer_names"] = [*(str(name).encode() for name in file.attrs["layer_names"]), b"softmax"]
    with pytest.raises(UserError, match="unexpected layers softmax"):
        SpeakerEmbedder.from_keras(path)
    path = _write(tmp_path / "nan.h5")
    with h5py.File(path, "a") as file:
        file["affine/affine/bias:0"][3] = np.nan
    with pytest.raises(UserError, match=r"nan\.h5.*affine/bias.*finite"):
        SpeakerEmbedder.from_keras(path)
    path = _write(tmp_path / "short.h5")
    with h5py.File(path, "a") as file:
        del file["affine/affine/bias:0"]
    with pytest.raises(UserError, match=r"short\.h5"):
        SpeakerEmbedder.from_keras(path)


@pytest.mark.parametrize("kept", [0.0, 0.001, 0.5, 0.99])
def test_truncated_weights_are_refused(keras_file, tmp_path, kept):
    path = tmp_path / "cut.h5"
    with keras_file.open("rb") as source:
        path.write_bytes(source.read(int(keras_file.stat().st_size * kept)))
    with pytest.raises(UserError, match=r"cut\.h5"):
        SpeakerEmbedder.from_keras(path)


def test_a_checkpoint_of_another_kind_is_refused(tmp_path):
    path = tmp_path / "pickled.h5"
    torch.save({"model": torch.zeros(2)}, path)
    with pytest.raises(UserError, match=r"pickled\.h5"):
        SpeakerEmbedder.from_keras(path)
