"""What a training run consists of, and how it goes to a checkpoint and back."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import torch
from torch import Tensor, nn

from acoustic import load_weights, new_model
from config import Config, from_dict
from dataset import UtteranceDataset, choose_unlabelled, open_dataset
from errors import UserError
from text import check_phones, symbol_table
from training.precision import Precision
from training.processes import Process
from training.running import RunningWeights
from training.sampler import LengthBucketSampler, Position
from training.start import check_same
from utils.checkpoint import Checkpoint, checkpoint_path, read_checkpoint, write_checkpoint
from utils.metadata import IdMaps, read_metadata


def make_optimizer(
    parameters: Iterable[nn.Parameter], betas: tuple[float, float], eps: float, weight_decay: float
) -> torch.optim.Adam:
    """Adam; the learning rate is set at every step. `fused` does all tensors in one pass."""
    return torch.optim.Adam(parameters, lr=0.0, betas=betas, eps=eps, weight_decay=weight_decay, fused=True)


class TrainState:
    """Data, model, optimiser and where they stand. `step` counts optimiser steps already done."""

    def __init__(self, config: Config, process: Process, precision: Precision) -> None:
        self.config = config
        root = Path(config.preprocess.path.preprocessed_path)
        self.ids = IdMaps.load(root)
        unlabelled = choose_unlabelled(read_metadata(root / "train.txt"), config, self.ids)
        self.train_set = open_dataset(config, "train.txt", self.ids, unlabelled)
        self.val_set = open_dataset(config, "val.txt", self.ids)
        _check_lengths(self.train_set, config.model.max_seq_len)
        languages = config.preprocess.preprocessing.text.languages
        self.symbols = symbol_table(languages)
        for entry in (*self.train_set.entries, *self.val_set.entries):
            check_phones(entry.phones, languages)
        torch.manual_seed(config.train.seed)
        self.model = new_model(config, self.ids).to(process.device)
        optimizer = config.train.optimizer
        self.optimizer = make_optimizer(self.model.parameters(), optimizer.betas, optimizer.eps, optimizer.weight_decay)
        self.running = RunningWeights(self.model, optimizer.ema)
        self.scaler = precision.scaler(process.device)
        self.sampler = LengthBucketSampler(
            self.train_set.lengths, optimizer.batch_size, config.train.seed, process.rank, process.world
        )
        self.step = 0
        self._first_step = 0

    def load(self, step: int) -> dict[str, Tensor]:
        """Go on from checkpoint `step`: model, optimiser, scaler, data position; returns what RunningMeans goes
        on from.

        Raises UserError where the checkpoint does not belong to this configuration or these id maps.
        """
        path = checkpoint_path(Path(self.config.train.path.ckpt_path), step)
        content = read_checkpoint(path)
        if content.config is not None:
            saved_model = from_dict(content.config, str(path)).to_dict()["model"]  # with defaults of options new since
            check_same(path, "model", saved_model, self.config.to_dict()["model"], ignore=("vocoder", "postfilter"))
            for name, saved, own in (
                ("speakers", content.speakers, self.ids.speakers),
                ("emotions", content.emotions, self.ids.emotions),
                ("symbols", dict.fromkeys(content.symbols), dict.fromkeys(self.symbols)),
            ):
                check_same(path, name, saved, own)
        load_weights(self.model, content.model, path)
        if self.running.decay:  # begun now, if the checkpoint has none
            load_weights(self.running.module, content.weights, path)
        if content.config is not None and content.optimizer:  # shipped weights come without an optimiser's state
            try:
                self.optimizer.load_state_dict(content.optimizer)
            except (ValueError, KeyError, TypeError, AttributeError, RuntimeError) as error:
                raise UserError(f"{path}: its optimiser state does not fit: {error}") from error
            if self.scaler.is_enabled() and content.scaler:
                self.scaler.load_state_dict(content.scaler)
            self.sampler.resume(Position(**content.sampler))
        self.step = self._first_step = step
        return content.means

    def save(self, means: dict[str, Tensor]) -> Path:
        """Write the checkpoint of the present step; `means` as of RunningMeans.content()."""
        consumed = (self.step - self._first_step) * self.config.train.optimizer.grad_acc_step
        return write_checkpoint(
            Path(self.config.train.path.ckpt_path),
            Checkpoint(
                step=self.step,
                model=self.model.state_dict(),
                optimizer=self.optimizer.state_dict(),
                scaler=self.scaler.state_dict(),
                sampler=self.sampler.position(consumed).to_dict(),
                config=self.config.to_dict(),
                speakers=self.ids.speakers,
                emotions=self.ids.emotions,
                symbols=self.symbols,
                running=self.running.module.state_dict() if self.running.decay else {},
                means=means,
            ),
        )


def _check_lengths(dataset: UtteranceDataset, limit: int) -> None:
    for entry, phones in zip(dataset.entries, dataset.phones, strict=True):
        if len(phones) > limit:
            raise UserError(
                f"{entry.name} has {len(phones)} phones, more than model.max_seq_len {limit}: raise it "
                f"(--set model.max_seq_len={len(phones)}) or leave the utterance out of train.txt"
            )
