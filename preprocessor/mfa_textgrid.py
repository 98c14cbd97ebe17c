"""A TextGrid as Montreal Forced Aligner writes it -> the same alignment in this project's form."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from preprocessor.align_tasks import AlignmentError, SpokenWord, Task
from preprocessor.alignment import SILENCES, read_intervals
from preprocessor.pronunciation import without_stress
from preprocessor.textgrid_writer import Interval, whole_microseconds, write_textgrid

UNKNOWN = "spn"  # the phone of a word that the dictionary lacks


def adopt(source: Path, target: Path, task: Task, samples: int, sampling_rate: int) -> None:
    """Write MFA's alignment of a recording with silences labelled, our words, and stress where its model has none.

    Raises AlignmentError for a word that MFA's dictionary lacks and for times outside the recording, UserError for a
    TextGrid that cannot be read or written.
    """
    duration = whole_microseconds(samples, sampling_rate)
    words = _within(read_intervals(source, "words"), duration)
    phones = _within(read_intervals(source), duration)
    for phone in phones:
        if phone.label == UNKNOWN:
            word = next((word.label for word in words if word.start <= phone.start < word.end), "a word")
            raise AlignmentError(f"its dictionary has no pronunciation of {word!r}")
    spoken = [phone for phone in phones if phone.label not in SILENCES]
    if not spoken:
        raise AlignmentError("no phones but silences")
    write_textgrid(target, _renamed(words, task.words), _stressed(spoken, task.words), duration)


def _within(intervals: Sequence[tuple[float, float, str]], duration: float) -> list[Interval]:
    """Its times are rounded: the last one may lie a little after the recording's end."""
    within = []
    for start, end, label in intervals:
        if start >= duration:
            raise AlignmentError(f"{label} begins at {start:g} s, but the recording ends at {duration:g} s")
        within.append(Interval(start, min(end, duration), label))
    return within


def _renamed(intervals: Sequence[Interval], words: Sequence[SpokenWord]) -> list[Interval]:
    """The words tier with the text's words, where MFA has as many."""
    spoken = [interval for interval in intervals if interval.label not in SILENCES]
    if len(spoken) != len(words):
        return spoken
    return [Interval(item.start, item.end, word.text) for item, word in zip(spoken, words, strict=True)]


def _stressed(spoken: Sequence[Interval], words: Sequence[SpokenWord]) -> list[Interval]:
    """The phones with the pronunciation's stress, if that is all that they lack."""
    wanted = [phone for word in words for phone in word.phones]
    bare = [without_stress(phone) for phone in wanted]
    if bare != [item.label for item in spoken]:
        return list(spoken)
    return [Interval(item.start, item.end, phone) for item, phone in zip(spoken, wanted, strict=True)]
