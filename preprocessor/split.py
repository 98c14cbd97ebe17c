"""Which utterances validate: chosen by the configuration, or given in a val.txt."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from config.schema import Split
from errors import UserError
from preprocessor.facts import NOTHING, Facts
from utils.metadata import NO_EMOTION, emotion_of

Key = tuple[str, str]  # speaker, name
KINDS = {
    "speaker": "speaker",
    "statement": "statement",
    "speaker_emotion": "speaker and emotion",
    "suggested": "suggested split",
}


def choose(keys: Sequence[Key], split: Split, val_size: int, facts: Mapping[Key, Facts]) -> set[Key]:
    """The utterances that `split` holds out.

    Depends on the set of keys, not on their order. Raises UserError when `hold_out` names what the data lack (with
    what they have), or when nothing would be left to train on.
    """
    if split.by == "random":
        if val_size >= len(keys):
            raise UserError(
                f"preprocess.preprocessing.val_size is {val_size}, but there are {len(keys)} utterances: "
                "nothing would be left to train on"
            )
        return set(random.Random(split.seed).sample(sorted(keys), val_size))
    held = _held_by(split.by, keys, facts)
    unknown = sorted(set(split.hold_out) - set(held.values()))
    if unknown:
        known = ", ".join(sorted(set(held.values()))) or "none, or prepare_align.py did not make these recordings"
        raise UserError(
            f"preprocess.preprocessing.split.hold_out: no utterance has the {KINDS[split.by]} "
            f"{', '.join(map(repr, unknown))}; known: {known}"
        )
    chosen = {key for key, value in held.items() if value in split.hold_out}
    if len(chosen) == len(set(keys)):
        raise UserError(
            "preprocess.preprocessing.split.hold_out holds out every utterance: nothing would be left to train on; "
            f"known: {', '.join(sorted(set(held.values())))}"
        )
    return chosen


def _held_by(by: str, keys: Sequence[Key], facts: Mapping[Key, Facts]) -> dict[Key, str]:
    """What `hold_out` may name of every utterance that has it."""
    if by == "speaker":
        return {key: key[0] for key in keys}
    if by == "speaker_emotion":
        return {key: f"{key[0]}/{emotion_of(key[1]) or NO_EMOTION}" for key in keys}
    known = {key: facts.get(key, NOTHING) for key in keys}
    said = {key: fact.statement if by == "statement" else fact.split for key, fact in known.items()}
    return {key: value for key, value in said.items() if value is not None}


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


def choose_given(keys: Sequence[Key], names: Sequence[str], source: str) -> set[Key]:
    """The utterances of the given names. UserError when none of them exists or none would be left to train on."""
    chosen = {key for found in find_given(keys, names).values() for key in found}
    if names and not chosen:
        first = names[0].rpartition("/")[2]
        raise UserError(
            f"{source}: none of its {len(names)} names is an utterance here (the first is {first!r}; here they "
            f"look like {min(keys)[1]!r}); remove the file to split as configured"
        )
    if len(chosen) == len(set(keys)):
        raise UserError(f"{source} names every utterance: nothing would be left to train on")
    return chosen
