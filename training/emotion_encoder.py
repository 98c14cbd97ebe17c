"""Trains what hears emotions alone, in a model whose other weights stay, and tells how well it hears strangers."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from acoustic import LoadedModel, load_model, mel_centres, new_model
from config import Config, from_dict
from dataset import UNLABELLED, UtteranceDataset, choose_unlabelled, collate, open_dataset
from errors import UserError
from model import AcousticModel
from model.emotion import EmotionEncoder
from training.reference_augmentation import ReferenceAugmenter
from training.sampler import LengthBucketSampler
from utils.checkpoint import read_checkpoint, write_checkpoint
from utils.metadata import read_metadata

FITTED = ("emotion.reference_encoder.", "emotion.tokens.query.", "emotion.intensity.")
BATCH = 32
PEAK_RATE = 2e-3  # falls to 0 along half a cosine
WEIGHT_DECAY = 1e-2
# The shares that a trained classifier gives are its doubts, and speech with shares of several emotions is heard as none
# of them. Twice the scores: 53% -> 59% of RAVDESS's held-out utterances, spoken anew from themselves, are judged right.
DECISIVENESS = 2.0


@dataclass(frozen=True)
class Heard:
    """How many emotions were named rightly."""

    right: int
    utterances: int

    def __add__(self, other: Heard) -> Heard:
        return Heard(self.right + other.right, self.utterances + other.utterances)

    def __str__(self) -> str:
        return f"{self.right / max(1, self.utterances):.1%} of {self.utterances}"


class EmotionEncoderFit:
    """A trained model beside the data it was trained on.

    Its encoder is made anew as `config.model.emotion_token_layer` says, which may be another kind than the model had,
    and trained by the labels of `train.txt` that training was allowed to see, its inputs changed as
    `config.train.emotion.augment` says. Raises UserError where there is no such checkpoint, or where the data does not
    belong to it.
    """

    def __init__(self, config: Config, step: int | str, device: torch.device) -> None:
        self.loaded: LoadedModel = load_model(config, step, device)
        self.content = read_checkpoint(self.loaded.path)
        if self.content.config is None:
            raise UserError(f"{self.loaded.path} is a published checkpoint; an emotion encoder needs one of train.py")
        self.device = device
        self.config = _with_encoder(self.loaded.config, config)
        entries = read_metadata(Path(config.preprocess.path.preprocessed_path) / "train.txt")
        withheld = choose_unlabelled(entries, self.loaded.config, self.loaded.ids)
        self.train_set = open_dataset(self.loaded.config, "train.txt", self.loaded.ids, withheld)
        self.val_set = open_dataset(self.loaded.config, "val.txt", self.loaded.ids)
        if len(self.train_set.unlabelled) == len(self.train_set):
            raise UserError(
                f"{self.train_set.root / 'train.txt'} names no emotion that may be used; there is nothing to learn from"
            )

    def write(self, steps: int, advance: Callable[[int], object]) -> tuple[Path, Heard]:
        """Train for `steps` batches and rewrite the checkpoint; how well it hears `val.txt`. `advance` is called with
        the number of batches done."""
        model = self._train(range(len(self.train_set)), steps, advance)
        heard = self._judge(model.emotion, self.val_set, range(len(self.val_set)))
        fitted = {name: value.cpu() for name, value in model.state_dict().items() if name.startswith(FITTED)}
        described = from_dict(self.content.config or {}, str(self.loaded.path))
        path = write_checkpoint(
            self.loaded.path.parent,
            replace(
                self.content,
                config=_with_encoder(described, self.config).to_dict(),
                model=_without(self.content.model) | fitted,
                running=_without(self.content.running) | fitted if self.content.running else {},
                optimizer={},  # it knows other weights' slopes: training goes on with a fresh one
                scaler={},
                sampler={},
            ),
        )
        return path, heard

    def strangers(self, folds: int, steps: int, advance: Callable[[int], object]) -> Iterator[tuple[Heard, Heard]]:
        """Every `folds`-th speaker is left out of training in turn: how well utterances of `val.txt` by the other
        speakers are heard, and all utterances of those left out. Nothing is written.

        Raises UserError where there are fewer speakers than folds.
        """
        speakers = sorted(set(self.train_set.speakers))
        if len(speakers) < folds:
            raise UserError(f"{folds} parts of {len(speakers)} speakers; --cross_validate takes 2 to {len(speakers)}")
        for fold in range(folds):
            out = set(speakers[fold::folds])
            inside = [row for row, speaker in enumerate(self.train_set.speakers) if speaker not in out]
            encoder = self._train(inside, steps, advance).emotion
            sets = (self.train_set, self.val_set)
            known = [row for row, speaker in enumerate(self.val_set.speakers) if speaker not in out]
            unknown = [
                self._judge(encoder, each, [row for row, speaker in enumerate(each.speakers) if speaker in out])
                for each in sets
            ]
            yield self._judge(encoder, self.val_set, known), unknown[0] + unknown[1]

    def _train(self, rows: Sequence[int], steps: int, advance: Callable[[int], object]) -> AcousticModel:
        torch.manual_seed(self.config.train.seed)
        model = new_model(self.config, self.loaded.ids)
        model.load_state_dict(model.state_dict() | _without(self.loaded.model.state_dict()))
        model.to(self.device).eval().requires_grad_(False)
        emotion = model.emotion
        parameters = [value for name, value in model.named_parameters() if name.startswith(FITTED)]
        for parameter in parameters:
            parameter.requires_grad_(True)
        emotion.train()
        augmenter = ReferenceAugmenter(self.config.train.emotion.augment, mel_centres(self.config.preprocess))
        optimizer = torch.optim.AdamW(parameters, weight_decay=WEIGHT_DECAY)
        sampler = LengthBucketSampler([self.train_set.lengths[row] for row in rows], BATCH, self.config.train.seed)
        for step, chosen in enumerate(islice(sampler, steps)):
            for group in optimizer.param_groups:
                group["lr"] = PEAK_RATE * (1 + math.cos(math.pi * step / steps)) / 2
            batch = collate([self.train_set[rows[index]] for index in chosen])
            change = augmenter.draw(batch.mel_lengths)
            batch = batch.to(self.device)
            batch = change(batch) if change else batch
            assert batch.reference_mels is not None
            heard = emotion.reference_encoder(batch.reference_mels, batch.reference_lengths)
            loss = _cross_entropy(emotion.tokens.logits(heard), batch.emotions)
            if emotion.intensities is not None and batch.intensities is not None:
                loss = loss + _cross_entropy(emotion.intensity(heard), batch.intensities)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            advance(1)
        with torch.no_grad():
            emotion.tokens.query.weight.mul_(DECISIVENESS)
            if emotion.intensities is not None:
                for parameter in emotion.intensity.parameters():
                    parameter.mul_(DECISIVENESS)
        return model.eval()

    @torch.inference_mode()
    def _judge(self, encoder: EmotionEncoder, dataset: UtteranceDataset, rows: Sequence[int]) -> Heard:
        right = count = 0
        ordered = sorted(rows, key=lambda row: dataset.lengths[row])
        for start in range(0, len(ordered), BATCH):
            batch = collate([dataset[row] for row in ordered[start : start + BATCH]]).to(self.device)
            assert batch.reference_mels is not None
            heard = encoder.reference_encoder(batch.reference_mels, batch.reference_lengths)
            named, labelled = encoder.tokens.logits(heard).argmax(-1), batch.emotions != UNLABELLED
            right += int(((named == batch.emotions) & labelled).sum())
            count += int(labelled.sum())
        return Heard(right, count)


def _with_encoder(trained: Config, wanted: Config) -> Config:
    """The configuration of the trained model, with the emotion encoder and its augmentation of `wanted`."""
    layer, augment = wanted.model.emotion_token_layer, wanted.train.emotion.augment
    emotion = trained.train.emotion.model_copy(update={"augment": augment})
    return trained.model_copy(
        update={
            "model": trained.model.model_copy(update={"emotion_token_layer": layer}),
            "train": trained.train.model_copy(update={"emotion": emotion}),
        }
    )


def _without(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: value for name, value in state.items() if not name.startswith(FITTED)}


def _cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    labelled = (labels != UNLABELLED).sum().clamp(min=1)
    return F.cross_entropy(logits.float(), labels, ignore_index=UNLABELLED, reduction="sum") / labelled
