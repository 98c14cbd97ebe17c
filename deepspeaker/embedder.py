"""Waveform in, speaker embedding out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F

from deepspeaker.features import features, windows
from deepspeaker.rescnn import ResCNN
from errors import UserError

PUBLISHED_WEIGHTS = Path(__file__).resolve().parent / "ResCNN_triplet_training_checkpoint_265.h5"
BATCH = 16  # windows embedded at once; a window takes 12 MB


class SpeakerEmbedder:
    """Deterministic embeddings of any recording; make it with `SpeakerEmbedder.from_keras`."""

    def __init__(self, model: ResCNN, device: torch.device) -> None:
        self.model = model.eval().to(device)
        self.device = device

    @classmethod
    def from_keras(cls, path: str | Path = PUBLISHED_WEIGHTS, device: torch.device | None = None) -> SpeakerEmbedder:
        """Load the published Keras weights (.h5); the device's default is the CPU.

        Raises UserError where the file is missing, truncated or another network's.
        """
        path = Path(path)
        if not path.is_file():
            raise UserError(
                f"no speaker encoder weights at {path}: download {PUBLISHED_WEIGHTS.name} (Google Drive link in the "
                f"README of github.com/philipperemy/deep-speaker) to deepspeaker/{PUBLISHED_WEIGHTS.name}, "
                "or choose --set preprocess.preprocessing.speaker_embedder=none, which needs no weights"
            )
        from deepspeaker.keras_weights import load_rescnn

        return cls(load_rescnn(path), device or torch.device("cpu"))

    def __call__(self, wav: npt.NDArray[np.floating], sampling_rate: int) -> npt.NDArray[np.float32]:
        """wav [samples] within [-1, 1] -> [512] of length 1: the mean direction of the embeddings of `windows`.

        Raises UserError for a silent waveform.
        """
        return self.embed(windows(features(wav, sampling_rate)))

    @torch.no_grad()
    def embed(self, batch: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Windows [n, 160, 64] of one speaker -> [512] of length 1."""
        parts = torch.from_numpy(batch).to(self.device).split(BATCH)
        embeddings = torch.cat([self.model(part) for part in parts])  # (n, 512)
        embedding: npt.NDArray[np.float32] = F.normalize(embeddings.mean(dim=0), dim=0).cpu().numpy()
        return embedding
