"""What TensorBoard shows of a validation utterance: mel spectrograms beside each other, and audio of both."""

from __future__ import annotations

import torch
from torch import nn

from config import Config
from dataset import UtteranceDataset, collate
from model import AcousticModel
from training.precision import Precision
from training.validation import run_model
from utils.plot import mel_figure
from utils.tracking import Tracker
from vocoder import Vocoder, load_vocoder


class SampleWriter:
    """Synthesises one and the same validation utterance every time, so that progress can be seen and heard.

    Durations are the recording's: the two spectrograms line up. The target's audio is re-synthesised from its mel, so
    what differs is the acoustic model's doing alone.
    """

    def __init__(self, config: Config, dataset: UtteranceDataset, device: torch.device) -> None:
        self.config = config
        self.device = device
        self.batch = collate([dataset[0]]).to(device)
        self.vocoder: Vocoder = load_vocoder(config, device)
        self._target_logged = False

    @torch.inference_mode()
    def write(self, model: AcousticModel, precision: Precision, tracker: Tracker, step: int) -> None:
        """Log the figure and the predicted audio; the target's audio once a run."""
        with _eval_mode(model), precision.autocast(self.device):
            predicted = run_model(model, self.batch).mels[-1].float()
        preprocessing = self.config.preprocess.preprocessing
        rate = preprocessing.audio.sampling_rate
        target = self.batch.mels
        name = self.batch.names[0]
        figure = mel_figure(
            [(f"predicted, step {step}", predicted[0].cpu().numpy()), (f"target {name}", target[0].cpu().numpy())],
            preprocessing.stft.hop_length / rate,
        )
        tracker.figure("val", step, f"mel/{name}", figure)
        tracker.audio("val", step, "audio/predicted", self.vocoder(predicted, None)[0].cpu().numpy(), rate)
        if not self._target_logged:
            tracker.audio("val", step, "audio/target_resynthesised", self.vocoder(target, None)[0].cpu().numpy(), rate)
            self._target_logged = True


class _eval_mode:  # noqa: N801 - a context manager, used like a function
    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self.was_training = model.training

    def __enter__(self) -> None:
        self.model.eval()

    def __exit__(self, *_: object) -> None:
        self.model.train(self.was_training)
