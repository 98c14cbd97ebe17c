"""The files that concern the corpus as a whole: lists, ids, statistics, speakers. Drawn from features.jsonl and the
corpus's facts in a few passes, of which none holds more than one utterance at a time."""

from __future__ import annotations

import base64
import json
import os
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import numpy.typing as npt

from errors import UserError
from preprocessor.builder import FOLDERS, current
from preprocessor.embedding_plot import choose_points, plot_speakers
from preprocessor.facts import Facts
from preprocessor.features import duration_name, mel_name, pitch_name
from preprocessor.outputs import write_array
from preprocessor.plan import Plan, digest_of, refuse_without_labels
from preprocessor.records import Features, Skipped
from preprocessor.sources import Key
from preprocessor.split import Chooser, Test
from preprocessor.statistics import Statistics
from utils.arrays import load_array
from utils.files import atomic_path, write_json, write_text
from utils.metadata import NO_EMOTION, IdMaps, metadata_line

LETTERS = {"male": "M", "female": "F", None: "?"}


@dataclass(frozen=True)
class Summary:
    """What a run came to."""

    kept: int
    seconds: float  # of aligned speech
    train: int
    val: int
    longest: int  # frames
    skipped: Mapping[str, int]  # kind -> how many
    given: bool  # val.txt was given
    given_missing: Sequence[str]  # names in the given val.txt that are not among the kept utterances


def finish(made: Plan) -> Summary:
    """Write everything that concerns the corpus as a whole, train.txt last. The features are complete.

    Raises UserError when no utterance can be used or the split cannot be made of those that can.
    """
    output = made.output
    statistics, chooser, present = Statistics(made.config), made.chooser(), array("Q")
    skipped = _look_through(made, statistics, chooser, present)
    write_json_list(output / "skipped.json", skipped)
    if statistics.longest is None:
        count, reason = sum(statistics.skipped.values()), statistics.first_reason
        raise UserError(f"none of the {count} utterances can be used; the first: {reason}")
    if set(statistics.emotions) == {NO_EMOTION}:
        refuse_without_labels(output / "skipped.json")
    val = _write_lists(made, statistics, chooser.choose(), present)
    return Summary(
        kept=statistics.kept,
        seconds=statistics.frames * statistics.seconds_per_frame,
        train=statistics.kept - val,
        val=val,
        longest=statistics.longest.frames,
        skipped=statistics.skipped,
        given=made.given is not None,
        given_missing=chooser.missing(),
    )


def _outcomes(made: Plan) -> Iterator[tuple[Facts, Features | Skipped, Key]]:
    for source, line in current(made):
        if line is not None:
            yield source.facts, line.outcome(), line.key


def _look_through(
    made: Plan, statistics: Statistics, chooser: Chooser, present: array[int]
) -> Iterator[dict[str, str]]:
    """Show everything to those who count; yield the items of skipped.json."""
    for facts, outcome, (speaker, name) in _outcomes(made):
        statistics.add(outcome, facts)
        if isinstance(outcome, Skipped):
            yield {"speaker": speaker, "name": name, "kind": outcome.kind, "reason": outcome.detail}
        else:
            chooser.see((speaker, name), facts)
            present.append(_mark(mel_name(speaker, name)))
            if made.settings.aligned:
                present.append(_mark(duration_name(speaker, name)))
            if made.settings.pitched:
                present.append(_mark(pitch_name(speaker, name)))


def _write_lists(made: Plan, statistics: Statistics, validates: Test, present: array[int]) -> int:
    """Everything but skipped.json, train.txt last; how many validate.

    stats.json says which val.txt is of our making. Between the two neither may mislead a run that follows a kill:
    until the new list takes its place, there is none, or one with just the names that were given.
    """
    output, val = made.output, made.output / "val.txt"
    count, number = 0, 0
    speakers = Speakers(made, statistics)
    with atomic_path(output / "train.txt") as train_path, atomic_path(val) as val_path:
        with _text(train_path) as train_file, _text(val_path) as val_file:
            for facts, outcome, key in _outcomes(made):
                if isinstance(outcome, Features):
                    held = validates(number, key, facts)
                    (val_file if held else train_file).write(metadata_line(outcome.entry))
                    speakers.add(outcome)
                    count += held
                    number += 1
        speakers.write()
        _remove_stale(made, statistics, present)
        emotions = (name for name in statistics.emotions if name != NO_EMOTION)
        IdMaps.of(statistics.speakers, emotions).save(output)
        if made.given is None:
            val.unlink(missing_ok=True)
        else:
            write_text(val, "".join(f"{name}\n" for name in made.given))
        split = {"val_sha256": digest_of(val_path), "given_val": made.given}
        write_json(output / "stats.json", statistics.as_json(count, split))
    return count


def _text(path: Path) -> TextIO:
    return path.open("w", encoding="utf-8", newline="\n")


class Speakers:
    """speaker-info.txt, spker_embed/ and the t-SNE plot, from utterances that are shown one by one."""

    def __init__(self, made: Plan, statistics: Statistics) -> None:
        self._made, self._statistics = made, statistics
        self._points = {speaker: set(numbers) for speaker, numbers in choose_points(statistics.speakers).items()}
        self._vectors: list[npt.NDArray[np.float32]] = []
        self._owners: list[str] = []
        self._seen: Counter[str] = Counter()
        self._means = SpeakerMeans(made.output)

    def add(self, kept: Features) -> None:
        """Count an utterance in; those of a speaker follow one another."""
        speaker, vector = kept.entry.speaker, None
        if kept.embedding is not None:
            vector = np.frombuffer(base64.b64decode(kept.embedding), dtype="<f4")
            self._means.add(speaker, vector)
        if self._seen[speaker] in self._points.get(speaker, ()):
            if vector is None:
                vector = load_array(self._made.output / "mel" / mel_name(*kept.entry.key)).mean(axis=0)
            self._vectors.append(vector)
            self._owners.append(speaker)
        self._seen[speaker] += 1

    def write(self) -> None:
        """Write the files."""
        output, sexes = self._made.output, dict(sorted(self._statistics.sexes.items()))
        info = "".join(f"{speaker}|{LETTERS[sex]}\n" for speaker, sex in sexes.items())
        write_text(output / "speaker-info.txt", info)
        self._means.write()
        what = "mean log-mel spectra (no speaker embedder configured)"
        if self._means.any:
            what = f"{self._made.config.preprocessing.speaker_embedder} embeddings"
        vectors, total = np.stack(self._vectors), self._statistics.kept
        plot_speakers(output / "spker_embed_tsne.png", vectors, self._owners, sexes, what, total)


class SpeakerMeans:
    """spker_embed/{speaker}-spker_embed.npy [1, 512], each written when the speaker's utterances are over."""

    def __init__(self, output: Path) -> None:
        self._output = output
        self._speaker: str | None = None
        self._sum: npt.NDArray[np.float32] = np.zeros(0, dtype=np.float32)
        self._count = 0
        self.any = False

    def add(self, speaker: str, embedding: npt.NDArray[np.float32]) -> None:
        """Count in an utterance's vector [512]; those of a speaker follow one another."""
        if speaker != self._speaker:
            self.write()
            self._speaker, self._sum, self._count = speaker, np.zeros_like(embedding), 0
        self._sum = self._sum + embedding
        self._count += 1
        self.any = True

    def write(self) -> None:
        """Write the present speaker's mean."""
        if self._speaker is not None:
            mean = (self._sum / np.float32(self._count))[np.newaxis]
            write_array(self._output / "spker_embed" / f"{self._speaker}-spker_embed.npy", mean)


def _mark(name: str) -> int:
    return int.from_bytes(blake2b(name.encode(), digest_size=8).digest(), "little")


def _remove_stale(made: Plan, statistics: Statistics, present: array[int]) -> None:
    """Remove features that an earlier run wrote for what is no longer used.

    present: the marks of the files that are. Eight bytes each are what memory holds of an utterance.
    """
    if made.settings.embedder_weights is not None:
        present.extend(_mark(f"{speaker}-spker_embed.npy") for speaker in statistics.speakers)
    marks = np.sort(np.frombuffer(present, dtype=np.uint64))
    for folder in FOLDERS:
        with os.scandir(made.output / folder) as entries:
            names = (entry.name for entry in entries if entry.name.endswith(".npy") and entry.name[0] != ".")
            stale = [name for name in names if not _contains(marks, _mark(name))]
        for name in stale:
            (made.output / folder / name).unlink(missing_ok=True)


def _contains(marks: npt.NDArray[np.uint64], mark: int) -> bool:
    place = int(np.searchsorted(marks, np.uint64(mark)))
    return place < len(marks) and int(marks[place]) == mark


def write_json_list(path: Path, items: Iterable[Mapping[str, Any]]) -> None:
    """Like utils.files.write_json of a list, one item at a time."""
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as file:
        separator = "["
        for item in items:
            text = json.dumps(item, ensure_ascii=False, indent=2).replace("\n", "\n  ")
            file.write(f"{separator}\n  {text}")
            separator = ","
        file.write("[]\n" if separator == "[" else "\n]\n")
