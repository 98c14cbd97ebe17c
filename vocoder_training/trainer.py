"""Vocoder training: spectral losses from the first step, discriminators from `adversarial_from_step` on."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from audio.mel import LOG_FLOOR, MelSpectrogram
from config import Config
from errors import UserError
from training.loop import Loop, RunningMeans, Schedule
from training.precision import Precision, step_seed
from training.processes import Process
from training.trouble import BadSteps, Verdict, is_finite, judge, update, update_scale
from utils.tracking import Tracker
from vocoder_training.data import Data
from vocoder_training.losses import SpectralLoss, discriminator_loss, feature_matching_loss, generator_loss
from vocoder_training.segments import EDGE, Segments, SegmentSampler, SegmentSettings
from vocoder_training.state import VocoderState
from vocoder_training.validation import Validator

LOOK_AT = (
    "look at these recordings and at the learning rate (vocoder.optimizer.learning_rate), then go on from the last "
    "checkpoint: --restore_step latest"
)
SHOWN = ("loss/mel", "loss/stft", "loss/adversarial", "loss/discriminators")  # in the progress bar


class VocoderTrainer(Loop):
    """Trains a generator on recordings, or on predicted mels of them."""

    def __init__(
        self,
        config: Config,
        data: Data,
        process: Process,
        use_amp: bool,
        restore_step: int | None,
        initial: Path | None = None,
    ) -> None:
        self.config, self.settings, self.process, self.data = config, config.vocoder, process, data
        due = self.settings.step
        self.schedule = Schedule(due.total_step, due.save_step, Path(self.settings.path.log_path), SHOWN)
        self.precision = Precision.choose(use_amp, self.settings.optimizer.amp_dtype, process.device).agreed(process)
        self.state = VocoderState(config, process.device, self.precision, initial)
        self.means = RunningMeans(process.device)
        if restore_step is not None:
            self.means.go_on(self.state.load(restore_step))
        self.front_end: MelSpectrogram = data.front_end.to(process.device)
        self.spectral = SpectralLoss(data.front_end, self.settings.loss.resolutions).to(process.device)
        self.sampler = SegmentSampler(
            data.train, segment_settings(config), process.rank, process.world, data.train_mels
        )
        self.model = process.distribute(self.state.trainee)
        self.jury = process.distribute(self.state.jury) if self.settings.discriminators.kinds else self.state.jury
        self.bad_steps = BadSteps(
            self.settings.optimizer.max_bad_steps,
            "vocoder.optimizer.max_bad_steps",
            LOOK_AT,
            process.rank,
            process.world,
        )
        self._validator: Validator | None = None

    @property
    def step(self) -> int:
        """Optimiser steps done."""
        return self.state.step

    def begin(self) -> None:
        """Nothing to prepare."""
        self.model.train()
        self.jury.train()

    def save(self) -> Path:
        """Write the checkpoint of the present step; returns the generator to use."""
        return self.state.save(self.means.content())

    def advance(self, stop_number: int) -> tuple[dict[str, Tensor], int]:
        """One step of the generator and, once it is their time, of the discriminators before it."""
        state, process = self.state, self.process
        question = process.ask_to_stop(stop_number)
        torch.manual_seed(step_seed(self.settings.seed, state.step, process.rank))
        rate = self._set_learning_rates()
        segments = self.sampler.batch(state.step).to(process.device)
        with self.precision.autocast(process.device):
            wavs, own_losses = self.model(self._mels(segments), segments)
        real, fake = self._heard(segments.wavs[:, segments.edge : -segments.edge], wavs.float())
        metrics: dict[str, Tensor] = {}
        adversarial = state.step >= self.settings.adversarial_from_step and bool(self.settings.discriminators.kinds)
        if adversarial:
            metrics, jury_verdict = self._judge(real, fake.detach())
        losses = self.spectral(fake, real, self.settings.loss.stft > 0) | own_losses
        if adversarial:
            losses |= self._judged(real, fake)
        total = self._total(losses)
        norm, verdict = self._update(total, state.generator_optimizer, state.trainee.parameters())
        bad = torch.maximum(verdict.bad, jury_verdict.bad) if adversarial else verdict.bad
        update_scale(state.scaler, bad)
        state.step += 1
        state.running.update(state.step, verdict.skip)
        self.bad_steps.add(state.step, bad, partial(self._culprits, state.step - 1, segments))
        metrics |= {f"loss/{name}": value.detach() for name, value in (losses | {"total": total}).items()}
        if process.world > 1:  # every process has as many segments: the mean of means is the mean
            summed = process.sum(torch.stack([value.float() for value in metrics.values()])) / process.world
            metrics = dict(zip(metrics, summed.unbind(), strict=True))
        metrics |= {"gradient_norm": norm, "learning_rate": torch.tensor(rate)}
        return metrics, question.answer()

    def _mels(self, segments: Segments) -> Tensor:
        """[B, bands, T]."""
        if segments.mels is not None:
            return (segments.mels + segments.gains.log()[:, None, None]).clamp(min=_SILENCE).transpose(1, 2)
        own, hop = self.sampler.settings, self.front_end.hop_length
        mels, _ = self.front_end(segments.wavs)
        first = own.edge // hop
        return mels[:, first : first + own.frames].transpose(1, 2)

    def _heard(self, *wavs: Tensor) -> list[Tensor]:
        """The part of segments that the losses see."""
        margin = self.settings.data.context * self.front_end.hop_length
        return [wav[:, margin : margin + self.settings.data.segment_size] for wav in wavs]

    def _judge(self, real: Tensor, fake: Tensor) -> tuple[dict[str, Tensor], Verdict]:
        """One step of the discriminators; all hear recordings and generated waveforms in one batch."""
        state = self.state
        with self.precision.autocast(self.process.device):
            heard = self.jury(torch.cat([real, fake]))
        size = len(real)
        loss = discriminator_loss([each.part(0, size) for each in heard], [each.part(size, 2 * size) for each in heard])
        norm, verdict = self._update(loss, state.jury_optimizer, state.jury.parameters())
        return {"loss/discriminators": loss.detach(), "discriminators_gradient_norm": norm}, verdict

    def _culprits(self, step: int, segments: Segments) -> list[str]:
        """Recordings of step `step`, counted from 0, whose spectral losses or their gradient are not finite."""
        found = []
        for number, name in enumerate(self.sampler.names(step)):
            one = segments.row(number)
            with self.precision.autocast(self.process.device):
                wavs, own_losses = self.state.trainee(self._mels(one), one)
            real, fake = self._heard(one.wavs[:, one.edge : -one.edge], wavs.float())
            total = self._total(self.spectral(fake, real, self.settings.loss.stft > 0) | own_losses)
            if not is_finite(total, self.state.trainee.parameters()):
                found.append(name)
        return found

    def _judged(self, real: Tensor, fake: Tensor) -> dict[str, Tensor]:
        """The generator's adversarial losses. The discriminators' own weights need no gradient of them."""
        jury = self.state.jury.requires_grad_(False)
        with self.precision.autocast(self.process.device):
            with torch.no_grad():
                heard = jury(real)
            judged = jury(fake)
        jury.requires_grad_(True)
        return {"adversarial": generator_loss(judged), "feature_matching": feature_matching_loss(heard, judged)}

    def _total(self, losses: dict[str, Tensor]) -> Tensor:
        own = self.settings.loss
        weights = {
            "mel": own.mel, "stft": own.stft, "adversarial": own.adversarial, "feature_matching": own.feature_matching,
            "pitch": own.pitch, "voicing": own.pitch,
        }  # fmt: skip
        return torch.stack([weights[name] * value for name, value in losses.items()]).sum()

    def _update(
        self, loss: Tensor, optimizer: torch.optim.Optimizer, parameters: Iterable[nn.Parameter]
    ) -> tuple[Tensor, Verdict]:
        """Backward and one step of `optimizer`, unless loss or gradient is not finite; returns the gradient's norm."""
        scaler = self.state.scaler
        optimizer.zero_grad(set_to_none=True)
        scaler.scale(loss).backward()
        scaler.unscale_(optimizer)
        limit = self.settings.optimizer.grad_clip_thresh
        norm = nn.utils.clip_grad_norm_(parameters, float("inf") if limit is None else limit)
        verdict = judge(self.process.sum(loss.detach().clone()), norm, scaler)
        update(optimizer, verdict.skip)
        return norm, verdict

    def _set_learning_rates(self) -> float:
        """Both decay by the epoch; the generator's may rise at first. Returns that one."""
        own, step = self.settings.optimizer, self.state.step
        rate = own.learning_rate * own.decay ** int(step / self.sampler.steps_per_epoch)
        warm = min(1.0, (step + 1) / own.warm_up_step) if own.warm_up_step else 1.0
        for optimizer, value in ((self.state.generator_optimizer, rate * warm), (self.state.jury_optimizer, rate)):
            for group in optimizer.param_groups:
                group["lr"] = value
        return rate * warm

    def report(self, tracker: Tracker, means: RunningMeans, bar: Any) -> None:
        """Logs, validation and samples where this step is due for them."""
        step, due = self.step, self.settings.step
        end = step == due.total_step
        if self._validator is None:
            self._validator = Validator(self.data, self.spectral, due.val_utterances, self.process.device)
        if step % due.log_step == 0 or end:
            tracker.scalars("train", step, means.take() | {"bad_steps": float(self.bad_steps.total)})
        if step % due.val_step == 0 or end:
            result = self._validator.losses(self.state.running.module)
            tracker.scalars("val", step, {f"loss/{name}": value for name, value in result.items()})
            bar.write(f"step {step}: val " + ", ".join(f"{name} {value:.4f}" for name, value in result.items()))
        if step % due.synth_step == 0 or end:
            self._validator.write_samples(self.state.running.module, tracker, step)
        if step % due.log_step == 0:
            tracker.flush()


_SILENCE = float(torch.tensor(LOG_FLOOR).log())


def segment_settings(config: Config) -> SegmentSettings:
    """Sizes of segments. Raises UserError unless a segment is a whole number of hops."""
    stft, data = config.preprocess.preprocessing.stft, config.vocoder.data
    if data.segment_size % stft.hop_length:
        raise UserError(
            f"vocoder.data.segment_size {data.segment_size} must be a whole number of hops "
            f"(preprocessing.stft.hop_length {stft.hop_length})"
        )
    longest = max(max(each[0] for each in config.vocoder.loss.resolutions), stft.filter_length)
    if data.segment_size <= longest // 2:
        raise UserError(f"vocoder.data.segment_size {data.segment_size} must be above {longest // 2}, half a window")
    return SegmentSettings(
        frames=data.segment_size // stft.hop_length + 2 * data.context,
        hop_length=stft.hop_length,
        edge=EDGE * -(-stft.filter_length // (EDGE * stft.hop_length)) * stft.hop_length,
        batch_size=config.vocoder.optimizer.batch_size,
        speech_share=data.speech_share,
        real_share=data.real_share,
        gain=(data.gain[0], data.gain[1]),
        seed=config.vocoder.seed,
    )
