"""raw_data and TextGrids -> everything that training reads: the order of events.

train.txt is removed before the first feature is written and is the last file to appear: where it stands, all that it
names is there and of one making. What was made before and still holds is kept (preprocessor/records.py); killed at any
moment, the next run ends with the same files as a run that nobody disturbed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain, islice
from typing import TYPE_CHECKING

from preprocessor.features import PRELOAD, Block, Wanted, build_block, check_block
from preprocessor.outputs import make_folder, remove_temporaries
from preprocessor.parallel import ordered_map
from preprocessor.plan import Plan
from preprocessor.records import JOURNAL, RECORDS, Line, join, read_lines, settle, write_records
from preprocessor.sources import Source, list_sources

if TYPE_CHECKING:
    from preprocessor.cluster import Cluster

FOLDERS = ("mel", "duration", "pitch", "spker_embed")
BUILT_AT_ONCE = 16  # utterances of a worker's task: 40 ms of work, and as much as a killed run loses per worker
CHECKED_AT_ONCE = 256


def build(made: Plan, jobs: int, cluster: Cluster | None = None, force: bool = False) -> Iterator[int]:
    """Make the features that are missing or no longer hold; yield numbers of utterances as they are done.

    They add up to `made.count`. Their mels and durations are on disk and what is known of them is in features.jsonl
    when the iterator ends.
    """
    output = made.output
    for folder in FOLDERS:
        make_folder(output / folder)
    remove_temporaries([output, *(output / folder for folder in FOLDERS)])
    (output / "train.txt").unlink(missing_ok=True)
    if force:
        for name in (RECORDS, JOURNAL):
            (output / name).unlink(missing_ok=True)
    settle(output)
    kept = _keep(made, cluster)
    yield kept
    if kept == made.count:
        return
    missing = (source for source, line in current(made) if line is None)
    blocks = _blocks(made, (_wanted(made, source) for source in missing), BUILT_AT_ONCE)
    with (output / JOURNAL).open("w", encoding="utf-8", newline="\n") as journal:
        for lines in ordered_map(build_block, blocks, jobs, PRELOAD, cluster=cluster):
            journal.writelines(lines)
            journal.flush()
            yield len(lines)
    settle(output)


def current(made: Plan) -> Iterator[tuple[Source, Line | None]]:
    """Every utterance that there may be, with what features.jsonl says of it."""
    return join(list_sources(made.places.raw), read_lines(made.output / RECORDS))


def _wanted(made: Plan, source: Source, line: Line | None = None) -> Wanted:
    return Wanted(source.speaker, source.name, made.language(source), None if line is None else line.text)


def _blocks(made: Plan, wanted: Iterable[Wanted], size: int) -> Iterator[Block]:
    iterator = iter(wanted)
    while part := tuple(islice(iterator, size)):
        yield Block(part, made.places, made.settings, made.digest)


def _keep(made: Plan, cluster: Cluster | None) -> int:
    """Take the lines out of features.jsonl that no longer hold; how many do.

    This machine looks alone: it is a few calls per utterance, and importing torch would cost the workers more. A
    cluster shares them out, since a network's file system takes its time for each.
    """
    path = made.output / RECORDS
    if not path.exists():
        return 0
    candidates = (_wanted(made, source, line) for source, line in current(made) if line is not None)
    blocks = _blocks(made, candidates, CHECKED_AT_ONCE)
    return write_records(path, chain.from_iterable(ordered_map(check_block, blocks, 1, cluster=cluster)))
