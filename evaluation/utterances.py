"""Per-utterance errors of teacher-forced outputs, and their means over groups."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from dataset import Batch
from model import ModelOutput
from utils.metadata import NO_EMOTION, IdMaps


@dataclass(frozen=True)
class UtteranceErrors:
    name: str
    speaker: str
    emotion: str  # "none": unlabelled
    heard: str  # what the soft token's classifier takes the recording for
    frames: int
    mel_mae: float  # mean absolute error per bin of the last decoder block's log-mel
    level_error: float  # mean of predicted minus target log-mel: above 0 = too loud
    phone_error_ms: float  # mean absolute duration error per phone
    length_ratio: float  # predicted over true duration of the whole utterance


@dataclass(frozen=True)
class Group:
    """Means over the utterances of one emotion or one speaker."""

    utterances: int
    mel_mae: float
    level_error: float
    phone_error_ms: float
    length_ratio: float
    emotion_accuracy: float | None  # over the labelled ones; None where there are none


def measure(batch: Batch, output: ModelOutput, ids: IdMaps, milliseconds: float) -> list[UtteranceErrors]:
    """Errors of one batch; `milliseconds` is the length of a frame."""
    speakers, emotions = _names(ids.speakers), _names(ids.emotions)
    assert output.emotion_logits is not None
    heard = output.emotion_logits.argmax(-1).tolist()
    difference = output.mels[-1].float() - batch.mels
    predicted = (torch.exp(output.log_durations.float()) - 1.0).clamp(min=0).masked_fill(output.text_mask, 0.0)
    bins = batch.mel_lengths * batch.mels.shape[2]
    mae = difference.abs().sum((1, 2)) / bins
    level = difference.sum((1, 2)) / bins
    phone = (predicted - output.durations).abs().sum(1) / batch.phone_lengths * milliseconds
    ratio = predicted.sum(1) / output.durations.sum(1)
    return [
        UtteranceErrors(
            name,
            speakers[int(batch.speakers[row])],
            emotions[emotion] if (emotion := int(batch.emotions[row])) >= 0 else NO_EMOTION,
            emotions[heard[row]],
            int(batch.mel_lengths[row]),
            *(_number(values, row) for values in (mae, level, phone, ratio)),
        )
        for row, name in enumerate(batch.names)
    ]


def _number(values: Tensor, row: int) -> float:
    return float(values[row])


def _names(numbers: dict[str, int]) -> list[str]:
    return sorted(numbers, key=lambda name: numbers[name])


def group_by(utterances: Iterable[UtteranceErrors], key: Callable[[UtteranceErrors], str]) -> dict[str, Group]:
    """Means over the utterances that share a key, keys sorted."""
    groups: dict[str, list[UtteranceErrors]] = {}
    for utterance in utterances:
        groups.setdefault(key(utterance), []).append(utterance)
    return {name: summarise(groups[name]) for name in sorted(groups)}


def summarise(utterances: list[UtteranceErrors]) -> Group:
    """Means over utterances, each weighing the same."""

    def mean(value: Callable[[UtteranceErrors], float]) -> float:
        return round(sum(map(value, utterances)) / len(utterances), 4)

    right = [float(u.heard == u.emotion) for u in utterances if u.emotion != NO_EMOTION]
    return Group(
        utterances=len(utterances),
        mel_mae=mean(lambda u: u.mel_mae),
        level_error=mean(lambda u: u.level_error),
        phone_error_ms=mean(lambda u: u.phone_error_ms),
        length_ratio=mean(lambda u: u.length_ratio),
        emotion_accuracy=round(sum(right) / len(right), 4) if right else None,
    )


def confusion(utterances: Iterable[UtteranceErrors], emotions: list[str]) -> list[list[int]]:
    """Counts [true, heard] of the labelled ones, both in the order of `emotions`."""
    table = [[0] * len(emotions) for _ in emotions]
    for utterance in utterances:
        if utterance.emotion == NO_EMOTION:
            continue
        table[emotions.index(utterance.emotion)][emotions.index(utterance.heard)] += 1
    return table
