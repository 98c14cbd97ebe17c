"""What preprocess.py knows of every utterance that it made features of: features.jsonl, a line each.

    {"speaker": "Actor_01", "name": "angry-…", "settings": "5fd1…", "source": [[85410, 17…], …], "language": "en",
     "phones": "K IH1 D Z …", "text": "Kids …", "frames": 90, "mel": [7200, …], "energy": [90, …]}

The next run keeps the features that such a line vouches for: made with the same settings from files of the same size
and modification time, and still there. Lists and statistics are drawn from the lines alone, one at a time, so that
memory does not grow with the corpus.

Nothing that a line vouches for is ever overwritten: a run first takes out the lines that no longer hold, then makes
features, and appends their lines to a journal in the order of the utterances; the journal is merged at the end, or by
the next run after a kill. So a line is true whenever a run is broken off.
"""

from __future__ import annotations

import base64
import heapq
import json
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import groupby
from math import isfinite
from pathlib import Path
from typing import Any

from preprocessor.sources import Key, Source
from utils.files import atomic_path
from utils.metadata import Entry

RECORDS = "features.jsonl"
JOURNAL = "features.unfinished.jsonl"
EMBEDDING_BYTES = 4 * 512


@dataclass(frozen=True)
class Sums:
    """Of many numbers: enough for count, mean, standard deviation and range."""

    count: int
    total: float
    squares: float
    low: float
    high: float


@dataclass(frozen=True)
class Features:
    """What is known of a usable utterance. Its mel spectrogram and durations are on disk."""

    entry: Entry
    frames: int  # = sum of the durations
    mel: Sums
    energy: Sums
    embedding: str | None  # [512] float32, base64


@dataclass(frozen=True)
class Skipped:
    """Why an utterance cannot be used."""

    kind: str  # "no TextGrid"; what the summary counts by
    detail: str  # one line with file and value


@dataclass(frozen=True)
class Record:
    """One line."""

    speaker: str
    name: str
    settings: str  # digest of everything but the utterance's own files
    source: list[list[int] | None]  # bytes and modification time (ns) of recording, text, TextGrid; None: missing
    language: str  # code
    outcome: Features | Skipped

    def line(self) -> str:
        """As JSON, with the line break."""
        values: dict[str, Any] = {"speaker": self.speaker, "name": self.name, "settings": self.settings}
        values |= {"source": self.source, "language": self.language}
        if isinstance(self.outcome, Skipped):
            values["skipped"] = [self.outcome.kind, self.outcome.detail]
        else:
            made = self.outcome
            values |= {"phones": " ".join(made.entry.phones), "text": made.entry.text, "frames": made.frames}
            values |= {name: [s.count, s.total, s.squares, s.low, s.high] for name, s in _sums(made)}
            if made.embedding is not None:
                values["embedding"] = made.embedding
        return json.dumps(values, ensure_ascii=False) + "\n"


def _sums(made: Features) -> Iterable[tuple[str, Sums]]:
    return ("mel", made.mel), ("energy", made.energy)


def parse(line: str) -> Record:
    """ValueError, TypeError or KeyError for what is no such line."""
    try:
        values = json.loads(line)
    except RecursionError as error:
        raise ValueError("brackets in brackets") from error
    speaker, name, language = (_text(values[key]) for key in ("speaker", "name", "language"))
    outcome: Features | Skipped
    if "skipped" in values:
        kind, detail = map(_text, values["skipped"])
        outcome = Skipped(kind, detail)
    else:
        outcome = Features(
            Entry(name, speaker, tuple(_text(values["phones"]).split()), _text(values["text"]), language),
            _frames(values["frames"]),
            _read_sums(values["mel"]),
            _read_sums(values["energy"]),
            _embedding(values.get("embedding")),
        )
    return Record(speaker, name, _text(values["settings"]), values["source"], language, outcome)


def _text(value: object) -> str:
    if type(value) is not str:
        raise TypeError(f"{value!r:.80} is no text")
    value.encode()  # a lone surrogate could not be written to a list
    return value


def _frames(value: object) -> int:
    if type(value) is not int or value < 1:
        raise ValueError(f"{value!r:.80} is no number of frames")
    return value


def _read_sums(values: Any) -> Sums:
    if not isinstance(values, list) or len(values) != 5 or any(type(value) not in (int, float) for value in values):
        raise ValueError(f"{values!r:.80} are no sums")
    count, *rest = values
    if type(count) is not int or count < 1 or not all(map(isfinite, rest)):
        raise ValueError(f"{values!r:.80} are no sums")
    return Sums(count, *rest)


def _embedding(value: Any) -> str | None:
    if value is not None and len(base64.b64decode(_text(value), validate=True)) != EMBEDDING_BYTES:
        raise ValueError("no embedding")
    return value


START = re.compile(r'\{"speaker": ("(?:[^"\\]|\\.)*"), "name": ("(?:[^"\\]|\\.)*"), ')


@dataclass(frozen=True)
class Line:
    """One of features.jsonl, read no further than needed to know whose it is."""

    key: Key
    text: str

    def outcome(self) -> Features | Skipped:
        """What it says."""
        return parse(self.text).outcome


def read_lines(path: Path) -> Iterator[Line]:
    """Those of a file in its order; none of a file that is not there, and none that is not whole."""
    try:
        file = path.open(encoding="utf-8", errors="replace", newline="\n")
    except FileNotFoundError:
        return
    with file:
        for text in file:
            start = START.match(text)
            if start is not None and text.endswith("}\n"):
                with suppress(ValueError):  # "\\q" looks like a string of JSON and is none
                    yield Line((json.loads(start[1]), json.loads(start[2])), text)


def join(sources: Iterable[Source], lines: Iterable[Line]) -> Iterator[tuple[Source, Line | None]]:
    """Every source with its line, if there is one. Both are sorted by speaker and name."""
    iterator = iter(lines)
    line = next(iterator, None)
    for source in sources:
        key = source.key
        while line is not None and line.key < key:
            line = next(iterator, None)
        yield source, line if line is not None and line.key == key else None


def write_records(path: Path, lines: Iterable[str]) -> int:
    """Replace a file of records, atomically and lasting; how many lines there are."""
    count = 0
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as file:
        for line in lines:
            file.write(line)
            count += 1
    return count


def settle(folder: Path) -> None:
    """Merge the journal that a run left, finished or not, into the records."""
    journal = folder / JOURNAL
    if not journal.exists():
        return
    if not journal.stat().st_size:
        journal.unlink()
        return
    both = heapq.merge(read_lines(journal), read_lines(folder / RECORDS), key=_key)
    write_records(folder / RECORDS, (next(same).text for _, same in groupby(both, key=_key)))  # the journal's is newer
    journal.unlink()


def _key(line: Line) -> Key:
    return line.key
