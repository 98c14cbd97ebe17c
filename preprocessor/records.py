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

import heapq
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from preprocessor.sources import Key, Source
from utils.files import atomic_path
from utils.metadata import Entry

RECORDS = "features.jsonl"
JOURNAL = "features.unfinished.jsonl"


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
    values = json.loads(line)
    speaker, name, language = values["speaker"], values["name"], values["language"]
    outcome: Features | Skipped
    if "skipped" in values:
        outcome = Skipped(*values["skipped"])
    else:
        outcome = Features(
            Entry(name, speaker, tuple(values["phones"].split()), values["text"], language),
            values["frames"],
            Sums(*values["mel"]),
            Sums(*values["energy"]),
            values.get("embedding"),
        )
    return Record(speaker, name, values["settings"], values["source"], language, outcome)


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
