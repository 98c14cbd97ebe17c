"""What a corpus says of its utterances beyond audio and text, as prepare_align.py keeps it in raw_data.

    raw_data/RAVDESS/Actor_05/prepare_align.json
    {"files": {"angry-strong-01-02-Actor_05": {"facts": {"intensity": "strong", "statement": "01", "sex": "male"}, …

Recordings that the user put there without prepare_align.py have none: everything about them is None.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from preprocessor.corpus import Utterance

MANIFEST = "prepare_align.json"


@dataclass(frozen=True)
class Facts:
    """Fields as in Utterance."""

    intensity: str | None = None
    statement: str | None = None
    sex: str | None = None
    language: str | None = None
    split: str | None = None
    dataset: str | None = None

    @classmethod
    def of(cls, utterance: Utterance) -> Facts:
        """Those of an utterance."""
        return cls(**{field.name: getattr(utterance, field.name) for field in fields(cls)})

    def as_json(self) -> dict[str, str]:
        """What is known, for the manifest."""
        return {name: value for name, value in asdict(self).items() if value is not None}


NOTHING = Facts()


def read_facts(raw_path: Path) -> dict[tuple[str, str], Facts]:
    """(speaker, name) -> facts, of every speaker's manifest that is readable."""
    return {
        (path.parent.name, name): facts
        for path in sorted(raw_path.glob(f"*/{MANIFEST}"))
        for name, facts in read_speaker_facts(path).items()
    }


def read_speaker_facts(path: Path) -> dict[str, Facts]:
    """Name -> facts, of one speaker's manifest; those before the first that is not as it should be."""
    known = {field.name for field in fields(Facts)}
    facts: dict[str, Facts] = {}
    try:
        for name, entry in json.loads(path.read_text(encoding="utf-8"))["files"].items():
            values: Mapping[str, str] = entry.get("facts", {})
            facts[name] = _checked(Facts(**{key: values[key] for key in values if key in known}))
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        pass  # prepare_align.py makes such a speaker again
    return facts


def _checked(facts: Facts) -> Facts:
    """ValueError for what no corpus says."""
    for value in asdict(facts).values():
        if value is not None and (type(value) is not str or not value.isprintable()):
            raise ValueError(f"{value!r:.80} is no word")
    if facts.sex not in (None, "male", "female"):
        raise ValueError(f"sex {facts.sex!r:.80}")
    return facts
