"""Losses and discriminators of vocoder training, against the papers' formulas and figures."""

import math

import pytest
import torch
import torch.nn.functional as F

from audio.mel import MelSpectrogram
from config import load_config
from hifigan import VERSIONS, Generator
from hifigan.discriminators import Judgement, PeriodDiscriminator, ScaleDiscriminator, multi_period, multi_scale
from hifigan.training import folded_state, initialise, normalise
from tests.test_hifigan import _tiny
from vocoder_training.discriminators import Jury, new_jury
from vocoder_training.losses import (
    NOISE,
    SpectralLoss,
    Stft,
    discriminator_loss,
    feature_matching_loss,
    generator_loss,
)


def judgement(verdicts, *features):
    return Judgement(torch.tensor(verdicts), [torch.tensor(feature) for feature in features])


def test_adversarial_losses_by_hand():
    real = [judgement([[1.0, 0.5]]), judgement([[0.0]])]
    fake = [judgement([[0.5, -1.0]]), judgement([[1.0]])]
    # ((1-1)^2 + (1-0.5)^2) / 2 + (0.25 + 1) / 2 + (1-0)^2 + 1^2
    assert float(discriminator_loss(real, fake)) == pytest.approx(0.125 + 0.625 + 1 + 1)
    # (0.5^2 + 2^2) / 2 + 0
    assert float(generator_loss(fake)) == pytest.approx(2.125)


def test_feature_matching_by_hand():
    real = [judgement([[0.0]], [[1.0, 2.0]], [[[4.0]]]), judgement([[0.0]], [[3.0]])]
    fake = [judgement([[0.0]], [[2.0, 2.0]], [[[1.0]]]), judgement([[0.0]], [[3.5]])]
    assert float(feature_matching_loss(real, fake)) == pytest.approx(0.5 + 3 + 0.5)  # layers count alike, sizes apart


@pytest.fixture(scope="module")
def spectral():
    return SpectralLoss(MelSpectrogram(22050, 1024, 256, 1024, 80, 0, 8000), [[512, 128, 512]])


def test_half_as_loud_costs_its_logarithm(spectral):
    """Where nothing is near the floor: log-mel and log magnitudes differ by ln 2, convergence by a half."""
    wav = torch.rand(2, 8192, generator=torch.Generator().manual_seed(0)) - 0.5
    losses = spectral(wav / 2, wav)
    assert float(losses["mel"]) == pytest.approx(math.log(2), abs=1e-3)
    assert float(losses["stft"]) == pytest.approx(0.5 + math.log(2), abs=2e-2)
    assert all(float(loss) == 0.0 for loss in spectral(wav, wav).values())


def test_the_losses_hear_all_frequencies(spectral):
    """A tone of 10 kHz, above the generators' own mel bands, is missed."""
    time = torch.arange(8192) / 22050
    tone = 0.3 * torch.sin(2 * math.pi * 10000 * time)[None]
    assert float(spectral(torch.zeros_like(tone), tone)["mel"]) > 0.05


def test_too_loud_has_a_gradient_and_silence_none_that_explodes(spectral):
    loud = torch.full((1, 8192), 0.0).add_(3 * torch.sin(torch.arange(8192) * 0.1)).requires_grad_()
    sum(spectral(loud, loud.detach() / 4).values()).backward()
    assert float(loud.grad.abs().max()) > 0
    silent = torch.zeros(1, 8192, requires_grad=True)
    losses = spectral(silent, torch.zeros(1, 8192))
    sum(losses.values()).backward()
    assert torch.isfinite(silent.grad).all() and all(torch.isfinite(loss) for loss in losses.values())


def test_magnitudes_are_those_of_the_front_end():
    front_end = MelSpectrogram(22050, 1024, 256, 1024, 80, 0, 8000)
    wav = torch.rand(1, 5000) - 0.5
    assert torch.allclose(Stft(1024, 256, 1024)(wav), front_end.magnitude(wav), atol=1e-5)
    assert Stft(64, 16, 64).floor == pytest.approx(NOISE * math.sqrt(64 * 3 / 8))


def parameters(members) -> int:
    """Weights as the paper counts them: one per tap, the norms' own numbers aside."""
    convolutions = [layer for member in members for layer in (*member.layers, member.last)]
    return sum(layer.weight.numel() + layer.bias.numel() for layer in convolutions)


def test_discriminators_have_the_sizes_of_official_ones():
    with torch.device("meta"):
        assert parameters(multi_period()) == 41_092_165  # 41.1 million
        assert parameters(multi_scale()) == 29_610_627  # 29.6 million


@pytest.mark.parametrize(("version", "count"), [("V1", 13.92), ("V2", 0.92), ("V3", 1.46)])
def test_generators_with_weight_norm_compute_the_same(version, count):
    with torch.device("meta"):
        assert sum(each.numel() for each in Generator(VERSIONS[version]).parameters()) / 1e6 == pytest.approx(
            count, abs=0.01
        )
    plain, mel = initialise(_tiny(version)), torch.randn(2, 80, 20)
    with torch.no_grad():
        wanted = plain(mel)
        before = {name: value.clone() for name, value in plain.state_dict().items()}
        normed = normalise(plain)
        assert torch.allclose(normed(mel), wanted, atol=1e-6)
    folded = folded_state(normed)
    assert folded.keys() == before.keys()
    assert all(torch.allclose(folded[name], before[name], atol=1e-6) for name in before)


@pytest.mark.parametrize("version", VERSIONS)
def test_generators_have_the_gradient_that_differences_tell(version):
    """The in-place operations that inference saves memory by must not harm the backward pass."""
    generator = normalise(_tiny(version)).double()
    mel = torch.randn(1, 80, 6, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(1, 6 * 256, dtype=torch.float64)
    (generator(mel) * weight).sum().backward()
    direction = torch.randn_like(mel)
    with torch.no_grad():
        step = 1e-5
        ahead, behind = ((generator(mel + sign * step * direction) * weight).sum() for sign in (1, -1))
    assert float((ahead - behind) / (2 * step)) == pytest.approx(float((mel.grad * direction).sum()), rel=1e-4)


def test_a_period_discriminator_sees_every_pth_sample():
    """A changed sample moves features of its own column alone."""
    member, wav = PeriodDiscriminator(3, (4, 8)), torch.rand(1, 300)
    changed = wav.clone()
    changed[0, 151] += 1.0  # column 1
    with torch.no_grad():
        for before, after in zip(member(wav).features, member(changed).features, strict=True):
            moved = (before - after).abs().sum((0, 1, 2))
            assert moved[1] > 0 and moved[0] == moved[2] == 0


def test_a_scale_discriminator_halves_the_rate():
    lengths = [ScaleDiscriminator.prepare(ScaleDiscriminator(n), torch.rand(1, 8192)).shape[2] for n in range(3)]
    assert lengths == [8192, 4097, 2049]


def test_every_discriminator_answers_for_each_waveform_alone():
    settings = load_config("RAVDESS", ["vocoder.discriminators.kinds=[multi_period, multi_resolution]"]).vocoder
    jury = new_jury(settings.discriminators).eval()
    wavs = torch.rand(3, 4096) - 0.5
    with torch.no_grad():
        together, alone = jury(wavs), jury(wavs[1:2])
    assert len(together) == 8
    for whole, one in zip(together, alone, strict=True):
        part = whole.part(1, 2)
        assert torch.allclose(part.verdicts, one.verdicts, atol=1e-5)
        assert all(torch.allclose(a, b, atol=1e-5) for a, b in zip(part.features, one.features, strict=True))


def test_discriminators_learn_to_tell_tones_from_noise():
    torch.manual_seed(0)
    jury = Jury([PeriodDiscriminator(2, (8, 8)), *new_jury(load_config("RAVDESS").vocoder.discriminators).members[-1:]])
    optimizer = torch.optim.Adam(jury.parameters(), lr=2e-3)
    tones = torch.sin(torch.arange(2048) * torch.rand(8, 1)) * 0.5
    noises = F.normalize(torch.randn(8, 2048)) * 16
    losses = []
    for _ in range(30):
        loss = discriminator_loss(jury(tones), jury(noises))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.5 * losses[0]
