"""What a model learned to align while training, written as TextGrids. `align.py --aligner learned` uses it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from acoustic import LoadedModel, mel_spectrogram
from errors import UserError
from preprocessor.align_corpus import load_recording, unusable
from preprocessor.align_tasks import Task
from preprocessor.spoken import UnusableError, by_text, reader
from preprocessor.textgrid_writer import Interval, whole_microseconds, write_textgrid
from text import SILENCES, phones_to_ids
from text.words import Word, phones_of


@dataclass(frozen=True)
class Part:
    """The spoken part of a recording."""

    words: tuple[Word, ...]
    start: float  # seconds
    end: float
    duration: float  # of the whole recording


class LearnedAligner:
    """One model's aligner at work. Raises UserError where the model has none."""

    def __init__(self, loaded: LoadedModel, lexicon_path: str | None, device: torch.device) -> None:
        if loaded.model.aligner is None:
            raise UserError(
                f"{loaded.path} was trained with durations from TextGrids and cannot align; train with "
                "--set model.alignment=learned, or use another --aligner"
            )
        self.aligner = loaded.model.aligner
        self.device = device
        preprocessing = loaded.config.preprocess.preprocessing
        self.rate, self.hop = preprocessing.audio.sampling_rate, preprocessing.stft.hop_length
        self.languages = preprocessing.text.languages
        self.lexicon_path = lexicon_path
        self.mel = mel_spectrogram(loaded.config).to(device)

    def align_all(self, tasks: Sequence[Task]) -> Iterator[tuple[Task, str | None]]:
        """Write the TextGrids of `tasks`, each beside the reason why there is none."""
        for task in tasks:
            task.textgrid_path.unlink(missing_ok=True)  # what fails now must not keep its former boundaries
            yield task, self._align(task)

    def _align(self, task: Task) -> str | None:
        try:
            wav, rate = load_recording(task)
            reason = unusable(task, wav) or self._foreign(task, rate)
            if reason is None:
                words = tuple(reader(task.language, self.lexicon_path)(task.text))
                spoken = by_text(task.wav_path, task.text, task.language, self.lexicon_path, wav, rate, self.hop)
                part = Part(words, spoken.start / rate, spoken.end / rate, whole_microseconds(len(wav), rate))
                write(task, part, self._durations(spoken.phones, wav[spoken.start : spoken.end]))
        except UnusableError as error:
            return error.detail
        except UserError as error:
            return str(error)
        return reason

    def _foreign(self, task: Task, rate: int) -> str | None:
        if rate != self.rate:
            return f"{task.wav_path} has {rate} Hz, but the model was trained on {self.rate} Hz; run prepare_align.py"
        if task.language not in self.languages:
            return f"this is {task.language}, and the model learned {', '.join(self.languages)}"
        return None

    @torch.inference_mode()
    def _durations(self, phones: Sequence[str], wav: npt.NDArray[np.float32]) -> list[int]:
        """Frames of each phone in wav [samples]."""
        mels, _ = self.mel(torch.from_numpy(wav)[None].to(self.device))
        ids = torch.tensor([phones_to_ids(phones)], device=self.device)
        lengths = (torch.tensor([size], device=self.device) for size in (ids.shape[1], mels.shape[1]))
        phone_lengths, mel_lengths = lengths
        durations: list[int] = self.aligner(ids, phone_lengths, mels, mel_lengths).durations[0].tolist()
        return durations


def write(task: Task, part: Part, durations: Sequence[int]) -> None:
    """Write the TextGrid. durations: frames of every phone and of the silence at either end, evenly over the part."""
    ends = np.cumsum(durations)
    times = np.round(part.start + (part.end - part.start) * np.concatenate(([0], ends)) / ends[-1], 6)
    times = np.minimum(times, part.duration)
    words, phones, index = [], [], 1  # behind the silence at the start
    for word in part.words:
        if not word.phones:
            continue
        first = index
        for phone in word.phones:
            if phone not in SILENCES:  # the writer fills gaps
                phones.append(Interval(float(times[index]), float(times[index + 1]), phone))
            index += 1
        if any(phone not in SILENCES for phone in word.phones):
            words.append(Interval(float(times[first]), float(times[index]), word.text.lower()))
    assert index + 1 == len(durations) == len(phones_of(part.words)) + 2
    write_textgrid(task.textgrid_path, words, phones, part.duration)
