"""Which segments a step sees: a function of seed and step alone, shared out between processes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from vocoder_training.recordings import Recording, Recordings

LOUDEST = 0.99  # of full scale, after the gain
EDGE = 2  # hops of audio beyond the first and last frame, for their windows


@dataclass(frozen=True)
class Segments:
    """A batch. Frame t of a segment is centred on its sample t * hop_length."""

    wavs: Tensor  # [B, edge + frames * hop_length + edge]: the recordings, gain applied
    gains: Tensor  # [B], linear
    mels: Tensor | None  # [B, frames, bands]: predicted ones, gain not applied; None: to be made from `wavs`
    f0: Tensor | None  # [B, frames] Hz, 0 = unvoiced
    edge: int  # samples
    noise: tuple[Tensor, Tensor]  # of each segment: uniform [B], seed [B]; the same whatever the number of processes

    def to(self, device: torch.device) -> Segments:
        """The same on `device`."""
        moved = [None if each is None else each.to(device) for each in (self.wavs, self.gains, self.mels, self.f0)]
        wavs, gains, mels, f0 = moved
        assert wavs is not None and gains is not None
        return Segments(wavs, gains, mels, f0, self.edge, self.noise)

    def row(self, number: int) -> Segments:
        """One of them as a batch."""
        wavs, gains, mels, f0 = (
            None if each is None else each[number : number + 1] for each in (self.wavs, self.gains, self.mels, self.f0)
        )
        assert wavs is not None and gains is not None
        place, seed = self.noise
        return Segments(wavs, gains, mels, f0, self.edge, (place[number : number + 1], seed[number : number + 1]))


@dataclass(frozen=True)
class SegmentSettings:
    frames: int  # of a segment
    hop_length: int
    edge: int  # samples on either side
    batch_size: int  # of one process
    speech_share: float
    real_share: float
    gain: tuple[float, float]  # dB
    seed: int


class SegmentSampler:
    """Endless shuffled epochs in which every utterance gives one segment.

    A step's segments depend on (seed, step) alone: `world` processes draw the same `world` x `batch_size` segments as
    one process with that batch size, and each takes every `world`-th. `mels` are predicted ones with the sample of the
    recording at which each begins; segments then start on their frames.
    """

    def __init__(
        self,
        recordings: Recordings,
        settings: SegmentSettings,
        rank: int = 0,
        world: int = 1,
        mels: Callable[[int, bool], tuple[npt.NDArray[np.float32], int]] | None = None,
    ) -> None:
        self.recordings, self.settings, self.rank, self.world, self.mels = recordings, settings, rank, world, mels
        self._epoch: tuple[int, Tensor] = (-1, torch.zeros(0))

    @property
    def steps_per_epoch(self) -> float:
        """Steps in which every utterance gives one segment."""
        return len(self.recordings) / (self.settings.batch_size * self.world)

    def batch(self, step: int) -> Segments:
        """This process's segments of a step, counted from 0."""
        own = self.settings
        total = own.batch_size * self.world
        generator = torch.Generator().manual_seed((own.seed * 1_000_003 + step) % 2**63)
        draws = torch.rand(total, 4, generator=generator, dtype=torch.float64)  # kind, place, gain, phase
        seeds = torch.randint(2**31, (total,), generator=generator)
        chosen = range(self.rank, total, self.world)
        parts = [self._segment(self._utterance(step * total + number), draws[number].tolist()) for number in chosen]
        wavs, gains, mels, f0 = zip(*parts, strict=True)
        return Segments(
            torch.from_numpy(np.stack(wavs)),
            torch.tensor(gains, dtype=torch.float32),
            _stacked(mels),
            _stacked(f0),
            own.edge,
            (draws[self.rank :: self.world, 3].float(), seeds[self.rank :: self.world]),
        )

    def names(self, step: int) -> list[str]:
        """speaker/name of each of `batch(step)`."""
        total = self.settings.batch_size * self.world
        chosen = (self._utterance(step * total + number) for number in range(self.rank, total, self.world))
        return ["/".join(self.recordings.entries[index].key) for index in chosen]

    def _utterance(self, position: int) -> int:
        epoch, index = divmod(position, len(self.recordings))
        if self._epoch[0] != epoch:
            generator = torch.Generator().manual_seed((self.settings.seed * 1_000_003 + epoch) % 2**63)
            self._epoch = (epoch, torch.randperm(len(self.recordings), generator=generator))
        return int(self._epoch[1][index])

    def _segment(
        self, index: int, draws: Sequence[float]
    ) -> tuple[np.ndarray, float, np.ndarray | None, np.ndarray | None]:
        own, recording = self.settings, self.recordings[index]
        mel: np.ndarray | None = None
        if self.mels is None:
            start = self._start(recording, draws[0] < own.speech_share, draws[1])
        else:
            whole, begin = self.mels(index, draws[0] < own.real_share)
            first = _place(0, len(whole), own.frames, draws[1])
            mel, start = _cut_frames(whole, first, own.frames), begin + first * own.hop_length
        wav = recording.cut(start - own.edge, own.frames * own.hop_length + 2 * own.edge)
        loudest = float(np.abs(wav).max())
        gain = 10 ** ((own.gain[0] + draws[2] * (own.gain[1] - own.gain[0])) / 20)
        if loudest > 0:
            gain = min(gain, LOUDEST / loudest)
        f0 = None
        if recording.pitch is not None:
            f0 = recording.pitch.at(start + own.hop_length * np.arange(own.frames, dtype=np.int64))
        return wav * np.float32(gain), gain, mel, f0

    def _start(self, recording: Recording, in_speech: bool, draw: float) -> int:
        low, high = recording.speech if in_speech else (0, len(recording.samples))
        return _place(low, high, self.settings.frames * self.settings.hop_length, draw)


def _place(low: int, high: int, size: int, draw: float) -> int:
    """Where a window of `size` begins within low … high, or, where it does not fit, around that."""
    room = high - low - size
    return low + int(draw * (room + 1)) if room >= 0 else low - int(draw * (1 - room))


def _cut_frames(mel: np.ndarray, start: int, size: int) -> np.ndarray:
    """Frames start … start + size - 1; beyond the ends the outermost ones again."""
    return np.asarray(mel[np.clip(np.arange(start, start + size), 0, len(mel) - 1)])


def _stacked(parts: Sequence[np.ndarray | None]) -> Tensor | None:
    return None if parts[0] is None else torch.from_numpy(np.stack([part for part in parts if part is not None]))
