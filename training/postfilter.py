"""Fits the postfilter of a trained model and writes it into the model's checkpoint."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from acoustic import load_model
from config import Config, from_dict
from dataset import UtteranceDataset, collate, open_dataset
from errors import UserError
from model import AcousticModel
from model.postfilter import Postfilter
from training.validation import run_model
from utils.checkpoint import read_checkpoint, write_checkpoint

BATCH = 16
MOST = 5000  # utterances: enough for its numbers, which fit in memory
KEY = "postfilter."


def fit_postfilter(config: Config, step: int | str, device: torch.device, advance: Callable[[int], object]) -> Path:
    """Fit on training utterances, with their durations and the model's own prosody; rewrite checkpoint `step`.

    `advance` is called with the number of utterances done. Raises UserError where there is no such checkpoint, or where
    the data does not belong to it.
    """
    loaded = load_model(config, step, device)
    content = read_checkpoint(loaded.path)
    if content.config is None:
        raise UserError(f"{loaded.path} is a published checkpoint; a postfilter needs one of train.py")
    dataset = open_dataset(loaded.config, "train.txt", loaded.ids)
    loaded.model.postfilter = None  # an earlier one
    postfilter = loaded.model.new_postfilter().to(device)
    try:
        postfilter.fit(*_examples(loaded.model, postfilter, dataset, advance))
    except ValueError as error:
        raise UserError(f"{dataset.root / 'train.txt'}: {error}; a postfilter needs longer ones") from error
    numbers = {f"{KEY}{name}": value.cpu() for name, value in postfilter.state_dict().items()}
    described = from_dict(content.config, str(loaded.path))
    described = described.model_copy(update={"model": described.model.model_copy(update={"postfilter": True})})
    return write_checkpoint(
        loaded.path.parent,
        replace(
            content,
            config=described.to_dict(),
            model=content.model | numbers,
            running=content.running | numbers if content.running else {},
        ),
    )


@torch.inference_mode()
def _examples(
    model: AcousticModel, postfilter: Postfilter, dataset: UtteranceDataset, advance: Callable[[int], object]
) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
    """Mels [T, M] of recordings and of the model, not filtered, and manners [effects]."""
    step = max(1, -(-len(dataset) // MOST))
    chosen = sorted(range(0, len(dataset), step), key=lambda index: dataset.lengths[index])
    real: list[Tensor] = []
    predicted: list[Tensor] = []
    manners: list[Tensor] = []
    for start in range(0, len(chosen), BATCH):
        batch = collate([dataset[index] for index in chosen[start : start + BATCH]]).to(postfilter.offsets.device)
        output = run_model(model, batch, own_prosody=False)
        assert output.emotion_shares is not None
        manners += postfilter.manner(batch.speaker_input, *output.emotion_shares)
        for row, length in enumerate(batch.mel_lengths.tolist()):
            real.append(batch.mels[row, :length])
            predicted.append(output.mels[-1][row, :length].float())
        advance(len(batch.names))
    return real, predicted, manners
