"""Alignment learned while training, after "One TTS Alignment to Rule Them All" (Badlani et al. 2021, arXiv 2108.10447).

A forward-sum loss adds up all monotonic alignments of frames to phones, a search finds the best one, whose durations
feed the model, and a binarisation loss draws the soft attention towards it. What differs from the paper is the score of
a frame and a phone: the likelihood of the frame around the phone's expected spectrum instead of a distance in a learned
space. With few texts the latter is satisfied by any segmentation at all: on RAVDESS's two sentences its boundaries are
no better than equal lengths.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from utils.masks import padding_mask

IMPOSSIBLE = -1e5  # log-likelihood of a padded phone: finite, so that no gradient turns into NaN


@dataclass(frozen=True)
class Alignment:
    log_likelihoods: Tensor  # [B, T, N] float32, log p(frame, phone); IMPOSSIBLE at padded phones
    durations: Tensor  # [B, N] whole frames on the best monotonic path; at least 1 for each phone, 0 at padding
    forward_sum: Tensor  # [B] float64, -log of the summed likelihood of all paths


class Aligner(nn.Module):
    """Each phone in its context predicts a mean spectrum; frames are Gaussian around it."""

    templates: Tensor

    def __init__(self, symbols: int, mel_bands: int, channels: int, min_frames: int) -> None:
        super().__init__()
        self.min_frames = min_frames
        self.embedding = nn.Embedding(symbols, channels, padding_idx=0)
        self.hidden = nn.Conv1d(channels, 2 * channels, 3, padding=1)
        self.output = nn.Conv1d(2 * channels, mel_bands, 1)
        nn.init.zeros_(self.output.weight)  # the first alignments follow from the templates and the prior alone
        assert self.output.bias is not None
        nn.init.zeros_(self.output.bias)
        self.log_variance = nn.Parameter(torch.zeros(mel_bands))
        # What a symbol sounds like roughly, [symbols, mel_bands] in units of `normalise`: the caller's knowledge of
        # phonetics. Zeros are no knowledge; training then often settles on boundaries that are off by a phone.
        self.register_buffer("templates", torch.zeros(symbols, mel_bands))

    def forward(self, phones: Tensor, phone_lengths: Tensor, mels: Tensor, mel_lengths: Tensor) -> Alignment:
        """phones [B, N] ids, mels [B, T, M] log-mel, at least as many frames as phones. In float32 under autocast, too:
        half precision loses the differences."""
        with torch.autocast(mels.device.type, enabled=False):
            scores = self._scores(phones, phone_lengths, mels.float(), mel_lengths)
        return Alignment(
            scores,
            best_durations(scores.detach(), phone_lengths, mel_lengths, self.min_frames),
            forward_sum(scores, phone_lengths, mel_lengths, self.min_frames),
        )

    def _scores(self, phones: Tensor, phone_lengths: Tensor, mels: Tensor, mel_lengths: Tensor) -> Tensor:
        frames = normalise(mels, mel_lengths)  # (B, T, M)
        hidden = F.relu(self.hidden(self.embedding(phones).transpose(1, 2)))
        means = self.output(hidden).transpose(1, 2) + self.templates[phones]  # (B, N, M)
        weights = torch.exp(-self.log_variance)
        # sum over bands of (frame - mean)^2 / variance, multiplied out so that nothing of size T x N x M is made
        squares = (frames.square() @ weights)[:, :, None] + (means.square() @ weights)[:, None, :]
        distances = squares - 2 * (frames * weights) @ means.transpose(1, 2)  # (B, T, N)
        likelihoods = -0.5 * (distances + self.log_variance.sum())
        prior = log_prior(phone_lengths, mel_lengths, phones.shape[1], mels.shape[1])
        padding = padding_mask(phone_lengths, phones.shape[1])[:, None, :]
        return (likelihoods + prior).masked_fill(padding, IMPOSSIBLE)


def normalise(mels: Tensor, lengths: Tensor) -> Tensor:
    """[B, T, M] -> zero mean and unit deviation of every band within the utterance, zero at padding.

    What tells phones apart is how the spectrum moves, not the voice or its level.
    """
    valid = (~padding_mask(lengths, mels.shape[1])).unsqueeze(-1)  # (B, T, 1)
    count = lengths.clamp(min=1)[:, None, None]
    mean = (mels * valid).sum(1, keepdim=True) / count
    centred = (mels - mean) * valid
    deviation = (centred.square().sum(1, keepdim=True) / count).sqrt()
    return centred / (deviation + 1e-3)


def log_prior(phone_lengths: Tensor, mel_lengths: Tensor, phones: int, frames: int) -> Tensor:
    """[B, frames, phones] log-probability of phone n at frame t: where in time it is to be expected (section 2.3).

    Frame t = 0 … T - 1 is in phone n = 0 … N - 1 with BetaBinomial(n; N - 1, t + 1, T - t). Values at padding mean
    nothing.
    """
    device = mel_lengths.device
    last = (phone_lengths - 1)[:, None, None].float()  # (B, 1, 1)
    n = torch.minimum(torch.arange(phones, device=device)[None, None, :].float(), last)
    t = torch.arange(frames, device=device)[None, :, None].float()
    alpha, beta = t + 1, (mel_lengths[:, None, None] - t).clamp(min=1)
    choose = torch.lgamma(last + 1) - torch.lgamma(n + 1) - torch.lgamma(last - n + 1)
    return choose + _log_beta(n + alpha, last - n + beta) - _log_beta(alpha, beta)


def _log_beta(a: Tensor, b: Tensor) -> Tensor:
    return torch.lgamma(a) + torch.lgamma(b) - torch.lgamma(a + b)


# Both recursions below go from phone to phone, each at all frames at once, rather than from frame to frame. With S(t)
# the summed scores of phone n before frame t, a path that enters it at frame s and is still there at frame t has
#
#     Q_n(t) = Q_(n-1)(s - 1) + S(t + 1) - S(s),
#
# so the best of them is a cumulative maximum over s, whose index is where the phone begins, and the sum of them all a
# cumulative log-sum-exp. In double precision: sums of hundreds of frames are subtracted from each other.

NEVER = -1e30  # log-likelihood of an impossible path: finite, so that differences of two are no NaN


class _Lattice:
    """What both recursions share: sums of scores, and phones that last `min_frames` at least."""

    def __init__(self, scores: Tensor, phone_lengths: Tensor, mel_lengths: Tensor, min_frames: int) -> None:
        self.sums = F.pad(scores.double().cumsum(1).transpose(1, 2), (1, 0))  # S: (B, N, T + 1)
        # an utterance with fewer frames than that takes does with as many as there are
        least = (mel_lengths // phone_lengths.clamp(min=1)).clamp(1, min_frames)[:, None]  # (B, 1)
        entry = torch.arange(scores.shape[1], device=scores.device) - (least - 1)  # (B, T): last possible first frame
        self.too_early = entry < 0
        self.entry = entry.clamp(min=0)
        self.before = scores.new_full(scores.shape[:2], NEVER, dtype=torch.float64)  # Q_(n-1)(s - 1) at index s
        self.before[:, 0] = 0.0  # every path begins at frame 0

    def enter(self, phone: int) -> Tensor:
        """[B, T] at s: score of a path that enters `phone` at frame s, less S(s)."""
        return self.before - self.sums[:, phone, :-1]

    def leave(self, phone: int, entered: Tensor) -> Tensor:
        """`entered` [B, T] at t: over all entries up to t. Returns Q_n(t) and makes the next phone's entries of it."""
        paths = entered.gather(1, self.entry).masked_fill(self.too_early, NEVER) + self.sums[:, phone, 1:]
        self.before = F.pad(paths[:, :-1], (1, 0), value=NEVER)
        return paths


@torch.no_grad()
def best_durations(scores: Tensor, phone_lengths: Tensor, mel_lengths: Tensor, min_frames: int = 1) -> Tensor:
    """Monotonic alignment search: frames of each phone on the path of the largest summed score, [B, N] long.

    Every phone gets `min_frames` frames at least (fewer where an utterance is too short for that, but one), in order,
    and all frames of an utterance are used. scores [B, T, N]; utterances need at least as many frames as phones.
    """
    lattice = _Lattice(scores, phone_lengths, mel_lengths, min_frames)
    phones = scores.shape[2]
    starts = []
    for phone in range(phones):
        best, start = lattice.enter(phone).cummax(1)
        starts.append(start.gather(1, lattice.entry))  # (B, T): where the phone begins if it lasts until this frame
        lattice.leave(phone, best)
    end = mel_lengths  # the frame behind the phone's last
    durations = torch.zeros(len(scores), phones, dtype=torch.long, device=scores.device)
    for phone in range(phones - 1, -1, -1):
        exists = phone < phone_lengths
        start = starts[phone].gather(1, (end - 1).clamp(min=0)[:, None]).squeeze(1)
        durations[:, phone] = torch.where(exists, end - start, 0)
        end = torch.where(exists, start, end)
    return durations


def forward_sum(scores: Tensor, phone_lengths: Tensor, mel_lengths: Tensor, min_frames: int = 1) -> Tensor:
    """-log of the summed likelihood of all monotonic paths (section 2.2), [B] float64. Arguments as in best_durations.

    As a CTC loss whose target is each phone once, but without its blank: a frame that belongs to no phone would have
    no place in the durations.
    """
    lattice = _Lattice(scores, phone_lengths, mel_lengths, min_frames)
    last_frames = (mel_lengths - 1)[:, None]
    totals = []
    for phone in range(scores.shape[2]):
        paths = lattice.leave(phone, torch.logcumsumexp(lattice.enter(phone), 1))
        totals.append(paths.gather(1, last_frames))
    return -torch.cat(totals, 1).gather(1, (phone_lengths - 1)[:, None]).squeeze(1)


def binarisation(scores: Tensor, durations: Tensor, mel_lengths: Tensor) -> Tensor:
    """-log attention on the hard path, summed over frames (section 2.4), [B]; attention is the scores' softmax over
    phones."""
    size = scores.shape[1]
    frames = torch.arange(size, device=scores.device).expand(len(scores), -1).contiguous()
    phone = torch.searchsorted(durations.cumsum(1), frames, right=True).clamp(max=scores.shape[2] - 1)  # (B, T)
    chosen = scores.log_softmax(2).gather(2, phone.unsqueeze(2)).squeeze(2)
    return -chosen.masked_fill(padding_mask(mel_lengths, size), 0.0).sum(1)
