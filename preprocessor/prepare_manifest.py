"""prepare_align.json of a speaker's folder: what its files were made from."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from types import NoneType
from typing import Any

from errors import UserError
from preprocessor.corpus import Utterance
from preprocessor.facts import MANIFEST, Facts
from utils.names import problem_of


@dataclass(frozen=True)
class Settings:
    """What decides the samples, apart from the recordings."""

    sampling_rate: int  # Hz
    normalization: str  # speaker_peak: one factor per speaker; utterance_peak: one per recording
    max_wav_value: float  # the int16 value that the peak becomes


def refuse_other_settings(raw_path: Path, settings: Settings, dataset: str) -> None:
    """Raise UserError when a speaker's files were made with other settings than these. Folders without a manifest,
    such as recordings that the user prepared, pass."""
    for path in sorted(raw_path.glob(f"*/{MANIFEST}")):
        made = (read_manifest(path) or {}).get("settings", asdict(settings))
        for key, value in asdict(settings).items():
            if made.get(key) != value:
                raise UserError(
                    f"{path.parent} was made with {key} {made.get(key)}, but preprocess.preprocessing.audio.{key} is "
                    f"{value}; run python prepare_align.py --dataset {dataset} with the same settings first"
                )


def sources(utterances: Iterable[Utterance]) -> dict[str, dict[str, Any]]:
    """Name -> the recording's file name, size and time, and the text."""
    return {utterance.name: _source(utterance) for utterance in utterances}


def _source(utterance: Utterance) -> dict[str, Any]:
    try:
        status = utterance.audio_path.stat()
    except OSError:  # reading will say what is wrong
        return {"file": utterance.audio_path.name}
    facts = {"file": utterance.audio_path.name, "bytes": status.st_size, "modified_ns": status.st_mtime_ns}
    return {**facts, "text": utterance.text}


def read_manifest(path: Path) -> dict[str, Any] | None:
    """The content; None where there is none that makes sense."""
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        return manifest if _makes_sense(manifest) else None
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None  # then everything is computed again


def _makes_sense(manifest: dict[str, Any]) -> bool:
    """Files of names that the manifest lists are removed once they are no longer wanted: they must be ours."""
    if not isinstance(manifest.get("settings", {}), dict) or type(manifest["peak"]) not in (float, int, NoneType):
        return False
    for name, entry in manifest["files"].items():
        if problem_of(name) is not None or not isinstance(entry, dict):
            return False
        if "bad" in entry and type(entry["bad"]) is not str:
            return False
        if "samples" in entry and type(entry["samples"]) is not int:
            return False
    return True


def vouches(
    manifest: Mapping[str, Any],
    settings: Settings,
    wanted: Mapping[str, Mapping[str, Any]],
    utterances: Iterable[Utterance],
) -> bool:
    """Whether the files that are there were made with these settings from these recordings, and nothing else was."""
    facts = {utterance.name: Facts.of(utterance).as_json() for utterance in utterances}
    made = {name: entry.get("source") for name, entry in manifest["files"].items()}
    said = {name: entry.get("facts") for name, entry in manifest["files"].items()}
    return bool(manifest.get("settings") == asdict(settings) and made == wanted and said == facts)
