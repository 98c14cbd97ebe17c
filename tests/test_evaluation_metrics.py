"""The evaluator judged: nothing between a recording and itself, and known changes move exactly what they must."""

from dataclasses import replace

import numpy as np
import pytest

from audio import load
from audio.trim import trim_silence
from evaluation.bootstrap import difference, interval
from evaluation.dtw import warp
from evaluation.metrics import MCD_SCALE, compare, prosody, timing
from evaluation.world import FrontEnd, analyse, log_mel
from tests.paths import real_data

FRONT = FrontEnd(22050, 1024, 256, 1024, 80, 0.0, 8000.0)
pyworld = pytest.importorskip("pyworld", reason="pyworld is not installed (requirements-eval.txt)")
NAMES = ("Actor_01/03-01-03-01-01-01-01", "Actor_02/03-01-05-02-02-01-02", "Actor_05/03-01-04-01-02-02-05")


@pytest.fixture(scope="module", params=NAMES)
def speech(request):
    """A real recording, male or female, without the silence around it, as loud as prepare_align.py makes them."""
    path = next(iter(real_data("RAVDESS").glob(f"{request.param}.*")), None)
    if path is None:
        pytest.skip(f"no recording {request.param} in {real_data('RAVDESS')}")
    wav = trim_silence(load(path, 22050), 22050)
    return wav * np.float32(0.9 / np.abs(wav).max())


@pytest.fixture(scope="module")
def parts(speech):
    """WORLD's own parts of it: pitch, envelope, noise share."""
    wav = speech.astype(np.float64)
    pitch, times = pyworld.harvest(wav, 22050, f0_floor=65.0, f0_ceil=800.0)
    return pitch, pyworld.cheaptrick(wav, pitch, times, 22050), pyworld.d4c(wav, pitch, times, 22050)


def spoken(parts, semitones=0.0, slower=1.0):
    """Resynthesis by WORLD; the resynthesis without changes is what changed ones are compared with."""
    pitch, envelope, noise = parts
    return pyworld.synthesize(pitch * 2 ** (semitones / 12), envelope, noise, 22050, frame_period=5.0 * slower).astype(
        np.float32
    )


def test_a_recording_and_itself(speech):
    real = analyse(speech, FRONT)
    values = compare(real, analyse(speech.copy(), FRONT))
    none = ("mcd", "f0_rmse", "f0_shift", "voicing_error", "f0_frame_error", "level")
    assert {name: values[name] for name in none} == dict.fromkeys(none, 0.0)
    for name in ("f0_correlation", "energy_correlation", "voiced_kept", "variance_ratio"):
        assert values[name] == pytest.approx(1.0, abs=1e-9)
    assert real.f0.max() > 0 and values["variance"] > 0


def test_harvest_hears_a_voice_in_speech_and_none_in_noise(speech):
    front = replace(FRONT, pitch="harvest")
    real = analyse(speech, front)
    values = compare(real, analyse(speech.copy(), front))
    assert values["f0_rmse"] == values["voicing_error"] == 0.0 and values["voiced_kept"] == 1.0
    dio = analyse(speech, FRONT).f0
    both = (dio > 0) & (real.f0 > 0)
    assert both.sum() > 0.7 * (dio > 0).sum()
    assert np.median(np.abs(1200 * np.log2(real.f0[both] / dio[both]))) < 50  # cents: to half a semitone
    noise = np.random.default_rng(3).normal(0, 0.1, 22050)
    assert (analyse(noise, front).f0 > 0).mean() < 0.1


def test_six_decibels_less_move_the_level_alone(speech):
    values = compare(analyse(speech, FRONT), analyse(speech * np.float32(10 ** (-6 / 20)), FRONT))
    assert values["level"] == pytest.approx(-6.0, abs=0.01)
    assert values["energy_correlation"] > 0.999  # the path shifts a little where there is hardly any sound
    assert values["mcd"] < 0.05 and values["f0_rmse"] < 1.0 and values["voicing_error"] < 0.005
    assert values["variance_ratio"] == pytest.approx(1.0, abs=0.03)


def test_three_semitones_more_move_the_pitch_alone(parts):
    before, after = analyse(spoken(parts), FRONT), analyse(spoken(parts, semitones=3.0), FRONT)
    values, plain = compare(before, after), compare(before, before)
    assert values["f0_shift"] == pytest.approx(300.0, abs=15.0)
    assert values["f0_rmse"] == pytest.approx(300.0, abs=60.0)  # a few frames an octave off are WORLD's, not ours
    assert values["f0_correlation"] > 0.9 and values["energy_correlation"] > 0.95
    assert values["voicing_error"] < 0.1 and abs(values["level"]) < 2.0  # WORLD's pulses come more often
    assert values["mcd"] < 3.5 and plain["mcd"] == 0.0  # another sentence: more than 5, see below
    assert prosody(after)["pitch"] - prosody(before)["pitch"] == pytest.approx(3.0, abs=0.5)


def test_a_frame_is_wrong_when_its_pitch_is_a_fifth_off_or_its_voice_is_lost(parts, speech):
    before = analyse(spoken(parts), FRONT)
    voiced = voiced_share(before)
    three, four = (compare(before, analyse(spoken(parts, semitones=n), FRONT)) for n in (3.0, 4.5))  # 19%, 30%
    assert three["f0_frame_error"] - three["voicing_error"] < 0.1 * voiced
    assert four["f0_frame_error"] - four["voicing_error"] > 0.8 * voiced
    # a system that loses the voice of every other frame, and is right elsewhere: nothing but this sees it in pitch
    real = analyse(speech, FRONT)
    lossy = replace(real, f0=np.where(np.arange(len(real.f0)) % 2, real.f0, 0.0))
    kept = compare(real, lossy)
    assert kept["f0_rmse"] == 0.0 and kept["voiced_kept"] == pytest.approx(0.5, abs=0.02)
    assert kept["f0_frame_error"] == kept["voicing_error"] == pytest.approx(voiced_share(real) / 2, rel=0.05)


def voiced_share(analysis) -> float:
    return float((analysis.f0 > 0).mean())


def test_a_fifth_slower_moves_the_rate_alone(parts):
    before, after = analyse(spoken(parts), FRONT), analyse(spoken(parts, slower=1.25), FRONT)
    values = compare(before, after)
    lasting = np.full(18, before.seconds / 18)
    slow = timing(18, after.seconds, 1.25 * lasting, lasting)
    plain = timing(18, before.seconds, lasting, lasting)
    assert slow["rate"] / plain["rate"] == pytest.approx(0.8, abs=0.005)
    assert plain["duration_error"] == 0.0
    assert slow["duration_error"] == pytest.approx(250.0 * before.seconds / 18, rel=1e-6)
    assert abs(values["f0_shift"]) < 10.0 and values["f0_correlation"] > 0.9
    assert values["energy_correlation"] > 0.95 and values["mcd"] < 3.5 and abs(values["level"]) < 1.0


def test_another_sentence_is_far(speech):
    """The scale of the distortion: a change that is no repetition at all is several dB away."""
    half = len(speech) // 2
    assert compare(analyse(speech[:half], FRONT), analyse(speech[half:], FRONT))["mcd"] > 5.0


def test_distortion_of_a_known_filter():
    """One cosine over the mel scale with an amplitude of 1 (8.69 dB) has a root mean square of 6.14 dB."""
    rest = np.zeros((5, 24))
    changed = rest.copy()
    changed[:, 6] = 1.0
    assert MCD_SCALE * np.linalg.norm(changed - rest, axis=1).mean() == pytest.approx(20 / np.log(10) / np.sqrt(2))


def test_noise_and_silence_are_judged_without_a_pitch():
    noise = np.random.default_rng(3).normal(0, 0.1, 4000).astype(np.float32)
    real, silent, short = analyse(noise, FRONT), analyse(np.zeros(9000), FRONT), analyse(noise[:200], FRONT)
    assert short.seconds == pytest.approx(200 / 22050)
    for other in (silent, short):
        values = compare(real, other)
        assert all(value is None or np.isfinite(value) for value in values.values())
        assert values["f0_rmse"] is None or other is short
    assert prosody(silent)["pitch"] is None


def test_warping_finds_a_repeated_frame():
    first = np.arange(6.0)[:, None]
    second = np.array([0.0, 1.0, 2.0, 2.0, 2.0, 3.0, 4.0, 5.0])[:, None]
    ours, theirs = warp(first, second)
    assert (first[ours] == second[theirs]).all()
    assert (np.diff(ours) >= 0).all() and (np.diff(theirs) >= 0).all()
    assert (ours[0], theirs[0], ours[-1], theirs[-1]) == (0, 0, 5, 7)


def test_warping_is_the_cheapest_path():
    """Against the recursion written down as it stands."""
    chance = np.random.default_rng(5)
    for rows, columns in ((1, 1), (1, 5), (7, 4), (9, 12)):
        first, second = chance.normal(size=(rows, 3)), chance.normal(size=(columns, 3))
        cost = np.linalg.norm(first[:, None] - second[None], axis=2)
        total = np.full((rows + 1, columns + 1), np.inf)
        total[0, 0] = 0.0
        for i, j in np.ndindex(rows, columns):
            total[i + 1, j + 1] = cost[i, j] + min(total[i, j], total[i, j + 1], total[i + 1, j])
        ours, theirs = warp(first, second)
        assert cost[ours, theirs].sum() == pytest.approx(total[-1, -1])


def test_mel_is_the_models():
    import torch

    from audio.mel import MelSpectrogram

    wav = np.random.default_rng(1).normal(0, 0.2, 9000).astype(np.float32)
    expected = MelSpectrogram(22050, 1024, 256, 1024, 80, 0.0, 8000.0)(torch.from_numpy(wav)[None])[0][0].numpy()
    assert np.abs(log_mel(wav, FRONT) - expected).max() < 1e-3


def test_intervals_cover_the_truth():
    """Of 200 samples of 40 throws of a coin, about 95% of the intervals hold one half."""
    throws = np.random.default_rng(2).integers(0, 2, (200, 40))
    found = [interval(row.tolist()) for row in throws]
    assert 0.89 <= np.mean([each.low <= 0.5 <= each.high for each in found]) <= 0.99
    assert interval([None, None]) is None and interval([2.0, None, 2.0]).as_json() == [2.0, 2.0, 2.0, 2]
    assert interval([1.0, 0.0], weights=[3.0, 1.0]).mean == 0.75


def test_pairs_are_surer_than_groups():
    """What shifts every utterance alike shows in paired differences, however much utterances differ."""
    values = np.random.default_rng(4).normal(0, 10, 50)
    shifted = difference((values + 1.0).tolist(), values.tolist())
    assert shifted.low == pytest.approx(1.0) == shifted.high
    assert difference([1.0, None], [None, 2.0]) is None
