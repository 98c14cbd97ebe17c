"""The learned alignment's parts: search, forward sum, losses and the aligner itself."""

import itertools

import pytest
import torch

from acoustic import new_model, phone_templates
from config import load_config
from model.aligner import Aligner, best_durations, binarisation, forward_sum, log_prior, normalise
from text import phones_to_ids
from text.phone_classes import UNKNOWN, levels
from text.symbols import SYMBOLS
from utils.metadata import IdMaps

LENGTHS = (torch.tensor([4, 3, 2, 1]), torch.tensor([12, 9, 5, 7]))  # phones, frames


def random_scores(seed=0):
    return 3 * torch.randn(4, 12, 4, generator=torch.Generator().manual_seed(seed))


def all_paths(scores, phones, frames, least):
    """Every segmentation and its score."""
    for cuts in itertools.combinations(range(1, frames), phones - 1):
        edges = (0, *cuts, frames)
        spans = [(edges[i], edges[i + 1]) for i in range(phones)]
        if min(end - start for start, end in spans) >= least:
            total = sum(float(scores[start:end, phone].double().sum()) for phone, (start, end) in enumerate(spans))
            yield total, [end - start for start, end in spans]


@pytest.mark.parametrize("min_frames", [1, 2, 3, 5])
def test_search_and_forward_sum_agree_with_counting_all_paths(min_frames):
    scores = random_scores()
    durations = best_durations(scores, *LENGTHS, min_frames)
    total = forward_sum(scores, *LENGTHS, min_frames)
    for row, (phones, frames) in enumerate(zip(*(lengths.tolist() for lengths in LENGTHS), strict=True)):
        paths = list(all_paths(scores[row], phones, frames, min(min_frames, frames // phones)))
        assert durations[row, :phones].tolist() == max(paths)[1]
        assert durations[row, phones:].eq(0).all()
        expected = -torch.logsumexp(torch.tensor([score for score, _ in paths], dtype=torch.float64), 0)
        torch.testing.assert_close(total[row], expected, rtol=0, atol=1e-4)


def test_padding_and_batch_mates_change_nothing():
    scores = random_scores(1)
    together = best_durations(scores, *LENGTHS, 2), forward_sum(scores, *LENGTHS, 2)
    for row, (phones, frames) in enumerate(zip(*LENGTHS, strict=True)):
        alone = scores[row : row + 1, :frames, :phones]
        assert best_durations(alone, phones[None], frames[None], 2)[0].tolist() == together[0][row, :phones].tolist()
        torch.testing.assert_close(forward_sum(alone, phones[None], frames[None], 2)[0], together[1][row])


def test_gradient_of_the_forward_sum_is_the_chance_of_being_in_a_phone():
    scores = random_scores(2).requires_grad_()
    forward_sum(scores, *LENGTHS, 2).sum().backward()
    occupied = -scores.grad
    assert not occupied.isnan().any() and (occupied > -1e-6).all()
    for row, (phones, frames) in enumerate(zip(*LENGTHS, strict=True)):
        torch.testing.assert_close(occupied[row, :frames, :phones].sum(1), torch.ones(int(frames)))
        assert occupied[row, frames:].eq(0).all() and occupied[row, :, phones:].eq(0).all()


def test_as_many_frames_as_phones_leave_no_choice():
    durations = best_durations(torch.randn(1, 6, 6), torch.tensor([6]), torch.tensor([6]), 4)
    assert durations.tolist() == [[1] * 6]


def test_long_texts_stay_exact():
    """1,500 frames whose scores differ by a little in sums of thousands: single precision would lose them."""
    durations = torch.randint(4, 12, (1, 190), generator=torch.Generator().manual_seed(3))
    frames = int(durations.sum())
    phone = torch.repeat_interleave(torch.arange(190), durations[0])
    scores = torch.full((1, frames, 190), -40.0)
    scores[0, torch.arange(frames), phone] = -39.99
    assert torch.equal(best_durations(scores, torch.tensor([190]), torch.tensor([frames]), 1), durations)


def test_binarisation_vanishes_where_attention_is_hard_and_right():
    durations = torch.tensor([[2, 3, 1]])
    scores = torch.full((1, 8, 3), -50.0)
    scores[0, torch.arange(6), torch.tensor([0, 0, 1, 1, 1, 2])] = 0.0
    right = binarisation(scores, durations, torch.tensor([6]))
    wrong = binarisation(scores, torch.tensor([[3, 2, 1]]), torch.tensor([6]))
    assert right.item() < 1e-6 and wrong.item() == pytest.approx(50.0)


def test_prior_is_a_distribution_that_moves_with_time():
    prior = log_prior(*LENGTHS, 4, 12).exp()
    for row, (phones, frames) in enumerate(zip(*LENGTHS, strict=True)):
        part = prior[row, :frames, :phones]
        torch.testing.assert_close(part.sum(1), torch.ones(int(frames)))
        expected = part @ torch.arange(int(phones)).float()
        assert (expected.diff() > 0).all() or phones == 1


def test_normalised_mels_do_not_depend_on_level_voice_or_padding():
    mels = torch.randn(2, 9, 5)
    lengths = torch.tensor([9, 6])
    expected = normalise(mels, lengths)
    padded = torch.cat(
        [mels.where(torch.arange(9)[None, :, None] < lengths[:, None, None], 77.0), torch.ones(2, 3, 5)], 1
    )
    torch.testing.assert_close(normalise(padded, lengths)[:, :9], expected)
    torch.testing.assert_close(normalise(mels * 3.0 - torch.arange(5.0), lengths), expected, rtol=0, atol=1e-2)
    assert expected[1, 6:].eq(0).all()


def build_mels(aligner, ids, durations, noise=0.3):
    """Frames as the templates say, with noise."""
    frames = torch.repeat_interleave(aligner.templates[ids], durations, dim=0)
    return frames + noise * torch.randn(frames.shape, generator=torch.Generator().manual_seed(5))


def test_an_untrained_aligner_finds_phones_by_what_they_sound_like():
    config = load_config("RAVDESS")
    aligner = Aligner(len(SYMBOLS) + 1, 80, 64, min_frames=3)
    aligner.templates.copy_(phone_templates(config.preprocess, len(SYMBOLS) + 1))
    ids = torch.tensor(phones_to_ids(["D", "AA1", "G", "Z", "AA1", "R", "S", "IH1", "T", "IH0", "NG"]))
    durations = torch.tensor([4, 12, 5, 8, 14, 6, 10, 7, 9, 5, 11])
    mels = build_mels(aligner, ids, durations)[None]
    lengths = torch.tensor([len(ids)]), torch.tensor([int(durations.sum())])
    found = aligner(ids[None], lengths[0], mels, lengths[1]).durations[0]
    difference = (found.cumsum(0) - durations.cumsum(0)).abs()
    assert difference.max() <= 3 and difference.float().mean() < 1  # AA1 R are alike, the rest is not
    aligner.templates.zero_()
    lost = aligner(ids[None], lengths[0], mels, lengths[1]).durations[0]
    assert (lost.cumsum(0) - durations.cumsum(0)).abs().max() > 3  # the prior alone knows nothing of these lengths


def test_training_the_aligner_alone_lowers_its_losses():
    torch.manual_seed(0)
    aligner = Aligner(20, 16, 32, min_frames=1)
    aligner.templates.normal_()
    phones = torch.randint(1, 20, (6, 8))
    truth = torch.randint(2, 9, (6, 8))
    lengths = torch.full((6,), 8), truth.sum(1)
    mels = torch.zeros(6, int(lengths[1].max()), 16)
    spectra = aligner.templates + 0.7 * torch.randn(20, 16)  # what the templates only approximate
    for row in range(6):
        mels[row, : lengths[1][row]] = torch.repeat_interleave(spectra[phones[row]], truth[row], dim=0)
    mels += 0.2 * torch.randn_like(mels)
    optimizer = torch.optim.Adam(aligner.parameters(), lr=5e-3)
    losses = []
    for _ in range(60):
        alignment = aligner(phones, lengths[0], mels, lengths[1])
        hard = binarisation(alignment.log_likelihoods, alignment.durations, lengths[1]).sum()
        loss = (alignment.forward_sum.sum() + hard) / lengths[1].sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.7 * losses[0]
    assert (alignment.durations.cumsum(1) - truth.cumsum(1)).abs().float().mean() < 0.5


def test_half_precision_autocast_leaves_alignments_alone():
    config = load_config("RAVDESS", ["model.alignment=learned"])
    model = new_model(config, IdMaps({"a": 0}, {"happy": 0})).eval()
    phones = torch.tensor([phones_to_ids(["K", "IH1", "D", "Z", "AA1", "R"])])
    lengths = torch.tensor([6]), torch.tensor([60])
    mels = torch.randn(1, 60, 80)
    arguments = {"emotions": torch.tensor([0]), "align_mels": mels, "align_lengths": lengths[1], "mel_length": 60}
    plain = model(phones, lengths[0], torch.tensor([0]), **arguments)
    with torch.autocast("cpu", torch.bfloat16):
        half = model(phones, lengths[0], torch.tensor([0]), **arguments)
    assert torch.equal(plain.durations, half.durations)
    assert plain.durations.sum() == 60 and plain.durations.min() >= 4
    assert plain.alignment is not None and plain.alignment.log_likelihoods.dtype == torch.float32


def test_other_parts_begin_with_the_same_weights_with_and_without_an_aligner():
    ids = IdMaps({"a": 0}, {"happy": 0})
    states = []
    for alignment in ("textgrid", "learned"):
        torch.manual_seed(1)
        states.append(new_model(load_config("RAVDESS", [f"model.alignment={alignment}"]), ids).state_dict())
    without, having = states
    assert {name for name in having if name not in without} == {n for n in having if n.startswith("aligner.")} != set()
    assert all(torch.equal(without[name], having[name]) for name in without)


def test_every_phone_of_every_language_has_a_class():
    from text import symbol_table

    phones = {symbol[1:] for symbol in symbol_table(["en", "zh", "ko"]) if symbol.startswith("@")}
    assert len(phones) > 300
    assert [phone for phone in sorted(phones) if levels(phone) == UNKNOWN] == []
    assert levels("AA1") != levels("S") and levels("ang4") == levels("AA1") and levels("x") == levels("S")
