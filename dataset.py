"""Preprocessed utterances -> items -> padded tensors."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from config import Config
from errors import UserError
from text import phones_to_ids
from utils.arrays import load_array, load_finite
from utils.metadata import Entry, IdMaps, intensity_of, read_metadata

UNLABELLED = -1  # emotion id of an utterance without a label
HELD_BYTES = 2**30  # of mel spectrograms that a dataset keeps in memory: all of RAVDESS ten times


@dataclass(frozen=True)
class Batch:
    """Padded with zeros; lengths tell what is real."""

    names: list[str]
    raw_texts: list[str]
    phones: Tensor  # [B, N] long
    phone_lengths: Tensor  # [B]
    speakers: Tensor  # [B] ids
    speaker_embeddings: Tensor | None  # [B, 512], with an external speaker embedder
    emotions: Tensor  # [B] ids, UNLABELLED where there is none
    reference_mels: Tensor | None  # [B, R, 80] log-mel
    reference_lengths: Tensor | None  # [B]
    mels: Tensor  # [B, T, 80] log-mel
    mel_lengths: Tensor  # [B] frames
    durations: Tensor | None  # [B, N] frames; None: the model aligns
    pitches: Tensor | None = None  # [B, T] Hz, 0 = unvoiced; None: nobody asked
    intensities: Tensor | None = None  # [B] ids, UNLABELLED where the name says none; None: the model knows none

    def to(self, device: torch.device) -> Batch:
        """The same batch on `device`; waits for nothing where memory is pinned."""
        moved: dict[str, Any] = {
            name: value.to(device, non_blocking=True)
            for name, value in vars(self).items()
            if isinstance(value, Tensor) and not name.startswith("reference_")
        }
        own = self.reference_mels is self.mels  # in training the reference is the utterance itself: copy it once
        moved["reference_mels"] = moved["mels"] if own else _to(self.reference_mels, device)
        moved["reference_lengths"] = moved["mel_lengths"] if own else _to(self.reference_lengths, device)
        return replace(self, **moved)

    def pin_memory(self) -> Batch:
        """Called by DataLoader(pin_memory=True)."""
        pinned: dict[str, Any] = {
            name: value.pin_memory() for name, value in vars(self).items() if isinstance(value, Tensor)
        }
        if self.reference_mels is self.mels:
            pinned["reference_mels"] = pinned["mels"]
        return replace(self, **pinned)

    @property
    def speaker_input(self) -> Tensor:
        """What the model's speaker embedding takes: external embeddings where there are any, ids elsewhere."""
        return self.speakers if self.speaker_embeddings is None else self.speaker_embeddings


def _to(tensor: Tensor | None, device: torch.device) -> Tensor | None:
    return None if tensor is None else tensor.to(device, non_blocking=True)


class Item(NamedTuple):
    entry: Entry
    phones: np.ndarray  # [N] ids
    speaker: int
    speaker_embedding: np.ndarray | None  # [512]
    emotion: int
    mel: np.ndarray  # [T, 80]
    durations: np.ndarray | None  # [N]
    pitch: np.ndarray | None = None  # [T] Hz
    intensity: int | None = None


class UtteranceDataset(Dataset[Item]):
    """The utterances of one metadata file (`train.txt`, `val.txt`) with their features.

    `withheld` are the keys of utterances whose emotion label is not to be used; `unlabelled` adds to them those that
    have none. `aligned`: there are durations; they are read at once (they tell the lengths), mels and, where `pitched`,
    pitches when first asked for, and kept as far as HELD_BYTES go. `intensities`: words that an utterance's name may
    have in it (utils.metadata.intensity_of).
    Raises UserError naming the file for a missing or inconsistent one.
    """

    def __init__(
        self,
        root: Path,
        metadata: str,
        ids: IdMaps,
        external_speakers: bool,
        withheld: frozenset[tuple[str, str]] = frozenset(),
        aligned: bool = True,
        pitched: bool = False,
        intensities: Sequence[str] = (),
    ) -> None:
        self.root = root
        self.pitched = pitched
        self.entries = read_metadata(root / metadata)
        if not self.entries:
            raise UserError(
                f"{root / metadata} lists no utterance; run preprocess.py with something to put there "
                "(preprocess.preprocessing.val_size and split)"
            )
        self.unlabelled = withheld | {entry.key for entry in self.entries if entry.emotion is None}
        self.phones = [np.array(phones_to_ids(entry.phones)) for entry in self.entries]
        self.speakers = [ids.speaker_id(entry.speaker) for entry in self.entries]
        self.emotions = [
            UNLABELLED if entry.emotion is None else ids.emotion_id(entry.emotion) for entry in self.entries
        ]
        self.intensities: list[int] | None = None
        if intensities:
            found = [intensity_of(entry.name, intensities) for entry in self.entries]
            self.intensities = [UNLABELLED if each is None else each for each in found]
        self.durations: list[np.ndarray] | None = None
        if aligned:
            self.durations = [self._durations(entry) for entry in self.entries]
            self.lengths = [int(durations.sum()) for durations in self.durations]  # frames
        else:
            self.lengths = [self._frames(entry) for entry in self.entries]
        self.speaker_embeddings: dict[str, np.ndarray] | None = None
        if external_speakers:
            names = sorted({entry.speaker for entry in self.entries})
            self.speaker_embeddings = {
                name: load_finite(root / "spker_embed" / f"{name}-spker_embed.npy").reshape(-1) for name in names
            }

        self._held: dict[int, tuple[np.ndarray, np.ndarray | None]] = {}
        self._room = HELD_BYTES

    def __len__(self) -> int:
        return len(self.entries)

    def __getitem__(self, index: int) -> Item:
        entry = self.entries[index]
        held = self._held.get(index)
        if held is None:
            held = self._read_mel(index), self._read_pitch(index) if self.pitched else None
            size = sum(array.nbytes for array in held if array is not None)
            if size <= self._room:
                self._held[index] = held
                self._room -= size
        mel, pitch = held
        return Item(
            entry,
            self.phones[index],
            self.speakers[index],
            None if self.speaker_embeddings is None else self.speaker_embeddings[entry.speaker],
            UNLABELLED if entry.key in self.unlabelled else self.emotions[index],
            mel,
            None if self.durations is None else self.durations[index],
            pitch,
            None if self.intensities is None else self.intensities[index],
        )

    def _read_mel(self, index: int) -> np.ndarray:
        path = self._mel_path(self.entries[index])
        mel = load_finite(path)
        if mel.ndim != 2 or len(mel) != self.lengths[index]:
            raise UserError(
                f"{path} holds {mel.shape} values but its durations sum to {self.lengths[index]} frames; "
                "make both again with preprocess.py"
            )
        return mel

    def _read_pitch(self, index: int) -> np.ndarray:
        entry = self.entries[index]
        path = self.root / "pitch" / f"{entry.speaker}-pitch-{entry.name}.npy"
        if not path.exists():
            raise UserError(
                f"{path} is missing; run preprocess.py again (with the --set of training), or train without prosody "
                "(--set model.prosody.layer=0)"
            )
        pitch = load_finite(path)
        if pitch.shape != (self.lengths[index],):
            raise UserError(
                f"{path} holds {pitch.shape} values for {self.lengths[index]} frames; "
                "make both again with preprocess.py"
            )
        return pitch

    def _mel_path(self, entry: Entry) -> Path:
        return self.root / "mel" / f"{entry.speaker}-mel-{entry.name}.npy"

    def _frames(self, entry: Entry) -> int:
        path = self._mel_path(entry)
        shape = load_array(path, mmap_mode="r").shape
        if len(shape) != 2 or shape[0] < len(entry.phones):
            raise UserError(
                f"{path} holds {shape} values for {len(entry.phones)} phones, and each needs a frame; make it again "
                "with preprocess.py --set model.alignment=learned"
            )
        return shape[0]

    def _durations(self, entry: Entry) -> np.ndarray:
        path = self.root / "duration" / f"{entry.speaker}-duration-{entry.name}.npy"
        if not path.exists():
            raise UserError(
                f"{path} is missing; run preprocess.py, or add --set model.alignment=learned where it was run with that"
            )
        durations = load_array(path)
        if durations.shape != (len(entry.phones),):
            raise UserError(
                f"{path} holds {durations.shape} durations for {len(entry.phones)} phones; "
                "make both again with preprocess.py"
            )
        if durations.dtype.kind == "f" or durations.min() < 0:
            raise UserError(f"{path} holds durations that are no numbers of frames; make it again with preprocess.py")
        return durations


def open_dataset(
    config: Config, metadata: str, ids: IdMaps, withheld: frozenset[tuple[str, str]] = frozenset()
) -> UtteranceDataset:
    """The preprocessed utterances of train.txt or val.txt with what a model of this configuration learns from."""
    return UtteranceDataset(
        Path(config.preprocess.path.preprocessed_path),
        metadata,
        ids,
        config.preprocess.preprocessing.speaker_embedder != "none",
        withheld,
        aligned=config.model.alignment == "textgrid",
        pitched=config.model.prosody.layer > 0,
        intensities=config.model.intensities,
    )


def choose_unlabelled(entries: Sequence[Entry], config: Config, ids: IdMaps) -> frozenset[tuple[str, str]]:
    """Keys of the training utterances whose emotion label is withheld (train.semi_supervised).

    All of `unlabelled_speakers`, and `unlabelled_fraction` of the other labelled ones. Which ones depends on seed and
    name alone, so neither order nor other utterances matter much. Raises UserError for an unknown speaker.
    """
    chosen = config.train.semi_supervised
    for speaker in chosen.unlabelled_speakers:
        ids.speaker_id(speaker)
    labelled = {entry.key for entry in entries if entry.emotion is not None}
    by_speaker = {key for key in labelled if key[0] in chosen.unlabelled_speakers}
    rest = sorted(labelled - by_speaker, key=lambda key: (_hash(config.train.seed, key[1]), key))
    return frozenset(by_speaker.union(rest[: round(chosen.unlabelled_fraction * len(rest))]))


def _hash(seed: int, name: str) -> str:
    return hashlib.sha256(f"{seed}/{name}".encode()).hexdigest()


def collate(items: Sequence[Item], multiples: tuple[int, int] = (1, 1)) -> Batch:
    """Pad items into one batch; the reference mel of an utterance is its own.

    Frames and phones are padded to whole multiples of `multiples`, so that batches have few different shapes.
    """
    frames = _whole(max(len(item.mel) for item in items), multiples[0])
    count = _whole(max(len(item.phones) for item in items), multiples[1])
    phones = np.zeros((len(items), count), dtype=np.int64)
    durations = np.zeros_like(phones)
    mels = np.empty((len(items), frames, items[0].mel.shape[1]), dtype=np.float32)
    pitches = None if items[0].pitch is None else np.zeros(mels.shape[:2], dtype=np.float32)
    for row, item in enumerate(items):
        if pitches is not None and item.pitch is not None:
            pitches[row, : len(item.mel)] = item.pitch
        phones[row, : len(item.phones)] = item.phones
        if item.durations is not None:
            durations[row, : len(item.phones)] = item.durations
        mels[row, : len(item.mel)] = item.mel
        mels[row, len(item.mel) :] = 0.0
    shared, lengths = torch.from_numpy(mels), torch.tensor([len(item.mel) for item in items])
    embeddings = [item.speaker_embedding for item in items if item.speaker_embedding is not None]
    return Batch(
        names=[item.entry.name for item in items],
        raw_texts=[item.entry.text for item in items],
        phones=torch.from_numpy(phones),
        phone_lengths=torch.tensor([len(item.phones) for item in items]),
        speakers=torch.tensor([item.speaker for item in items]),
        speaker_embeddings=torch.from_numpy(np.stack(embeddings)).float() if embeddings else None,
        emotions=torch.tensor([item.emotion for item in items]),
        reference_mels=shared,
        reference_lengths=lengths,
        mels=shared,
        mel_lengths=lengths,
        durations=torch.from_numpy(durations) if items[0].durations is not None else None,
        pitches=None if pitches is None else torch.from_numpy(pitches),
        intensities=None
        if items[0].intensity is None
        else torch.tensor([UNLABELLED if item.intensity is None else item.intensity for item in items]),
    )


def _whole(size: int, multiple: int) -> int:
    return -(-size // multiple) * multiple
