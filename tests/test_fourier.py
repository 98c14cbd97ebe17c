"""The Fourier-head vocoder: its excitation, its pitch, its pieces, its files."""

import json
import time
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import fourier
import hifigan
from audio.mel import MelSpectrogram
from config import load_config
from errors import UserError
from fourier.excitation import pulse_train
from fourier.frames import Frames
from fourier.pitch import CENTS, LOWEST, PITCHES, decode, pitch_loss
from vocoder import load_vocoder

CPU = torch.device("cpu")
RATE, HOP = 22050, 256


@pytest.fixture(scope="module")
def tiny() -> fourier.Generator:
    torch.manual_seed(0)
    generator = fourier.Generator(fourier.VERSIONS["fourier_tiny"]).eval()
    with torch.no_grad():
        generator.head.weight.mul_(10)  # filters that matter
    return generator


@pytest.fixture
def tiny_file(tiny, tmp_path):
    path = tmp_path / "generator.pth.tar"
    torch.save({"generator": tiny.state_dict()}, path)
    (tmp_path / "generator.json").write_text(json.dumps(tiny.architecture.to_json()))
    return path


@cache
def other_tiny() -> fourier.Generator:
    torch.manual_seed(1)
    return fourier.Generator(fourier.VERSIONS["fourier_tiny"]).eval()


def a_mel(frames: int, seed: int = 0) -> torch.Tensor:
    """[1, 80, frames], smooth over time as speech is."""
    values = torch.randn(1, 80, frames, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.avg_pool1d(values, 5, 1, 2) * 2 - 4


# -------------------------------------------------------------------------------------------------------- excitation


@pytest.mark.parametrize("hertz", [80.0, 203.7, 850.0])
def test_a_steady_pulse_train_is_the_sum_of_all_harmonics(hertz):
    train = pulse_train(torch.full((1, 8), hertz), HOP, RATE)[0].double()
    time_axis = torch.arange(8 * HOP, dtype=torch.float64) / RATE
    harmonics = torch.arange(1, int(RATE / 2 / hertz) + 1)[:, None]
    expected = torch.cos(2 * torch.pi * hertz * harmonics * time_axis).sum(0)
    assert (train - expected).abs().max() < 2e-3 * expected.abs().max()


def test_a_gliding_pulse_train_has_one_pulse_per_cycle():
    f0 = torch.linspace(100.0, 200.0, 87)[None]  # one second
    train = pulse_train(f0, HOP, RATE)[0]
    peaks = (train[1:-1] > train[:-2]) & (train[1:-1] >= train[2:]) & (train[1:-1] > 0.25 * train.max())
    assert abs(int(peaks.sum()) - 150) <= 2  # the mean of 100 and 200 Hz


def test_frames_are_centred_on_their_hop():
    wav = torch.zeros(1, 8 * HOP)
    wav[0, 3 * HOP] = 1.0  # at the centre of frame 3: the largest window value, phase 0 after half a frame
    frames = Frames(torch.hann_window(1024), HOP).spectrum(wav)
    assert frames.shape == (1, 8, 513)
    assert int(frames.abs().sum(2).argmax()) == 3
    sign = 1.0 - 2.0 * (torch.arange(513) % 2)
    assert torch.allclose(frames[0, 3], sign.to(frames.dtype), atol=1e-5)


@pytest.mark.parametrize("frames", [1, 2, 3, 4, 5, 30])
def test_a_projection_is_the_spectrum_of_the_waveform(frames):
    own = Frames(torch.hann_window(128), 32)
    spectra = torch.randn(2, frames, 65, dtype=torch.cfloat)
    project, expected = own.projection(spectra), own.spectrum(own.waveform(spectra, own.evened(frames)))
    first = project(spectra)
    torch.testing.assert_close(first, expected)
    project(torch.randn_like(spectra))  # the same memory again
    torch.testing.assert_close(first, expected)
    if frames > 4:  # what has been there already stays, but for the ends, where frames are missing
        torch.testing.assert_close(project(first)[:, 4:-4], first[:, 4:-4])


# ------------------------------------------------------------------------------------------------------------- pitch


@given(st.floats(LOWEST * 1.1, 1000.0))
def test_a_pitch_survives_its_distribution(hertz):
    cents = 1200 * np.log2(hertz / LOWEST)
    scores = torch.full((1, 1, PITCHES + 1), 3.0)
    scores[0, 0, :PITCHES] = -0.5 * ((CENTS * torch.arange(PITCHES) - cents) / 25.0) ** 2
    found, voicing = decode(scores)
    assert abs(1200 * np.log2(float(found) / hertz)) < 3.0
    assert float(voicing) > 0.9


def test_the_pitch_loss_is_least_at_the_true_pitch_and_ignores_unvoiced_frames():
    def scores(hertz):
        cents = 1200 * np.log2(hertz / LOWEST)
        values = -0.5 * ((CENTS * torch.arange(PITCHES) - cents) / 25.0) ** 2
        return torch.cat([values, torch.zeros(1)])[None, None].expand(1, 2, -1)

    f0 = torch.tensor([[220.0, 0.0]])
    losses = {hertz: float(pitch_loss(scores(hertz), f0)[0]) for hertz in (200.0, 215.0, 220.0, 225.0, 440.0)}
    assert min(losses, key=losses.__getitem__) == 220.0
    silent, _ = pitch_loss(scores(220.0), torch.zeros(1, 2))
    assert float(silent) == 0.0


# --------------------------------------------------------------------------------------------------------- generator


def test_size_and_shapes():
    generator = fourier.Generator(fourier.VERSIONS["fourier"])
    assert 1e6 < sum(weight.numel() for weight in generator.parameters()) < 3e6
    assert generator(a_mel(9)).shape == (1, 9 * HOP)
    assert generator(a_mel(1)).shape == (1, HOP)


@settings(max_examples=15, deadline=None)
@given(st.integers(1, 120), st.integers(1, 60))
def test_pieces_are_the_whole(frames, start):
    """Every sample depends on no more than `context` frames, once the excitation of the whole is there."""
    start %= frames
    generator = other_tiny()
    with torch.no_grad():
        sources = generator.sources(a_mel(frames))
        whole = generator.render(sources)
        left = max(0, start - generator.context)
        piece = generator.render(sources[..., left : start + 10 + generator.context])
    kept = piece[:, (start - left) * HOP : (start - left + 10) * HOP]
    assert torch.allclose(kept, whole[:, start * HOP : (start + 10) * HOP], atol=1e-5)


def test_harmonics_keep_their_phase_over_a_long_steady_sound():
    """One second and 137.3 Hz, which no hop is a multiple of: all energy in lines, none between them."""
    torch.manual_seed(0)
    # without corrections, which would try to make the flat spectrum that is asked for of nothing but lines
    generator = fourier.Generator(replace(fourier.VERSIONS["fourier"], corrections=0)).eval()
    with torch.no_grad():
        f0 = torch.full((1, 87), 137.3)
        pulses = pulse_train(f0, HOP, RATE)
        sources = generator.excited(
            torch.full((1, 80, 87), -3.0), f0, torch.ones(1, 87), pulses, torch.zeros(1, 87 * HOP)
        )
        wav = generator.render(sources)[0, 20 * HOP : -20 * HOP].double()
    line = torch.fft.rfft(wav * torch.hann_window(len(wav), dtype=torch.float64), 1 << 17).abs() ** 2
    hertz = torch.arange(len(line)) * RATE / (1 << 17)
    below = hertz < 4000
    distance = (hertz / 137.3 - (hertz / 137.3).round()).abs() * 137.3
    assert float(line[below & (distance < 8)].sum() / line[below].sum()) > 0.99


def test_corrections_bring_the_speech_closer_to_the_mel_that_was_asked_for():
    """And each more than the one before; frames away from the ends, where the analysis here pads otherwise."""
    torch.manual_seed(0)
    plain = fourier.Generator(replace(fourier.VERSIONS["fourier"], corrections=0)).eval()
    front_end = MelSpectrogram(RATE, 1024, HOP, 1024, 80, 0.0, 8000.0)
    mel = a_mel(80)
    distances = []
    for corrections in (0, 1, 3):
        generator = fourier.Generator(replace(plain.architecture, corrections=corrections)).eval()
        generator.load_state_dict(plain.state_dict())
        with torch.no_grad():
            own = front_end(generator(mel))[0].transpose(1, 2)[..., :80]
        distances.append(float((own - mel)[..., 4:-4].abs().mean()))
    assert distances[0] > 1.2 * distances[1] > 1.2 * distances[2] * 1.1, distances


@pytest.mark.parametrize("hertz", [110.0, 203.7, 320.0])
def test_low_frequencies_fit_together_and_find_the_pitch_that_was_asked_for(hertz):
    """Two seconds of a steady voice, begun a sixth of a semitone too high; the mel spectrogram says how high it is."""
    frames, cents_off = 172, 17.0
    front_end = MelSpectrogram(RATE, 1024, HOP, 1024, 80, 0.0, 8000.0)
    mel = front_end(0.01 * pulse_train(torch.full((1, frames), hertz), HOP, RATE))[0][:, :frames]
    generator = fourier.Generator(fourier.VERSIONS["fourier"])
    low = generator.low_band
    off = 0.01 * pulse_train(torch.full((1, frames), hertz * 2 ** (cents_off / 1200)), HOP, RATE)
    draft = generator.frames.spectrum(off)[..., : low.bins]
    evened = low.frames.evened(frames)
    misfits, cents = [], []
    for iterations in (0, 60, 200):
        low.iterations = iterations
        with torch.no_grad():
            found = low(draft, mel)
            wav = low.frames.waveform(found, evened)
            misfits.append(float((low.frames.spectrum(wav) - found).abs().square().sum() / found.abs().square().sum()))
        middle = wav[0, 20 * low.frames.hop : -20 * low.frames.hop].double()
        line = torch.fft.rfft(middle * torch.hann_window(len(middle), dtype=torch.float64), 1 << 17).abs()
        axis = torch.arange(len(line)) * (RATE * low.frames.hop / HOP) / (1 << 17)
        near = (axis > 0.8 * hertz) & (axis < 1.2 * hertz)
        cents.append(1200 * np.log2(float(axis[near][line[near].argmax()]) / hertz))
    assert misfits[0] > 4 * misfits[1] > 4 * misfits[2], misfits
    assert cents[0] == pytest.approx(cents_off, abs=1.0) and abs(cents[2]) < cents_off / 2, cents


def test_frequencies_above_the_low_band_stay_as_they_are():
    low = fourier.Generator(fourier.VERSIONS["fourier"]).low_band
    spectra, own = torch.randn(1, 5, 513, dtype=torch.cfloat), torch.randn(1, 5, low.bins, dtype=torch.cfloat)
    mixed = low.put(own, spectra)
    line = RATE / 1024  # Hz
    assert torch.equal(mixed[..., int(1200 / line) :], spectra[..., int(1200 / line) :])
    assert torch.equal(mixed[..., : int(800 / line)], own[..., : int(800 / line)])


@pytest.mark.parametrize("key", ["corrections", "low_iterations"])
def test_weights_from_before_a_refinement_speak_without_it(key):
    known = {name: value for name, value in fourier.VERSIONS["fourier"].to_json().items() if name != key}
    assert getattr(fourier.Architecture.from_json(known), key) == 0


def test_the_same_mel_gives_the_same_waveform(tiny):
    with torch.no_grad():
        assert torch.equal(tiny(a_mel(30)), tiny(a_mel(30)))


def test_it_is_much_faster_than_hifigan_on_one_core():
    """At least 2 times HiFi-GAN V3 and 10 times V1; measured 2.2 and 22. CPU time, the best of several."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    mel = a_mel(172)  # two seconds

    def seconds(model, rounds):
        times = []
        with torch.inference_mode():
            model(mel)
            for _ in range(rounds):
                begin = time.thread_time()
                model(mel)
                times.append(time.thread_time() - begin)
        return min(times)

    try:
        ours = seconds(fourier.Generator(fourier.VERSIONS["fourier"]).eval(), 20)
        v3 = seconds(hifigan.Generator(hifigan.VERSIONS["V3"]).eval().channels_last(), 4)
        v1 = seconds(hifigan.Generator(hifigan.VERSIONS["V1"]).eval().channels_last(), 1)
    finally:
        torch.set_num_threads(threads)
    assert v3 > 2 * ours and v1 > 10 * ours, f"{ours:.3f} s, V3 {v3:.3f} s, V1 {v1:.3f} s"


# -------------------------------------------------------------------------------------------------------- from files


def load(path, *overrides: str, model: str = "auto"):
    given = [f"model.vocoder.checkpoint={path}", f"model.vocoder.model={model}"]
    return load_vocoder(load_config("RAVDESS", [*given, *overrides]), CPU)


@pytest.mark.parametrize("model", ["auto", "Fourier"])
def test_the_loaded_vocoder_is_the_generator_whole_and_streamed(tiny, tiny_file, model):
    vocoder = load(tiny_file, model=model)
    mel = a_mel(150)
    with torch.no_grad():
        expected = tiny(mel)[0].clamp(-1, 1)
    assert vocoder.name.startswith("Fourier") and vocoder.hop_length == HOP
    (wav,) = vocoder(mel.transpose(1, 2))
    assert torch.allclose(wav, expected, atol=1e-6)
    pieces = [*vocoder.stream(mel[0].T, 20, 40)]
    assert len(pieces) > 3
    assert torch.allclose(torch.cat(pieces), expected, atol=1e-5)


def test_other_mels_other_weights_or_a_broken_description_are_refused(tiny, tiny_file):
    with pytest.raises(UserError, match="fmax"):
        load(tiny_file, "preprocess.preprocessing.mel.mel_fmax=null")
    description = tiny_file.with_name("generator.json")
    description.write_text(json.dumps(replace(tiny.architecture, layers=2).to_json()))
    with pytest.raises(UserError, match="missing"):
        load(tiny_file)
    description.write_text(json.dumps({"kind": "fourier", "channels": "many"}))
    with pytest.raises(UserError, match=r"generator\.json"):
        load(tiny_file)
    description.unlink()
    with pytest.raises(UserError, match="no JSON beside it"):
        load(tiny_file, model="Fourier")


def test_an_architecture_survives_json_and_refuses_nonsense():
    for architecture in fourier.VERSIONS.values():
        assert fourier.Architecture.from_json(json.loads(json.dumps(architecture.to_json()))) == architecture
    for values in (
        {"channels": 0},
        {"layers": 1.5},
        {"kernel_size": 4},
        {"fmax": 20000.0},
        {"n_fft": 1000},
        {"fmin": True},
    ):
        with pytest.raises(ValueError, match=next(iter(values)) if "fmax" not in values else "fmax"):
            fourier.Architecture(**values)
