"""Which file a vocoder's weights are in, what architecture they have, and which mel spectrograms they want."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import fourier
import hifigan
from config import Config
from errors import UserError
from utils.weights import misfits

ROOT = Path(__file__).resolve().parent
NO_WEIGHTS = "or choose --set model.vocoder.model=Griffin-Lim, which needs no weights"

_HIFIGAN_SOURCE = "the pretrained models of github.com/jik876/hifi-gan (folder {}: its generator and config.json)"
_MELGAN_SOURCE = "github.com/descriptinc/melgan-neurips (mel2wav/models/{}.pt)"
# (config.model.vocoder.model, .speaker) -> names under the project's root, the first found wins; where they come from
PUBLISHED: Mapping[tuple[str, str], tuple[tuple[str, ...], str]] = {
    ("HiFi-GAN", "LJSpeech"): (
        ("hifigan/generator_LJSpeech.pth.tar", "hifigan/generator_LJSpeech.pth.tar.zip"),
        _HIFIGAN_SOURCE.format("LJ_V3, or LJ_V1"),
    ),
    ("HiFi-GAN", "universal"): (
        ("hifigan/generator_universal.pth.tar", "hifigan/generator_universal.pth.tar.zip"),
        _HIFIGAN_SOURCE.format("UNIVERSAL_V1"),
    ),
    ("MelGAN", "LJSpeech"): (("melgan/linda_johnson.pt",), _MELGAN_SOURCE.format("linda_johnson")),
    ("MelGAN", "universal"): (("melgan/multi_speaker.pt",), _MELGAN_SOURCE.format("multi_speaker")),
}


def published(kind: str, speaker: str) -> Path | None:
    """The file of published weights, if it is at hand."""
    names, _ = PUBLISHED[kind, speaker]
    return next((ROOT / name for name in names if (ROOT / name).is_file()), None)


def find_checkpoint(kind: str, speaker: str, given: str | None) -> Path:
    """The checkpoint `given` by the configuration, or the published one; raises UserError where it is not at hand."""
    if given is not None:
        if not Path(given).is_file():
            raise UserError(f"no {kind} checkpoint at {given} (model.vocoder.checkpoint)")
        return Path(given)
    if kind == "Fourier":
        raise UserError(
            "a Fourier vocoder needs its weights: --set model.vocoder.checkpoint=FILE, as train_vocoder.py writes it, "
            + NO_WEIGHTS
        )
    found = published(kind, speaker)
    if found is None:
        names, source = PUBLISHED[kind, speaker]
        raise UserError(
            f"no {kind} weights at {names[0]}{' (or .zip)' if len(names) > 1 else ''}: "
            f"get them from {source} and save them under that name, {NO_WEIGHTS}"
        )
    return found


def check_mel(config: Config, trained_on: Mapping[str, float | None], source: str) -> None:
    """Raise UserError unless the vocoder was trained on the mels that config.preprocess makes."""
    values = config.preprocess.preprocessing
    nyquist = values.audio.sampling_rate / 2
    ours: dict[str, tuple[str, float]] = {
        "num_mels": ("mel.n_mel_channels", values.mel.n_mel_channels),
        "n_fft": ("stft.filter_length", values.stft.filter_length),
        "hop_size": ("stft.hop_length", values.stft.hop_length),
        "win_size": ("stft.win_length", values.stft.win_length),
        "sampling_rate": ("audio.sampling_rate", values.audio.sampling_rate),
        "fmin": ("mel.mel_fmin", values.mel.mel_fmin),
        "fmax": ("mel.mel_fmax", nyquist if values.mel.mel_fmax is None else values.mel.mel_fmax),
    }
    wrong = []
    for key, (name, value) in ours.items():
        wanted = nyquist if trained_on[key] is None else trained_on[key]
        if value != wanted:
            wrong.append(f"preprocessing.{name} is {value:g}, the vocoder's {key} is {wanted:g}")
    if wrong:
        raise UserError(
            f"{source} was trained on other mel spectrograms: {'; '.join(wrong)}; change either, {NO_WEIGHTS}"
        )


def fourier_architecture(path: Path) -> fourier.Architecture | None:
    """What the JSON beside a Fourier generator's weights says ({stem}.json or config.json); None if there is none."""
    for file in _named(path):
        values = _read_object(file) if file.is_file() else {}
        if values.get("kind") == fourier.Architecture.kind:
            try:
                return fourier.Architecture.from_json(values)
            except ValueError as error:
                raise UserError(f"{file} is not a Fourier generator's description: {error}; fetch it again") from error
    return None


def lifts_quiet(path: Path) -> bool:
    """Whether a GAN hears quiet speech at the level of its training; not one that was taught all levels, as the JSON
    beside it says which train_vocoder.py writes."""
    file = _named(path)[0]
    return not file.is_file() or _read_object(file).get("lifts_quiet") is not False


def _named(path: Path) -> list[Path]:
    return [path.parent / f"{path.name.split('.')[0]}.json", path.parent / "config.json"]


def _read_object(file: Path) -> dict[str, Any]:
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
        if not isinstance(values, dict):
            raise ValueError("holds no object")
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{file} is not a vocoder's config: {error}; mend it or take it away") from error
    return values


def hifigan_architecture(
    path: Path, state: Mapping[str, Tensor]
) -> tuple[hifigan.Architecture, dict[str, float | None], str]:
    """The architecture of the weights in `path`, its config's mel settings ({} without one), and who says so.

    Several generators may share a folder: of the config JSONs in it, the first one counts that fits the weights.
    """
    named = _named(path)
    others = [file for file in sorted(path.parent.glob("config*.json")) if file not in named]
    for file in (*named, *others):
        if file.is_file():
            architecture, mel = _read_config(file)
            if not misfits(skeleton_of(architecture), state):
                return architecture, mel, f"{path} ({file.name})"
    try:
        return hifigan.infer_architecture({name: weight.shape for name, weight in state.items()}), {}, str(path)
    except ValueError as error:
        raise UserError(
            f"{path} {error}: not a HiFi-GAN generator, or one that needs its config.json beside it; {NO_WEIGHTS}"
        ) from error


def _read_config(file: Path) -> tuple[hifigan.Architecture, dict[str, float | None]]:
    try:
        values = _read_object(file)
        mel = {key: values[key] for key in hifigan.PUBLISHED_MEL if key in values}
        if not all(type(value) in (int, float) or (key == "fmax" and value is None) for key, value in mel.items()):
            raise ValueError(f"{', '.join(mel)} must be numbers")
        return hifigan.Architecture.from_json(values), mel
    except ValueError as error:
        raise UserError(f"{file} is not a HiFi-GAN config: {error}; mend it or take it away") from error


def skeleton_of(architecture: hifigan.Architecture) -> hifigan.Generator:
    """A generator without weights."""
    with torch.device("meta"):  # no memory, and no draw from the global random state
        return hifigan.Generator(architecture)
