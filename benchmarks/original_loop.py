"""Losses, step and batches in the original's way of working: see original_blocks.py."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.original import OriginalModel, mask
from dataset import UtteranceDataset

GROUP = 4  # batches that are sorted by length at once


def losses(outputs: tuple[list[Tensor], Tensor, Tensor], batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """Those of model/loss.py's default, over values picked by masks."""
    mels, logits, log_durations = outputs
    heard = ~mask(batch["mel_lengths"]).unsqueeze(-1)
    target = batch["mels"].masked_select(heard)
    mel = torch.stack([F.l1_loss(each.masked_select(heard), target) for each in mels]).mean()
    spoken = ~mask(batch["phone_lengths"])
    wanted = torch.log(batch["durations"].float() + 1).masked_select(spoken)
    duration = F.mse_loss(log_durations.masked_select(spoken), wanted)
    emotion = F.cross_entropy(logits, batch["emotions"])
    return {"total": mel + 0.1 * emotion + 0.1 * duration, "mel": mel, "emotion": emotion, "duration": duration}


def train_step(
    model: OriginalModel, optimizer: torch.optim.Optimizer, batch: dict[str, Tensor], device: torch.device
) -> dict[str, float]:
    """One step; every loss is read at once."""
    moved = {name: value.to(device) for name, value in batch.items()}
    found = losses(model(**moved), moved)
    optimizer.zero_grad(set_to_none=False)
    found["total"].backward()
    nn.utils.clip_grad_norm_(model.parameters(), 1.0, foreach=False)
    optimizer.step()
    return {name: value.item() for name, value in found.items()}


def make_optimizer(model: OriginalModel) -> torch.optim.Optimizer:
    """Adam, tensor by tensor."""
    return torch.optim.Adam(model.parameters(), lr=1e-4, betas=(0.9, 0.98), eps=1e-9, foreach=False, fused=False)


def batches(dataset: UtteranceDataset, root: Path, batch_size: int) -> Iterator[dict[str, Tensor]]:
    """Endless batches: shuffled, then GROUP of them sorted by length; every file is read when its turn comes."""
    generator = torch.Generator().manual_seed(0)
    while True:
        order = torch.randperm(len(dataset), generator=generator).tolist()
        for start in range(0, len(order), GROUP * batch_size):
            group = sorted(order[start : start + GROUP * batch_size], key=lambda index: len(dataset.phones[index]))
            for first in range(0, len(group), batch_size):
                yield read_batch(dataset, root, group[first : first + batch_size])


def read_batch(dataset: UtteranceDataset, root: Path, indices: Sequence[int]) -> dict[str, Tensor]:
    """Padded tensors of some utterances."""
    entries = [dataset.entries[index] for index in indices]
    mels = [np.load(root / "mel" / f"{each.speaker}-mel-{each.name}.npy", allow_pickle=False) for each in entries]
    durations = [
        np.load(root / "duration" / f"{each.speaker}-duration-{each.name}.npy", allow_pickle=False) for each in entries
    ]
    phones = [np.array(dataset.phones[index]) for index in indices]

    def padded(arrays: list[np.ndarray]) -> Tensor:
        longest = max(map(len, arrays))
        return torch.from_numpy(
            np.stack([np.pad(each, [(0, longest - len(each))] + [(0, 0)] * (each.ndim - 1)) for each in arrays])
        )

    return {
        "phones": padded(phones),
        "phone_lengths": torch.tensor([len(each) for each in phones]),
        "speakers": torch.tensor([dataset.speakers[index] for index in indices]),
        "emotions": torch.tensor([dataset.emotions[index] for index in indices]),
        "mels": padded(mels),
        "mel_lengths": torch.tensor([len(each) for each in mels]),
        "durations": padded(durations),
    }
