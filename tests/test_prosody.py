"""Pitch, voicing, loudness and intensity: measured, learned, predicted, controlled."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from acoustic import load_model, mel_spectrogram, new_model
from audio import load
from audio.harmonics import harmonic_combs
from audio.pitch import fundamental
from config import load_config
from dataset import collate, open_dataset
from errors import UserError
from model import Prosody, ProsodyControl, TrainingLoss
from model.prosody import ProsodyPrediction, decide, places_in_phones
from tests.processes import assert_ok, assert_refused, run_script, with_overrides
from tests.tiny import make_tiny_dataset, tiny_overrides
from training.validation import run_model, true_prosody
from utils.metadata import IdMaps, intensity_of

RATE, HOP = 22050, 256
NO_MASK = torch.zeros(1, 4, dtype=torch.bool)
PROSODY = ["model.prosody.layer=1", "model.intensities=[normal, strong]"]


# ------------------------------------------------------------------------------------------------------ measurements


@pytest.mark.parametrize("speed", [1, 4])
@pytest.mark.parametrize("hertz", [90.0, 231.7, 640.0])
def test_the_pitch_of_a_harmonic_tone_is_found(hertz, speed):
    time = np.arange(RATE) / RATE
    wav = sum(np.cos(2 * np.pi * hertz * k * time) / k for k in range(1, int(5000 / hertz))) * 0.2
    f0 = fundamental(wav.astype(np.float32), RATE, HOP / RATE, speed)
    inner = f0[10:-10]
    assert (inner > 0).mean() > 0.95
    assert abs(1200 * np.log2(np.median(inner[inner > 0]) / hertz)) < 10


def test_noise_has_hardly_any_pitch():
    noise = np.random.default_rng(0).normal(0, 0.1, RATE).astype(np.float32)
    assert (fundamental(noise, RATE, HOP / RATE, 4) > 0).mean() < 0.2


def test_combs_peak_at_the_harmonics():
    front_end = mel_spectrogram(load_config("RAVDESS"))
    (comb,) = harmonic_combs(front_end, torch.tensor([400.0]))
    centres = (front_end.basis * torch.linspace(0, RATE / 2, 513)).sum(1) / front_end.basis.sum(1)
    for harmonic in range(1, 5):
        at, between = (int((centres - 400.0 * place).abs().argmin()) for place in (harmonic, harmonic + 0.5))
        assert comb[at] > comb[between] + 1.0, harmonic
    assert comb.abs().max() <= 4.0 and comb[70:].abs().max() < 0.7  # bands there hold several harmonics each


def test_prosody_of_a_recording():
    pitches = torch.tensor([[0.0, 200.0, 400.0, 100.0]])
    mels = torch.full((1, 4, 80), -4.0)
    prosody, louder = Prosody.of(pitches, mels), Prosody.of(pitches, mels + math.log(10) / 2)  # 10 dB
    assert prosody.voicing.tolist() == [[0, 1, 1, 1]]
    assert prosody.pitch[0, 1:].tolist() == pytest.approx([0.0, 1.0, -1.0])
    predicted = ProsodyPrediction(prosody.pitch, prosody.voicing, prosody.loudness)
    changed = decide(predicted, NO_MASK, ProsodyControl(energy=10))
    assert torch.allclose(louder.loudness, changed.loudness, atol=1e-4)


# ---------------------------------------------------------------------------------------------------------- controls


@given(st.floats(-24, 24), st.floats(0, 4))
def test_controls_move_pitch_by_what_they_say(shift, factor):
    pitch, voicing = torch.tensor([[0.1, 0.5, -0.2, 0.9]]), torch.tensor([[3.0, 2.0, 1.0, -2.0]])
    predicted = ProsodyPrediction(pitch, voicing, torch.zeros(1, 4))
    plain = decide(predicted, NO_MASK, ProsodyControl())
    moved = decide(predicted, NO_MASK, ProsodyControl(shift, factor))
    assert plain.voicing.tolist() == moved.voicing.tolist() == [[1, 1, 1, 0]]
    ours, theirs = plain.pitch[0, :3], moved.pitch[0, :3]
    assert float(theirs.mean() - ours.mean()) == pytest.approx(shift / 12, abs=1e-5)
    assert torch.allclose(theirs - theirs.mean(), factor * (ours - ours.mean()), atol=1e-5)


@settings(deadline=None)
@given(st.lists(st.lists(st.integers(0, 9), min_size=3, max_size=3), min_size=1, max_size=3), st.integers(1, 30))
def test_places_in_phones_are_those_of_a_loop(durations, size):
    places = places_in_phones(torch.tensor(durations), size)
    assert places.shape == (len(durations), size, 3)
    for row, counts in enumerate(durations):
        expected = [
            ((k + 0.5) / count, math.log1p(k) / 3, math.log1p(count - 1 - k) / 3)
            for count in counts
            for k in range(count)
        ]
        for place, values in zip(places[row].tolist(), expected, strict=False):
            assert place == pytest.approx(values, abs=1e-5)


# ------------------------------------------------------------------------------------------------------------- model


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return make_tiny_dataset(tmp_path_factory.mktemp("tiny") / "data")


def tiny_model(data, *overrides):
    config = load_config("Sample", [*tiny_overrides(data, data.parent), *PROSODY, *overrides])
    torch.manual_seed(0)
    ids = IdMaps.load(data)
    model = new_model(config, ids).eval()
    for weight in model.decoder.depths.parameters():  # so that nothing is hidden by zeros
        torch.nn.init.normal_(weight, 0.0, 0.1)
    return model, open_dataset(config, "train.txt", ids)


def test_features_reach_the_batch(data):
    _, dataset = tiny_model(data)
    batch = collate([dataset[0], dataset[5]])
    assert batch.pitches.shape == batch.mels.shape[:2]
    assert (batch.pitches > 0).any() and (batch.pitches[0, batch.mel_lengths[0] :] == 0).all()
    words = [name.split("-")[1] for name in batch.names]
    assert batch.intensities.tolist() == [["normal", "strong"].index(word) for word in words]


def test_missing_pitch_is_told_with_the_command(tmp_path):
    own = make_tiny_dataset(tmp_path / "data")
    _, dataset = tiny_model(own)
    entry = dataset.entries[3]
    (own / "pitch" / f"{entry.speaker}-pitch-{entry.name}.npy").unlink()
    with pytest.raises(UserError, match=r"-pitch-.*is missing; run preprocess\.py"):
        dataset[3]
    path = own / "pitch" / f"{dataset.entries[4].speaker}-pitch-{dataset.entries[4].name}.npy"
    np.save(path, np.zeros(3, dtype=np.float32))
    with pytest.raises(UserError, match=r"holds \(3,\) values for \d+ frames"):
        dataset[4]


def test_padding_changes_nothing(data):
    model, dataset = tiny_model(data)
    order = sorted(range(len(dataset)), key=lambda index: dataset.lengths[index])
    short, long = dataset[order[0]], dataset[order[-1]]
    with torch.inference_mode():
        alone, together = (run_model(model, collate(items)) for items in ([short], [short, long]))
    frames = len(short.mel)
    assert torch.allclose(alone.mels[-1][0], together.mels[-1][0, :frames], atol=1e-4)
    assert torch.allclose(alone.prosody.pitch[0], together.prosody.pitch[0, :frames], atol=1e-4)
    assert (together.mels[-1][0, frames:] == 0).all()


def test_given_prosody_is_what_is_spoken(data):
    """Another pitch changes voiced frames directly; no pitch at all means no comb."""
    model, dataset = tiny_model(data)
    batch = collate([dataset[0]])
    true = true_prosody(batch)
    silent = Prosody(true.pitch, torch.zeros_like(true.voicing), true.loudness)
    higher = Prosody(true.pitch + 0.5, true.voicing, true.loudness)
    inputs = {"emotions": batch.emotions, "durations": batch.durations, "mel_length": batch.mels.shape[1]}

    def mel(prosody):
        with torch.inference_mode():
            return model(batch.phones, batch.phone_lengths, batch.speakers, prosody=prosody, **inputs).mels[-1][0]

    assert not torch.allclose(mel(true), mel(higher), atol=1e-3)
    assert torch.allclose(mel(silent), mel(Prosody(higher.pitch, silent.voicing, true.loudness)), atol=1e-5)


def test_intensity_is_chosen_or_lies_between(data):
    model, dataset = tiny_model(data)
    batch = collate([dataset[0]])

    def embedding(*intensities):
        known = torch.tensor(intensities) if intensities else None
        with torch.inference_mode():
            return model.emotion(batch.emotions, None, None, None, known).embedding

    normal, strong, unknown = embedding(0), embedding(1), embedding(-1)
    assert not torch.allclose(normal, strong, atol=1e-3)
    assert torch.allclose(unknown, (normal + strong) / 2, atol=1e-6)
    assert torch.equal(unknown, embedding())


@pytest.mark.parametrize(
    ("name", "number"),
    [("angry-strong-01-02-Actor_05", 1), ("happy-normal-01", 0), ("strong-x", None), ("sad-01-02", None)],
)
def test_intensity_in_a_name(name, number):
    assert intensity_of(name, ["normal", "strong"]) == number


def test_losses_are_means_over_real_frames_and_can_be_learned(data):
    model, dataset = tiny_model(data)
    loss = TrainingLoss(0.1, 0.1, "mean", "cross_entropy")

    def losses(*indices):
        batch = collate([dataset[index] for index in indices])
        output = run_model(model, batch)
        return batch, loss(
            output, batch.mels, output.durations, batch.emotions, None, true_prosody(batch), batch.intensities
        )

    (a, one), (b, two), (_, both) = losses(0), losses(9), losses(0, 9)
    for name in ("pitch", "voicing", "loudness"):
        frames = [int(a.mel_lengths[0]), int(b.mel_lengths[0])]
        first, second, mean = (float(getattr(each, name).detach()) for each in (one, two, both))
        assert mean == pytest.approx((frames[0] * first + frames[1] * second) / sum(frames), rel=1e-4), name
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    model.train()
    for _ in range(160):
        _, now = losses(0, 3, 9)
        optimizer.zero_grad()
        now.total.backward()
        optimizer.step()
    model.eval()
    _, after = losses(0, 3, 9)
    assert float(after.pitch.detach()) < 0.5 * float(both.pitch.detach())
    assert float(after.voicing.detach()) < 0.5 * float(both.voicing.detach())


# --------------------------------------------------------------------------------------------------------- processes


def test_trains_resumes_and_speaks_with_controls(data, tmp_path):
    overrides = with_overrides([*tiny_overrides(data, tmp_path), *PROSODY, "train.step.total_step=20"])
    result = run_script("train.py", "--dataset", "Sample", *overrides, "--set", "train.step.val_step=10")
    assert_ok(result)
    assert "pitch" in result.stdout + result.stderr and "loudness" in result.stdout + result.stderr
    loaded = load_model(load_config("Sample", tiny_overrides(data, tmp_path)), "latest", torch.device("cpu"))
    assert loaded.model.prosody is not None and loaded.config.model.intensities == ["normal", "strong"]
    assert (loaded.model.prosody.combs != 0).any()
    speak = ["--dataset", "Sample", *overrides, "--restore_step", "latest", "--mode", "single", "--text", "Kids"]
    speak += ["--speaker_id", "Actor_01", "--emotion_id", "happy", "--output", str(tmp_path / "out")]
    assert_ok(run_script("synthesize.py", *speak, "--intensity", "strong", "--energy", "-10", "--name", "soft"))
    assert_refused(run_script("synthesize.py", *speak, "--intensity", "huge"), "normal, strong")
    assert_refused(run_script("synthesize.py", *speak, "--pitch_range", "-1"), "0 … 4")


SHIPPED = Path("pretrained/RAVDESS/config.json")


def shipped_predicts_prosody() -> bool:
    return (
        SHIPPED.exists() and json.loads(SHIPPED.read_text())["config"]["model"].get("prosody", {}).get("layer", 0) > 0
    )


def spoken(tmp_path, *flags):
    """F0 in Hz of every 5 ms (0: unvoiced), and level in dB, of a sentence by the weights that ship."""
    arguments = ["--mode", "single", "--text", "Kids are talking by the door", "--speaker_id", "Actor_01"]
    name = "x" + "".join(flags).replace("-", "m")
    flags = (*flags, "--emotion_id", "happy", "--intensity", "strong", "--name", name, "--output", str(tmp_path))
    assert_ok(run_script("synthesize.py", *arguments, *flags))
    wav = load(next(tmp_path.glob("*.wav")), RATE)
    next(tmp_path.glob("*.wav")).unlink()
    return fundamental(wav, RATE, 0.005), 10 * math.log10(float(np.square(wav).mean()))


@pytest.mark.skipif(not shipped_predicts_prosody(), reason="the weights that ship predict no prosody")
def test_controls_are_heard(tmp_path):
    hertz, level = spoken(tmp_path)
    higher, _ = spoken(tmp_path, "--pitch_shift", "4")
    _, softer = spoken(tmp_path, "--energy=-10")
    both = (hertz > 0) & (higher > 0)  # durations are the same; what is found to be voiced is not quite
    assert both.mean() > 0.5
    assert 12 * np.median(np.log2(higher[both] / hertz[both])) == pytest.approx(4, abs=0.3)
    assert softer - level == pytest.approx(-10, abs=4)


def test_a_recording_keeps_its_pitch_through_preprocessing(tmp_path):
    """A harmonic tone inside noise: Hz in the frames of the tone, 0 in those of the noise; cut as the mel is."""
    from tests.small_corpus import textgrid, write_manifest

    rng = np.random.default_rng(0)
    raw, grids = tmp_path / "raw", tmp_path / "grids"
    time = np.arange(RATE) / RATE
    tone = sum(np.cos(2 * np.pi * 180.0 * k * time) / k for k in range(1, 20)) * 0.1
    for emotion in ("angry", "happy"):
        name = f"{emotion}-normal-01-01-Actor_01"
        wav = np.concatenate([rng.normal(0, 0.02, RATE // 4), tone[: RATE // 2], rng.normal(0, 0.02, RATE // 4)])
        for folder in (raw / "Actor_01", grids / "Actor_01"):
            folder.mkdir(parents=True, exist_ok=True)
        soundfile.write(raw / "Actor_01" / f"{name}.wav", wav, RATE, subtype="PCM_16")
        (raw / "Actor_01" / f"{name}.lab").write_text("Kid")
        spans = ((0.0, 0.1, "sil"), (0.1, 0.3, "K"), (0.3, 0.6, "IH1"), (0.6, 0.9, "D"), (0.9, 1.0, "sp"))
        (grids / "Actor_01" / f"{name}.TextGrid").write_text(textgrid(spans))
    from preprocessor.facts import Facts

    write_manifest(raw / "Actor_01", {f"{e}-normal-01-01-Actor_01": Facts("normal") for e in ("angry", "happy")})
    places = [f"preprocess.path.raw_path={raw}", f"preprocess.path.preprocessed_path={tmp_path / 'out'}"]
    values = with_overrides([*places, "preprocess.preprocessing.val_size=1"])
    assert_ok(run_script("preprocess.py", "--dataset", "RAVDESS", "--textgrids", grids, "--jobs", "1", *values))
    folder = tmp_path / "out"
    pitch = np.load(folder / "pitch" / "Actor_01-pitch-angry-normal-01-01-Actor_01.npy")
    mel = np.load(folder / "mel" / "Actor_01-mel-angry-normal-01-01-Actor_01.npy")
    assert pitch.dtype == np.float32 and pitch.shape == mel.shape[:1]
    seconds = 0.1 + np.arange(len(pitch)) * HOP / RATE
    inside = (seconds > 0.3) & (seconds < 0.7)
    assert (pitch[inside] > 0).mean() > 0.9
    assert abs(1200 * np.log2(np.median(pitch[inside]) / 180.0)) < 20
    assert (pitch[seconds < 0.2] > 0).mean() < 0.5
