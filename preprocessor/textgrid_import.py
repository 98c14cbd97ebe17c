"""TextGrids made elsewhere, taken as they are if they fit a recording and its text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from errors import UserError
from preprocessor.align_corpus import PRELOAD, load_recording
from preprocessor.align_report import examine
from preprocessor.align_tasks import Task
from preprocessor.outputs import make_folder, write_bytes
from preprocessor.parallel import ordered_map
from preprocessor.textgrid_match import Match, match


@dataclass
class Import:
    """What became of the TextGrids of a folder."""

    folder: Path
    taken: list[Match] = field(default_factory=list)  # in TextGrid/ now
    fresh: list[str] = field(default_factory=list)  # labels of recordings that had none before
    left_out: dict[Path, str] = field(default_factory=dict)  # and the reason
    failures: dict[str, str] = field(default_factory=dict)  # labels of recordings whose TextGrid was left out

    def as_json(self) -> dict[str, object]:
        """For textgrids.json. Which utterance each is, and for names that lack a field, which of them it was."""
        taken = {
            str(item.source.relative_to(self.folder)): {"utterance": item.task.label, "text": item.task.text}
            | ({} if item.lacking is None else {"lacking": item.lacking})
            for item in self.taken
        }
        left_out = {str(source.relative_to(self.folder)): reason for source, reason in sorted(self.left_out.items())}
        return {"taken": taken, "left_out": left_out}

    def told_apart(self) -> dict[str, int]:
        """Text -> how many of the TextGrids whose names lack a field are of it."""
        return dict(sorted(Counter(item.task.text for item in self.taken if item.lacking is not None).items()))


def import_textgrids(tasks: Sequence[Task], folder: Path, jobs: int) -> Import:
    """Copy the TextGrids below `folder` that belong to a recording and fit it to the recordings' places.

    One that is there already is kept, unless its task says `force`. Raises UserError when there are none at all.
    """
    sources = sorted(path for path in folder.rglob("*.TextGrid") if not path.name.startswith("."))
    if not sources:
        raise UserError(f"there are no TextGrids in {folder}; name their folder by --textgrids")
    result = Import(folder)
    matches, result.left_out = match(sources, tasks, jobs)
    for item, (problem, fresh) in zip(matches, ordered_map(_take, matches, jobs, PRELOAD, chunk=8), strict=True):
        if problem is not None:
            result.left_out[item.source] = problem
            result.failures[item.task.label] = f"{item.source}: {problem}"
            continue
        result.taken.append(item)
        if fresh:
            result.fresh.append(item.task.label)
    return result


def _take(item: Match) -> tuple[str | None, bool]:
    """What is wrong with a TextGrid, and whether its copy is new."""
    target = item.task.textgrid_path
    try:
        wav, sampling_rate = load_recording(item.task)
        problem = item.task.problem or examine(item.source, item.task, wav, sampling_rate).problem
        content = item.source.read_bytes()
    except (UserError, OSError) as error:
        return str(error), False
    if problem is not None:
        return problem, False
    if not target.exists() or target.resolve() == item.source.resolve() or target.read_bytes() == content:
        fresh = not target.exists()
    elif item.task.force:
        fresh = True
    else:
        return f"another one is there already, {target}; --force replaces it", False
    make_folder(target.parent)
    write_bytes(target, content)
    return None, fresh
