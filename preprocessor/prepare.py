"""Corpus recordings -> {raw_path}/{speaker}/{name}.wav (mono, int16) and .lab (the text), one speaker at a time.

A speaker's folder also gets prepare_align.json: the settings, the recordings (size and modification time) and the peak
that its files were made from. It is removed before and written after the files, so where it stands it is true, and a
run that finds it equal to what it would do keeps the files. Where it is missing or differs, everything is computed
again, and files that come out the same are left untouched.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from audio import load, peak, save
from audio.files import SILENCE, wav_header
from errors import UserError
from preprocessor.corpus import Utterance
from preprocessor.facts import MANIFEST, Facts
from preprocessor.outputs import make_folder, remove_temporaries, write_bytes
from preprocessor.prepare_manifest import Settings, read_manifest, sources, vouches
from utils.files import write_json

PRELOAD = ("numpy", "soundfile", "soxr")
WAV_HEADER = 44  # bytes
KEPT_SAMPLES = 20_000_000  # of one speaker held in memory (80 MB, 15 min at 22,050 Hz); the rest is read twice


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


def prepare_speaker(task: Speaker) -> Prepared:
    """Make what is missing of one speaker."""
    remove_temporaries([task.folder])
    wanted = sources(task.utterances)
    manifest = None if task.force else read_manifest(task.folder / MANIFEST)
    if manifest is not None and vouches(manifest, task.settings, wanted, task.utterances):
        return complete(task, manifest)
    peaks, kept, bad = measure(task, KEPT_SAMPLES)
    if bad and not task.skip_bad:
        return result(task, {}, 0, bad)
    shared = shared_peak(task, peaks)
    make_room(task, peaks)
    samples, written = write_all(task, peaks, shared, kept)
    return conclude(task, wanted, shared, samples, written, bad)


def complete(task: Speaker, manifest: Mapping[str, Any]) -> Prepared:
    """The manifest vouches for every file that is there: make those that are not."""
    files = manifest["files"]
    bad = [Bad(item, files[item.name]["bad"]) for item in task.utterances if "bad" in files[item.name]]
    if bad and not task.skip_bad:
        return result(task, {}, 0, bad)
    samples = {name: entry["samples"] for name, entry in files.items() if "bad" not in entry}
    written = 0
    for utterance in task.utterances:
        if utterance.name not in samples or _is_whole(task.folder, utterance, samples[utterance.name]):
            continue
        wav = load(utterance.audio_path, task.settings.sampling_rate)
        pcm = quantise(wav, manifest["peak"] or peak(wav), task.settings)
        written += _write(task.folder, utterance, pcm, task.settings)
    return result(task, samples, written, bad)


def _is_whole(folder: Path, utterance: Utterance, samples: int) -> bool:
    try:
        size = (folder / f"{utterance.name}.wav").stat().st_size
        text = (folder / f"{utterance.name}.lab").read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return False
    return size == WAV_HEADER + 2 * samples and text == utterance.text


def measure(task: Speaker, room: int) -> tuple[dict[str, float], dict[str, npt.NDArray[np.float32]], list[Bad]]:
    """Peaks of the usable recordings, waveforms of `room` samples at most, and the unusable recordings."""
    peaks: dict[str, float] = {}
    kept: dict[str, npt.NDArray[np.float32]] = {}
    bad: list[Bad] = []
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


def shared_peak(task: Speaker, peaks: Mapping[str, float]) -> float | None:
    """The one that all of the speaker's recordings are scaled by; None: each by its own."""
    return max(peaks.values(), default=0.0) if task.settings.normalization == "speaker_peak" else None


def make_room(task: Speaker, peaks: Mapping[str, float]) -> None:
    """Remove what is ours and no longer wanted, and the manifest: it does not vouch for what comes now."""
    make_folder(task.folder)
    previous = read_manifest(task.folder / MANIFEST) or {"files": {}}
    for name in set(previous["files"]) - set(peaks):
        for suffix in (".wav", ".lab"):
            (task.folder / f"{name}{suffix}").unlink(missing_ok=True)
    (task.folder / MANIFEST).unlink(missing_ok=True)


def write_all(
    task: Speaker, peaks: Mapping[str, float], shared: float | None, kept: dict[str, npt.NDArray[np.float32]]
) -> tuple[dict[str, int], int]:
    """Name -> samples, and how many files were written."""
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
    return samples, written


def conclude(
    task: Speaker,
    wanted: Mapping[str, Mapping[str, Any]],
    shared: float | None,
    samples: Mapping[str, int],
    written: int,
    bad: Sequence[Bad],
) -> Prepared:
    """Write the manifest."""
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
    return result(task, samples, written, bad)


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


def result(task: Speaker, samples: Mapping[str, int], written: int, bad: Sequence[Bad]) -> Prepared:
    """Of a speaker whose files have so many samples."""
    seconds = sum(samples.values()) / task.settings.sampling_rate
    return Prepared(task.folder.name, written, len(samples) - written, seconds, tuple(bad))
