"""Weights and what they need to be used: written as safetensors and JSON, then read back."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import hifigan
from acoustic import build_model, uses_external_speakers
from config import Config, from_dict, load_config
from config.schema import Vocoder as VocoderSettings
from errors import UserError
from model import count_parameters
from utils.checkpoint import Checkpoint
from utils.files import atomic_path, write_json
from utils.shipped import ACOUSTIC, ARCHITECTURE, CONFIG, EMBEDDINGS, FORMAT, VOCODER, read_shipped
from utils.weights import fold_weight_norm, read_state
from vocoder import Vocoder, load_vocoder

# The weights have a file of their own; the rest is for training
NOT_SHIPPED = ("model", "running", "optimizer", "scaler", "sampler")


def write_acoustic(
    folder: Path, checkpoint: Checkpoint, config: Config, source: Path, half: bool
) -> tuple[Config, int]:
    """acoustic.safetensors and config.json, and speaker embeddings where the model takes them; returns the
    configuration as it is shipped, and the model's trainable parameters.

    `config` is the dataset's: its paths take the place of those of the machine that trained. Raises UserError where the
    checkpoint's weights do not fit its configuration, or do not fit into float16.
    """
    if checkpoint.config is None:
        raise UserError(f"{source} is a published checkpoint: it carries no configuration that could be shipped")
    model, trained, ids = build_model(checkpoint, config, source)
    trained = _without_machine(trained)
    values = {key: value for key, value in vars(checkpoint).items() if key not in NOT_SHIPPED}
    write_json(folder / CONFIG, {"format": FORMAT, **values, "config": trained.to_dict()})
    _save(folder / ACOUSTIC, checkpoint.weights, half)
    if uses_external_speakers(trained):
        (folder / EMBEDDINGS).mkdir()
        for name in ids.speakers:
            file = f"{name}-spker_embed.npy"
            shutil.copyfile(
                Path(config.preprocess.path.preprocessed_path) / EMBEDDINGS / file, folder / EMBEDDINGS / file
            )
    return trained, count_parameters(model)


def write_vocoder(folder: Path, source: Path, config: Config, half: bool) -> tuple[str, dict[str, Any], int]:
    """vocoder.safetensors and vocoder.json; returns what it is called, that description, and the parameters.

    The architecture is what a JSON beside `source` says, or for HiFi-GAN what the weights tell. Raises UserError where
    none of them fits.
    """
    state = fold_weight_norm(read_state(source, "generator"))
    _save(folder / VOCODER, state, half)
    parameters = sum(weight.numel() for weight in state.values())
    problem: UserError | None = None
    for description in _architectures(source, state):
        write_json(folder / ARCHITECTURE, description)
        try:
            name = load_shipped_vocoder(folder, config).name
            return name.partition(" (")[0], description, parameters
        except UserError as error:
            problem = problem or error
    raise UserError(f"{source}: {problem or 'no JSON beside it says what kind of generator this is'}")


def load_shipped_vocoder(folder: Path, config: Config) -> Vocoder:
    """The vocoder in `folder`, on the CPU."""
    settings = VocoderSettings(checkpoint=str(folder / VOCODER))
    model = config.model.model_copy(update={"vocoder": settings})
    return load_vocoder(config.model_copy(update={"model": model}), torch.device("cpu"))


def read_back(folder: Path, checkpoint: Checkpoint, config: Config, half: bool) -> None:
    """Load what was written; raises UserError unless it is what was meant, to the last bit."""
    content = read_shipped(folder)
    build_model(content, config, folder / ACOUSTIC)
    for name, weight in checkpoint.weights.items():
        if not torch.equal(content.model[name], _stored(weight, half).to(weight.dtype)):
            raise UserError(f"{folder / ACOUSTIC}: {name} reads unlike what was written; is the disk in order?")


def _save(path: Path, state: Mapping[str, Tensor], half: bool) -> None:
    from safetensors.torch import save

    stored = {name: _stored(weight, half) for name, weight in state.items()}
    for name, weight in stored.items():
        if not weight.isfinite().all():
            raise UserError(f"{name} holds values that are not finite{' in float16: leave out --half' if half else ''}")
    with atomic_path(path) as temporary:
        temporary.write_bytes(save(stored, {"format": "pt"}))  # one key: their order in the file is not fixed


def _stored(weight: Tensor, half: bool) -> Tensor:
    """In memory of its own, as the format wants it."""
    weight = weight.detach().cpu()
    return weight.to(torch.float16 if half and weight.is_floating_point() else weight.dtype).contiguous().clone()


def _without_machine(trained: Config) -> Config:
    """The configuration with the dataset's own paths, and with no choice of vocoder."""
    own = load_config(trained.dataset)
    values = trained.to_dict()
    for part in ("preprocess", "train"):
        values[part]["path"] = own.to_dict()[part]["path"]
    values["preprocess"]["preprocessing"]["speaker_embedder_checkpoint"] = None
    values["model"]["vocoder"] = VocoderSettings().model_dump(mode="json")
    return from_dict(values, CONFIG)


def _architectures(source: Path, state: Mapping[str, Tensor]) -> Iterator[dict[str, Any]]:
    """What the generator may be: the JSON files beside it, the likeliest first; then HiFi-GAN's by its shapes."""
    named = [source.parent / f"{source.name.split('.')[0]}.json", source.parent / "config.json"]
    for file in dict.fromkeys([*named, *sorted(source.parent.glob("config*.json"))]):
        try:
            values = json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            continue
        if isinstance(values, dict):
            yield values
    try:
        known = hifigan.infer_architecture({name: weight.shape for name, weight in state.items()})
    except ValueError:
        return
    yield {**hifigan.PUBLISHED_MEL, **known.to_json(), "hop_size": known.hop_length}
