"""The generator in training: official initial values and weight norm, and back to the layout of published weights."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm
from torch.nn.utils.parametrize import is_parametrized

from hifigan.generator import Generator

INITIAL_DEVIATION = 0.01  # of every kernel but conv_pre's


def initialise(generator: Generator) -> Generator:
    """Draw the kernels as official training does, from the global random state."""
    for name, layer in generator.named_modules():
        if isinstance(layer, nn.Conv1d | nn.ConvTranspose1d) and name != "conv_pre":
            nn.init.normal_(layer.weight, 0.0, INITIAL_DEVIATION)
    return generator


def normalise(generator: Generator) -> Generator:
    """Weight norm (Salimans & Kingma 2016) on every convolution; what the generator computes stays the same."""
    for layer in list(generator.modules()):
        if isinstance(layer, nn.Conv1d | nn.ConvTranspose1d):
            weight_norm(layer)
    return generator


def folded_state(generator: nn.Module) -> dict[str, Tensor]:
    """The state dict without parametrisations: every `weight` as it is computed with."""
    layers = {name: layer for name, layer in generator.named_modules() if is_parametrized(layer)}
    state = {name: value for name, value in generator.state_dict().items() if ".parametrizations." not in name}
    for name, layer in layers.items():
        state[f"{name}.weight"] = layer.weight.detach().clone()
    return state
