import pytest
import torch
from torch import nn
from torch.nn.utils import remove_weight_norm, weight_norm

from melgan import Generator
from utils.weights import fold_weight_norm

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")  # weight_norm's old form makes the published keys

# Published key -> shape, from descriptinc's layer list: 2 layers in front, per ratio an activation, an upsampling layer
# and 3 residual blocks, then activation, padding, the last convolution, tanh.
SOME_KEYS = {
    "model.1.weight_g": (512, 1, 1),
    "model.1.weight_v": (512, 80, 7),
    "model.3.weight_g": (512, 1, 1),
    "model.3.weight_v": (512, 256, 16),
    "model.4.block.2.weight_v": (256, 256, 3),
    "model.4.block.4.weight_v": (256, 256, 1),
    "model.4.shortcut.bias": (256,),
    "model.13.weight_v": (128, 64, 4),
    "model.18.weight_v": (64, 32, 4),
    "model.21.block.2.weight_v": (32, 32, 3),
    "model.24.weight_v": (1, 32, 7),
    "model.24.bias": (1,),
}


def published_form(generator: Generator, scale: float = 1.0) -> dict[str, torch.Tensor]:
    """The generator's weights under weight norm, as published; `scale` changes v, which must not matter."""
    for module in generator.modules():
        if isinstance(module, (nn.Conv1d, nn.ConvTranspose1d)):
            weight_norm(module)
    state = {name: weight * scale if name.endswith("_v") else weight for name, weight in generator.state_dict().items()}
    for module in generator.modules():
        if isinstance(module, (nn.Conv1d, nn.ConvTranspose1d)):
            remove_weight_norm(module)
    return {name: weight.detach().clone() for name, weight in state.items()}


def test_size_and_layers_are_the_published_ones():
    generator = Generator()
    assert sum(weight.numel() for weight in generator.parameters()) == 4_260_257  # paper table 1: 4.26 M
    state = published_form(generator)
    assert {name: tuple(state[name].shape) for name in SOME_KEYS} == SOME_KEYS
    assert len(state) == 3 * (1 + 4 * (1 + 3 * 3) + 1)


def test_weights_survive_the_published_form():
    torch.manual_seed(0)
    first, second = Generator(width=4).eval(), Generator(width=4).eval()
    mel = torch.randn(2, 80, 9)
    second.load_state_dict(fold_weight_norm(published_form(first, scale=3.0)), strict=True)
    with torch.no_grad():
        torch.testing.assert_close(second(mel), first(mel), atol=1e-6, rtol=0)


@pytest.mark.parametrize("frames", [4, 7, 50])
def test_every_frame_becomes_a_hop(frames):
    wav = Generator(width=4)(torch.randn(2, 80, frames))
    assert wav.shape == (2, frames * 256)
    assert wav.abs().max() <= 1


def test_a_frame_reaches_no_further_than_context():
    torch.manual_seed(0)
    generator = Generator(width=4).eval()
    centre = 2 * generator.context
    mel = torch.randn(1, 80, 2 * centre)
    changed = mel.clone()
    changed[..., centre] += 1e4
    with torch.no_grad():
        moved = (generator(mel) - generator(changed))[0].reshape(-1, 256).abs().amax(dim=1).nonzero().flatten()
    assert generator.context - 2 <= centre - moved.min() <= generator.context
    assert generator.context - 2 <= moved.max() - centre <= generator.context
