"""The recordings that a vocoder learns from: read once, kept in memory as far as it goes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from audio.files import INT16_SCALE, load
from audio.trim import loud_span
from errors import UserError
from utils.metadata import Entry, read_metadata
from vocoder_training.pitch import PitchTrack, kept_track

HELD_BYTES = 2 * 2**30  # of samples kept in memory: twelve hours; the rest is read again when its turn comes


@dataclass(frozen=True)
class Recording:
    samples: npt.NDArray[np.int16]
    speech: tuple[int, int]  # first and next sample of the part with speech in it
    pitch: PitchTrack | None  # None: nobody asked

    def cut(self, start: int, size: int) -> npt.NDArray[np.float32]:
        """`size` samples from `start` on, full scale 1; silence beyond the ends."""
        wav = np.zeros(size, dtype=np.float32)
        first, last = max(0, start), min(len(self.samples), start + size)
        if first < last:
            wav[first - start : last - start] = self.samples[first:last] / np.float32(INT16_SCALE)
        return wav


class Recordings:
    """The utterances of train.txt or val.txt, as {raw_path}/{speaker}/{name}.wav; with their pitch, kept in the folder
    `pitches`, if there is one.

    Raises UserError naming what is missing: the metadata, its utterances or, at once, any of their recordings.
    """

    def __init__(self, metadata: Path, raw_path: Path, sampling_rate: int, pitches: Path | None = None) -> None:
        self.entries: list[Entry] = read_metadata(metadata)
        if not self.entries:
            raise UserError(
                f"{metadata} lists no utterance; run preprocess.py with something to put there "
                "(preprocess.preprocessing.val_size and split)"
            )
        self.sampling_rate = sampling_rate
        self.pitches = pitches
        self.paths = [raw_path / entry.speaker / f"{entry.name}.wav" for entry in self.entries]
        missing = [path for path in self.paths if not path.is_file()]
        if missing:
            raise UserError(
                f"{missing[0]} is missing, and {len(missing) - 1} more of {len(self.paths)}; run prepare_align.py"
            )
        self._held: dict[int, Recording] = {}
        self._room = HELD_BYTES

    def __len__(self) -> int:
        return len(self.entries)

    def __getitem__(self, index: int) -> Recording:
        recording = self._held.get(index)
        if recording is None:
            recording = self._read(index)
            if recording.samples.nbytes <= self._room:
                self._held[index] = recording
                self._room -= recording.samples.nbytes
        return recording

    def _read(self, index: int) -> Recording:
        wav = load(self.paths[index], self.sampling_rate)
        samples = np.clip(np.round(wav * INT16_SCALE), -INT16_SCALE, INT16_SCALE - 1).astype(np.int16)
        pitch = None
        if self.pitches is not None:
            pitch = kept_track(wav, self.sampling_rate, self.paths[index], self.pitches / self.entries[index].speaker)
        return Recording(samples, loud_span(wav, self.sampling_rate), pitch)

    def evenly(self, number: int) -> Sequence[int]:
        """Indices of `number` of them (or all), evenly spread."""
        number = min(number, len(self))
        return [position * len(self) // number for position in range(number)]
