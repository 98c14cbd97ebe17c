"""Stronger judges than those that evaluate.py brings along, where the user has installed them.

They are packages of their own, with weights of up to some gigabytes that they fetch at their first use; none is needed.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from importlib import import_module
from importlib.util import find_spec
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import soxr

from errors import UserError
from evaluation.metrics import Values
from evaluation.words import word_errors, words_of
from utils.metadata import ENGLISH, Entry

RATE = 16000  # Hz, of all of them
# a corpus's word -> emotion2vec's, where they differ; what it has no word for is not judged
SAME_EMOTION = {"disgust": "disgusted", "fear": "fearful", "anger": "angry", "happiness": "happy", "sadness": "sad",
                "surprise": "surprised"}  # fmt: skip


class OutsideJudge(ABC):
    """One package: loaded at once, so that what is missing is known before hours of work."""

    package: ClassVar[str]  # what is imported
    install: ClassVar[str]

    def __init__(self, device: str) -> None:
        if find_spec(self.package) is None:
            raise UserError(f"{type(self).__name__} is not installed: {self.install}")
        try:
            self.model = self.load(import_module(self.package), device)
        except Exception as error:  # anything may go wrong in another's package, most often its download
            name = type(self).__name__
            raise UserError(f"{name} could not be loaded ({_line(error)}); mend that, or leave it out") from error

    @abstractmethod
    def load(self, package: Any, device: str) -> Any:
        """Its model, ready to use."""

    @abstractmethod
    def values(self, wav: npt.NDArray[np.float32], entry: Entry) -> Values:
        """What it says of wav [samples] at 16 kHz, which ought to be `entry`; None where that is not its business."""

    def judge(self, wav: npt.NDArray[np.float32], sampling_rate: int, entry: Entry) -> Values:
        """As `values`, of a waveform at any rate. Raises UserError, naming the utterance, where the judge fails."""
        resampled = soxr.resample(np.asarray(wav, dtype=np.float32), sampling_rate, RATE, quality="HQ")
        try:
            return self.values(resampled, entry)
        except Exception as error:
            raise UserError(f"{type(self).__name__} failed at {entry.speaker}/{entry.name} ({_line(error)})") from error


class Whisper(OutsideJudge):
    """Words, by a recogniser that knows sentences (Radford et al. 2022): what a listener would guess, too."""

    package = "whisper"
    install = "pip install openai-whisper"
    name = "base.en"

    def load(self, package: Any, device: str) -> Any:
        return package.load_model(self.name, device=device)

    def values(self, wav: npt.NDArray[np.float32], entry: Entry) -> Values:
        said = words_of(entry.text)
        if entry.language != ENGLISH or not said:
            return {"whisper_words": None}
        heard = self.model.transcribe(wav, language=ENGLISH, temperature=0.0, fp16=False)
        return {"whisper_words": 1.0 - word_errors(said, words_of(heard["text"])) / len(said)}


class Emotion2vec(OutsideJudge):
    """Emotion, by a model of thousands of hours (Ma et al. 2023, emotion2vec+), right or wrong."""

    package = "funasr"
    install = "pip install funasr modelscope"
    name = "iic/emotion2vec_plus_base"

    def load(self, package: Any, device: str) -> Any:
        return package.AutoModel(model=self.name, device=device, disable_update=True)

    def values(self, wav: npt.NDArray[np.float32], entry: Entry) -> Values:
        found = self.model.generate(wav, granularity="utterance", extract_embedding=False, disable_pbar=True)[0]
        labels = [label.rpartition("/")[2] for label in found["labels"]]  # "开心/happy"
        wanted = SAME_EMOTION.get(entry.emotion or "", entry.emotion)
        if wanted not in labels:
            return {"emotion2vec_right": None}
        return {"emotion2vec_right": float(labels[int(np.argmax(found["scores"]))] == wanted)}


class Utmos(OutsideJudge):
    """Naturalness as listeners would rate it, 1 to 5 (Saeki et al. 2022, UTMOS)."""

    package = "utmos_pytorch"
    install = "pip install utmos-pytorch"

    def load(self, package: Any, device: str) -> Any:
        self.device = device
        return package.UTMOSScoreTorch(device=device)

    def values(self, wav: npt.NDArray[np.float32], entry: Entry) -> Values:
        import torch

        with torch.inference_mode():
            return {"utmos": float(self.model.score(torch.from_numpy(wav).to(self.device)).reshape(-1)[0])}


def _line(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0]


JUDGES: dict[str, type[OutsideJudge]] = {"whisper": Whisper, "emotion2vec": Emotion2vec, "utmos": Utmos}
