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
from typing import Any

import numpy as np
import numpy.typing as npt

from errors import UserError
from preprocessor.builder import FOLDERS, current
from preprocessor.embedding_plot import choose_points, plot_speakers
from preprocessor.facts import Facts
from preprocessor.features import duration_path, mel_path
from preprocessor.outputs import write_array
from preprocessor.plan import Plan, digest_of, refuse_without_labels
from preprocessor.records import Features, Skipped
from preprocessor.split import Test
from preprocessor.statistics import Statistics
from utils.files import atomic_path, write_json, write_text
from utils.metadata import NO_EMOTION, Entry, IdMaps, metadata_line, write_metadata

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
    first: Skipped | None = None
    write_json_list(output / "skipped.json", _skipped(made))
    for entry_facts, outcome in _outcomes(made):
        statistics.add(outcome, entry_facts)
        if isinstance(outcome, Skipped):
            first = first or outcome
            continue
        chooser.see(outcome.entry.key, entry_facts)
        present.extend(_marks(made, outcome.entry))
    if statistics.longest is None:
        reason = first.detail if first is not None else "they are gone"
        raise UserError(f"none of the {sum(statistics.skipped.values())} utterances can be used; the first: {reason}")
    if set(statistics.emotions) == {NO_EMOTION}:
        refuse_without_labels(output / "skipped.json")
    validates = chooser.choose()
    _write_speakers(made, statistics)
    _remove_stale(made, statistics, present)
    IdMaps.of(statistics.speakers, (name for name in statistics.emotions if name != NO_EMOTION)).save(output)
    val = _write_val(made, statistics, validates)
    write_metadata(output / "train.txt", _entries(made, validates, False))
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


def _outcomes(made: Plan) -> Iterator[tuple[Facts, Features | Skipped]]:
    for source, record in current(made):
        if record is not None:
            yield source.facts, record.outcome


def _kept(made: Plan) -> Iterator[tuple[int, Facts, Features]]:
    """The usable ones, numbered."""
    number = 0
    for facts, outcome in _outcomes(made):
        if isinstance(outcome, Features):
            yield number, facts, outcome
            number += 1


def _entries(made: Plan, validates: Test, wanted: bool) -> Iterator[Entry]:
    for number, facts, kept in _kept(made):
        if validates(number, kept.entry.key, facts) == wanted:
            yield kept.entry


def _skipped(made: Plan) -> Iterator[dict[str, str]]:
    for source, record in current(made):
        if record is not None and isinstance(record.outcome, Skipped):
            kind, detail = record.outcome.kind, record.outcome.detail
            yield {"speaker": source.speaker, "name": source.name, "kind": kind, "reason": detail}


def _write_val(made: Plan, statistics: Statistics, validates: Test) -> int:
    """val.txt and stats.json; how many validate.

    stats.json says which val.txt is of our making. Between the two writes neither may mislead a run that follows a
    kill: until the new list takes its place, there is none, or one with just the names that were given.
    """
    path = made.output / "val.txt"
    if made.given is None:
        path.unlink(missing_ok=True)
    else:
        write_text(path, "".join(f"{name}\n" for name in made.given))
    count = 0
    with atomic_path(path) as temporary:
        with temporary.open("w", encoding="utf-8", newline="\n") as file:
            for entry in _entries(made, validates, True):
                file.write(metadata_line(entry))
                count += 1
        split = {"val_sha256": digest_of(temporary), "given_val": made.given}
        write_json(made.output / "stats.json", statistics.as_json(count, split))
    return count


def _write_speakers(made: Plan, statistics: Statistics) -> None:
    """speaker-info.txt, spker_embed/ and the t-SNE plot."""
    sexes = dict(sorted(statistics.sexes.items()))
    info = "".join(f"{speaker}|{LETTERS[sex]}\n" for speaker, sex in sexes.items())
    write_text(made.output / "speaker-info.txt", info)
    points = choose_points(statistics.speakers)
    vectors: list[npt.NDArray[np.float32]] = []
    owners: list[str] = []
    seen: Counter[str] = Counter()
    mean = SpeakerMeans(made.output)
    for _, _, kept in _kept(made):
        speaker = kept.entry.speaker
        shown = seen[speaker] in points.get(speaker, ())
        seen[speaker] += 1
        if kept.embedding is not None:
            embedding = np.frombuffer(base64.b64decode(kept.embedding), dtype="<f4")
            mean.add(speaker, embedding)
            if shown:
                vectors.append(embedding)
        elif shown:
            vectors.append(np.load(mel_path(made.output, *kept.entry.key)).mean(axis=0))
        if shown:
            owners.append(speaker)
    mean.write()
    embedder = made.config.preprocessing.speaker_embedder
    what = f"{embedder} embeddings" if mean.any else "mean log-mel spectra (no speaker embedder configured)"
    plot_speakers(made.output / "spker_embed_tsne.png", np.stack(vectors), owners, sexes, what, statistics.kept)


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


def _marks(made: Plan, entry: Entry) -> list[int]:
    """One number per feature file of an utterance."""
    paths = [mel_path(made.output, *entry.key)]
    if made.settings.aligned:
        paths.append(duration_path(made.output, *entry.key))
    return [_mark(path.name) for path in paths]


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
