import json

import pytest
import torch
from safetensors import safe_open

from hifigan import VERSIONS, Architecture, Generator, infer_architecture
from tests.paths import golden
from utils.weights import fold_weight_norm

TINY = {"V1": 32, "V2": 16, "V3": 16}  # initial channels that keep a version's layout and little else


def _tiny(version: str) -> Generator:
    from dataclasses import replace

    torch.manual_seed(0)
    return Generator(replace(VERSIONS[version], upsample_initial_channel=TINY[version])).eval()


@pytest.mark.parametrize(("version", "millions"), [("V1", 13.92), ("V2", 0.92), ("V3", 1.46)])
def test_parameter_counts_are_those_of_the_paper(version, millions):
    with torch.device("meta"):
        count = sum(weight.numel() for weight in Generator(VERSIONS[version]).parameters())
    assert int(count / 1e4) / 100 == millions  # table 1 cuts, 13,926,017 -> 13.92


@pytest.mark.parametrize("which", ["state_weight_norm", "state_plain"])
@pytest.mark.parametrize("case", ["a", "b"])
def test_golden_hifigan(which, case, parity):
    with safe_open(golden("hifigan_tiny.safetensors"), "pt") as file:
        generator = Generator(Architecture.from_json(json.loads(file.metadata()["config"]))).eval()
        state = {name[len(which) + 1 :]: file.get_tensor(name) for name in file.keys() if name.startswith(which)}  # noqa: SIM118
        mel = file.get_tensor(f"{case}/mel")
        wanted = file.get_tensor(f"{case}/wav_{'before' if which == 'state_weight_norm' else 'after'}")[:, 0]
    generator.load_state_dict(fold_weight_norm(state), strict=True)
    with torch.no_grad():
        wav = generator(mel)
    assert wav.shape == wanted.shape
    error = float((wav - wanted).abs().max())
    parity("hifigan_tiny", "waveform", error)
    assert error <= 1e-5


@pytest.mark.parametrize("version", VERSIONS)
def test_a_frame_reaches_no_further_than_context(version):
    """`in_pieces` relies on it: a changed frame changes samples within `context` frames of it, and some near there."""
    generator = _tiny(version)
    context, hop = generator.architecture.context, generator.architecture.hop_length
    mel = torch.randn(1, 80, 4 * context)
    changed = mel.clone()
    changed[..., 2 * context] += 1e4
    with torch.no_grad():
        moved = (generator(mel) - generator(changed))[0].reshape(-1, hop).abs().amax(dim=1).nonzero().flatten()
    assert 2 * context - context <= moved.min() <= 2 * context - context + 3
    assert 2 * context + context - 3 <= moved.max() <= 2 * context + context


@pytest.mark.parametrize("version", VERSIONS)
def test_shapes_tell_the_version(version):
    with torch.device("meta"):
        shapes = {name: weight.shape for name, weight in Generator(VERSIONS[version]).state_dict().items()}
    assert infer_architecture(shapes) == VERSIONS[version]
    assert infer_architecture(shapes).version == version


def test_shapes_of_another_network_are_refused():
    with pytest.raises(ValueError, match="conv_pre"):
        infer_architecture({"conv_pre.weight": (3,), "fc.weight": (1, 2)})
    with pytest.raises(ValueError, match="no published version"):
        infer_architecture({"conv_pre.weight": (8, 80, 7), "ups.0.weight": (8, 4, 10)})


_V3_JSON = {
    "resblock": "2",
    "upsample_rates": [8, 8, 4],
    "upsample_kernel_sizes": [16, 16, 8],
    "upsample_initial_channel": 256,
    "resblock_kernel_sizes": [3, 5, 7],
    "resblock_dilation_sizes": [[1, 2], [2, 6], [3, 12]],
    "num_mels": 80,
}


def test_config_json_gives_the_version():
    assert Architecture.from_json(_V3_JSON | {"learning_rate": 0.0002}) == VERSIONS["V3"]


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ({"resblock": "3"}, "resblock"),
        ({"upsample_rates": [8, 8]}, "upsample_rates"),
        ({"upsample_rates": [8, 8, 5]}, "upsample kernel 8"),
        ({"upsample_kernel_sizes": "16"}, "upsample_kernel_sizes"),
        ({"upsample_initial_channel": 255}, "upsample_initial_channel"),
        ({"upsample_initial_channel": -256}, "upsample_initial_channel"),
        ({"resblock_kernel_sizes": [3, 5, 8]}, "resblock_kernel_sizes"),
        ({"resblock_dilation_sizes": [[1, 2]]}, "resblock_dilation_sizes"),
        ({"resblock_dilation_sizes": 3}, "resblock_dilation_sizes"),
        ({"num_mels": True}, "num_mels"),
    ],
)
def test_a_wrong_config_json_is_named(change, key):
    with pytest.raises(ValueError, match=key):
        Architecture.from_json(_V3_JSON | change)
    with pytest.raises(ValueError, match="has no upsample_rates"):
        Architecture.from_json({name: value for name, value in _V3_JSON.items() if name != "upsample_rates"})
