"""Corpus recordings -> {raw_path}/{speaker}/{name}.wav (mono, int16) and .lab (the text), one speaker at a time.

A speaker's folder also gets prepare_align.json: the settings, the recordings (size and modification time) and the peak
that its files were made from. It is removed before and written after the files, so where it stands it is true, and a
run that finds it equal to what it would do keeps the files. Where it is missing or differs, everything is computed
again, and files that come out the same are left untouched.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from audio import load, peak, save
from audio.files import SILENCE, wav_header
from errors import UserError
from preprocessor.corpus import Utterance
from preprocessor.facts import MANIFEST, Facts
from preprocessor.outputs import make_folder, remove_temporaries, write_bytes
from preprocessor.parallel import ordered_map
from utils.files import write_json

if TYPE_CHECKING:
    from preprocessor.cluster import Cluster

PRELOAD = ("numpy", "soundfile", "soxr")
WAV_HEADER = 44  # bytes
KEPT_SAMPLES = 20_000_000  # of one speaker held in memory (80 MB, 15 min at 22,050 Hz); the rest is read twice


@dataclass(frozen=True)
class Settings:
    """What decides the samples, apart from the recordings."""

    sampling_rate: int  # Hz
    normalization: str  # speaker_peak: one factor per speaker; utterance_peak: one per recording
    max_wav_value: float  # the int16 value that the peak becomes


@dataclass(frozen=True)
class Speaker:
    """One worker's task: all recordings of one speaker, since they may share one factor."""

    folder: Path
    utterances: Sequence[Utterance]
    settings: Settings
    force: bool
    skip_bad: bool


@dataclass(frozen=True)
class Bad:
    """A recording that cannot be used."""

    utterance: Utterance
    reason: str  # begins with the file


@dataclass(frozen=True)
class Prepared:
    """What came of one speaker. With bad recordings and without skip_bad nothing was written."""

    speaker: str
    written: int  # recordings
    kept: int
    seconds: float  # of audio, written and kept
    bad: Sequence[Bad]


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
    yield from ordered_map(prepare_speaker, tasks, jobs, PRELOAD, cluster=cluster)


def prepare_speaker(task: Speaker) -> Prepared:
    """Make what is missing of one speaker."""
    remove_temporaries([task.folder])
    wanted = {utterance.name: _source(utterance) for utterance in task.utterances}
    facts = {utterance.name: Facts.of(utterance).as_json() for utterance in task.utterances}
    manifest = None if task.force else _read_manifest(task.folder / MANIFEST)
    if manifest is not None and _vouches(manifest, task.settings, wanted, facts):
        return _complete(task, manifest)
    peaks, kept, bad = _measure(task)
    if bad and not task.skip_bad:
        return _result(task, {}, 0, bad)
    return _write_all(task, wanted, peaks, kept, bad)


def refuse_other_settings(raw_path: Path, settings: Settings, dataset: str) -> None:
    """Raise UserError when a speaker's files were made with other settings than these. Folders without a manifest,
    such as recordings that the user prepared, pass."""
    for path in sorted(raw_path.glob(f"*/{MANIFEST}")):
        made = (_read_manifest(path) or {}).get("settings") or asdict(settings)
        for key, value in asdict(settings).items():
            if made.get(key) != value:
                raise UserError(
                    f"{path.parent} was made with {key} {made.get(key)}, but preprocess.preprocessing.audio.{key} is "
                    f"{value}; run python prepare_align.py --dataset {dataset} with the same settings first"
                )


def _source(utterance: Utterance) -> dict[str, Any]:
    try:
        status = utterance.audio_path.stat()
    except OSError:  # reading will say what is wrong
        return {"file": utterance.audio_path.name}
    facts = {"file": utterance.audio_path.name, "bytes": status.st_size, "modified_ns": status.st_mtime_ns}
    return {**facts, "text": utterance.text}


def _read_manifest(path: Path) -> dict[str, Any] | None:
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        return manifest if isinstance(manifest["files"], dict) and "peak" in manifest else None
    except (OSError, ValueError, TypeError, KeyError):
        return None  # then everything is computed again


def _vouches(
    manifest: Mapping[str, Any],
    settings: Settings,
    wanted: Mapping[str, Mapping[str, Any]],
    facts: Mapping[str, Mapping[str, str]],
) -> bool:
    made = {name: entry.get("source") for name, entry in manifest["files"].items()}
    said = {name: entry.get("facts") for name, entry in manifest["files"].items()}
    return bool(manifest.get("settings") == asdict(settings) and made == wanted and said == facts)


def _complete(task: Speaker, manifest: Mapping[str, Any]) -> Prepared:
    """The manifest vouches for every file that is there: make those that are not."""
    files = manifest["files"]
    bad = [Bad(item, files[item.name]["bad"]) for item in task.utterances if "bad" in files[item.name]]
    if bad and not task.skip_bad:
        return _result(task, {}, 0, bad)
    samples = {name: entry["samples"] for name, entry in files.items() if "bad" not in entry}
    written = 0
    for utterance in task.utterances:
        if utterance.name not in samples or _is_whole(task.folder, utterance, samples[utterance.name]):
            continue
        wav = load(utterance.audio_path, task.settings.sampling_rate)
        pcm = quantise(wav, manifest["peak"] or peak(wav), task.settings)
        written += _write(task.folder, utterance, pcm, task.settings)
    return _result(task, samples, written, bad)


def _is_whole(folder: Path, utterance: Utterance, samples: int) -> bool:
    try:
        size = (folder / f"{utterance.name}.wav").stat().st_size
        text = (folder / f"{utterance.name}.lab").read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return False
    return size == WAV_HEADER + 2 * samples and text == utterance.text


def _measure(task: Speaker) -> tuple[dict[str, float], dict[str, npt.NDArray[np.float32]], list[Bad]]:
    """Peaks of the usable recordings, as many of their waveforms as may be held, and the unusable recordings."""
    peaks: dict[str, float] = {}
    kept: dict[str, npt.NDArray[np.float32]] = {}
    bad: list[Bad] = []
    room = KEPT_SAMPLES
    for utterance in task.utterances:
        try:
            wav = load(utterance.audio_path, task.settings.sampling_rate)
            highest = peak(wav)
            if highest < SILENCE:
                raise UserError(f"{utterance.audio_path}: the recording is silent")
        except UserError as error:
            bad.append(Bad(utterance, str(error)))
            continue
        peaks[utterance.name] = highest
        room -= len(wav)
        if room >= 0:
            kept[utterance.name] = wav
    return peaks, kept, bad


def _write_all(
    task: Speaker,
    wanted: Mapping[str, Mapping[str, Any]],
    peaks: Mapping[str, float],
    kept: dict[str, npt.NDArray[np.float32]],
    bad: Sequence[Bad],
) -> Prepared:
    make_folder(task.folder)
    shared = max(peaks.values(), default=0.0) if task.settings.normalization == "speaker_peak" else None
    previous = _read_manifest(task.folder / MANIFEST) or {"files": {}}
    (task.folder / MANIFEST).unlink(missing_ok=True)
    for name in set(previous["files"]) - set(peaks):  # ours, and no longer wanted
        for suffix in (".wav", ".lab"):
            (task.folder / f"{name}{suffix}").unlink(missing_ok=True)
    samples, written = {}, 0
    for utterance in task.utterances:
        if utterance.name not in peaks:
            continue
        wav = kept.pop(utterance.name, None)
        if wav is None:
            wav = load(utterance.audio_path, task.settings.sampling_rate)
        pcm = quantise(wav, shared or peaks[utterance.name], task.settings)
        written += _write(task.folder, utterance, pcm, task.settings)
        samples[utterance.name] = len(pcm)
    reasons = {item.utterance.name: item.reason for item in bad}
    files = {
        item.name: {
            "source": wanted[item.name],
            "facts": Facts.of(item).as_json(),
            **({"bad": reasons[item.name]} if item.name in reasons else {"samples": samples[item.name]}),
        }
        for item in task.utterances
    }
    write_json(task.folder / MANIFEST, {"settings": asdict(task.settings), "peak": shared, "files": files})
    return _result(task, samples, written, bad)


def quantise(wav: npt.NDArray[np.float32], highest: float, settings: Settings) -> npt.NDArray[np.int16]:
    """[samples] float32 -> int16 with `highest` at max_wav_value, truncated toward zero as in the original.

    The original lets a peak of exactly +32768 wrap round to -32768; here it saturates at 32767.
    """
    scaled = wav / np.float32(highest)
    scaled *= np.float32(settings.max_wav_value)
    np.clip(scaled, -32768, 32767, out=scaled)
    return scaled.astype(np.int16)  # truncates


def _write(folder: Path, utterance: Utterance, pcm: npt.NDArray[np.int16], settings: Settings) -> bool:
    """Write wav and lab where they differ from what is there; whether either did."""
    wav_path, lab_path = folder / f"{utterance.name}.wav", folder / f"{utterance.name}.lab"
    new_lab = write_bytes(lab_path, utterance.text.encode())
    new_wav = not _holds(wav_path, pcm, settings.sampling_rate)
    if new_wav:
        save(wav_path, pcm, settings.sampling_rate)
    return new_wav or new_lab


def _holds(path: Path, pcm: npt.NDArray[np.int16], sampling_rate: int) -> bool:
    try:
        if path.stat().st_size != WAV_HEADER + pcm.nbytes:
            return False
        return path.read_bytes() == wav_header(len(pcm), sampling_rate) + pcm.astype("<i2", copy=False).tobytes()
    except OSError:
        return False


def _result(task: Speaker, samples: Mapping[str, int], written: int, bad: Sequence[Bad]) -> Prepared:
    seconds = sum(samples.values()) / task.settings.sampling_rate
    return Prepared(task.folder.name, written, len(samples) - written, seconds, tuple(bad))
