"""One utterance by all systems -> every number about it; and what is kept of all real recordings. Done by workers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from errors import UserError
from evaluation import emotion_judge, similarity, words
from evaluation.metrics import PROSODY, Values, compare, prosody, timing
from evaluation.recordings import read_recording
from evaluation.systems import REAL, Spoken
from evaluation.world import Analysis, FrontEnd, analyse
from text import SILENCES
from utils.metadata import Entry

Vector = npt.NDArray[np.float32]
PRELOAD = ("numpy", "torch", "soxr", "soundfile")


@dataclass(frozen=True)
class Tools:
    """What is installed, and the recogniser's words."""

    world: bool
    voices: bool
    vocabulary: tuple[str, ...]  # empty: no recognition


@dataclass(frozen=True)
class Task:
    """One utterance for a worker."""

    entry: Entry
    spoken: dict[str, Spoken]  # by system; REAL is among them
    front: FrontEnd
    tools: Tools


@dataclass(frozen=True)
class Row:
    """One utterance by one system."""

    system: str
    entry: Entry
    values: Values
    features: Vector | None  # for the judge of emotions
    embedding: Vector | None  # [256]
    words: int  # spoken
    heard: str | None  # what was understood
    facts: dict[str, str] = field(default_factory=dict)  # kind of group -> which; filled in later
    emotion: str | None = None  # as judged; filled in later


def measure(task: Task) -> list[Row]:
    """The rows of one utterance."""
    real = analyse(task.spoken[REAL].wav, task.front)
    return [_row(task, system, spoken, real) for system, spoken in task.spoken.items()]


def _row(task: Task, system: str, spoken: Spoken, real: Analysis) -> Row:
    other = real if system == REAL else analyse(spoken.wav, task.front)
    values = compare(real, other) | prosody(other)
    values |= timing(spoken_phones(task.entry), other.seconds, spoken.durations, task.spoken[REAL].durations)
    said, heard = words.words_of(task.entry.text), None
    if task.tools.vocabulary and said:
        heard = words.recognise(spoken.wav, task.front.sampling_rate, task.tools.vocabulary)
        values["word_accuracy"] = 1.0 - words.word_errors(said, heard) / len(said)
    features, embedding = describe(spoken.wav, other, task.front, task.tools)
    shown = None if heard is None else " ".join(heard)
    return Row(system, task.entry, values, features, embedding, len(said), shown)


def describe(
    wav: npt.NDArray[np.float32], analysis: Analysis, front: FrontEnd, tools: Tools
) -> tuple[Vector | None, Vector | None]:
    """Features for the judge of emotions, speaker embedding. The judge's pitch is DIO's, whatever the metrics' is."""
    if front.pitch != "dio":
        analysis = analyse(wav, replace(front, pitch="dio"), envelope=False)
    features = emotion_judge.features(analysis) if analysis.f0 is not None else None
    return features, similarity.embed(wav, front.sampling_rate) if tools.voices else None


@dataclass(frozen=True)
class Known:
    """One real recording for a worker."""

    entry: Entry
    raw: Path
    features: Path
    front: FrontEnd
    tools: Tools


def know(task: Known) -> tuple[Vector, Vector, Vector] | None:
    """Features and embedding as `describe`, empty where it has none, and prosody in the order of PROSODY, NaN where it
    is undefined; None where the recording cannot be used."""
    try:
        recording = read_recording(task.entry, task.raw, task.features, task.front)
    except UserError:
        return None
    analysis = analyse(recording.wav, task.front, envelope=False)
    features, embedding = describe(recording.wav, analysis, task.front, task.tools)
    values = prosody(analysis) | {"rate": spoken_phones(task.entry) / analysis.seconds}
    numbers = (values[name] for name in PROSODY)
    none = np.zeros(0, dtype=np.float32)
    return (
        none if features is None else features,
        none if embedding is None else embedding,
        np.array([np.nan if number is None else number for number in numbers], dtype=np.float32),
    )


def spoken_phones(entry: Entry) -> int:
    """Phones without pauses."""
    return sum(phone not in SILENCES for phone in entry.phones)


def usable(entries: Sequence[Entry], raw: Path) -> list[Entry]:
    """Those that have a recording."""
    return [entry for entry in entries if (raw / entry.speaker / f"{entry.name}.wav").is_file()]
