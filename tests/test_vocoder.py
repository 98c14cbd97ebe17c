import json
import pickle
import shutil
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

import audio
import fourier
import hifigan
import melgan
import vocoder_weights as vocoders
from audio.mel import MelSpectrogram
from config import load_config
from errors import UserError
from tests.paths import real_data
from tests.test_melgan import published_form
from utils.pieces import in_pieces
from vocoder import load_vocoder

CPU = torch.device("cpu")
V3_FOLDER = "hifigan_v3_ljspeech"
V3_FILE = f"{V3_FOLDER}/generator_v3_ljspeech.pth.tar"
FEMALE = "RAVDESS/Actor_20/03-01-01-01-02-01-20.flac"  # neutral


def load(checkpoint: Path | str | None = None, *overrides: str, model: str = "HiFi-GAN"):
    given = [] if checkpoint is None else [f"model.vocoder.checkpoint={checkpoint}"]
    return load_vocoder(load_config("RAVDESS", [f"model.vocoder.model={model}", *given, *overrides]), CPU)


@pytest.fixture
def no_published_weights(tmp_path, monkeypatch) -> Path:
    """Nor a vocoder that ships."""
    monkeypatch.setattr(vocoders, "ROOT", tmp_path)
    monkeypatch.setattr("utils.shipped.ROOT", tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def tiny_v1() -> hifigan.Generator:
    torch.manual_seed(0)
    return hifigan.Generator(replace(hifigan.VERSIONS["V1"], upsample_initial_channel=32)).eval()


@pytest.fixture(scope="module")
def tiny_melgan() -> melgan.Generator:
    torch.manual_seed(0)
    return melgan.Generator(width=4).eval()


@pytest.fixture
def tiny_file(tiny_v1, tmp_path) -> Path:
    path = tmp_path / "weights" / "generator.pth.tar"
    path.parent.mkdir()
    torch.save({"generator": tiny_v1.state_dict()}, path)
    return path


# ------------------------------------------------------------------------------------------------------ real weights


def _pitch(wav: np.ndarray) -> float:
    """Median F0 in Hz over voiced frames: the highest autocorrelation peak between 80 and 400 Hz."""
    found = []
    for start in range(0, len(wav) - 1024, 256):
        frame = wav[start : start + 1024] * np.hanning(1024)
        correlation = np.fft.irfft(np.abs(np.fft.rfft(frame, 4096)) ** 2)[: 22050 // 80]
        lag = 22050 // 400 + int(correlation[22050 // 400 :].argmax())
        if correlation[0] > 1.0 and correlation[lag] > 0.5 * correlation[0]:
            found.append(22050 / lag)
    assert len(found) > 20
    return float(np.median(found))


def test_hifigan_v3_speaks_a_recording_again():
    """Measured: mel L1 0.36 (0.33 where the half-hop shift between the front ends is undone), level 0.98,
    pitch 251 for 248 Hz, which is one step of the lag.
    """
    wav = audio.load(real_data(FEMALE), 22050)
    wav = torch.from_numpy(wav / abs(wav).max() * 0.95)
    mel = MelSpectrogram(22050, 1024, 256, 1024, 80, 0.0, 8000.0)
    log_mel = mel(wav[None])[0]
    speak = load(real_data(V3_FILE), model="auto")
    assert speak.name.startswith("HiFi-GAN V3 (") and speak.name.endswith("generator_v3_ljspeech.pth.tar)")
    (again,) = speak(log_mel)
    assert len(again) == log_mel.shape[1] * 256
    assert (mel(again[None])[0][:, : log_mel.shape[1]] - log_mel).abs().mean() < 0.45
    assert 0.8 < again.square().mean().sqrt() / wav.square().mean().sqrt() < 1.25
    assert again.abs().max() <= 1
    assert _pitch(again.numpy()) == pytest.approx(_pitch(wav.numpy()), rel=0.05)


def test_quiet_speech_is_vocoded_as_well_as_loud_speech():
    """Measured: mel L1 0.29 at -30 dB (1.12 without the lift), and the level comes back: -30.0 dB (-29.1)."""
    wav = audio.load(real_data(FEMALE), 22050)
    loud = torch.from_numpy(wav / abs(wav).max() * 0.95)
    mel = MelSpectrogram(22050, 1024, 256, 1024, 80, 0.0, 8000.0)
    speak = load(real_data(V3_FILE))
    quiet_mel = mel((loud * 10 ** (-30 / 20))[None])[0]
    (quiet,) = speak(quiet_mel)
    assert (mel(quiet[None])[0][:, : quiet_mel.shape[1]] - quiet_mel).abs().mean() < 0.45
    (normal,) = speak(mel(loud[None])[0])
    level = 20 * torch.log10(quiet.square().mean().sqrt() / normal.square().mean().sqrt())
    assert float(level) == pytest.approx(-30.0, abs=0.5)


def test_all_forms_of_a_checkpoint_speak_alike(tmp_path):
    """Official, zipped (also with macOS's extras), bare, without its config, and with a wrong config beside it."""
    official = real_data(V3_FILE)
    mel = torch.randn(1, 12, 80) - 4.0
    wanted = load(official)(mel)[0]
    folder = tmp_path / "zipped"
    folder.mkdir()
    with zipfile.ZipFile(folder / "generator_LJSpeech.pth.tar.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(official, "generator_LJSpeech.pth.tar")
        archive.writestr("__MACOSX/._generator_LJSpeech.pth.tar", b"junk")
    before = sorted(folder.iterdir())
    assert torch.equal(load(folder / "generator_LJSpeech.pth.tar.zip")(mel)[0], wanted)
    assert sorted(folder.iterdir()) == before  # nothing unpacked
    bare = tmp_path / "bare.pt"
    torch.save(torch.load(official, weights_only=True)["generator"], bare, _use_new_zipfile_serialization=False)
    assert torch.equal(load(bare)(mel)[0], wanted)
    v1 = {"resblock": "1", "upsample_rates": [8, 8, 2, 2], "upsample_kernel_sizes": [16, 16, 4, 4]}
    v1 |= {"upsample_initial_channel": 512, "resblock_kernel_sizes": [3], "resblock_dilation_sizes": [[1, 3, 5]]}
    (tmp_path / "config_v1.json").write_text(json.dumps(v1))
    shutil.copy(real_data(V3_FOLDER) / "config_v3.json", tmp_path / "config_v3.json")
    assert torch.equal(load(bare)(mel)[0], wanted)


# ---------------------------------------------------------------------------------------- batches, lengths, long texts


def test_neighbours_and_padding_change_nothing(tiny_file):
    speak = load(tiny_file)
    mels = torch.randn(3, 40, 80)
    lengths = torch.tensor([40, 7, 0])
    together = speak(mels, lengths)
    assert [len(wav) for wav in together] == [40 * 256, 7 * 256, 0]
    assert all(wav.dtype == torch.float32 and wav.device == CPU and not wav.requires_grad for wav in together)
    torch.testing.assert_close(together[1], speak(mels[1:2, :7])[0], atol=1e-4, rtol=0)
    mels[1, 7:] = 99.0
    torch.testing.assert_close(speak(mels, lengths)[1], together[1], atol=1e-4, rtol=0)


@settings(max_examples=25, deadline=None)
@given(frames=st.integers(1, 90), first=st.integers(1, 60), largest=st.integers(1, 60))
@example(frames=90, first=43, largest=43)  # leaves a last piece of a few frames
@example(frames=41, first=20, largest=20)  # and of one
def test_pieces_leave_no_seam(tiny_v1, tiny_melgan, frames, first, largest):
    mel = torch.randn(1, 80, frames, generator=torch.Generator().manual_seed(frames))
    for generator, context, least in (
        (tiny_v1, tiny_v1.architecture.context, 1),
        (tiny_melgan, tiny_melgan.context, tiny_melgan.min_frames),
    ):
        if frames < least:
            continue
        with torch.no_grad():
            whole = generator(mel)[0]
            pieces = list(in_pieces(generator, mel, context, 256, first, largest))
        assert len(pieces[0]) == 256 * min(first, largest, frames)
        assert max(len(piece) for piece in pieces) <= 256 * largest
        torch.testing.assert_close(torch.cat(pieces), whole, atol=1e-5, rtol=0)


@pytest.mark.parametrize("level", [-3.0, -9.0])  # above SPEECH_PEAK at its loudest, and far below: lifted
def test_a_stream_equals_the_whole(tiny_file, level):
    """Also where only the end of an utterance is loud: how much it is lifted is the same for all its pieces."""
    speak = load(tiny_file)
    mel = torch.randn(200, 80, generator=torch.Generator().manual_seed(1)) + level
    mel[150:] += 2.0
    (whole,) = speak(mel[None])
    pieces = list(speak.stream(mel, first=30))
    assert [len(piece) // 256 for piece in pieces] == [30, 60, 110]
    torch.testing.assert_close(torch.cat(pieces), whole, atol=1e-5, rtol=0)
    assert whole.abs().max() > 1e-4


def test_a_stream_of_real_weights_equals_the_whole():
    """Measured: 2e-6. The issue asks for 1e-4."""
    wav = torch.from_numpy(audio.load(real_data(FEMALE), 22050))
    log_mel = MelSpectrogram(22050, 1024, 256, 1024, 80, 0.0, 8000.0)(wav[None])[0][0]
    speak = load(real_data(V3_FILE))
    pieces = list(speak.stream(log_mel))
    assert len(pieces) > 2
    torch.testing.assert_close(torch.cat(pieces), speak(log_mel[None])[0], atol=1e-5, rtol=0)


def test_griffin_lim_streams_whole_utterances():
    speak = load(None, "model.vocoder.griffin_lim_iterations=2", model="Griffin-Lim")
    mel = torch.randn(90, 80) - 4.0
    pieces = list(speak.stream(mel))
    assert len(pieces) == 1 and torch.equal(pieces[0], speak(mel[None])[0])


def test_loading_leaves_the_random_state_alone(tiny_file):
    torch.manual_seed(3)
    wanted = torch.rand(1)
    torch.manual_seed(3)
    load(tiny_file)(torch.randn(1, 5, 80, generator=torch.Generator().manual_seed(0)))
    assert torch.equal(torch.rand(1), wanted)


def test_works_inside_autocast(tiny_file):
    speak, mel = load(tiny_file), torch.randn(1, 6, 80)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(speak(mel.bfloat16().float())[0], speak(mel.bfloat16())[0])


# ------------------------------------------------------------------------------------------------------- choosing one


def test_auto_takes_hifigan_only_where_its_weights_lie(no_published_weights, tiny_file):
    assert load(model="auto").name == "Griffin-Lim, 60 iterations"
    place = no_published_weights / "hifigan" / "generator_universal.pth.tar"
    place.parent.mkdir()
    shutil.copy(tiny_file, place)
    assert load(model="auto").name == f"HiFi-GAN ({place})"
    assert load(None, "model.vocoder.speaker=LJSpeech", model="auto").name.startswith("Griffin-Lim")
    assert load(None, "model.vocoder.griffin_lim_iterations=2", model="Griffin-Lim").name == "Griffin-Lim, 2 iterations"


def test_griffin_lim_of_a_batch():
    speak = load(None, "model.vocoder.griffin_lim_iterations=2", model="Griffin-Lim")
    wavs = speak(torch.randn(2, 9, 80) - 4.0, torch.tensor([9, 4]))
    assert [len(wav) for wav in wavs] == [9 * 256, 4 * 256]


@pytest.mark.parametrize(
    ("model", "speaker", "named"),
    [
        ("HiFi-GAN", "universal", ["hifigan/generator_universal.pth.tar", "jik876/hifi-gan", "UNIVERSAL_V1"]),
        ("HiFi-GAN", "LJSpeech", ["hifigan/generator_LJSpeech.pth.tar", "jik876/hifi-gan", "LJ_V3"]),
        ("MelGAN", "universal", ["melgan/multi_speaker.pt", "descriptinc/melgan-neurips"]),
        ("MelGAN", "LJSpeech", ["melgan/linda_johnson.pt", "descriptinc/melgan-neurips"]),
    ],
)
def test_missing_weights_say_where_to_get_them(no_published_weights, model, speaker, named):
    with pytest.raises(UserError) as error:
        load(None, f"model.vocoder.speaker={speaker}", model=model)
    assert all(part in str(error.value) for part in [*named, "Griffin-Lim"])
    with pytest.raises(UserError, match=r"nowhere\.pt"):
        load("nowhere.pt", model=model)


# ------------------------------------------------------------------------------------------------------- mel settings


@pytest.mark.parametrize(
    ("override", "named"),
    [
        ("preprocess.preprocessing.mel.mel_fmax=null", ["mel_fmax is 11025", "fmax is 8000"]),
        ("preprocess.preprocessing.mel.mel_fmin=20", ["mel_fmin is 20", "fmin is 0"]),
        ("preprocess.preprocessing.mel.n_mel_channels=64", ["n_mel_channels is 64", "num_mels is 80"]),
        ("preprocess.preprocessing.stft.hop_length=200", ["hop_length is 200", "hop_size is 256"]),
        ("preprocess.preprocessing.stft.win_length=800", ["win_length is 800", "win_size is 1024"]),
        ("preprocess.preprocessing.audio.sampling_rate=24000", ["sampling_rate is 24000", "sampling_rate is 22050"]),
    ],
)
def test_hifigan_refuses_other_mels(tiny_file, override, named):
    with pytest.raises(UserError) as error:
        load(tiny_file, override)
    assert all(part in str(error.value) for part in named)


def test_the_config_beside_the_weights_decides_about_mels(tiny_file, tiny_v1):
    architecture = tiny_v1.architecture
    values = {
        "resblock": str(architecture.resblock),
        "upsample_rates": list(architecture.upsample_rates),
        "upsample_kernel_sizes": list(architecture.upsample_kernel_sizes),
        "upsample_initial_channel": architecture.upsample_initial_channel,
        "resblock_kernel_sizes": list(architecture.resblock_kernel_sizes),
        "resblock_dilation_sizes": [list(row) for row in architecture.resblock_dilation_sizes],
        "fmax": None,
    }
    beside = tiny_file.parent / "config.json"
    beside.write_text(json.dumps(values))
    with pytest.raises(UserError, match=r"config\.json.*fmax is 11025"):
        load(tiny_file)
    load(tiny_file, "preprocess.preprocessing.mel.mel_fmax=null")
    beside.write_text(json.dumps(values | {"fmax": 8000, "sampling_rate": "22050"}))
    with pytest.raises(UserError, match=r"config\.json.*numbers"):
        load(tiny_file)
    beside.write_text("{")
    with pytest.raises(UserError, match=r"config\.json"):
        load(tiny_file)


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_melgan_takes_log10_mels_up_to_nyquist(tmp_path):
    torch.manual_seed(0)
    generator = melgan.Generator().eval()
    path = tmp_path / "multi_speaker.pt"
    torch.save(published_form(generator), path)
    with pytest.raises(UserError, match="mel_fmax is 8000"):
        load(path, model="MelGAN")
    speak = load(path, "preprocess.preprocessing.mel.mel_fmax=null", model="MelGAN")
    assert speak.name == f"MelGAN ({path})"
    mel = 4.0 * torch.rand(1, 9, 80) + 0.1  # loud enough not to be lifted
    with torch.no_grad():
        wanted = generator(mel.log10().transpose(1, 2))[0]
    torch.testing.assert_close(speak(mel.log())[0], wanted, atol=1e-5, rtol=0)
    assert [len(speak(mel[:, :frames])[0]) for frames in (1, 2, 3, 4)] == [256, 512, 768, 1024]


# ------------------------------------------------------------------------------------------------------- broken files


class _Evil:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self):
        return Path.touch, (self.target,)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("model", ["HiFi-GAN", "MelGAN"])
@pytest.mark.parametrize("form", ["torch", "legacy", "pickle", "zipped"])
def test_a_malicious_pickle_never_runs(tmp_path, model, form):
    target, path = tmp_path / "ran", tmp_path / "generator.pth.tar"
    content = {"generator": {"conv_pre.bias": _Evil(target)}}
    if form == "pickle":
        path.write_bytes(pickle.dumps(content))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=form != "legacy")
    if form == "zipped":
        with zipfile.ZipFile(tmp_path / "generator.zip", "w") as archive:
            archive.write(path, path.name)
        path = tmp_path / "generator.zip"
    with pytest.raises(UserError, match="generator"):
        load(path, "preprocess.preprocessing.mel.mel_fmax=null", model=model)
    assert not target.exists()
    pickle.loads(pickle.dumps(_Evil(target)))  # the trap itself works
    assert target.exists()


def _cut(data: bytes, path: Path, kept: float) -> Path:
    path.write_bytes(data[: int(len(data) * kept)])
    return path


def test_truncated_files_are_refused(tiny_file, tiny_v1, tmp_path):
    torch.save(tiny_v1.state_dict(), tmp_path / "legacy.pt", _use_new_zipfile_serialization=False)
    with zipfile.ZipFile(tmp_path / "outer.zip", "w") as archive:
        archive.write(tiny_file, "generator.pth.tar")
    for whole in (tiny_file, tmp_path / "legacy.pt", tmp_path / "outer.zip"):
        load(whole)
        for kept in (0.0, 0.001, 0.3, 0.9, 0.999):
            with pytest.raises(UserError, match="cut"):
                load(_cut(whole.read_bytes(), tmp_path / "cut.pth.tar", kept))


def test_flipped_bytes_in_a_zip_are_refused(tiny_file, tmp_path):
    path = tmp_path / "outer.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.write(tiny_file, "generator.pth.tar")
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 255
    path.write_bytes(data)
    with pytest.raises(UserError, match="outer"):
        load(path)


def _foreign(kind: str, state: dict[str, torch.Tensor]) -> object:
    other = {
        "no weights": {"generator": {}},
        "a list": [torch.zeros(3)],
        "a number inside": {"generator": {**state, "step": 5}},
        "a discriminator": {"mpd": state, "msd": state},
        "another network": {"fc.weight": torch.zeros(3, 3)},
        "one layer too few": {name: weight for name, weight in state.items() if name != "conv_post.bias"},
        "one layer too many": {**state, "extra.bias": torch.zeros(3)},
        "another shape": {**state, "conv_post.bias": torch.zeros(2)},
        "flat kernels": {name: weight.flatten() for name, weight in state.items()},
        "NaN": {**state, "conv_post.bias": torch.tensor([float("nan")])},
        "half a weight norm": {**state, "conv_pre.weight_v": torch.zeros(32, 80, 7)},
    }
    return other[kind]


@pytest.mark.parametrize(
    "kind",
    [
        "no weights",
        "a list",
        "a number inside",
        "a discriminator",
        "another network",
        "one layer too few",
        "one layer too many",
        "another shape",
        "flat kernels",
        "NaN",
        "half a weight norm",
    ],
)
@pytest.mark.parametrize("model", ["HiFi-GAN", "MelGAN"])
def test_foreign_checkpoints_are_refused(tiny_v1, tmp_path, kind, model):
    path = tmp_path / "foreign.pt"
    torch.save(_foreign(kind, tiny_v1.state_dict()), path)
    with pytest.raises(UserError, match="foreign") as error:
        load(path, *(["preprocess.preprocessing.mel.mel_fmax=null"] if model == "MelGAN" else []), model=model)
    if kind.startswith("one layer") and model == "HiFi-GAN":
        assert "conv_post.bias" in str(error.value) or "extra.bias" in str(error.value)


def test_a_zip_must_hold_one_file(tiny_file, tmp_path):
    path = tmp_path / "two.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.write(tiny_file, "a.pth.tar")
        archive.write(tiny_file, "b.pth.tar")
    with pytest.raises(UserError, match="holds 2 files"):
        load(path)


def tiny_fourier(folder: Path) -> tuple[Path, torch.Tensor]:
    """A generator's weights with its JSON, and a mel spectrogram [40, 80]."""
    torch.manual_seed(0)
    architecture = fourier.VERSIONS["fourier_tiny"]
    path = folder / "generator.pth.tar"
    torch.save({"generator": fourier.Generator(architecture).state_dict()}, path)
    (folder / "generator.json").write_text(json.dumps(architecture.to_json()))
    mel = torch.randn(40, 80).cumsum(0) * 0.1 - 5.0
    return path, mel


def test_corrections_of_the_fourier_vocoder_are_chosen_by_the_user(tmp_path):
    """Each brings the speech nearer to the mel that was asked for, and pieces still fit together."""
    path, mel = tiny_fourier(tmp_path)
    front_end = MelSpectrogram(22050, 1024, 256, 1024, 80, 0.0, 8000.0)
    distances = {}
    for number in ("null", "0", "1", "4"):
        speak = load(path, f"model.vocoder.corrections={number}", model="Fourier")
        wav = speak(mel[None])[0]
        own = front_end(wav[None])[0][0, :40]
        distances[number] = float((own - mel)[4:-4].abs().mean())
        torch.testing.assert_close(torch.cat(list(speak.stream(mel, 8, 16))), wav, atol=1e-4, rtol=0)
    assert distances["null"] == distances["1"]
    assert distances["0"] > distances["1"] > distances["4"]


def test_iterations_at_low_frequencies_are_chosen_by_the_user(tmp_path):
    path, mel = tiny_fourier(tmp_path)
    wavs = {
        number: load(path, f"model.vocoder.low_iterations={number}", model="Fourier")(mel[None])[0]
        for number in ("null", "0", "4", "9")
    }
    assert torch.equal(wavs["null"], wavs["4"]) and not torch.allclose(wavs["4"], wavs["9"], atol=1e-4)
    # above it, the spectrum is as without
    above = torch.fft.rfft(wavs["0"] - wavs["9"]).abs()[round(1300 / 22050 * len(wavs["0"])) :].square().sum()
    assert above < 1e-3 * torch.fft.rfft(wavs["0"]).abs().square().sum()
