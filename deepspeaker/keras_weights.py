"""Keras HDF5 weights (`save_weights`, or a whole model saved as .h5) as a network, without TensorFlow."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from deepspeaker import keras_reader
from deepspeaker.rescnn import ResCNN, from_keras, keras_layers
from errors import UserError

CPU_SECONDS = 10  # that reading may take; the published file takes half a second
SECONDS = 60.0  # of real time, on a busy machine or a slow disk
MEMORY = 4 << 30  # bytes of addresses; a third of a gigabyte is used

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


def load_rescnn(path: Path, cpu_seconds: int = CPU_SECONDS, seconds: float = SECONDS) -> ResCNN:
    """The encoder with the weights of a Keras file, frozen, in evaluation mode, on the CPU.

    A damaged file can make the HDF5 library crash or loop for ever, so a process of its own reads it, for `cpu_seconds`
    of its time and `seconds` of everybody's. Raises UserError naming `path` and what is wrong: not HDF5 or truncated,
    what the library did not survive, and whatever `network` refuses.
    """
    return network(path, _read(path, cpu_seconds, seconds))


def network(path: Path, arrays: Mapping[str, npt.NDArray[np.float32]]) -> ResCNN:
    """The encoder with the weights ("layer/weight" -> array) that were read from `path`.

    Raises UserError naming `path` and what is wrong: layers or weights missing, unexpected or of another shape, values
    that are not finite.
    """
    found: dict[str, dict[str, Tensor]] = {}
    for name, array in arrays.items():
        layer, _, weight_name = name.rpartition("/")
        found.setdefault(layer, {})[weight_name] = torch.from_numpy(array)
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


def _read(path: Path, cpu_seconds: int, seconds: float) -> dict[str, npt.NDArray[np.float32]]:
    """What keras_reader.read finds, found by a process that may fail."""
    command = [sys.executable, keras_reader.__file__, str(path), str(cpu_seconds), str(MEMORY)]
    environment = os.environ | {"OPENBLAS_NUM_THREADS": "1"}  # threads would take memory for nothing
    with tempfile.TemporaryFile() as written:  # 97 MB through a pipe take longer than all the rest
        try:
            done = subprocess.run(
                command, env=environment, stdin=subprocess.DEVNULL, stdout=written, stderr=subprocess.PIPE,
                timeout=seconds, check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired as error:
            raise unreadable(path, f"nothing came of it in {seconds:g} s") from error
        _check(path, done.returncode, done.stderr.decode(errors="replace"), cpu_seconds)
        written.seek(0)
        return {str(name): np.load(written, allow_pickle=False) for name in np.load(written, allow_pickle=False)}


def _check(path: Path, code: int, said: str, cpu_seconds: int) -> None:
    """Raise what an exit code of keras_reader and its standard error mean."""
    lines = said.strip().splitlines()
    reason = lines[-1] if lines else f"exit code {code}"
    if code == keras_reader.NO_PACKAGE:
        raise ModuleNotFoundError(f"No module named {reason!r}", name=reason)
    if code == keras_reader.NO_ROOM:
        raise UserError(f"cannot keep the weights of {path} in {tempfile.gettempdir()}: {reason}; free space there")
    if -code == getattr(signal, "SIGXCPU", None):
        raise unreadable(path, f"the HDF5 library came to no end in {cpu_seconds} s")
    if code < 0:
        raise unreadable(path, f"the HDF5 library did not survive it: {signal.strsignal(-code)}")
    if code:
        raise unreadable(path, reason)


def unreadable(path: Path, reason: object) -> UserError:
    """What to say about a file that the library does not take."""
    return UserError(f"{path} is truncated, or not a Keras .h5 weights file; fetch it again ({reason})")
