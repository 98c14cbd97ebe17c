"""The postfilter: what it restores, what it leaves, and its way into a checkpoint and out again."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from acoustic import load_model
from config import load_config
from model.postfilter import WINDOW, Postfilter
from tests.processes import assert_ok, assert_refused, run_script, with_overrides
from tests.tiny import make_tiny_dataset, tiny_overrides
from utils.checkpoint import checkpoint_path, read_checkpoint

BANDS = 80


def moving(frames: int, seed: int) -> torch.Tensor:
    """[frames, BANDS] log-mel with slow and quick movement, neighbouring bands alike."""
    noise = torch.randn(frames + 8, BANDS + 8, generator=torch.Generator().manual_seed(seed))
    slow = torch.nn.functional.avg_pool2d(noise[None], 9, 1)[0] * 9
    return slow - 5.0 + 0.5 * noise[:frames, :BANDS]


def smoothed(mel: torch.Tensor) -> torch.Tensor:
    """As a model predicts it: a mean over five frames, and 0.1 too low."""
    padded = torch.nn.functional.pad(mel.T[None], (2, 2), mode="replicate")
    return torch.nn.functional.avg_pool1d(padded, 5, 1)[0].T - 0.1


def lengths(*values: int) -> torch.Tensor:
    return torch.tensor(values)


SPEAKERS, EMOTIONS, INTENSITIES = 3, 4, 2


def new() -> Postfilter:
    return Postfilter(BANDS, SPEAKERS, EMOTIONS, INTENSITIES)


def manner(speaker: int, emotion: int, intensity: int = 0) -> torch.Tensor:
    """[1, effects]"""
    shares = torch.eye(EMOTIONS)[[emotion]], torch.eye(INTENSITIES)[[intensity]]
    return new().manner(torch.tensor([speaker]), *shares)


def quick(mel: torch.Tensor) -> float:
    return float(mel.diff(dim=0).std())


@pytest.fixture(scope="module")
def fitted() -> Postfilter:
    """Speaker 2 moves twice as much as predicted in emotion 1; nobody is ever heard in emotion 3 but speaker 0."""
    postfilter = new()
    places = [(number, speaker, emotion) for number in range(4) for speaker in range(3) for emotion in range(3)]
    places += [(number, 0, 3) for number in range(4)]
    real, predicted = [], []
    for number, speaker, emotion in places:
        mel = moving(90 + 10 * number, 100 * speaker + 10 * emotion + number)
        predicted.append(smoothed(mel))
        real.append(rougher(mel) if (speaker, emotion) == (2, 1) else mel)
    postfilter.fit(real, predicted, [manner(speaker, emotion)[0] for _, speaker, emotion in places])
    return postfilter


def rougher(mel: torch.Tensor) -> torch.Tensor:
    return mel.mean(0) + 2 * (mel - mel.mean(0))


def test_without_a_fit_nothing_changes():
    mel = moving(70, 1)[None]
    assert torch.allclose(new()(mel, lengths(70), manner(0, 0)), mel, atol=1e-4)


@pytest.mark.parametrize(("speaker", "emotion"), [(0, 0), (1, 2), (1, 3)])  # the last one was never recorded
def test_movement_comes_back_on_mels_never_seen(fitted, speaker, emotion):
    real = moving(160, 99)
    predicted = smoothed(real)
    filtered = fitted(predicted[None], lengths(160), manner(speaker, emotion))[0]
    assert quick(predicted) < 0.6 * quick(real)
    assert 0.7 * quick(real) < quick(filtered) < 1.3 * quick(real)
    assert float((filtered.std(0) / real.std(0)).log().mean().abs()) < 0.1
    assert float((predicted.std(0) / real.std(0)).log().mean().abs()) > 0.1
    moved = filtered.mean(0) - predicted.mean(0)  # all bands alike
    assert torch.allclose(moved, moved.mean().expand(BANDS), atol=0.1)
    assert float(filtered.logsumexp((0, 1)) - real.logsumexp((0, 1))) == pytest.approx(0.0, abs=0.2)


def test_speakers_and_emotions_have_filters_of_their_own(fitted):
    predicted = smoothed(moving(160, 99))[None]
    moves = {place: quick(fitted(predicted, lengths(160), manner(*place))[0]) for place in [(2, 1), (2, 0), (0, 1)]}
    assert moves[2, 1] > 1.25 * moves[2, 0] and moves[2, 1] > 1.25 * moves[0, 1]


def test_an_emotion_between_two_has_a_filter_between_theirs(fitted):
    predicted = smoothed(moving(160, 99))[None]
    shares = torch.tensor([[0.5, 0.5, 0.0, 0.0]])
    half = new().manner(torch.tensor([2]), shares, torch.tensor([[1.0, 0.0]]))
    ends = [quick(fitted(predicted, lengths(160), manner(2, emotion))[0]) for emotion in (0, 1)]
    assert min(ends) < quick(fitted(predicted, lengths(160), half)[0]) < max(ends)


def test_speakers_embedded_from_outside_share_one_filter():
    postfilter = Postfilter(BANDS, 0, EMOTIONS, 0)
    real = [moving(100, number) for number in range(4)]
    shares = torch.eye(EMOTIONS)
    manners = postfilter.manner(torch.randn(4, 512), shares, None)
    assert manners.shape == (4, 1 + EMOTIONS)
    postfilter.fit(real, [smoothed(mel) for mel in real], list(manners))
    filtered = postfilter(smoothed(real[0])[None], lengths(100), manners[:1])[0]
    assert 0.75 * quick(real[0]) < quick(filtered) < 1.25 * quick(real[0])


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 120), st.integers(1, 40))
def test_padding_and_neighbours_change_nothing(fitted, frames, more):
    mel = smoothed(moving(frames, frames))
    alone = fitted(mel[None], lengths(frames), manner(2, 1))[0]
    padded = torch.cat([mel, torch.full((more, BANDS), 7.0)])
    both = torch.cat([manner(2, 1), manner(0, 0)])
    together = fitted(torch.stack([padded, moving(frames + more, 3)]), lengths(frames, frames + more), both)[0]
    assert torch.allclose(together[:frames], alone, atol=1e-4)
    assert (together[frames:] == 0).all()


def test_too_short_utterances_are_refused():
    with pytest.raises(ValueError, match=str(WINDOW)):
        new().fit([moving(20, 0)], [moving(20, 0)], [manner(0, 0)[0]])


def test_into_a_checkpoint_and_on(tmp_path):
    data = make_tiny_dataset(tmp_path / "data")
    overrides = tiny_overrides(data, tmp_path)
    flags = ["--dataset", "Sample", *with_overrides(overrides)]
    steps = with_overrides(["train.step.total_step=6"])
    assert_ok(run_script("train.py", *flags, *steps))
    assert_refused(run_script("fit_postfilter.py", *flags, "--restore_step", "99"), "99")
    path = checkpoint_path(tmp_path / "ckpt", 6)
    plain = path.read_bytes()
    assert_ok(run_script("fit_postfilter.py", *flags, "--restore_step", "latest"))
    once = read_checkpoint(path)
    before = {name: value for name, value in once.model.items() if not name.startswith("postfilter.")}
    path.write_bytes(plain)
    without = read_checkpoint(path)
    assert before.keys() == without.model.keys()
    assert all(torch.equal(before[name], without.model[name]) for name in before)
    assert_ok(run_script("fit_postfilter.py", *flags, "--restore_step", "latest"))
    assert_ok(run_script("fit_postfilter.py", *flags, "--restore_step", "latest"))  # the filter there is left aside
    twice = read_checkpoint(path)
    assert all(torch.allclose(once.model[name], twice.model[name], atol=1e-5) for name in once.model)
    loaded = load_model(load_config("Sample", overrides), 6, torch.device("cpu"))
    assert loaded.model.postfilter is not None
    assert float(loaded.model.postfilter.modulations.abs().max()) > 0.01  # it is not the identity
    speak = ["--restore_step", "latest", "--mode", "single", "--text", "Kids", "--speaker_id", "Actor_01"]
    assert_ok(run_script("synthesize.py", *flags, *speak, "--emotion_id", "sad", "--name", "x"))
    assert_ok(run_script("train.py", *flags, *with_overrides(["train.step.total_step=8"]), "--restore_step", "latest"))
    further = read_checkpoint(checkpoint_path(tmp_path / "ckpt", 8))
    assert not any(name.startswith("postfilter.") for name in further.model)
    assert np.isfinite(float(next(iter(further.model.values())).float().sum()))
