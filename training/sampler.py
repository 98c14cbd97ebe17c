"""Which utterances make which batch: shuffled, of similar length, the same for every run that goes on."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils.data import Sampler


@dataclass(frozen=True)
class Position:
    """How far training has gone through the data."""

    epoch: int
    index: int  # batches of this epoch already used
    batches: int  # batches an epoch had

    def to_dict(self) -> dict[str, int]:
        """Plain numbers for the checkpoint."""
        return dict(vars(self))


class LengthBucketSampler(Sampler[list[int]]):
    """Endless batches of indices: shuffled, yet of similar length within a batch.

    Each epoch permutes the utterances, sorts pools of `pool` batches by length (jittered by 2.5% so that batches differ
    between epochs; 3% of RAVDESS's batches are padding then), cuts them into batches and shuffles those. All of it is
    a function of (seed, epoch): a run that starts at a saved position sees exactly what an unbroken one sees. `world`
    processes share batches of `world` x `batch_size` utterances, the same as one process with that batch size draws.
    Each takes every `world`-th of them, so lengths are alike between processes, too, and none waits long for another.
    """

    def __init__(
        self, lengths: Sequence[int], batch_size: int, seed: int, rank: int = 0, world: int = 1, pool: int = 64
    ) -> None:
        self.lengths = torch.tensor(lengths, dtype=torch.float64)
        self.batch_size = batch_size * world  # of all processes together
        self.seed = seed
        self.rank = rank
        self.world = world
        self.pool = pool * self.batch_size
        self.batches = math.ceil(len(lengths) / self.batch_size)  # in an epoch
        self.start = Position(0, 0, self.batches)

    def resume(self, position: Position) -> None:
        """Go on from `position`. Where the number of batches changed since, go on at the same share of the epoch."""
        index = position.index * self.batches // max(1, position.batches)
        self.start = Position(position.epoch, index, self.batches)

    def position(self, consumed: int) -> Position:
        """Where a run is after `consumed` batches since the start (the loader's prefetching not counted)."""
        epoch, index = divmod(self.start.index + consumed, self.batches)
        return Position(self.start.epoch + epoch, index, self.batches)

    def epoch(self, epoch: int) -> list[list[int]]:
        """This process's batches of one epoch."""
        generator = torch.Generator().manual_seed((self.seed * 1_000_003 + epoch) % 2**63)
        order = torch.randperm(len(self.lengths), generator=generator)
        jitter = 1.0 + 0.05 * (torch.rand(len(self.lengths), generator=generator, dtype=torch.float64) - 0.5)
        keys = self.lengths * jitter
        batches: list[list[int]] = []
        for pool in order.split(self.pool):
            pool = pool[keys[pool].argsort(stable=True)]
            batches += [batch.tolist() for batch in pool.split(self.batch_size)]
        batches = [batches[i] for i in torch.randperm(len(batches), generator=generator).tolist()]
        return [self._share(batch, order) for batch in batches]

    def _share(self, batch: list[int], order: Tensor) -> list[int]:
        """This process's part of a batch; one too small for all is topped up from the epoch's start."""
        if len(batch) < self.world:
            batch = batch + order.repeat(self.world)[: self.world - len(batch)].tolist()
        return batch[self.rank :: self.world]

    def __iter__(self) -> Iterator[list[int]]:
        epoch, index = self.start.epoch, self.start.index
        while True:
            yield from self.epoch(epoch)[index:]
            epoch, index = epoch + 1, 0
