"""Recordings in and out, and the mel spectrogram."""

import subprocess
import sys
import wave
from math import ceil, log

import numpy as np
import pytest
import soundfile
import torch
from safetensors.torch import load_file

import audio
from audio.mel import mel_filterbank, mirror
from errors import UserError
from preprocessor.outputs import write_array
from tests.paths import ROOT, golden, real_data
from tests.small_corpus import noise


@pytest.fixture(scope="module")
def mel():
    return audio.MelSpectrogram(22050, 1024, 256, 1024, 80, 0.0, 8000.0)


def test_golden_mel_basis(mel, parity):
    expected = load_file(golden("mel_frontend.safetensors"))["mel_basis_80x513"]
    error = float((mel.basis - expected).abs().max())
    parity("mel_frontend", "mel basis", error)
    assert error < 1e-8


@pytest.mark.parametrize("case", ["w0", "w1", "w2", "w3"])
def test_golden_mel_frontend(mel, case, parity):
    arrays = load_file(golden("mel_frontend.safetensors"))
    log_mel, energy = mel(arrays[f"{case}/wav"][None])
    mel_error = float((log_mel[0].T - arrays[f"{case}/mel"]).abs().max())
    energy_error = (energy[0] - arrays[f"{case}/energy"]).abs()
    parity("mel_frontend", "log-mel", mel_error)
    parity("mel_frontend", "energy, relative", float((energy_error / arrays[f"{case}/energy"]).max()))
    assert mel_error < 1e-4
    assert (energy_error <= 1e-5 + 1e-5 * arrays[f"{case}/energy"]).all()


def test_filters_have_unit_area_and_cover_the_range():
    basis = mel_filterbank(22050, 8192, 40, 50.0, None)  # fine bins, so that sums are integrals
    assert np.allclose(basis.sum(axis=1) * 22050 / 8192, 1.0, atol=0.02)
    bins = np.linspace(0, 11025, basis.shape[1])
    assert not basis[:, bins < 50].any() and basis[:, (bins > 100) & (bins < 10500)].any(axis=0).all()


def test_a_tone_lands_in_its_band_and_clipping_is_at_full_scale(mel):
    time = torch.arange(22050) / 22050
    tone = torch.sin(2 * torch.pi * 1000 * time)[None]
    assert mel(tone)[0][0, 40].argmax() == mel.basis[:, round(1000 * 1024 / 22050)].argmax()
    assert torch.equal(mel(3 * tone)[0], mel((3 * tone).clamp(-1, 1))[0])
    assert torch.equal(mel(torch.zeros(1, 300))[0], torch.full((1, 2, 80), log(1e-5)))


def test_padding_does_not_change_the_result(mel):
    lengths = [1, 200, 513, 2560, 4000, 6001]
    wavs = [torch.from_numpy(noise(length / 22050, 0.7, length))[:length] for length in lengths]
    wavs = [torch.nn.functional.pad(wav, (0, length - len(wav))) for wav, length in zip(wavs, lengths, strict=True)]
    batch = torch.full((len(wavs), 7000), 0.9)  # padded with something loud
    for row, wav in zip(batch, wavs, strict=True):
        row[: len(wav)] = wav
    log_mels, energies = mel(batch, torch.tensor(lengths))
    for wav, log_mel, energy in zip(wavs, log_mels, energies, strict=True):
        alone, energy_alone = mel(wav[None])
        frames = mel.frames(len(wav))
        assert alone.shape[1] == frames
        assert torch.allclose(log_mel[:frames], alone[0], atol=1e-5)
        assert torch.allclose(energy[:frames], energy_alone[0], atol=1e-5)
        assert (log_mel[frames:] == log(1e-5)).all() and (energy[frames:] == 0).all()


@pytest.mark.parametrize("samples", [1, 2, 3, 100, 512, 513, 5000])
def test_short_waveforms_are_mirrored_as_numpy_pads(samples):
    position = torch.arange(-512, samples + 512)
    expected = np.pad(np.arange(samples), 512, mode="reflect")
    assert mirror(position, torch.tensor(samples)).tolist() == expected.tolist()


def test_mel_under_autocast_is_full_precision(mel):
    wav = torch.from_numpy(noise(0.3, 0.5, 0))[None]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(mel(wav)[0], mel(wav)[0].float())
        inside = mel(wav)[0]
    assert torch.equal(inside, mel(wav)[0])


def test_mel_has_a_finite_gradient_even_at_silence(mel):
    wav = torch.zeros(1, 3000, requires_grad=True)
    mel(wav)[0].sum().backward()
    assert torch.isfinite(wav.grad).all()


def test_saved_waveforms_come_back(tmp_path):
    wav = np.array([-1.0, -0.5, 0.0, 1 / 32768, 0.5, 32767 / 32768], dtype=np.float32)
    audio.save(tmp_path / "new" / "a.wav", wav, 22050)
    assert np.array_equal(audio.load(tmp_path / "new" / "a.wav", None), wav)
    assert soundfile.info(tmp_path / "new" / "a.wav").subtype == "PCM_16"
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["a.wav"]


def test_saving_rounds_and_saturates_and_never_wraps(tmp_path):
    wav = np.array([1.0, 1.7, -1.0, -1.7, 0.6 / 32768, -0.6 / 32768], dtype=np.float32)
    audio.save(tmp_path / "a.wav", wav, 8000)
    assert soundfile.read(tmp_path / "a.wav", dtype="int16")[0].tolist() == [32767, 32767, -32768, -32768, 1, -1]


def test_saving_where_nothing_can_be_written_says_so(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"cannot write .*a\.wav"):
        audio.save(tmp_path / "file" / "a.wav", np.zeros(5, dtype=np.float32), 8000)


@pytest.mark.parametrize("source", [48000, 44100, 24000, 16000, 22050])
@pytest.mark.parametrize("samples", [1, 997, 12001])
def test_resampled_length_is_rounded_up(tmp_path, source, samples):
    soundfile.write(tmp_path / "a.flac", np.full(samples, 0.25), source)
    wav = audio.load(tmp_path / "a.flac", 22050)
    assert wav.dtype == np.float32 and wav.shape == (ceil(samples * 22050 / source),)


def test_channels_are_averaged(tmp_path):
    left, right = noise(0.1, 0.5, 1), noise(0.1, 0.5, 2)
    soundfile.write(tmp_path / "a.wav", np.stack([left, right], axis=1), 22050, subtype="FLOAT")
    assert np.allclose(audio.load(tmp_path / "a.wav", None), (left + right) / 2, atol=1e-7)


def test_resampling_keeps_a_tone():
    time = np.arange(48000) / 48000
    path = real_data("RAVDESS/Actor_01/03-01-01-01-01-01-01.flac")
    assert len(audio.load(path, 22050)) == ceil(soundfile.info(path).frames * 22050 / 48000)
    from audio.files import _resample

    out = _resample(np.sin(2 * np.pi * 440 * time).astype(np.float32), 48000, 22050)
    assert np.abs(out - np.sin(2 * np.pi * 440 * np.arange(22050) / 22050))[500:-500].max() < 1e-3


@pytest.mark.parametrize(
    ("subtype", "suffix"), [("PCM_16", "wav"), ("PCM_16", "flac"), ("PCM_24", "wav"), ("FLOAT", "wav")]
)
@pytest.mark.parametrize("channels", [1, 2, 3])
def test_samples_are_those_of_libsndfile_bit_for_bit(tmp_path, subtype, suffix, channels):
    path = tmp_path / f"a.{suffix}"
    wav = np.stack([noise(0.2, 1.0, seed) for seed in range(channels)], axis=1)
    wav[:3] = [[-1.0], [32767 / 32768], [1 / 32768]]
    soundfile.write(path, wav, 22050, subtype=subtype)
    expected = soundfile.read(path, dtype="float32", always_2d=True)[0].mean(axis=1)
    assert np.array_equal(audio.load(path, None), expected)


@pytest.mark.parametrize("samples", [1, 2, 4095])
def test_headers_written_by_hand_are_those_of_the_libraries(tmp_path, samples):
    wav = (noise(1, 0.5, samples)[:samples] * 32767).astype(np.int16)
    audio.save(tmp_path / "ours.wav", wav, 22050)
    with wave.open(str(tmp_path / "theirs.wav"), "wb") as writer:
        writer.setparams((1, 2, 22050, 0, "NONE", ""))
        writer.writeframes(wav.tobytes())
    assert (tmp_path / "ours.wav").read_bytes() == (tmp_path / "theirs.wav").read_bytes()
    for array in (wav.astype(np.int64), np.ones((samples, 80), np.float32), np.ones((1, 512), np.float32)):
        write_array(tmp_path / "ours.npy", array)
        np.save(tmp_path / "theirs.npy", array)
        assert (tmp_path / "ours.npy").read_bytes() == (tmp_path / "theirs.npy").read_bytes()


def test_the_loudest_sample_may_be_negative():
    assert audio.peak(np.array([0.25, -0.5], np.float32)) == 0.5 == audio.peak(np.array([0.5, -0.25], np.float32))


BROKEN = {
    "missing": (None, "no such audio file"),
    "not audio": (b"this is not audio " * 50, "not readable as audio"),
    "no bytes": (b"", "0 bytes"),
    "zero length": (np.zeros(0), "zero length"),
    "nan": (np.array([0.0, np.nan, 0.1]), "NaN"),
    "infinite": (np.array([0.0, np.inf, 0.1]), "infinite"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_broken_recordings_are_named(tmp_path, case):
    content, reason = BROKEN[case]
    path = tmp_path / "broken.wav"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        soundfile.write(path, content, 22050, subtype="FLOAT")
    with pytest.raises(UserError, match=rf"broken\.wav.*{reason}"):
        audio.load(path, 22050)


def test_silence():
    assert audio.is_silent(np.zeros(100)) and audio.is_silent(np.zeros(0)) and audio.is_silent(np.full(9, 3e-5))
    assert not audio.is_silent(np.array([0.0, -0.001, 0.0]))


def test_reading_audio_does_not_import_torch():
    code = "import audio, sys; assert 'torch' not in sys.modules; audio.MelSpectrogram; assert 'torch' in sys.modules"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
