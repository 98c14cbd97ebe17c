"""Losses and emotion accuracy over a whole set, with true (or aligned) durations and no dropout."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from dataset import Batch, UtteranceDataset, collate
from model import AcousticModel, LossCounts, Losses, LossSums, ModelOutput, Prosody, TrainingLoss
from training.precision import Precision


@dataclass(frozen=True)
class Validation:
    losses: Losses  # exact means over the set, whatever the batches
    emotion_accuracy: float | None  # of the soft token's classifier, over labelled utterances; None: there are none


def batches_by_length(dataset: UtteranceDataset, batch_size: int) -> DataLoader[Batch]:
    """Every utterance once, similar lengths together, always in the same order."""
    order = sorted(range(len(dataset)), key=lambda index: (dataset.lengths[index], dataset.entries[index].name))
    batches = [order[start : start + batch_size] for start in range(0, len(order), batch_size)]
    return DataLoader(dataset, batch_sampler=batches, collate_fn=collate)  # type: ignore[arg-type]


@torch.inference_mode()
def predictions(
    model: AcousticModel, loader: DataLoader[Batch], precision: Precision, device: torch.device
) -> Iterator[tuple[Batch, ModelOutput]]:
    """Teacher-forced outputs, with every decoder block's mel so that losses compare with those of training."""
    model.eval()
    for batch in loader:
        batch = batch.to(device)
        with precision.autocast(device):
            yield batch, run_model(model, batch, every_block=True)


def run_model(
    model: torch.nn.Module,
    batch: Batch,
    use_soft_token: Tensor | None = None,
    every_block: bool | None = None,
    own_prosody: bool = True,
) -> ModelOutput:
    """Forward pass with the batch's own mels as emotion reference, its own prosody unless the model's is wanted, and
    its own durations or those the model finds."""
    output: ModelOutput = model(
        batch.phones,
        batch.phone_lengths,
        batch.speaker_input,
        emotions=batch.emotions,
        reference_mels=batch.reference_mels,
        reference_lengths=batch.reference_lengths,
        use_soft_token=use_soft_token,
        intensities=batch.intensities,
        prosody=true_prosody(batch) if own_prosody else None,
        durations=batch.durations,
        align_mels=batch.mels if batch.durations is None else None,
        align_lengths=batch.mel_lengths if batch.durations is None else None,
        mel_length=batch.mels.shape[1],
        every_block=every_block,
    )
    return output


def true_prosody(batch: Batch) -> Prosody | None:
    """That of the recordings, where their pitch was asked for."""
    return None if batch.pitches is None else Prosody.of(batch.pitches, batch.mels)


def correct_emotions(output: ModelOutput, batch: Batch) -> Tensor:
    """Number of labelled utterances whose emotion the classifier names rightly."""
    assert output.emotion_logits is not None
    return ((output.emotion_logits.argmax(-1) == batch.emotions) & (batch.emotions >= 0)).sum()


def validate(
    model: AcousticModel,
    loader: DataLoader[Batch],
    loss: TrainingLoss,
    precision: Precision,
    device: torch.device,
) -> Validation:
    """Run the whole set; the model comes back in the mode it had."""
    was_training = model.training
    sums: LossSums | None = None
    counts = torch.zeros(5, device=device)
    correct = torch.zeros((), device=device)
    for batch, output in predictions(model, loader, precision, device):
        part = loss.sums(output, batch.mels, output.durations, batch.emotions, true_prosody(batch), batch.intensities)
        sums = part if sums is None else sums + part
        counts += LossCounts.of(batch.mel_lengths, batch.phone_lengths, batch.emotions).stacked()
        correct += correct_emotions(output, batch)
    model.train(was_training)
    assert sums is not None
    total = LossCounts.from_stacked(counts)
    return Validation(loss.combine(sums, total), float(correct / total.labelled) if total.labelled > 0 else None)
