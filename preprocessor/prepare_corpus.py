"""All speakers of a corpus, by all workers: a speaker is one task, and one with very many recordings several."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

from preprocessor.corpus import Utterance
from preprocessor.facts import MANIFEST
from preprocessor.outputs import remove_temporaries
from preprocessor.parallel import ordered_map
from preprocessor.prepare import (
    PRELOAD,
    Bad,
    Prepared,
    Speaker,
    complete,
    conclude,
    make_room,
    measure,
    prepare_speaker,
    result,
    shared_peak,
    write_all,
)
from preprocessor.prepare_manifest import Settings, read_manifest, sources, vouches

if TYPE_CHECKING:
    from preprocessor.cluster import Cluster

MANY = 512  # recordings; a speaker with more is worked on by all workers at once
PART = 64  # recordings of such a speaker's task


def prepare(
    utterances: Sequence[Utterance],
    raw_path: Path,
    settings: Settings,
    jobs: int,
    force: bool,
    skip_bad: bool,
    cluster: Cluster | None = None,
) -> Iterator[Prepared]:
    """Yield one result per speaker, in the order of `utterances` (sorted by speaker)."""
    remove_temporaries([raw_path])
    tasks = (
        Speaker(raw_path / speaker, tuple(group), settings, force, skip_bad)
        for speaker, group in groupby(utterances, key=lambda item: item.speaker)
    )
    alone = jobs == 1 and cluster is None
    for many, group in groupby(tasks, key=lambda task: not alone and len(task.utterances) > MANY):
        if many:
            yield from (_prepare_in_parts(task, jobs, cluster) for task in group)
        else:
            yield from ordered_map(prepare_speaker, group, jobs, PRELOAD, cluster=cluster)


@dataclass(frozen=True)
class Part:
    """Some recordings of a speaker who has many, so that several workers can share in them."""

    speaker: Speaker  # with these recordings only
    peaks: Mapping[str, float]  # of these recordings; what has none is not written
    shared: float | None  # of all of the speaker's recordings


def measure_part(task: Speaker) -> tuple[dict[str, float], list[Bad]]:
    """Peaks of the usable recordings, and the unusable ones."""
    peaks, _, bad = measure(task, 0)
    return peaks, bad


def write_part(part: Part) -> tuple[dict[str, int], int]:
    """Name -> samples, and how many files were written."""
    return write_all(part.speaker, part.peaks, part.shared, {})


def _prepare_in_parts(task: Speaker, jobs: int, cluster: Cluster | None) -> Prepared:
    """What prepare_speaker does, by all workers together. Every recording is read twice, which prepare_speaker does
    with most of so many, too."""
    remove_temporaries([task.folder])
    wanted = sources(task.utterances)
    manifest = None if task.force else read_manifest(task.folder / MANIFEST)
    if manifest is not None and vouches(manifest, task.settings, wanted, task.utterances):
        return complete(task, manifest)
    places = range(0, len(task.utterances), PART)
    parts = [replace(task, utterances=task.utterances[place : place + PART]) for place in places]
    peaks: dict[str, float] = {}
    bad: list[Bad] = []
    for measured, unusable in ordered_map(measure_part, parts, jobs, PRELOAD, cluster=cluster):
        peaks |= measured
        bad += unusable
    if bad and not task.skip_bad:
        return result(task, {}, 0, bad)
    shared = shared_peak(task, peaks)
    make_room(task, peaks)
    work = (
        Part(part, {item.name: peaks[item.name] for item in part.utterances if item.name in peaks}, shared)
        for part in parts
    )
    samples: dict[str, int] = {}
    written = 0
    for lengths, count in ordered_map(write_part, work, jobs, PRELOAD, cluster=cluster):
        samples |= lengths
        written += count
    return conclude(task, wanted, shared, samples, written, bad)
