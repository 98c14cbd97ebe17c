"""What a vocoder's training run consists of, and how it goes to a checkpoint and back."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from config import Config
from errors import UserError
from training.precision import Precision
from training.running import RunningWeights
from training.start import check_same
from utils.checkpoint import checkpoint_path, known_steps, write_content
from utils.weights import load_content
from vocoder_training.discriminators import new_jury
from vocoder_training.generators import begin_from, export, new_trainee, prepare

FORMAT = 1
KIND = "vocoder training"
SAME = ("architecture", "discriminators")  # parts of the configuration that a checkpoint's tensors depend on


class VocoderState:
    """Generator, discriminators, their optimisers. `step` counts optimiser steps already done."""

    def __init__(self, config: Config, device: torch.device, precision: Precision, initial: Path | None) -> None:
        self.config = config
        settings = config.vocoder
        torch.manual_seed(settings.seed)
        self.trainee = new_trainee(config)
        if initial is not None:
            begin_from(self.trainee, initial)
        prepare(self.trainee).to(device)
        self.running = RunningWeights(self.trainee.generator, settings.optimizer.ema)
        self.jury = new_jury(settings.discriminators).to(device)
        self.generator_optimizer = _optimizer(self.trainee.parameters(), config)
        self.jury_optimizer = _optimizer(self.jury.parameters(), config)
        self.scaler = precision.scaler(device)
        self.step = 0

    @property
    def folder(self) -> Path:
        """Where checkpoints and generators go."""
        return Path(self.config.vocoder.path.ckpt_path)

    def load(self, step: int) -> dict[str, Tensor]:
        """Go on from checkpoint `step`; returns what RunningMeans goes on from.

        Raises UserError where it does not belong to this configuration."""
        path = checkpoint_path(self.folder, step)
        content = load_content(path, "use another step")
        if not isinstance(content, dict) or content.get("kind") != KIND or content.get("format") != FORMAT:
            raise UserError(f"{path} is no state of vocoder training that this version can go on from")
        try:
            saved, own = content["config"]["vocoder"], self.config.to_dict()["vocoder"]
            check_same(path, "vocoder", {key: saved[key] for key in SAME}, {key: own[key] for key in SAME})
            self.trainee.generator.load_state_dict(content["generator"])
            self.jury.load_state_dict(content["discriminators"])
            if self.running.decay:  # begun now, if the checkpoint has none
                self.running.module.load_state_dict(content["running"] or content["generator"])
            self.generator_optimizer.load_state_dict(content["generator_optimizer"])
            self.jury_optimizer.load_state_dict(content["discriminators_optimizer"])
        except (RuntimeError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise UserError(f"{path} does not fit the configured vocoder: {str(error)[:300]}") from error
        if self.scaler.is_enabled() and content["scaler"]:
            self.scaler.load_state_dict(content["scaler"])
        self.step = step
        means = content.get("means")
        return means if isinstance(means, dict) else {}  # checkpoints older than this have none

    def save(self, means: dict[str, Tensor]) -> Path:
        """Write the checkpoint of the present step, with `means` as of RunningMeans.content(), and, ready for use,
        generator_{step}.pth.tar with its JSON; returns the latter."""
        generator = self.folder / f"generator_{self.step}.pth.tar"
        export(self.running.module, self.trainee.to_json(), self.config, generator)
        content: dict[str, Any] = {
            "format": FORMAT,
            "kind": KIND,
            "step": self.step,
            "generator": self.trainee.generator.state_dict(),
            "running": self.running.module.state_dict() if self.running.decay else {},
            "discriminators": self.jury.state_dict(),
            "generator_optimizer": self.generator_optimizer.state_dict(),
            "discriminators_optimizer": self.jury_optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "config": self.config.to_dict(),
            "means": means,
        }
        write_content(checkpoint_path(self.folder, self.step), content)
        self._remove_old()
        return generator

    def _remove_old(self) -> None:
        """Keep the last `keep_states` states up to the present step, and any later ones."""
        keep = self.config.vocoder.step.keep_states
        earlier = [step for step in known_steps(self.folder) if step <= self.step]
        for step in earlier[:-keep] if keep else []:
            checkpoint_path(self.folder, step).unlink(missing_ok=True)


def _optimizer(parameters: Iterable[nn.Parameter], config: Config) -> torch.optim.AdamW:
    """AdamW; the learning rate is set at every step. `fused` does all tensors in one pass."""
    own = config.vocoder.optimizer
    betas = (own.betas[0], own.betas[1])
    return torch.optim.AdamW(
        [each for each in parameters if each.requires_grad],
        lr=own.learning_rate,
        betas=betas,
        weight_decay=own.weight_decay,
        fused=True,
    )
