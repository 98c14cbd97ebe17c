"""The reference encoder of fixed statistics, and how an emotion encoder is trained anew."""

import re

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import pad

from acoustic import load_model
from config import load_config
from errors import UserError
from model.functionals import (
    CEPSTRAL_COEFFICIENTS,
    CORRELATED,
    LAGS,
    Functionals,
    FunctionalsEncoder,
    RunningStandardisation,
)
from tests.processes import assert_ok, assert_refused, run_script, with_overrides
from tests.tiny import make_tiny_dataset, tiny_overrides
from training.emotion_encoder import FITTED, EmotionEncoderFit
from utils.checkpoint import checkpoint_path, read_checkpoint

BANDS = 80
CURVES = CEPSTRAL_COEFFICIENTS + 1
PAIRS = len(CORRELATED) * (len(CORRELATED) - 1) // 2


def mel(frames, seed=0, bands=BANDS):
    """[frames, bands] log-mel that moves slowly."""
    noise = torch.randn(frames + 8, bands, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.avg_pool1d(noise.T[None], 9, 1)[0].T * 4 - 6


def functionals(mels, lengths=None):
    return Functionals(mels.shape[2])(mels, lengths)


def split(row):
    """Names of the statistics of one utterance [size]."""
    sizes = {"mel mean": BANDS, "mel deviation": BANDS, "mel slope": BANDS}
    for which in ("curve", "slope"):
        sizes |= {f"{which} {name}": CURVES for name in ("mean", "deviation", "skewness", "kurtosis")}
        sizes[f"{which} correlation"] = PAIRS
        if which == "curve":
            sizes |= {f"lag {lag}": CURVES for lag in LAGS}
    sizes["length"] = 1
    return dict(zip(sizes, row.split(list(sizes.values())), strict=True))


def test_every_statistic_is_what_its_name_says():
    values = mel(120)
    found = split(functionals(values[None])[0])
    x = values.double().numpy()
    places = (np.arange(BANDS) + 0.5) / BANDS
    basis = np.cos(np.pi * places[:, None] * np.arange(CEPSTRAL_COEFFICIENTS)) * np.sqrt(2 / BANDS)
    basis[:, 0] /= np.sqrt(2)
    curves = np.concatenate([x @ basis, np.log(np.exp(x).sum(1, keepdims=True))], 1)
    expected = {"mel mean": x.mean(0), "mel deviation": x.std(0), "mel slope": np.gradient(x, axis=0)[1:-1].std(0)}
    for which, of in (("curve", curves), ("slope", np.gradient(curves, axis=0)[1:-1])):
        unit = (of - of.mean(0)) / of.std(0)
        expected |= {f"{which} mean": of.mean(0), f"{which} deviation": of.std(0)}
        expected |= {f"{which} skewness": (unit**3).mean(0), f"{which} kurtosis": np.log1p((unit**4).mean(0))}
        expected[f"{which} correlation"] = np.corrcoef(of[:, CORRELATED].T)[np.triu_indices(len(CORRELATED), 1)]
    unit = (curves - curves.mean(0)) / curves.std(0)
    expected |= {f"lag {lag}": (unit[lag:] * unit[:-lag]).mean(0) for lag in LAGS}
    expected["length"] = np.log([120.0])
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        assert np.allclose(found[name], values, atol=2e-4), name


def test_loudness_moves_levels_and_nothing_else():
    quiet, loud = (split(functionals((mel(100) + gain)[None])[0]) for gain in (0.0, 2.0))
    for name, values in quiet.items():
        moved = (loud[name] - values).abs()
        if name == "mel mean":
            assert torch.allclose(moved, torch.full_like(moved, 2.0), atol=1e-3)
        elif name == "curve mean":
            level, energy = [0], [CURVES - 1]
            assert moved[energy] == pytest.approx(2.0, abs=1e-3) and moved[level] == pytest.approx(2 * BANDS**0.5, 1e-3)
            assert moved[1:-1].max() < 1e-3
        else:
            assert moved.max() < 2e-3, name


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 60), st.integers(0, 30), st.sampled_from([0.0, 55.0, float("nan"), float("inf")]))
def test_padding_has_no_part_and_any_length_is_finite(frames, more, fill):
    values = mel(max(1, frames))
    wanted = functionals(values[:frames][None] if frames else values[None], torch.tensor([frames]))
    padded = pad(values[:frames], (0, 0, 0, more + 1), value=fill)[None]
    together = torch.cat([padded, mel(frames + more + 1, 5)[None]])
    found = functionals(together, torch.tensor([frames, frames + more + 1]))
    assert found.isfinite().all() and torch.allclose(found[0], wanted[0], atol=1e-3)


def test_silence_is_finite():
    encoder = FunctionalsEncoder(BANDS, 16).train()
    encoder(torch.stack([mel(50, seed) for seed in range(8)]))
    silent = torch.full((1, 50, BANDS), -11.5129)
    assert encoder.eval()(silent).isfinite().all()


def test_standardised_as_training_has_met_them_and_fixed_in_use():
    generator = torch.Generator().manual_seed(0)
    norm = RunningStandardisation(3)
    scale, offset = torch.tensor([1.0, 100.0, 0.01]), torch.tensor([-5.0, 3000.0, 0.0])
    draw = lambda count: torch.randn(count, 3, generator=generator) * scale + offset  # noqa: E731
    for _ in range(200):
        norm(draw(16))
    norm.eval()
    before = {name: value.clone() for name, value in norm.state_dict().items()}
    found = norm(draw(4000))
    assert torch.allclose(found.mean(0), torch.zeros(3), atol=0.1)
    assert torch.allclose(found.std(0), torch.ones(3), atol=0.1)
    assert all(torch.equal(value, before[name]) for name, value in norm.state_dict().items())
    assert norm(draw(1) + 1e6).abs().max() <= 5.0


def test_mels_are_wide_awake_in_half_precision():
    encoder = FunctionalsEncoder(BANDS, 16).train()
    mels = torch.stack([mel(60, seed) for seed in range(4)])
    exact = encoder(mels)
    with torch.autocast("cpu", torch.bfloat16):
        rough = encoder.eval()(mels)
    assert torch.allclose(rough.float(), encoder(mels), atol=0.05) and exact.isfinite().all()


def fit(root, output, step=4):
    return EmotionEncoderFit(load_config("Sample", tiny_overrides(root, output)), step, torch.device("cpu"))


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder with data, and the checkpoints of a run of four steps whose reference encoder is the original's."""
    folder = tmp_path_factory.mktemp("trained")
    root = make_tiny_dataset(folder / "data")
    own = (*tiny_overrides(root, folder), "model.emotion_token_layer={}", "train.step.total_step=4")
    assert_ok(run_script("train.py", "--dataset", "Sample", *with_overrides(own)))
    return folder


def test_a_model_gets_another_encoder_and_nothing_else_changes(trained):
    flags = ["--dataset", "Sample", *with_overrides(tiny_overrides(trained / "data", trained))]
    path = checkpoint_path(trained / "ckpt", 4)
    before, plain = read_checkpoint(path), path.read_bytes()
    assert_refused(run_script("fit_emotion_encoder.py", *flags, "--restore_step", "4", "--cross_validate", "1"), "2")
    assert_refused(run_script("fit_emotion_encoder.py", *flags, "--restore_step", "4", "--cross_validate", "3"), "2")
    parts = run_script(
        "fit_emotion_encoder.py", *flags, "--restore_step", "4", "--cross_validate", "2", "--steps", "20"
    )
    assert_ok(parts)
    assert "unknown: " in parts.stdout and path.read_bytes() == plain
    flags += with_overrides(["train.emotion.augment={}"])  # 24 utterances are learned by heart either way
    done = run_script("fit_emotion_encoder.py", *flags, "--restore_step", "latest", "--steps", "150")
    assert_ok(done)
    share, count = re.search(r"right for ([\d.]+)% of (\d+)", done.stdout).groups()
    assert float(share) > 60.0 and count == "8"  # guessing: 25
    after = read_checkpoint(path)
    same = {name for name in after.model if not name.startswith(FITTED)}
    assert same == {name for name in before.model if not name.startswith(FITTED)}
    assert all(torch.equal(after.model[name], before.model[name]) for name in same)
    assert all(torch.equal(after.running[name], before.running[name]) for name in same)
    assert "emotion.reference_encoder.output.weight" in after.model
    model = load_model(load_config("Sample", tiny_overrides(trained / "data", trained)), 4, torch.device("cpu")).model
    assert isinstance(model.emotion.reference_encoder, FunctionalsEncoder)
    more = with_overrides(["train.step.total_step=6"])
    assert_ok(run_script("train.py", *flags, *more, "--restore_step", "latest"))
    assert checkpoint_path(trained / "ckpt", 6).exists()


def test_nothing_to_learn_from_is_said(trained, tmp_path):
    root = make_tiny_dataset(tmp_path / "data")
    for listing in (root / "train.txt", root / "val.txt"):
        listing.write_text("".join(f"none-{line}" for line in listing.read_text().splitlines(keepends=True)))
    for path in root.glob("*/*.npy"):
        kind = path.parent.name
        path.rename(path.with_name(path.name.replace(f"-{kind}-", f"-{kind}-none-")))
    with pytest.raises(UserError, match=r"train\.txt names no emotion"):
        fit(root, trained)


def test_labels_withheld_in_training_stay_withheld(trained):
    """`train.semi_supervised` is the checkpoint's own."""
    path = checkpoint_path(trained / "ckpt", 4)
    content = torch.load(path, weights_only=True)
    content["config"]["train"]["semi_supervised"]["unlabelled_speakers"] = ["Actor_02"]
    torch.save(content, checkpoint_path(trained / "ckpt", 5))
    withheld = fit(trained / "data", trained, step=5).train_set.unlabelled
    assert {speaker for speaker, _ in withheld} == {"Actor_02"} and len(withheld) == 12
    assert not fit(trained / "data", trained).train_set.unlabelled
    checkpoint_path(trained / "ckpt", 5).unlink()
