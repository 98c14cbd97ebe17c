"""What judges learn from: features of every real recording, kept for the next time."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from evaluation.measure import PRELOAD, Known, Tools, Vector, know, usable
from evaluation.metrics import PROSODY
from evaluation.world import FrontEnd
from preprocessor.parallel import ordered_map
from utils.files import atomic_path
from utils.metadata import Entry

VERSION = 2  # of what is computed; another number computes all of it again
PARTS = ("features", "embeddings", "prosody")  # arrays of the cache
MOST = 80  # recordings of one speaker; more make nothing surer


@dataclass(frozen=True)
class Corpus:
    """Real recordings, row by row."""

    entries: list[Entry]
    features: Vector | None  # [N, D]; None without pyworld
    embeddings: Vector | None  # [N, 256]; None without the weights
    usual: dict[str, dict[str, float]]  # speaker -> mean of each feature of PROSODY that has one


@dataclass(frozen=True)
class Place:
    """Folders and analysis."""

    raw: Path
    features: Path  # preprocessed_path
    front: FrontEnd
    cache: Path  # a file that need not exist


def learn(entries: Sequence[Entry], place: Place, tools: Tools, jobs: int, advance: Callable[[int], object]) -> Corpus:
    """Features of the utterances that have a usable recording, at most MOST per speaker.

    Known ones come from the cache, which goes by the content of recording and mel spectrogram and by what is installed.
    Pitch is DIO's. `advance` is called with the number of utterances done.
    """
    place = replace(place, front=replace(place.front, pitch="dio"))
    chosen = _thinned(usable(entries, place.raw))
    keys = [_key(entry, place, tools) for entry in chosen]
    cached = _read(place.cache)
    missing = [index for index, key in enumerate(keys) if key not in cached]
    advance(len(chosen) - len(missing))
    tasks = (Known(chosen[index], place.raw, place.features, place.front, tools) for index in missing)
    for index, known in zip(missing, ordered_map(know, tasks, jobs, PRELOAD, chunk=8), strict=True):
        advance(1)
        if known is not None:
            cached[keys[index]] = known
    kept = [index for index, key in enumerate(keys) if key in cached]
    if missing and kept:
        _write(place.cache, {keys[index]: cached[keys[index]] for index in kept})
    found = [chosen[index] for index in kept]
    features, embeddings, prosody = (
        np.stack([cached[keys[index]][part] for index in kept]) if kept else None for part in range(3)
    )
    return Corpus(
        found,
        features if features is not None and features.size else None,
        embeddings if embeddings is not None and embeddings.size else None,
        {} if prosody is None else _usual(found, prosody),
    )


def _usual(entries: Sequence[Entry], prosody: Vector) -> dict[str, dict[str, float]]:
    means: dict[str, dict[str, float]] = {}
    for speaker in {entry.speaker for entry in entries}:
        rows = prosody[[entry.speaker == speaker for entry in entries]]
        means[speaker] = {
            name: float(np.nanmean(column))
            for name, column in zip(PROSODY, rows.T, strict=True)
            if not np.isnan(column).all()
        }
    return means


def _thinned(entries: Sequence[Entry]) -> list[Entry]:
    by_speaker: dict[str, list[Entry]] = {}
    for entry in sorted(entries, key=lambda entry: hashlib.sha256(entry.name.encode()).hexdigest()):
        by_speaker.setdefault(entry.speaker, []).append(entry)
    return sorted((entry for part in by_speaker.values() for entry in part[:MOST]), key=lambda entry: entry.key)


def _key(entry: Entry, place: Place, tools: Tools) -> str:
    digest = hashlib.sha256(repr((VERSION, place.front, tools.world, tools.voices)).encode())
    for path in (
        place.raw / entry.speaker / f"{entry.name}.wav",
        place.features / "mel" / f"{entry.speaker}-mel-{entry.name}.npy",
    ):
        digest.update(path.read_bytes() if path.is_file() else b"")
    return digest.hexdigest()


def _read(path: Path) -> dict[str, tuple[Vector, Vector, Vector]]:
    try:
        with np.load(path, allow_pickle=False) as file:
            parts = (file[name] for name in PARTS)
            return dict(zip(file["keys"].tolist(), zip(*parts, strict=True), strict=True))
    except Exception:  # not there, or damaged, which may show anywhere in the reader: it can be made again
        return {}


def _write(path: Path, rows: dict[str, tuple[Vector, Vector, Vector]]) -> None:
    parts = {name: np.stack([row[number] for row in rows.values()]) for number, name in enumerate(PARTS)}
    with atomic_path(path) as temporary:
        np.savez(temporary, keys=np.array(list(rows)), allow_pickle=False, **parts)
