"""What makes the training step fast must not change what it computes."""

import shutil
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from config import load_config
from dataset import HELD_BYTES, UtteranceDataset, collate
from model.blocks import SpeakerConditionLConvBlock
from model.lightweight_conv import LightweightConv
from tests.tiny import make_tiny_dataset, tiny_overrides
from training.processes import Process
from training.sampler import LengthBucketSampler
from training.trainer import Trainer
from utils.metadata import IdMaps


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return make_tiny_dataset(tmp_path_factory.mktemp("tiny") / "data")


def make_trainer(data: Path, output: Path, *overrides: str, device: str = "cpu") -> Trainer:
    settings = [*tiny_overrides(data, output), "preprocess.path.raw_path=x", *overrides]
    return Trainer(load_config("Sample", settings), Process(0, 1, torch.device(device)), False, None)


def steps(trainer: Trainer, count: int = 3) -> list[float]:
    trainer.model.train()
    batches = iter(trainer.loader)
    return [float(trainer.train_step([next(batches)])[0]["total"]) for _ in range(count)]


def gradients(output: torch.Tensor, inputs: list[torch.Tensor]) -> list[torch.Tensor]:
    slope = torch.randn(output.shape, generator=torch.Generator().manual_seed(1), dtype=output.dtype)
    return list(torch.autograd.grad(output, inputs, slope))


@pytest.mark.parametrize("left", [None, 4, 0, 2])
@pytest.mark.parametrize(("frames", "channels"), [(1, 8), (11, 8), (40, 32), (9, 6), (9, 24)])
def test_lightweight_convolution_has_the_gradients_of_its_formula(left, frames, channels):
    torch.manual_seed(0)
    conv = LightweightConv(channels, 5, 2, bias=True, padding_left=left).double()
    x = torch.randn(3, frames, channels, dtype=torch.float64, requires_grad=True)
    inputs = [x, *conv.parameters()]
    weight = conv.weight.softmax(-1).repeat_interleave(channels // 2, 0)
    padded = F.pad(x, (0, 0, conv.padding_left, conv.padding_right)).transpose(1, 2)
    plain = F.conv1d(padded, weight, conv.bias, groups=channels).transpose(1, 2)
    ours = conv(x)
    assert torch.allclose(ours, plain)
    for seen, wanted in zip(gradients(ours, inputs), gradients(plain, inputs), strict=True):
        assert torch.allclose(seen, wanted, atol=1e-6)


def make_block(kernel: int) -> tuple[SpeakerConditionLConvBlock, torch.Tensor, torch.Tensor]:
    """A block with biases that are not zero, two speakers, and a mask with padding in one of the two utterances."""
    torch.manual_seed(0)
    block = SpeakerConditionLConvBlock(16, kernel, 4, 6, 0.0).train()
    for name, parameter in block.named_parameters():
        if name.endswith("bias"):
            nn.init.normal_(parameter)
    mask = torch.zeros(2, 19, dtype=torch.bool)
    mask[1, 12:] = True
    return block, torch.randn(2, 6), mask


def by_its_parts(block, x, speaker, mask):
    """SC-LConv block as the paper's figure 1 has it, in operations that autograd knows."""
    kept = (~mask).to(x.dtype).unsqueeze(-1)
    value, gate = block.gate(x).chunk(2, -1)
    kernels = block.conv.weight.softmax(-1).repeat_interleave(block.conv.channels_per_head, 0)
    gated = (value * gate.sigmoid() * kept).transpose(1, 2)
    convolved = F.conv1d(gated, kernels, padding=kernels.shape[2] // 2, groups=len(kernels)).transpose(1, 2)

    def norm(x, affine):
        bias, gain = affine(speaker).unsqueeze(1).chunk(2, -1)
        return gain * (x - x.mean(-1, keepdim=True)) / (x.std(-1, keepdim=True) + 1e-8) + bias

    x = norm(convolved + x, block.conv_norm.affine)
    return norm(block.project(F.relu(block.expand(x))) + x, block.output_norm.affine) * kept


@pytest.mark.parametrize("kernel", [1, 5, 15])
def test_a_whole_block_has_the_gradients_of_its_formula(kernel):
    block, speaker, mask = make_block(kernel)
    block, speaker = block.double(), speaker.double().requires_grad_()
    x = torch.randn(2, 19, 16, dtype=torch.float64, requires_grad=True)
    inputs = [x, speaker, *block.parameters()]
    plain, ours = by_its_parts(block, x, speaker, mask), block(x, speaker, mask)
    assert torch.allclose(ours, plain, atol=1e-6) and not ours[1, 12:].any()
    with torch.no_grad():
        assert torch.allclose(block(x, speaker, mask), plain, atol=1e-6)
    for seen, wanted in zip(gradients(ours, inputs), gradients(plain, inputs), strict=True):
        assert torch.allclose(seen, wanted, atol=1e-5, rtol=1e-5)


def test_a_whole_block_takes_part_in_mixed_precision():
    block, speaker, mask = make_block(5)
    x = torch.randn(2, 19, 16, requires_grad=True)
    exact = block(x, speaker, mask)
    wanted = gradients(exact, [x, *block.parameters()])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rough = block(x, speaker, mask)
    assert rough.dtype == torch.float32 and not torch.equal(rough, exact)
    for seen, true in zip([rough, *gradients(rough, [x, *block.parameters()])], [exact, *wanted], strict=True):
        assert seen.dtype == torch.float32 and float((seen - true).norm() / true.norm()) < 0.03


def test_what_is_settled_speaks_the_same_until_weights_change():
    block, speaker, mask = make_block(5)
    x = torch.randn(2, 19, 16)
    names = set(block.state_dict())
    with torch.no_grad():
        plain = block.eval()(x, speaker, mask)
        block.settle()
        assert torch.allclose(block(x, speaker, mask), plain, atol=1e-6) and set(block.state_dict()) == names
        others = {name: value + 0.1 * torch.randn_like(value) for name, value in block.state_dict().items()}
        block.load_state_dict(others)
        changed = block(x, speaker, mask)
        assert not torch.allclose(changed, plain, atol=1e-2)
        block.settle()
        for name, parameter in block.train().named_parameters():
            parameter.copy_(0.5 * others[name])
        assert not torch.allclose(block(x, speaker, mask), changed, atol=1e-2)
        block.eval().settle()
    weights = [block.conv.weight, block.conv_norm.affine.weight, block.output_norm.affine.weight]
    assert all(gradient.any() for gradient in gradients(block(x, speaker, mask), weights))


def test_a_lightweight_convolution_takes_part_in_mixed_precision():
    torch.manual_seed(0)
    conv = LightweightConv(8, 5, 2)
    x = torch.randn(2, 7, 8)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rough = conv(x)
    exact = conv(x)
    assert rough.dtype == torch.bfloat16 and torch.allclose(rough.float(), exact, atol=0.02)
    assert not torch.equal(rough.float(), exact)
    rough.float().sum().backward()
    assert conv.weight.grad.dtype == torch.float32 and conv.weight.grad.isfinite().all()


def test_padding_to_multiples_changes_shapes_and_no_loss(data, tmp_path):
    free = ("model.decoder.decoder_dropout=0.0", "model.transformer.encoder_dropout=0.0",
            "model.transformer.duration_predictor_dropout=0.0", "train.emotion.soft_token_rate=0.0",
            "model.emotion_token_layer.ref_enc_dropout=0.0", "train.emotion.augment={}")  # fmt: skip
    plain = make_trainer(data, tmp_path, *free)
    wide = make_trainer(data, tmp_path, *free, "train.pad_multiple=[64, 8]")
    shapes = [next(iter(trainer.loader)).mels.shape[1] for trainer in (plain, wide)]
    assert shapes[1] % 64 == 0 and shapes[1] - 64 < shapes[0] < shapes[1]
    assert steps(wide) == pytest.approx(steps(plain), rel=1e-5)


def test_mels_are_read_once_and_no_more_are_held_than_there_is_room_for(data):
    dataset = UtteranceDataset(data, "train.txt", IdMaps.load(data), external_speakers=False)
    first = dataset[0].mel
    assert dataset[0].mel is first
    dataset._room = dataset[1].mel.nbytes  # room for one more
    held = [dataset[index].mel is dataset[index].mel for index in range(len(dataset))]
    assert sum(held) == 3 and HELD_BYTES >= 2**20
    assert all((dataset[index].mel == dataset._read_mel(index)).all() for index in range(len(dataset)))


@pytest.mark.parametrize("multiples", [(1, 1), (50, 6)])
def test_a_batch_holds_its_utterances_and_zeros(data, multiples):
    dataset = UtteranceDataset(data, "train.txt", IdMaps.load(data), external_speakers=False)
    items = [dataset[index] for index in (0, 5, 9)]
    batch = collate(items, multiples)
    assert batch.mels.shape[1] % multiples[0] == 0 and batch.phones.shape[1] % multiples[1] == 0
    for row, item in enumerate(items):
        frames, phones = len(item.mel), len(item.phones)
        assert torch.equal(batch.mels[row, :frames], torch.from_numpy(item.mel)) and not batch.mels[row, frames:].any()
        assert batch.phones[row, :phones].tolist() == list(item.phones) and not batch.phones[row, phones:].any()
        assert (
            batch.durations[row, :phones].tolist() == list(item.durations) and not batch.durations[row, phones:].any()
        )


def test_few_frames_of_a_batch_are_padding():
    """Lengths as in RAVDESS: 95 to 298 frames, most of them near 150."""
    generator = torch.Generator().manual_seed(0)
    lengths = (95 + 200 * torch.rand(1192, generator=generator) * torch.rand(1192, generator=generator)).int().tolist()
    sampler = LengthBucketSampler(lengths, 32, seed=1)
    frames = cells = 0
    for epoch in range(5):
        for batch in sampler.epoch(epoch):
            frames += sum(lengths[index] for index in batch)
            cells += max(lengths[index] for index in batch) * len(batch)
    assert 1 - frames / cells < 0.05


def test_same_seed_same_losses_bit_for_bit(data, tmp_path):
    assert steps(make_trainer(data, tmp_path)) == steps(make_trainer(data, tmp_path))


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler")
def test_compiled_training_computes_the_same(data, tmp_path):
    settings = ("train.pad_multiple=[128, 32]", "train.optimizer.batch_size=8")
    free = ("model.decoder.decoder_dropout=0.0", "model.transformer.encoder_dropout=0.0",
            "model.transformer.duration_predictor_dropout=0.0", "train.emotion.soft_token_rate=0.0",
            "model.emotion_token_layer.ref_enc_dropout=0.0", "train.emotion.augment={}")  # fmt: skip
    plain = steps(make_trainer(data, tmp_path, *settings, *free), 2)
    compiled = steps(make_trainer(data, tmp_path, *settings, *free, "train.compile=default"), 2)
    assert compiled == pytest.approx(plain, rel=1e-4)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_nothing_in_a_step_waits_for_the_gpu(data, tmp_path):
    trainer = make_trainer(data, tmp_path, device="cuda")
    steps(trainer)  # whatever is set up once may wait
    batches = iter(trainer.loader)
    taken = [next(batches) for _ in range(3)]
    torch.cuda.set_sync_debug_mode("error")
    try:
        for batch in taken:
            trainer.train_step([batch])
    finally:
        torch.cuda.set_sync_debug_mode("default")
