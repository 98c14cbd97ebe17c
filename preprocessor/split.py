"""Which utterances validate: chosen by the configuration, or given in a val.txt.

The utterances are shown one at a time, in their order, first to be counted and then to be told apart; what is kept of
them does not grow with the corpus, but for the list of a given val.txt.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from config.schema import Split
from errors import UserError
from preprocessor.facts import Facts
from preprocessor.sources import Key
from utils.metadata import NO_EMOTION, emotion_of

KINDS = {
    "speaker": "speaker",
    "statement": "statement",
    "speaker_emotion": "speaker and emotion",
    "suggested": "suggested split",
}
Test = Callable[[int, Key, Facts], bool]  # number in the order, from 0; speaker and name; facts -> validates?


class Chooser:
    """Show it every utterance by `see`, in the order that they will be numbered in; then `choose`."""

    def __init__(self, split: Split, val_size: int, given: Sequence[str] | None, given_path: Path) -> None:
        self._split, self._val_size, self._given, self._given_path = split, val_size, given, given_path
        self._count = 0
        self._values: Counter[str | None] = Counter()  # what `hold_out` may name
        self._labelled: Counter[str | None] = Counter()  # of those with an emotion, likewise
        self._first_labelled: list[int] = []  # numbers; as many as a random split could hold out, and one
        self._first_key: Key | None = None
        self._names = {wanted.rpartition("/")[2] for wanted in given or ()}
        self._found: list[Key] = []  # of those names

    def see(self, key: Key, facts: Facts) -> None:
        """Count an utterance."""
        labelled = emotion_of(key[1]) is not None
        self._first_key = self._first_key or key
        if key[1] in self._names:
            self._found.append(key)
        value = self._value(key, facts)
        self._values[value] += 1
        if labelled:
            self._labelled[value] += 1
            if len(self._first_labelled) <= self._val_size:
                self._first_labelled.append(self._count)
        self._count += 1

    def choose(self) -> Test:
        """What tells the utterances that validate from the others.

        Raises UserError when `hold_out` or the given list names what the data lack (with what they have), or when
        nothing would be left to train on, or no emotion label.
        """
        if self._given is not None:
            return self._choose_given(self._given)
        return self._choose_random() if self._split.by == "random" else self._choose_held_out()

    def missing(self) -> list[str]:
        """Names in the given list that no utterance has."""
        return [name for name, keys in find_given(self._found, self._given or ()).items() if not keys]

    def _value(self, key: Key, facts: Facts) -> str | None:
        if self._split.by == "speaker":
            return key[0]
        if self._split.by == "speaker_emotion":
            return f"{key[0]}/{emotion_of(key[1]) or NO_EMOTION}"
        if self._split.by == "random":
            return None
        return facts.statement if self._split.by == "statement" else facts.split

    def _choose_random(self) -> Test:
        if self._val_size >= self._count:
            raise UserError(
                f"preprocess.preprocessing.val_size is {self._val_size}, but there are {self._count} utterances: "
                "nothing would be left to train on"
            )
        held = set(random.Random(self._split.seed).sample(range(self._count), self._val_size))
        if held.issuperset(self._first_labelled):
            self._refuse_unlabelled()
        return lambda number, key, facts: number in held

    def _choose_held_out(self) -> Test:
        held = set(self._split.hold_out)
        there = sorted(value for value in self._values if value is not None)
        unknown = sorted(held - set(there))
        if unknown:
            known = ", ".join(there) or "none, or prepare_align.py did not make these recordings"
            raise UserError(
                f"preprocess.preprocessing.split.hold_out: no utterance has the {KINDS[self._split.by]} "
                f"{', '.join(map(repr, unknown))}; known: {known}"
            )
        if sum(self._values[value] for value in held) == self._count:
            raise UserError(
                "preprocess.preprocessing.split.hold_out holds out every utterance: nothing would be left to train on; "
                f"known: {', '.join(there)}"
            )
        if set(self._labelled) <= held:
            self._refuse_unlabelled()
        return lambda number, key, facts: self._value(key, facts) in held

    def _choose_given(self, given: Sequence[str]) -> Test:
        chosen = {key for found in find_given(self._found, given).values() for key in found}
        if given and not chosen:
            first = given[0].rpartition("/")[2]
            example = self._first_key[1] if self._first_key is not None else ""
            raise UserError(
                f"{self._given_path}: none of its {len(given)} names is an utterance here (the first is {first!r}; "
                f"here they look like {example!r}); remove the file to split as configured"
            )
        if len(chosen) == self._count:
            raise UserError(f"{self._given_path} names every utterance: nothing would be left to train on")
        if sum(emotion_of(name) is not None for _, name in chosen) == sum(self._labelled.values()):
            self._refuse_unlabelled()
        return lambda number, key, facts: key in chosen

    def _refuse_unlabelled(self) -> None:
        source = str(self._given_path) if self._given is not None else "preprocess.preprocessing.split"
        raise UserError(f"{source} holds out every utterance with an emotion label: no emotion would be left to learn")


def read_given(path: Path) -> list[str]:
    """Utterances in a given val.txt, in its order: "speaker/name" of metadata lines, the name of lines that are just
    that."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not readable as UTF-8 text ({error}); mend or remove it") from error
    fields = [[part.strip() for part in line.split("|")] for line in lines if line.strip()]
    return list(dict.fromkeys(f"{parts[1]}/{parts[0]}" if len(parts) > 1 else parts[0] for parts in fields))


def find_given(keys: Iterable[Key], given: Iterable[str]) -> dict[str, list[Key]]:
    """What each of `read_given` means. Where its speaker has no utterance of the name, that of any speaker will do:
    lists made elsewhere may call the speakers otherwise."""
    by_name: dict[str, list[Key]] = {}
    for key in keys:
        by_name.setdefault(key[1], []).append(key)
    found = {}
    for wanted in given:
        speaker, _, name = wanted.rpartition("/")
        called_so = by_name.get(name, [])
        found[wanted] = [key for key in called_so if key[0] == speaker] or called_so
    return found
