"""Reading Keras HDF5 weights (`save_weights`, or a whole model saved as .h5) without TensorFlow."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from deepspeaker.rescnn import ResCNN, from_keras, keras_layers
from errors import UserError

MOST_NUMBERS = 1 << 24  # of one weight; the largest has 2.4 million

# Kind of layer -> name of each Keras weight and of the PyTorch tensor it becomes.
_WEIGHT_NAMES: dict[type[nn.Module], dict[str, str]] = {
    nn.BatchNorm2d: {
        "gamma": "weight",
        "beta": "bias",
        "moving_mean": "running_mean",
        "moving_variance": "running_var",
    },
    nn.Conv2d: {"kernel": "weight", "bias": "bias"},
    nn.Linear: {"kernel": "weight", "bias": "bias"},
}


def load_rescnn(path: Path) -> ResCNN:
    """The encoder with the weights of a Keras file, frozen, in evaluation mode, on the CPU.

    Raises UserError naming `path` and what is wrong: not HDF5 or truncated, layers or weights missing, unexpected or
    of another shape, values that are not finite.
    """
    found = _read(path)
    with torch.device("meta"):  # no memory, and no draw from the global random state
        model = ResCNN()
    layers = keras_layers(model)
    _refuse(path, "lacks the layers", layers.keys() - found.keys())
    _refuse(path, "holds unexpected layers", found.keys() - layers.keys())
    state: dict[str, Tensor] = {}
    prefixes = {module: name for name, module in model.named_modules()}
    for name, module in layers.items():
        names = _WEIGHT_NAMES[type(module)]
        _refuse(path, f"layer {name}: lacks", names.keys() - found[name].keys())
        _refuse(path, f"layer {name}: has unexpected", found[name].keys() - names.keys())
        for keras, ours in names.items():
            weight = from_keras(found[name][keras]) if keras == "kernel" else found[name][keras]
            wanted = module.state_dict()[ours].shape
            if weight.shape != wanted or not weight.isfinite().all():
                raise UserError(f"{path}: {name}/{keras} must be finite and of shape {list(wanted)} once transposed")
            state[f"{prefixes[module]}.{ours}"] = weight
        if isinstance(module, nn.BatchNorm2d):
            state[f"{prefixes[module]}.num_batches_tracked"] = torch.tensor(0)
    model.load_state_dict(state, strict=True, assign=True)
    return model.requires_grad_(False).eval()


def _refuse(path: Path, problem: str, names: set[str]) -> None:
    if names:
        shown = sorted(names)
        more = f" and {len(shown) - 4} more" if len(shown) > 4 else ""
        raise UserError(f"{path} {problem} {', '.join(shown[:4])}{more}: not the published Deep Speaker ResCNN weights")


def _read(path: Path) -> dict[str, dict[str, Tensor]]:
    """Layer -> weight's last name without ':0' -> tensor; layers without weights are left out."""
    import h5py

    try:
        with h5py.File(path, "r") as file:
            root = file.get("model_weights", file)
            names = [_text(name) for name in root.attrs["layer_names"]]
            layers = {}
            for name in names:
                weights = [_text(weight) for weight in root[name].attrs["weight_names"]]
                tensors = {w.split("/")[-1].split(":")[0]: _tensor(root[name][w]) for w in weights}
                if tensors:
                    layers[name] = tensors
            return layers
    except Exception as error:  # a foreign file may fail anywhere in the reader
        raise UserError(f"{path} is truncated, or not a Keras .h5 weights file; fetch it again ({error})") from error


def _text(name: Any) -> str:
    return name.decode() if isinstance(name, bytes) else str(name)


def _tensor(dataset: Any) -> Tensor:
    """A few bytes can announce numbers that would fill any memory; they are zeros until somebody writes them."""
    if dataset.size > MOST_NUMBERS:
        raise ValueError(f"{dataset.name} announces {dataset.size:,} numbers")
    return torch.from_numpy(dataset[()]).float()
