"""Reference encoder's options, and random changes of the reference in training."""

import dataclasses

import pytest
import torch
from torch.nn.functional import pad

from acoustic import mel_centres
from config import load_config
from config.schema import ReferenceAugmentation
from dataset import Batch
from errors import UserError
from model import AcousticModel, ModelSizes
from model.emotion import ReferenceEncoder, standardise
from training.reference_augmentation import ReferenceAugmenter, resample
from utils.masks import padding_mask

LENGTHS = torch.tensor([90, 60, 41])
STRONG = ReferenceAugmentation(speed=0.2, pitch=0.15, level=0.5, tilt=0.5, time_mask=20, band_mask=12)
CENTRES = mel_centres(load_config("RAVDESS").preprocess)


def encoder(pooling, normalise_input, dropout=0.0):
    torch.manual_seed(0)
    return ReferenceEncoder(
        80, [8, 8, 8], (3, 3), (2, 2), (1, 1), 16, True, pooling, normalise_input, dropout
    )  # fmt: skip


def mels(fill=0.0):
    """Log-mel [3, 90, 80] with `fill` in its padding."""
    values = 2.0 * torch.randn(3, 90, 80, generator=torch.Generator().manual_seed(3)) - 6.0
    return values.masked_fill(padding_mask(LENGTHS)[..., None], fill)


def batch(fill=0.0, padding=0):
    values = pad(mels(fill), (0, 0, 0, padding), value=fill)
    return Batch(
        names=["a", "b", "c"], raw_texts=["", "", ""], phones=torch.ones(3, 2, dtype=torch.long),
        phone_lengths=torch.tensor([2, 2, 2]), speakers=torch.zeros(3, dtype=torch.long), speaker_embeddings=None,
        emotions=torch.tensor([0, 1, 2]), reference_mels=values, reference_lengths=LENGTHS, mels=values,
        mel_lengths=LENGTHS, durations=None,
    )  # fmt: skip


def changed(settings, seed=1, multiple=1, **of_batch):
    torch.manual_seed(seed)
    change = ReferenceAugmenter(settings, CENTRES, multiple).draw(LENGTHS)
    return change(batch(**of_batch))


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("normalise_input", ["none", "fixed", "both"])
@pytest.mark.parametrize("pooling", ["gru", "statistics", "attention"])
def test_padding_has_no_part_in_any_summary(pooling, normalise_input, training):
    network = encoder(pooling, normalise_input).train(training)
    wanted = network(mels(), LENGTHS)
    assert wanted.shape == (3, 16)
    assert torch.allclose(network(pad(mels(55.0), (0, 0, 0, 40), value=-99.0), LENGTHS), wanted, atol=1e-5)
    if not training:
        alone = network(mels()[2:, : LENGTHS[2]])
        assert torch.allclose(alone, wanted[2:], atol=1e-5)


@pytest.mark.parametrize("pooling", ["statistics", "attention"])
def test_pooled_encoder_has_finite_slopes_even_where_nothing_moves(pooling):
    network = encoder(pooling, "both", 0.3)
    network(torch.full((2, 5, 80), -11.5), torch.tensor([5, 1])).sum().backward()
    assert all(parameter.grad.isfinite().all() for parameter in network.parameters())


def test_standardised_utterance_forgets_level_and_colour():
    """What an equaliser or a louder microphone adds to every frame alike is gone."""
    coloured = mels() + torch.linspace(-3.0, 2.0, 80)
    assert torch.allclose(standardise(coloured, LENGTHS)[:, :41], standardise(mels(), LENGTHS)[:, :41], atol=1e-4)
    values = standardise(mels(), LENGTHS)[1, :60]
    assert values.mean(0).abs().max() < 1e-4 and (values.var(0, correction=0) - 1).abs().max() < 0.02


def test_attention_weighs_positions_and_statistics_does_not():
    """Their order is nothing to both; only attention can tell frames apart by what they hold."""
    for pooling in ("statistics", "attention"):
        pool = encoder(pooling, "none").pool
        x = torch.randn(2, 9, 8 * 10)
        assert torch.allclose(pool(x, None), pool(x.flip(1), None), atol=1e-5)
    assert encoder("attention", "none").pool.weighted and not hasattr(encoder("statistics", "none").pool, "score")


def test_dropout_only_acts_in_training():
    network = encoder("attention", "both", 0.5)
    assert not torch.equal(network(mels(), LENGTHS), network(mels(), LENGTHS))
    network.eval()
    assert torch.equal(network(mels(), LENGTHS), network(mels(), LENGTHS))


def test_defaults_are_what_published_checkpoints_have():
    reference = load_config("RAVDESS_reference")
    tokens = reference.model.emotion_token_layer
    assert (tokens.pooling, tokens.normalise_input, tokens.ref_enc_dropout) == ("gru", "none", 0.0)
    assert not reference.train.emotion.augment.any
    plain = AcousticModel(ModelSizes(symbols=10, speakers=2, emotions=3))
    assert {name.split(".")[2] for name in plain.state_dict() if name.startswith("emotion.reference")} == {
        "convs",
        "norms",
        "gru",
    }


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("model.emotion_token_layer.ref_enc_type=network", "ref_enc_type"),
        ("model.emotion_token_layer.pooling=last", "pooling"),
        ("model.emotion_token_layer.normalise_input=speaker", "normalise_input"),
        ("model.emotion_token_layer.ref_enc_dropout=1.0", "ref_enc_dropout"),
        ("train.emotion.augment.speed=-0.1", "augment.speed"),
        ("train.emotion.augment.time_mask=1.5", "augment.time_mask"),
        ("train.emotion.augment.noise=1.0", "augment.noise"),
    ],
)
def test_impossible_settings_are_named(override, message):
    with pytest.raises(UserError, match=message):
        load_config("RAVDESS", [override])


def test_without_augmentation_nothing_is_drawn():
    torch.manual_seed(1)
    before = torch.get_rng_state()
    assert ReferenceAugmenter(ReferenceAugmentation(), CENTRES).draw(LENGTHS) is None
    assert torch.equal(torch.get_rng_state(), before)


def test_only_the_reference_changes():
    torch.manual_seed(1)
    original = batch()
    result = ReferenceAugmenter(STRONG, CENTRES).draw(LENGTHS)(original)
    for name, value in vars(batch()).items():
        if not name.startswith("reference_"):
            kept = getattr(result, name)
            assert torch.equal(value, kept) if torch.is_tensor(value) else value == kept, name
    assert torch.equal(original.mels, mels()) and original.reference_mels is original.mels  # nothing written into
    assert not torch.equal(result.reference_mels[:, :20], result.mels[:, :20])


def test_change_is_a_function_of_the_seed_alone():
    first, again, other = changed(STRONG), changed(STRONG), changed(STRONG, seed=2)
    assert torch.equal(first.reference_mels, again.reference_mels)
    assert torch.equal(first.reference_lengths, again.reference_lengths)
    assert first.reference_mels.shape != other.reference_mels.shape or not torch.allclose(
        first.reference_mels, other.reference_mels
    )


def test_change_never_reads_the_padding():
    clean, dirty = changed(STRONG), changed(STRONG, fill=77.0, padding=30)
    inside = ~padding_mask(clean.reference_lengths)[..., None]
    assert torch.equal(clean.reference_lengths, dirty.reference_lengths)
    assert clean.reference_mels.shape == dirty.reference_mels.shape
    assert torch.allclose(clean.reference_mels * inside, dirty.reference_mels * inside, atol=1e-5)


def test_speed_keeps_the_ends_and_stays_within_its_limits():
    settings = ReferenceAugmentation(speed=0.2)
    for seed in range(20):
        result = changed(settings, seed)
        factors = result.reference_lengths / LENGTHS
        assert factors.min() >= 0.8 and factors.max() <= 1.23
        for row, length in enumerate(result.reference_lengths):
            assert torch.allclose(result.reference_mels[row, 0], mels()[row, 0])
            assert torch.allclose(result.reference_mels[row, length - 1], mels()[row, LENGTHS[row] - 1], atol=1e-4)
    assert changed(settings, 3, multiple=64).reference_mels.shape[1] % 64 == 0


def test_resampling_interpolates_a_ramp_exactly():
    ramp = torch.arange(50.0)[None, :, None].expand(1, -1, 2)
    longer = resample(ramp, torch.tensor([50]), torch.tensor([99]), 99)
    assert torch.allclose(longer[0, :, 0], torch.arange(99) / 2)


def test_pitch_moves_a_peak_by_at_most_its_factor_and_level_not_at_all():
    """A tone at one band lies at frequency / factor afterwards."""
    tone = torch.full((64, 40, 80), -8.0)
    tone[:, :, 30] = 0.0
    lengths = torch.full((64,), 40)
    torch.manual_seed(4)
    values = dataclasses.replace(batch(), reference_mels=tone, reference_lengths=lengths)
    result = ReferenceAugmenter(ReferenceAugmentation(pitch=0.2), CENTRES).draw(lengths)(values).reference_mels
    logs = (CENTRES[result[:, 0].argmax(1)] / CENTRES[30]).log()
    step = float((CENTRES[31] / CENTRES[30]).log())
    assert logs.abs().max() <= 0.2 + step and logs.max() > 0.1 and logs.min() < -0.1
    assert result.min() >= -8.0 and result.max() <= 0.0


def test_level_and_tilt_are_added_to_all_frames_alike():
    difference = changed(ReferenceAugmentation(level=0.5, tilt=0.3)).reference_mels - mels()
    assert torch.allclose(difference[0], difference[0, :1].expand(90, -1), atol=1e-5)
    assert 0 < difference[:, :41].abs().max() <= 0.5 + 2 * 0.3
    flat = changed(ReferenceAugmentation(level=0.5)).reference_mels[:, :41] - mels()[:, :41]
    assert flat.flatten(1).std(1).max() < 1e-5


def test_masks_hide_whole_frames_and_bands_but_never_most_of_them():
    hidden = []
    for seed in range(30):
        result = changed(ReferenceAugmentation(time_mask=20, band_mask=12), seed).reference_mels
        for row, length in enumerate(LENGTHS):
            same = result[row, :length] == mels()[row, :length]
            frames, bands = ~same.any(1), ~same.any(0)
            assert torch.equal(~same, frames[:, None] | bands[None, :])
            assert frames.sum() <= min(40, length // 2) and bands.sum() <= 24
            hidden.append((~same).float().mean())
            if (~same).any():
                assert torch.allclose(result[row, :length][~same], mels()[row, :length].mean(), atol=1e-4)
    assert 0.1 < sum(hidden) / len(hidden) < 0.6
