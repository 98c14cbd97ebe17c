"""What is compared with the recordings: waveforms made from them, and by the model, in several ways."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from acoustic import LoadedModel
from dataset import Batch, UtteranceDataset, collate
from evaluation.recordings import Recording
from model import ModelOutput
from utils.arrays import load_array
from utils.metadata import Entry
from vocoder import Vocoder

REAL = "real"
ABOUT = {
    REAL: "the recordings",
    "copy": "their mel spectrograms through the vocoder: what it costs",
    "griffin_lim": "the same through Griffin-Lim",
    "true_durations": "the model, emotion by label, durations of the recording",
    "predicted": "the model, emotion by label, its own durations",
    "soft_own": "the model, emotion heard in the recording itself, its own durations",
    "soft_other": "the model, emotion heard in another speaker's recording of it, its own durations",
}
BATCH = 16


@dataclass(frozen=True)
class Spoken:
    """One utterance by one system."""

    wav: npt.NDArray[np.float32]  # [samples]
    durations: tuple[float, ...]  # seconds of every phone, pauses among them


class Systems:
    """All of them for the utterances of one data set."""

    def __init__(
        self, loaded: LoadedModel, dataset: UtteranceDataset, references: Sequence[Entry], vocoders: dict[str, Vocoder]
    ) -> None:
        """references: utterances that soft_other chooses from. vocoders: that of "copy" speaks for the model, too."""
        self.loaded, self.dataset, self.vocoders = loaded, dataset, vocoders
        self.device = vocoders["copy"].device
        values = loaded.config.preprocess.preprocessing
        self.frame = values.stft.hop_length / values.audio.sampling_rate  # seconds
        self._by_emotion: dict[str | None, list[Entry]] = {}
        for entry in references:
            self._by_emotion.setdefault(entry.emotion, []).append(entry)

    def speak(self, recordings: Sequence[tuple[int, Recording]]) -> Iterator[tuple[Recording, dict[str, Spoken]]]:
        """Every recording, with its index in the data set, and what each system makes of it; in the order given."""
        for start in range(0, len(recordings), BATCH):
            part = recordings[start : start + BATCH]
            outputs = self._outputs(part)
            for row, (index, recording) in enumerate(part):
                yield recording, self._waves(row, recording, len(self.dataset.phones[index]), outputs)

    def reference_of(self, entry: Entry) -> Entry | None:
        """Another speaker's recording of the emotion, of the same intensity where there is one; always the same."""
        others = [other for other in self._by_emotion.get(entry.emotion, []) if other.speaker != entry.speaker]
        alike = [other for other in others if _intensity(other) == _intensity(entry)]
        if entry.emotion is None or not others:
            return None
        return min(alike or others, key=lambda other: _draw(f"{entry.name}/{other.speaker}/{other.name}"))

    @torch.inference_mode()
    def _outputs(self, part: Sequence[tuple[int, Recording]]) -> dict[str, ModelOutput]:
        batch = collate([self.dataset[index] for index, _ in part]).to(self.device)
        aligned = {"durations": batch.durations}
        if batch.durations is None:
            aligned = {"align_mels": batch.mels, "align_lengths": batch.mel_lengths}
        labels = {"emotions": batch.emotions, "intensities": batch.intensities}
        own = {"reference_mels": batch.mels, "reference_lengths": batch.mel_lengths}
        outputs = {
            "true_durations": self._run(batch, **labels, **own, **aligned),
            "predicted": self._run(batch, **labels, **own),
            "soft_own": self._run(batch, **own),
        }
        entries = [self.reference_of(recording.entry) for _, recording in part]
        if any(entry is not None for entry in entries):
            # where there is none the row's own stands in, and what comes of it is dropped
            mels = [self._mel(entry or part[row][1].entry) for row, entry in enumerate(entries)]
            lengths = torch.tensor([len(mel) for mel in mels])
            padded = torch.nn.utils.rnn.pad_sequence(mels, batch_first=True)
            other = {"reference_mels": padded.to(self.device), "reference_lengths": lengths.to(self.device)}
            outputs["soft_other"] = self._run(batch, **other)
        return outputs

    def _run(self, batch: Batch, **inputs: Tensor | None) -> ModelOutput:
        output: ModelOutput = self.loaded.model(batch.phones, batch.phone_lengths, batch.speaker_input, **inputs)
        return output

    def _mel(self, entry: Entry) -> Tensor:
        path = Path(self.dataset.root) / "mel" / f"{entry.speaker}-mel-{entry.name}.npy"
        return torch.from_numpy(load_array(path))

    def _waves(self, row: int, recording: Recording, phones: int, outputs: dict[str, ModelOutput]) -> dict[str, Spoken]:
        def seconds(output: ModelOutput) -> tuple[float, ...]:
            return tuple(self.frame * frames for frames in output.durations[row, :phones].tolist())

        true = seconds(outputs["true_durations"])
        spoken = {REAL: Spoken(recording.wav, true)}
        mel = torch.from_numpy(recording.mel)
        for name, vocoder in self.vocoders.items():
            spoken[name] = Spoken(_vocode(vocoder, mel), true)
        for name, output in outputs.items():
            if name == "soft_other" and self.reference_of(recording.entry) is None:
                continue
            mel = output.mels[-1][row, : int(output.mel_lengths[row])].float()
            spoken[name] = Spoken(_vocode(self.vocoders["copy"], mel), seconds(output))
        return spoken


def _vocode(vocoder: Vocoder, mel: Tensor) -> npt.NDArray[np.float32]:
    if not len(mel):  # a model that has hardly been trained may predict no duration at all
        return np.zeros(vocoder.hop_length, dtype=np.float32)
    return np.asarray(vocoder(mel[None])[0].numpy(), dtype=np.float32)


def _intensity(entry: Entry) -> str:
    return entry.name.split("-")[1]


def _draw(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def stratified(entries: Sequence[Entry], count: int) -> list[Entry]:
    """`count` of them, or all: every emotion in turn, and of it a speaker who was taken least so far."""
    left: dict[str | None, list[Entry]] = {}
    for entry in sorted(entries, key=lambda entry: _draw(f"{entry.speaker}/{entry.name}")):
        left.setdefault(entry.emotion, []).append(entry)
    used: dict[str, int] = {}
    chosen: list[Entry] = []
    while len(chosen) < min(count, len(entries)):
        for emotion in sorted(left, key=str):
            if left[emotion] and len(chosen) < count:
                entry = min(left[emotion], key=lambda entry: used.get(entry.speaker, 0))
                left[emotion].remove(entry)
                used[entry.speaker] = used.get(entry.speaker, 0) + 1
                chosen.append(entry)
    return sorted(chosen, key=lambda entry: entry.key)
