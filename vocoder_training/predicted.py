"""Fine-tuning: mels as the acoustic model predicts them, frame by frame beside the recordings."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from acoustic import LoadedModel, load_model
from audio.mel import MelSpectrogram
from audio.trim import loud_span
from config import Config
from dataset import collate, open_dataset
from errors import UserError
from preprocessor.spoken import UnusableError, by_textgrid
from training.processes import Process
from training.validation import run_model
from utils.cli import progress_interval
from vocoder_training.data import Data, MelsOf
from vocoder_training.recordings import Recordings

BATCH = 16  # utterances predicted at once
ALIKE = 0.1  # mean distance in log-mel within which features are those of the recording


def with_predicted_mels(data: Data, config: Config, step: int | str, textgrids: Path, process: Process) -> Data:
    """`data` with the mels that checkpoint `step` of the acoustic model predicts for the durations in `textgrids`.

    Raises UserError where there is no such checkpoint, or features that do not belong to the recordings.
    """
    loaded = load_model(config, step, process.device)
    train, val = (
        _predict(recordings, metadata, data.front_end, config, loaded, textgrids, process.is_first)
        for recordings, metadata in ((data.train, "train.txt"), (data.val, "val.txt"))
    )
    return replace(data, train_mels=train, val_mels=val)


def _predict(
    recordings: Recordings,
    metadata: str,
    front_end: MelSpectrogram,
    config: Config,
    loaded: LoadedModel,
    textgrids: Path,
    shown: bool,
) -> MelsOf:
    grids = textgrids if loaded.config.model.alignment == "textgrid" else None
    dataset = open_dataset(loaded.config, metadata, loaded.ids)
    starts = [_start(recordings, index, grids, front_end) for index in range(len(recordings))]
    for index in (0, len(recordings) - 1):
        _check(recordings, index, starts[index], dataset[index].mel, front_end)
    order = sorted(range(len(dataset)), key=lambda index: dataset.lengths[index])
    mels: dict[int, np.ndarray] = {}
    device = next(loaded.model.parameters()).device
    bar = tqdm(total=len(order), desc=f"mels of {metadata}", disable=not shown, mininterval=progress_interval())
    with bar, torch.inference_mode():
        for first in range(0, len(order), BATCH):
            chosen = order[first : first + BATCH]
            batch = collate([dataset[index] for index in chosen]).to(device)
            predicted = run_model(loaded.model, batch).mels[-1].float().cpu().numpy()
            for row, index in enumerate(chosen):
                mels[index] = predicted[row, : dataset.lengths[index]].copy()
            bar.update(len(chosen))
    return lambda index, real: (dataset[index].mel if real else mels[index], starts[index])


def _start(recordings: Recordings, index: int, textgrids: Path | None, front_end: MelSpectrogram) -> int:
    """The sample at which preprocess.py cut the recording: the centre of its features' first frame."""
    recording, entry = recordings[index], recordings.entries[index]
    if textgrids is None:
        return loud_span(recording.cut(0, len(recording.samples)), front_end.sampling_rate)[0]
    path = textgrids / entry.speaker / f"{entry.name}.TextGrid"
    try:
        return by_textgrid(path, len(recording.samples), front_end.sampling_rate, front_end.hop_length).start
    except UnusableError as error:
        raise UserError(
            f"{error.detail}; fine-tuning needs the alignments that preprocess.py used (--textgrids)"
        ) from error


def _check(recordings: Recordings, index: int, start: int, mel: np.ndarray, front_end: MelSpectrogram) -> None:
    """Raise UserError unless the recording has the stored mel from `start` on."""
    edge = front_end.filter_length
    size = (len(mel) - 1) * front_end.hop_length + 1
    wav = torch.from_numpy(recordings[index].cut(start - edge, size + 2 * edge))[None]
    own = front_end(wav)[0][0].numpy()
    inner = slice(2, max(3, len(mel) - 2))  # at the ends preprocess.py mirrored
    first = edge // front_end.hop_length
    distance = float(np.abs(own[first : first + len(mel)][inner] - mel[inner]).mean())
    if edge % front_end.hop_length == 0 and distance > ALIKE:
        raise UserError(
            f"the features of {recordings.entries[index].name} are not those of {recordings.paths[index]} "
            f"(their mels differ by {distance:.2f} on average); run preprocess.py again"
        )
