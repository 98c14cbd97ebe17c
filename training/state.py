"""What a training run consists of, and how it goes to a checkpoint and back."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from acoustic import load_weights, new_model, uses_external_speakers
from config import Config
from dataset import LengthBucketSampler, Position, UtteranceDataset, choose_unlabelled
from errors import UserError
from text import check_phones, symbol_table
from training.processes import Process
from utils.checkpoint import Checkpoint, checkpoint_path, read_checkpoint, write_checkpoint
from utils.metadata import IdMaps, read_metadata


@dataclass(frozen=True)
class Precision:
    """Arithmetic of the forward pass."""

    dtype: torch.dtype  # float32: no autocast

    @classmethod
    def choose(cls, use_amp: bool, amp_dtype: str, device: torch.device) -> Precision:
        """float32 without AMP, else what the configuration says. `auto` is the format the device is fast in:
        bfloat16; float16 on older GPUs; float32 on CPUs without bfloat16 products, where AMP is several times slower.
        """
        if not use_amp:
            return cls(torch.float32)
        if amp_dtype != "auto":
            return cls({"float16": torch.float16, "bfloat16": torch.bfloat16}[amp_dtype])
        if device.type == "cpu":
            return cls(torch.bfloat16 if torch.ops.mkldnn._is_mkldnn_bf16_supported() else torch.float32)
        return cls(torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16)

    def autocast(self, device: torch.device) -> torch.autocast:
        """Context of the forward pass."""
        return torch.autocast(device.type, dtype=self.dtype, enabled=self.dtype != torch.float32)

    def scaler(self, device: torch.device) -> torch.amp.GradScaler:
        """Loss scaling: float16 gradients underflow without it; the other formats need none."""
        return torch.amp.GradScaler(device.type, enabled=self.dtype == torch.float16)


def make_optimizer(
    parameters: Iterable[nn.Parameter], betas: tuple[float, float], eps: float, weight_decay: float
) -> torch.optim.Adam:
    """Adam; the learning rate is set at every step. `fused` does all tensors in one pass."""
    return torch.optim.Adam(parameters, lr=0.0, betas=betas, eps=eps, weight_decay=weight_decay, fused=True)


def step_seed(seed: int, step: int, rank: int) -> int:
    """Seed of all randomness (dropout, soft tokens) of one step in one process: a resumed run draws the same."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{step}/{rank}".encode()).digest()[:8], "little") >> 1


class TrainState:
    """Data, model, optimiser and where they stand. `step` counts optimiser steps already done."""

    def __init__(self, config: Config, process: Process, precision: Precision) -> None:
        self.config = config
        root = Path(config.preprocess.path.preprocessed_path)
        self.ids = IdMaps.load(root)
        external = uses_external_speakers(config)
        unlabelled = choose_unlabelled(read_metadata(root / "train.txt"), config, self.ids)
        aligned = config.model.alignment == "textgrid"
        self.train_set = UtteranceDataset(root, "train.txt", self.ids, external, unlabelled, aligned)
        self.val_set = UtteranceDataset(root, "val.txt", self.ids, external, aligned=aligned)
        _check_lengths(self.train_set, config.model.max_seq_len)
        languages = config.preprocess.preprocessing.text.languages
        self.symbols = symbol_table(languages)
        for entry in (*self.train_set.entries, *self.val_set.entries):
            check_phones(entry.phones, languages)
        torch.manual_seed(config.train.seed)
        self.model = new_model(config, self.ids).to(process.device)
        optimizer = config.train.optimizer
        self.optimizer = make_optimizer(self.model.parameters(), optimizer.betas, optimizer.eps, optimizer.weight_decay)
        self.scaler = precision.scaler(process.device)
        self.sampler = LengthBucketSampler(
            self.train_set.lengths, optimizer.batch_size, config.train.seed, process.rank, process.world
        )
        self.step = 0
        self._first_step = 0

    def load(self, step: int) -> None:
        """Go on from checkpoint `step`: model, optimiser, scaler, data position.

        Raises UserError where the checkpoint does not belong to this configuration or these id maps.
        """
        path = checkpoint_path(Path(self.config.train.path.ckpt_path), step)
        content = read_checkpoint(path)
        if content.config is not None:
            _check_same(path, "model", content.config["model"], self.config.to_dict()["model"], ignore="vocoder")
            for name, saved, own in (
                ("speakers", content.speakers, self.ids.speakers),
                ("emotions", content.emotions, self.ids.emotions),
                ("symbols", dict.fromkeys(content.symbols), dict.fromkeys(self.symbols)),
            ):
                _check_same(path, name, saved, own)
        load_weights(self.model, content.model, path)
        if content.config is not None:
            try:
                self.optimizer.load_state_dict(content.optimizer)
            except (ValueError, KeyError) as error:
                raise UserError(f"{path}: its optimiser state does not fit: {error}") from error
            if self.scaler.is_enabled() and content.scaler:
                self.scaler.load_state_dict(content.scaler)
            self.sampler.resume(Position(**content.sampler))
        self.step = self._first_step = step

    def save(self) -> Path:
        """Write the checkpoint of the present step."""
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
            ),
        )


def _check_lengths(dataset: UtteranceDataset, limit: int) -> None:
    for entry, phones in zip(dataset.entries, dataset.phones, strict=True):
        if len(phones) > limit:
            raise UserError(
                f"{entry.name} has {len(phones)} phones, more than model.max_seq_len {limit}: raise it "
                f"(--set model.max_seq_len={len(phones)}) or leave the utterance out of train.txt"
            )


def _check_same(path: Path, name: str, saved: dict[str, Any], own: dict[str, Any], ignore: str = "") -> None:
    differing = sorted(
        key for key in {*saved, *own} if key != ignore and saved.get(key, "absent") != own.get(key, "absent")
    )
    if differing:
        key = differing[0]
        raise UserError(
            f"{path} was trained with other {name}: {key} is {saved.get(key, 'absent')} there and "
            f"{own.get(key, 'absent')} here; use its settings, or start anew with --from_scratch"
        )
