"""What there is to make features of: raw_data's utterances, listed one speaker at a time."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from errors import UserError
from preprocessor.facts import MANIFEST, NOTHING, Facts, read_speaker_facts
from utils.names import problem_of_pair

Key = tuple[str, str]  # speaker, name
SUFFIXES = (".wav", ".lab")


@dataclass(frozen=True)
class Source:
    """One utterance of which there is a recording or a text."""

    speaker: str
    name: str
    facts: Facts  # what the corpus says of it, as far as prepare_align.py was there

    @property
    def key(self) -> Key:
        """Speaker and name: what no other utterance has."""
        return self.speaker, self.name


def list_sources(raw_path: Path) -> Iterator[Source]:
    """Those of raw_path/{speaker}/{name}.wav and .lab, sorted by speaker, then name. None where there is no folder.

    Raises UserError for a name that lists and other files can't bear (utils/names.py).
    """
    for speaker in _folders(raw_path):
        with os.scandir(raw_path / speaker) as entries:
            names = sorted(
                {entry.name[:-4] for entry in entries if entry.name[-4:] in SUFFIXES and entry.name[0] != "."}
            )
        facts = read_speaker_facts(raw_path / speaker / MANIFEST) if names else {}
        for name in names:
            problem = problem_of_pair(speaker, name)
            if problem is not None:
                raise UserError(f"{raw_path}: {problem}; rename it, or take it away")
            yield Source(speaker, name, facts.get(name, NOTHING))


def _folders(raw_path: Path) -> list[str]:
    try:
        with os.scandir(raw_path) as entries:
            return sorted(entry.name for entry in entries if entry.name[0] != "." and entry.is_dir())
    except (FileNotFoundError, NotADirectoryError):
        return []
