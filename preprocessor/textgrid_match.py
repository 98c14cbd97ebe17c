"""Which recording a TextGrid made elsewhere belongs to, by its name and, where that leaves a choice, by its phones.

    happy-strong-02-02-Actor_23.TextGrid    that recording's
    happy-strong-02-Actor_23.TextGrid       of happy-strong-01-02-Actor_23 (kids …) and happy-strong-02-02-Actor_23
                                            (dogs …) the one whose text its phones are

The second form is that of the TextGrids published with the original implementation, whose names lack RAVDESS's
statement. In general: a name that is a recording's with one of its fields (between hyphens) removed. Which field, the
folder's TextGrids say together; which recording, the phones alone. Where they leave a choice, none is made.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from errors import UserError
from preprocessor.align_tasks import Task
from preprocessor.alignment import SILENCES, Interval, read_intervals
from preprocessor.parallel import ordered_map
from preprocessor.pronunciation import Fit, fit

MOST = 0.95  # share of the TextGrids that a field may be lacking in which must then be the text of some recording
SHOWN = 3  # candidates that a reason names


@dataclass(frozen=True)
class Match:
    """A TextGrid and its recording."""

    source: Path
    task: Task
    lacking: str | None = None  # the field that its name lacks; None: it lacks none


@dataclass(frozen=True)
class Content:
    """What a TextGrid says, silences aside."""

    phones: tuple[str, ...]
    words: tuple[str, ...]  # none where there is no `words` tier
    error: str | None = None  # why it cannot be read


@dataclass(frozen=True)
class _Candidate:
    position: int  # of the field that would be lacking
    task: Task

    @property
    def lacking(self) -> str:
        return self.task.name.split("-")[self.position]


def match(sources: Sequence[Path], tasks: Sequence[Task], jobs: int) -> tuple[list[Match], dict[Path, str]]:
    """The recordings' TextGrids in the order of `sources`, and why the others are none.

    The folder that a TextGrid lies in is its speaker, where a speaker is called so.
    """
    left_out: dict[Path, str] = {}
    matches = _by_whole_name(sources, tasks, left_out)
    rest = [source for source in sources if source not in matches and source not in left_out]
    matches |= _by_phones(rest, tasks, jobs, left_out)
    _refuse_rivals(matches, left_out)
    return [matches[source] for source in sources if source in matches and source not in left_out], left_out


def _refuse_rivals(matches: Mapping[Path, Match], left_out: dict[Path, str]) -> None:
    """Of several TextGrids for one recording, the one of its own name counts; without it none does. Copies are one."""
    owned = defaultdict(list)
    for source, found in matches.items():
        owned[found.task.label].append(source)
    for label, sources in owned.items():
        if len(sources) == 1 or len({_bytes(source) for source in sources}) == 1:
            continue
        whole = [source for source in sources if matches[source].lacking is None]
        names = _some(str(source) for source in sources)
        for source in sources:
            if whole != [source]:
                left_out[source] = f"{len(sources)} TextGrids would be {label}'s: {names}"


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:  # it will be told when it is to be taken
        return bytes(path)


def _by_whole_name(sources: Sequence[Path], tasks: Sequence[Task], left_out: dict[Path, str]) -> dict[Path, Match]:
    named = defaultdict(list)
    for task in tasks:
        named[task.name].append(task)
    speakers = {task.speaker for task in tasks}
    matches = {}
    for source in sources:
        found = _of_its_speaker(source, speakers, named.get(source.stem, []))
        if len(found) == 1:
            matches[source] = Match(source, found[0])
        elif found:
            left_out[source] = f"several speakers have a recording of this name: {_some(task.label for task in found)}"
    return matches


def _of_its_speaker(source: Path, speakers: set[str], tasks: Sequence[Task]) -> list[Task]:
    speaker = source.parent.name
    return [task for task in tasks if speaker not in speakers or task.speaker == speaker]


def _by_phones(
    sources: Sequence[Path], tasks: Sequence[Task], jobs: int, left_out: dict[Path, str]
) -> dict[Path, Match]:
    """Those whose names lack one field."""
    candidates = _candidates(sources, tasks)
    for source in sources:
        if not candidates[source]:
            left_out[source] = "no recording has this name, nor one with one field more"
    named = [source for source in sources if candidates[source]]
    contents = dict(zip(named, ordered_map(_read, named, jobs, preload=("praatio.textgrid",), chunk=8), strict=True))
    for source, content in contents.items():
        if content.error is not None:
            left_out[source] = content.error
    readable = [source for source in named if contents[source].error is None]
    fitting = {
        source: [item for item in candidates[source] if _fits(contents[source], item.task)] for source in readable
    }
    positions = _lacking_positions(candidates, fitting)
    matches = {}
    for source in readable:
        found = [item for item in fitting[source] if item.position in positions]
        if len({item.task.label for item in found}) == 1:
            matches[source] = Match(source, found[0].task, found[0].lacking)
        elif found:
            left_out[source] = f"its phones fit several: {_some(item.task.label for item in found)}"
        else:
            names = _some(item.task.label for item in candidates[source])
            left_out[source] = f"its phones are those of no recording that it may be of: {names}"
    return matches


def _candidates(sources: Sequence[Path], tasks: Sequence[Task]) -> dict[Path, list[_Candidate]]:
    """Recordings whose names with one field removed are those of the TextGrids."""
    wanted = {source.stem for source in sources}
    shortened = defaultdict(list)
    for task in tasks:
        fields = task.name.split("-")
        for position in range(len(fields)):
            name = "-".join(fields[:position] + fields[position + 1 :])
            if name in wanted:
                shortened[name].append(_Candidate(position, task))
    speakers = {task.speaker for task in tasks}
    found = {}
    for source in sources:
        items = shortened.get(source.stem, [])
        owned = set(_of_its_speaker(source, speakers, [item.task for item in items]))
        found[source] = [item for item in items if item.task in owned]
    return found


def _read(source: Path) -> Content:
    try:
        phones = read_intervals(source)
    except UserError as error:
        return Content((), (), str(error))
    try:
        words = read_intervals(source, "words")
    except UserError:
        words = []
    return Content(_spoken(phones), _spoken(words))


def _spoken(intervals: Sequence[Interval]) -> tuple[str, ...]:
    return tuple(label for _, _, label in intervals if label not in SILENCES)


def _fits(content: Content, task: Task) -> bool:
    return fit(content.phones, lambda: content.words, task.words, task.language) is not Fit.NONE


def _lacking_positions(
    candidates: Mapping[Path, Sequence[_Candidate]], fitting: Mapping[Path, Sequence[_Candidate]]
) -> set[int]:
    """The fields that all names may lack, by their positions.

    A field that they do not lack gives itself away: where the repetition seems to be lacking, the name's statement
    and the phones contradict each other in every second TextGrid.
    """
    possible: Counter[int] = Counter()
    explained: Counter[int] = Counter()
    for source, fits in fitting.items():
        possible.update({item.position for item in candidates[source]})
        explained.update({item.position for item in fits})
    return {position for position, count in possible.items() if explained[position] >= MOST * count}


def _some(names: Iterable[str]) -> str:
    listed = list(dict.fromkeys(names))
    return ", ".join(listed[:SHOWN]) + (f" and {len(listed) - SHOWN} more" if len(listed) > SHOWN else "")
