"""How near copies of held-out recordings come, and what of them TensorBoard shows."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from utils.plot import mel_figure
from utils.tracking import Tracker
from vocoder_training.data import Data
from vocoder_training.losses import SpectralLoss

LONGEST = 10.0  # seconds of an utterance that are copied


class Validator:
    """Copies the same held-out utterances every time, as in use: whole, at their own level, with predicted pitch."""

    def __init__(self, data: Data, spectral: SpectralLoss, number: int, device: torch.device) -> None:
        self.data, self.spectral, self.device = data, spectral, device
        self.chosen = data.val.evenly(number)
        self._shown = False

    @torch.inference_mode()
    def losses(self, generator: nn.Module) -> dict[str, float]:
        """Means over the utterances of the losses that training minimises, under the same names."""
        sums: dict[str, float] = {}
        for index in self.chosen:
            real, fake = self._copy(generator, index)
            for name, value in self.spectral(fake, real).items():
                sums[name] = sums.get(name, 0.0) + float(value)
        return {name: value / len(self.chosen) for name, value in sums.items()}

    @torch.inference_mode()
    def write_samples(self, generator: nn.Module, tracker: Tracker, step: int) -> None:
        """The first utterance: log-mel of copy and recording over all frequencies; their audio, the latter once."""
        index = self.chosen[0]
        real, fake = self._copy(generator, index)
        front_end, name = self.data.front_end, self.data.val.entries[index].name
        panels = [
            (title, self.spectral.log_mel(wav)[0].cpu().numpy())
            for title, wav in ((f"copy, step {step}", fake), (f"recording {name}", real))
        ]
        figure = mel_figure(panels, front_end.hop_length / front_end.sampling_rate)
        tracker.figure("val", step, f"mel/{name}", figure)
        tracker.audio("val", step, "audio/copy", fake[0].cpu().numpy(), front_end.sampling_rate)
        if not self._shown:
            tracker.audio("val", step, "audio/recording", real[0].cpu().numpy(), front_end.sampling_rate)
            self._shown = True

    def _copy(self, generator: nn.Module, index: int) -> tuple[Tensor, Tensor]:
        """Recording and copy [1, T * hop_length], on the device."""
        front_end, recording = self.data.front_end, self.data.val[index]
        hop = front_end.hop_length
        most = int(LONGEST * front_end.sampling_rate) // hop
        if self.data.val_mels is None:
            frames = min(most, len(recording.samples) // hop)
            start = 0
            wav = torch.from_numpy(recording.cut(0, len(recording.samples)))[None].to(self.device)
            mel = front_end(wav)[0][:, :frames]
        else:
            predicted, start = self.data.val_mels(index, False)
            frames = min(most, len(predicted))
            mel = torch.from_numpy(np.ascontiguousarray(predicted[:frames]))[None].to(self.device)
        real = torch.from_numpy(recording.cut(start, frames * hop))[None].to(self.device)
        was_training = generator.training
        fake = generator.eval()(mel.transpose(1, 2)).float()
        generator.train(was_training)
        return real, fake
