"""Properties of the model that hold whatever its weights are."""

import dataclasses

import pytest
import torch

from model import AcousticModel, LossCounts, ModelSizes, TrainingLoss, count_parameters, learning_rate
from model.blocks import SpeakerConditionLayerNorm
from model.duration import frames_from_log, regulate_length
from model.emotion import ReferenceEncoder
from model.lightweight_conv import LightweightConv
from model.masked_norm import MaskedBatchNormReLU
from utils.masks import padding_mask

SIZES = ModelSizes(symbols=361, speakers=4, emotions=8)


@pytest.fixture
def model():
    torch.manual_seed(0)
    return AcousticModel(SIZES).eval()


def inputs(lengths=(18, 11, 5), frames=(90, 47, 20)):
    generator = torch.Generator().manual_seed(1)
    phones = torch.randint(1, 360, (len(lengths), max(lengths)), generator=generator)
    durations = torch.randint(0, 9, phones.shape, generator=generator)
    mels = torch.randn(len(lengths), max(frames), 80, generator=generator)
    phone_lengths, mel_lengths = torch.tensor(lengths), torch.tensor(frames)
    text_padding = padding_mask(phone_lengths)
    return {
        "phones": phones.masked_fill(text_padding, 0),
        "phone_lengths": phone_lengths,
        "speakers": torch.arange(len(lengths)) % 4,
        "emotions": torch.tensor([-1, 3, -1][: len(lengths)]),
        "reference_mels": mels.masked_fill(padding_mask(mel_lengths)[..., None], 0.0),
        "reference_lengths": mel_lengths,
        "durations": durations.masked_fill(text_padding, 0),
    }


def pick(values, rows):
    """Some utterances of a batch, cut to their own longest."""
    chosen = {name: value[rows] for name, value in values.items()}
    text, frames = int(chosen["phone_lengths"].max()), int(chosen["reference_lengths"].max())
    chosen["phones"], chosen["durations"] = chosen["phones"][:, :text], chosen["durations"][:, :text]
    chosen["reference_mels"] = chosen["reference_mels"][:, :frames]
    return chosen


def test_padding_never_changes_a_result(model):
    values = inputs()
    together = model(**values)
    for row in range(3):
        alone = model(**pick(values, [row]))
        length = int(alone.mel_lengths)
        assert torch.allclose(together.mels[-1][row, :length], alone.mels[-1][0], atol=1e-5)
        phones = int(values["phone_lengths"][row])
        assert torch.allclose(together.log_durations[row, :phones], alone.log_durations[0], atol=1e-5)
        assert torch.allclose(together.emotion_logits[row], alone.emotion_logits[0], atol=1e-5)
        assert not together.mels[-1][row, length:].any()


def test_what_stands_in_the_padding_is_never_read(model):
    values = inputs()
    clean = model(**values)
    dirty = dict(values)
    dirty["reference_mels"] = values["reference_mels"] + 99.0 * padding_mask(values["reference_lengths"])[..., None]
    assert torch.allclose(model(**dirty).emotion_logits, clean.emotion_logits, atol=1e-5)


def test_unmasked_reference_encoder_depends_on_padding():
    """The original's defect, kept behind mask_padding: false. Were it gone, the option would be a lie."""
    torch.manual_seed(0)
    leaky = AcousticModel(dataclasses.replace(SIZES, mask_reference_padding=False)).eval()
    values = inputs()
    alone = leaky(**pick(values, [2])).emotion_logits[0]
    assert not torch.allclose(leaky(**values).emotion_logits[2], alone, atol=1e-4)


def test_reordering_a_batch_reorders_the_output(model):
    values = inputs()
    order = [2, 0, 1]
    straight = model(**values).mels[-1]
    shuffled = model(**{name: value[order] for name, value in values.items()}).mels[-1]
    assert torch.allclose(shuffled, straight[order], atol=1e-5)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_masked_batch_norm_sees_no_padding_in_training(layout):
    """Outputs, gradients and running statistics are those of BatchNorm2d and ReLU on the frames alone."""
    torch.manual_seed(0)
    norm, plain = MaskedBatchNormReLU(4), torch.nn.BatchNorm2d(4)
    for values in (norm, plain):
        values.load_state_dict({**values.state_dict(), "weight": torch.tensor([1.0, -0.5, 2.0, 0.3])})
    x = torch.randn(3, 4, 7, 5, requires_grad=True)
    padded = torch.cat([x.detach(), torch.full((3, 4, 6, 5), 50.0)], 2).to(memory_format=layout).requires_grad_()
    valid = (torch.arange(13) < 7).float()[None, None, :, None].expand(3, -1, -1, -1)
    seen, wanted = norm(padded, valid), torch.relu(plain(x))
    assert torch.allclose(seen[:, :, :7], wanted, atol=1e-5) and not seen[:, :, 7:].any()
    slope = torch.randn_like(seen)
    seen.backward(slope)
    wanted.backward(slope[:, :, :7])
    assert torch.allclose(padded.grad[:, :, :7], x.grad, atol=1e-5) and not padded.grad[:, :, 7:].any()
    assert torch.allclose(norm.weight.grad, plain.weight.grad, atol=1e-5)
    assert torch.allclose(norm.bias.grad, plain.bias.grad, atol=1e-5)
    assert torch.allclose(norm.running_mean, plain.running_mean, atol=1e-6)
    assert torch.allclose(norm.running_var, plain.running_var, atol=1e-6)
    assert int(norm.num_batches_tracked) == 1


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_masked_batch_norm_counts_rightly_in_half_precision(dtype):
    torch.manual_seed(0)
    norm = MaskedBatchNormReLU(2)
    x = torch.randn(8, 2, 301, 3) + 4.0
    valid = (torch.rand(8, 1, 301, 1) < 0.9).float()
    exact = x.mul(valid).sum((0, 2, 3)) / (valid.sum() * 3)
    norm(x.to(dtype), valid.to(dtype))
    assert torch.allclose(norm.running_mean / norm.momentum, exact, rtol=2e-3)


def test_one_sentence_alone_is_normalised_as_among_others():
    torch.manual_seed(0)
    layer = SpeakerConditionLayerNorm(16, 8)
    x, speaker = torch.randn(3, 20, 16), torch.randn(3, 8)
    x[:, 15:] = 0.0  # padding
    x[1, :5] = 2.0  # no deviation either
    together = layer(x, speaker)
    with torch.inference_mode():
        for row in range(3):
            one = x[row : row + 1], speaker[row : row + 1]
            torch.testing.assert_close(layer(*one)[0], together[row])
            with torch.autocast("cpu", torch.bfloat16):
                torch.testing.assert_close(layer(*one)[0].float(), together[row], atol=0.1, rtol=0.1)


def test_reference_encoder_trains_the_same_with_more_padding():
    encoder = ReferenceEncoder(80, [8, 8], (3, 3), (2, 2), (1, 1), 16, mask_padding=True)
    mels = torch.randn(2, 30, 80)
    lengths = torch.tensor([30, 17])
    short = encoder(mels, lengths)
    long = encoder(torch.nn.functional.pad(mels, (0, 0, 0, 40)), lengths)
    assert torch.allclose(short, long, atol=1e-5)


def test_emotion_label_changes_speech_and_soft_token_of_one_hot_equals_hard(model):
    values = inputs()
    hard = {**values, "emotions": torch.tensor([0, 0, 0])}
    other = {**values, "emotions": torch.tensor([5, 5, 5])}
    assert (model(**hard).mels[-1] - model(**other).mels[-1]).abs().max() > 1e-3
    assert torch.allclose(model.emotion.tokens(torch.eye(8))[5], model.emotion(torch.tensor([5]), None, None).embedding)


def test_soft_token_is_asked_for_per_utterance(model):
    values = {**inputs(), "emotions": torch.tensor([1, 1, 1])}
    soft = torch.tensor([True, False, True])
    mixed = model(**values, use_soft_token=soft).mels[-1]
    hard = model(**values).mels[-1]
    assert torch.equal(mixed[1], hard[1])
    assert not torch.allclose(mixed[0], hard[0], atol=1e-5)


def test_no_label_and_no_reference_is_an_error(model):
    values = inputs()
    del values["reference_mels"], values["reference_lengths"], values["emotions"]
    with pytest.raises(ValueError, match="label or a reference"):
        model(**values)


def test_longer_texts_than_the_position_table(model):
    phones = torch.randint(1, 360, (1, 700))
    output = model(phones, torch.tensor([700]), torch.tensor([0]), emotions=torch.tensor([0]))
    assert output.log_durations.shape == (1, 700)
    assert output.mels[-1].isfinite().all()


def test_speech_can_be_slowed_down(model):
    mask = torch.zeros(1, 3, dtype=torch.bool)
    log_durations = torch.log(torch.tensor([[4.0, 0.2, 10.0]]) + 1.0)
    assert frames_from_log(log_durations, mask).tolist() == [[4, 0, 10]]
    assert frames_from_log(log_durations, mask, 2.0).tolist() == [[8, 0, 20]]
    assert frames_from_log(torch.full((1, 3), -3.0), mask).tolist() == [[0, 0, 0]]


def test_length_regulator_picture():
    x = torch.arange(1.0, 4.0)[None, :, None]
    repeated = regulate_length(x, torch.tensor([[2, 0, 3]]), 7)
    assert repeated[0, :, 0].tolist() == [1, 1, 3, 3, 3, 0, 0]
    assert regulate_length(x, torch.tensor([[0, 0, 0]]), 2).abs().sum() == 0


def test_weight_dropout_masks_taps_not_frames():
    conv = LightweightConv(8, 3, 2, dropout=0.5)
    conv.train()
    torch.manual_seed(3)
    out = conv(torch.ones(1, 20, 8))
    inner = out[0, 2:-2]
    assert torch.allclose(inner, inner[:1].expand_as(inner))  # one mask for all frames
    conv.eval()
    assert torch.allclose(conv(torch.ones(1, 20, 8))[0, 2:-2], torch.ones(16, 8))


def test_sizes_of_the_paper():
    model = AcousticModel(ModelSizes(symbols=361, speakers=24, emotions=8))
    assert count_parameters(model) == 1_131_958


def test_losses_of_micro_batches_add_up_to_the_batch():
    """What gradient accumulation rests on: shares with common counts sum to the loss of the whole."""
    torch.manual_seed(0)
    sizes = dataclasses.replace(SIZES, encoder_dropout=0.0, duration_dropout=0.0, decoder_dropout=0.0)
    model = AcousticModel(sizes).train()
    for norm in model.emotion.reference_encoder.norms:
        norm.eval()
    values = {**inputs(), "emotions": torch.tensor([2, -1, 4])}
    mels = torch.randn(3, int(values["durations"].sum(1).max()), 80)
    mels = mels.masked_fill(padding_mask(values["durations"].sum(1))[..., None], 0.0)
    for normalization in ("mean", "reference"):
        loss = TrainingLoss(0.1, 0.1, normalization, "cross_entropy")
        whole = loss(model(**values), mels, values["durations"], values["emotions"])
        counts = LossCounts.of(values["durations"].sum(1), values["phone_lengths"], values["emotions"])
        total = 0.0
        for row in range(3):
            part = pick(values, [row])
            own = mels[row : row + 1, : int(part["durations"].sum())]
            total += loss(model(**part), own, part["durations"], part["emotions"], counts).total.item()
        assert total == pytest.approx(whole.total.item(), rel=1e-5)


@pytest.mark.parametrize("kind", ["cross_entropy", "bce"])
def test_unlabelled_utterances_have_no_part_in_the_classifier_loss(kind):
    torch.manual_seed(0)
    model = AcousticModel(SIZES)
    values = {**inputs(), "emotions": torch.tensor([-1, -1, -1])}
    mels = torch.zeros(3, int(values["durations"].sum(1).max()), 80)
    losses = TrainingLoss(0.1, 0.1, "mean", kind)(model(**values), mels, values["durations"], values["emotions"])
    assert float(losses.emotion) == 0.0
    losses.total.backward()
    assert model.emotion.reference_encoder.gru.weight_ih_l0.grad.abs().sum() > 0  # through the soft token


def test_learning_rate_schedule():
    arguments = (64, 4000, (300_000, 400_000), 0.3)
    peak = learning_rate(4000, *arguments)
    assert peak == pytest.approx((64 * 4000) ** -0.5)
    assert learning_rate(2000, *arguments) == pytest.approx(peak / 2)
    assert learning_rate(16000, *arguments) == pytest.approx(peak / 2)
    before, behind = learning_rate(300_000, *arguments), learning_rate(300_001, *arguments)
    assert behind / before == pytest.approx(0.3, rel=1e-5)
    with pytest.raises(ValueError, match="count from 1"):
        learning_rate(0, *arguments)
