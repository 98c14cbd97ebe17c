"""The model against numbers computed by the original code (GOLDEN_DIR)."""

import dataclasses
import json
import re

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor, nn

from model import AcousticModel, LossCounts, ModelSizes, TrainingLoss, learning_rate
from model.blocks import FFTBlock, LConvBlock, SpeakerConditionLayerNorm, SpeakerConditionLConvBlock
from model.duration import regulate_length
from model.emotion import EmotionEncoder, EmotionTokens, ReferenceEncoder
from model.lightweight_conv import LightweightConv
from model.published import BLOCK_NAMES, from_published, translate_name
from tests.paths import GOLDEN_DIR, golden

OUTPUT, LOSS, GRADIENT = 1e-5, 1e-6, 1e-4  # absolute, absolute, relative to each tensor's largest
SIZES = ModelSizes(symbols=361, speakers=24, emotions=8, mask_reference_padding=False)
STARTS = sorted(int(path.stem.removeprefix("optim_start")) for path in GOLDEN_DIR.glob("optim_start*.safetensors"))


def load(name: str) -> dict[str, Tensor]:
    return load_file(golden(f"{name}.safetensors"))


def metadata(name: str) -> dict[str, str]:
    with safe_open(golden(f"{name}.safetensors"), "pt") as file:
        return file.metadata()


def group(values: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {key.removeprefix(prefix): value for key, value in values.items() if key.startswith(prefix)}


def block_state(values: dict[str, Tensor]) -> dict[str, Tensor]:
    names = {name: translate_name(name, BLOCK_NAMES) or name for name in values}
    return {names[name]: value for name, value in values.items()}


def our_name(name: str) -> str:
    translated = translate_name(name)
    assert translated is not None, name
    return translated


def error(ours: Tensor, theirs: Tensor) -> float:
    assert ours.shape == theirs.shape
    return float((ours.detach().double() - theirs.detach().double()).abs().max())


def relative(ours: Tensor | None, theirs: Tensor) -> float:
    assert ours is not None
    return error(ours, theirs) / max(float(theirs.detach().abs().max()), 1e-30)


def check_block(module: nn.Module, values: dict[str, Tensor], inputs: list[Tensor], rest: tuple, note) -> None:
    """Output, input gradients and parameter gradients of scalar = sum(out * cotangent)."""
    for tensor in inputs:
        tensor.requires_grad_()
    out = module(*inputs, *rest)
    (out * values["cotangent"]).sum().backward()
    note("output", error(out, values["out"]), OUTPUT)
    for tensor, name in zip(inputs, ("x", "s"), strict=False):
        note("input gradient, relative", relative(tensor.grad, values[f"grad_in/{name}"]), GRADIENT)
    expected = block_state(group(values, "grad_param/"))
    ours = {name: parameter.grad for name, parameter in module.named_parameters()}
    assert ours.keys() == expected.keys()
    for name, gradient in expected.items():
        note("gradient, relative", relative(ours[name], gradient), GRADIENT)


@pytest.fixture
def note(parity, request):
    """note(quantity, error, bound): record and assert."""

    def check(quantity: str, value: float, bound: float) -> None:
        parity(request.node.name.removeprefix("test_golden_"), quantity, value)
        assert value <= bound, f"{quantity}: {value:.2e} > {bound:.0e}"

    return check


def case_names(values: dict[str, Tensor]) -> list[str]:
    return sorted({key.split("/")[0] for key in values if key.endswith("/out")})


def test_golden_lightweight_conv(note):
    values = load("lightweight_conv")
    cases = json.loads(metadata("lightweight_conv")["cases"])
    for name, case in cases.items():
        part = group(values, f"{name}/")
        conv = LightweightConv(
            case["channels"],
            case["kernel"],
            case["heads"],
            softmax=case["weight_softmax"],
            bias=case["bias"],
            padding_left=case["padding_l"],
        )
        conv.load_state_dict(group(part, "state/"))
        x = part["in/x"].transpose(0, 1).contiguous().requires_grad_()  # ours is [B, T, C]
        out = conv(x)
        (out * part["cotangent"].transpose(0, 1)).sum().backward()
        note("output", error(out.transpose(0, 1), part["out"]), OUTPUT)
        note("input gradient, relative", relative(x.grad.transpose(0, 1), part["grad_in/x"]), GRADIENT)
        for parameter, gradient in group(part, "grad_param/").items():
            note("gradient, relative", relative(conv.get_parameter(parameter).grad, gradient), GRADIENT)


def test_golden_scln(note):
    values = load("scln")
    for name in case_names(values):
        part = group(values, f"{name}/")
        module = SpeakerConditionLayerNorm(part["in/x"].shape[2], part["in/s"].shape[2])
        module.load_state_dict(block_state(group(part, "state/")))
        x, speaker = part["in/x"].requires_grad_(), part["in/s"].squeeze(1).requires_grad_()
        out = module(x, speaker)
        (out * part["cotangent"]).sum().backward()
        note("output", error(out, part["out"]), OUTPUT)
        zero = (x.detach() == 0).all(-1)
        for rows in (zero, ~zero):  # the zero rows' gradients are 1e8 times the others'
            if rows.any():
                note("input gradient, relative", relative(x.grad[rows], part["grad_in/x"][rows]), GRADIENT)
        note("input gradient, relative", relative(speaker.grad, part["grad_in/s"].squeeze(1)), GRADIENT)
        note(
            "gradient, relative",
            relative(module.affine.weight.grad, part["grad_param/affine_layer.linear.weight"]),
            GRADIENT,
        )


def test_golden_lconv_block(note):
    values = load("lconv_block")
    for name in case_names(values):
        part = group(values, f"{name}/")
        heads, _, kernel = part["state/conv_layer.weight"].shape
        block = LConvBlock(part["in/x"].shape[2], kernel, heads, 0.0)
        block.load_state_dict(block_state(group(part, "state/")))
        check_block(block, part, [part["in/x"]], (part["mask"].bool(),), note)


def test_golden_scln_lconv_block(note):
    values = load("scln_lconv_block")
    for name in case_names(values):
        part = group(values, f"{name}/")
        heads, _, kernel = part["state/conv_layer.weight"].shape
        block = SpeakerConditionLConvBlock(part["in/x"].shape[2], kernel, heads, part["in/s"].shape[1], 0.0)
        block.load_state_dict(block_state(group(part, "state/")))
        check_block(block, part, [part["in/x"], part["in/s"]], (part["mask"].bool(),), note)


def test_golden_fft_block(note):
    values = load("fft_block")
    for name in case_names(values):
        part = group(values, f"{name}/")
        filters, channels, first = part["state/pos_ffn.w_1.weight"].shape
        second = part["state/pos_ffn.w_2.weight"].shape[2]
        heads = int(name.rpartition("_h")[2])
        block = FFTBlock(channels, heads, filters, (first, second), 0.0)
        block.load_state_dict(block_state(group(part, "state/")))
        check_block(block, part, [part["in/x"]], (part["mask"].bool(),), note)


def reference_encoder(state: dict[str, Tensor]) -> ReferenceEncoder:
    """An encoder of the sizes that `state` tells."""
    filters = [len(value) for name, value in sorted(state.items()) if re.fullmatch(r"convs\.\d+\.bias", name)]
    hidden = state["gru.weight_hh_l0"].shape[1]
    return ReferenceEncoder(80, filters, (3, 3), (2, 2), (1, 1), hidden, mask_padding=False)


def test_golden_reference_encoder(note):
    values = load("reference_encoder")
    state = {key.replace("bns.", "norms."): value for key, value in group(values, "state/").items()}
    encoder = reference_encoder(state)
    for case in sorted({key.split("/")[0] for key in values if key.startswith("ref_")}):
        encoder.load_state_dict(state)
        encoder.train("bntrain" in case)
        part = group(values, f"{case}/")
        x = part.get("x", part.get("in/x")).requires_grad_()
        out = encoder(x)
        note("output", error(out, part["out"]), OUTPUT)
        for name, expected in group(part, "after/").items():
            note("batch norm statistics", error(encoder.state_dict()[name.replace("bns.", "norms.")], expected), OUTPUT)
        if "cotangent" in part:
            encoder.zero_grad()
            (out * part["cotangent"]).sum().backward()
            gradients = {name: parameter.grad for name, parameter in encoder.named_parameters()}
            check_gradients(
                {name.replace("bns.", "norms."): value for name, value in group(part, "gradsum/").items()},
                {
                    name.replace("bns.", "norms."): value
                    for name, value in (group(part, "grad_param/") | group(part, "grad/")).items()
                },
                gradients,
                zero_before_norm="bntrain" in case,
                note=note,
            )


def check_gradients(sums, full, gradients, zero_before_norm: bool, note) -> None:
    """`sums`: [sum, abs-sum] per parameter; `full`: whole tensors. A convolution's bias before a train-mode BatchNorm
    has a true gradient of 0, so what is there is rounding: bounded by 1e-6, or that share of the largest gradient."""
    largest = max(float(gradient.abs().max()) for gradient in gradients.values())
    for name, expected in {**sums, **full}.items():
        ours = gradients[name].double()
        if zero_before_norm and ".convs." in f".{name}" and name.endswith("bias"):
            note("zero gradient", float(ours.abs().max()) / max(1.0, largest), 1e-6)
        elif name in full:
            note("gradient, relative", relative(ours, expected), GRADIENT)
        else:
            both = torch.stack([ours.sum(), ours.abs().sum()])
            note("gradient sums, relative", float(((both - expected).abs() / expected[1]).max()), GRADIENT)


def test_golden_emotion_token_layer(note):
    values = load("emotion_token_layer")
    state = group(values, "state/etl.")
    tokens = EmotionTokens(*state["embed"].shape, state["attention.W_query.weight"].shape[1])
    tokens.load_state_dict(
        {
            "embeddings": state["embed"],
            "query.weight": state["attention.W_query.weight"],
            "key.weight": state["attention.W_key.weight"],
            "value.weight": state["attention.W_value.weight"],
        }
    )

    class Given(nn.Module):
        def forward(self, mels: Tensor, lengths: Tensor | None) -> Tensor:
            return values["state_encoder_out_for_x"]

    layer = EmotionEncoder(Given(), tokens)
    emotions, x = values["emotions"], values["x"]
    hard = layer(emotions, None, None)
    soft = layer(None, x, None)
    both = layer(emotions, x, None)
    for mode, result in (("hard", hard), ("both", both)):
        note("output", error(result.embedding.unsqueeze(1), values[f"{mode}/emb_hard"]), OUTPUT)
    note("output", error(soft.embedding.unsqueeze(1), values["soft/emb_soft"]), OUTPUT)
    for mode, result in (("soft", soft), ("both", both)):
        note("soft score", error(result.logits.softmax(-1), values[f"{mode}/score_soft"]), OUTPUT)
    forced = layer(emotions, x, None, torch.ones(len(emotions), dtype=torch.bool))
    note("output", error(forced.embedding.unsqueeze(1), values["both/emb_soft"]), OUTPUT)


def test_golden_duration_predictor(note):
    values = load("duration_predictor")
    mask = values["mask"].bool()
    for output in ("fused", "dur"):
        model = AcousticModel(dataclasses.replace(SIZES, encoder_dropout=0.0, duration_dropout=0.0))
        predictor = model.duration_predictor
        part = group(values, f"{output}/")
        state = {
            our_name(f"duratin_predictor.{key}"): value
            for key, value in group(values, "fused/state/").items()
            if key != "position_enc"
        }
        predictor.load_state_dict({name.removeprefix("duration_predictor."): value for name, value in state.items()})
        x = part["in/x"].requires_grad_()
        speaker = group(values, "dur/")["in/spk"].requires_grad_()
        out = predictor(x, speaker, mask)[0 if output == "fused" else 1]
        (out * part["cotangent"]).sum().backward()
        note("output", error(out, part["out"]), OUTPUT)
        note("input gradient, relative", relative(x.grad, part["grad_in/x"]), GRADIENT)
        for name, expected in group(part, "grad_param/").items():
            ours = our_name(f"duratin_predictor.{name}").removeprefix("duration_predictor.")
            note("gradient, relative", relative(predictor.get_parameter(ours).grad, expected), GRADIENT)


def test_golden_length_regulator(note):
    values = load("length_regulator")
    note("output", error(regulate_length(values["x"], values["dur"]), values["out"]), 0.0)
    note("output", error(regulate_length(values["x"], values["dur"], 16), values["out_max16"]), 0.0)
    assert torch.equal(values["dur"].sum(1), values["len"])


def original_model(embedder: str) -> AcousticModel:
    """The original's random weights through the table of old names, strictly; no dropout."""
    state = load("model_state_none")
    if embedder == "external":
        del state["speaker_emb.weight"]
        state.update(load("model_state_external_speaker_only"))
    speakers = state["speaker_emb.weight"]
    heads, _, kernel = state["decoder.lconv_stack.0.conv_layer.weight"].shape
    model = AcousticModel(
        dataclasses.replace(
            SIZES,
            symbols=len(state["encoder.src_word_emb.weight"]),
            speakers=len(speakers),
            emotions=len(state["emotion_emb.etl.embed"]),
            external_speaker=speakers.shape[1] if embedder == "external" else None,
            decoder_heads=heads,
            decoder_kernel=kernel,
            max_phones=state["encoder.position_enc"].shape[1] - 1,
            encoder_dropout=0.0,
            duration_dropout=0.0,
            decoder_dropout=0.0,
        )
    )
    model.load_state_dict(from_published(state), strict=True)
    return model


def model_arguments(inputs: dict[str, Tensor], embedder: str) -> dict[str, Tensor]:
    speakers = inputs["speakers"] if embedder == "none" else inputs["spker_embeds"]
    return {"phones": inputs["texts"], "phone_lengths": inputs["src_lens"], "speakers": speakers}


@pytest.mark.parametrize("embedder", ["none", "external"])
@pytest.mark.parametrize("case", ["hard1", "soft1", "pad4"])
@pytest.mark.parametrize("mode", ["given", "infer"])
def test_golden_model_out_eval(embedder, case, mode, parity):
    inputs = group(load("model_inputs"), f"{case}/")
    expected = group(load(f"model_out_eval_{embedder}"), f"{case}/{mode}/")
    model = original_model(embedder).eval()
    arguments = model_arguments(inputs, embedder)
    if case == "soft1":
        arguments["reference_mels"] = inputs["ref_mel"]
    else:
        arguments["emotions"] = inputs["emotions"]
    if case == "pad4":
        arguments |= {"reference_mels": inputs["mels"], "reference_lengths": inputs["mel_lens"]}
    if mode == "given":
        arguments["durations"] = inputs["durations"]
    with torch.inference_mode():
        output = model(**arguments)
    errors = {
        "mel": error(output.mels[-1], expected["mel_iter_0"]),
        "log duration": error(output.log_durations, expected["log_d"]),
    }
    if "score_soft" in expected:
        errors["soft score"] = error(output.emotion_logits.softmax(-1), expected["score_soft"])
    assert len(output.mels) == 1
    assert torch.equal(output.durations.long(), expected["d_rounded"].long())
    assert torch.equal(output.mel_lengths, expected["mel_lens"])
    assert torch.equal(output.mel_mask, expected["mel_mask"].bool())
    assert torch.equal(output.text_mask, expected["src_mask"].bool())
    for quantity, value in errors.items():
        parity(f"model_out_eval_{embedder}", quantity, value)
        assert value <= OUTPUT, quantity


def training_inputs(inputs: dict[str, Tensor], embedder: str = "none") -> dict:
    return model_arguments(inputs, embedder) | {
        "emotions": inputs["emotions"],
        "reference_mels": inputs["mels"],
        "reference_lengths": inputs["mel_lens"],
        "durations": inputs["durations"],
        "mel_length": inputs["mels"].shape[1],
    }


def reference_loss() -> TrainingLoss:
    return TrainingLoss(alpha=0.1, beta=0.1, mel_normalization="reference", emotion="bce")


@pytest.mark.parametrize("norm", ["bneval", "bntrain"])
@pytest.mark.parametrize("embedder", ["none", "external"])
def test_golden_model_train(embedder, norm, parity):
    name = f"model_train_{embedder}_{norm}"
    values = load(name)
    inputs = group(load("model_inputs"), "pad4/")
    model = original_model(embedder).train()
    if norm == "bneval":
        for module in model.emotion.reference_encoder.norms:
            module.eval()
    output = model(**training_inputs(inputs, embedder))
    losses = reference_loss()(output, inputs["mels"], inputs["durations"], inputs["emotions"])
    losses.total.backward()

    def note(quantity: str, value: float, bound: float) -> None:
        parity(name, quantity, value)
        assert value <= bound, f"{quantity}: {value:.2e} > {bound:.0e}"

    for index, mel in enumerate(output.mels):
        if f"train/mel_iter_{index}" in values:
            note("mel", error(mel, values[f"train/mel_iter_{index}"]), OUTPUT)
    note("log duration", error(output.log_durations, values["train/log_d"]), OUTPUT)
    note("soft score", error(output.emotion_logits.softmax(-1), values["train/score_soft"]), OUTPUT)
    ours = torch.stack([losses.total, losses.mel, losses.emotion, losses.duration]).detach()
    note("losses", error(ours, values["losses_total_mel_emo_dur"]), LOSS)
    for key, expected in group(values, "after/").items():
        note("batch norm statistics", error(model.state_dict()[our_name(key)], expected), OUTPUT)
    gradients = {key: parameter.grad for key, parameter in model.named_parameters()}
    sums = {our_name(key): value for key, value in group(values, "gradsum/").items()}
    full = {our_name(key): value for key, value in group(values, "grad/").items()}
    assert sums or full
    assert {*sums, *full} == {key for key, value in gradients.items() if value is not None}
    check_gradients(sums, full, gradients, norm == "bntrain", note)


@pytest.mark.parametrize("start", STARTS or [0])
def test_golden_optim(start, parity):
    """Five optimiser steps: losses, gradient norms, learning rates, and the weights they lead to."""
    name = f"optim_start{start}"
    values = load(name)
    batches = values if "batch0/texts" in values else load("optim_start0")
    model = original_model("none").train()
    optimizer = torch.optim.Adam(model.parameters(), betas=(0.9, 0.98), eps=1e-9)
    for index, row in enumerate(values["rows_total_mel_emo_dur_gradnorm_lr"]):
        batch = group(batches, f"batch{index}/")
        output = model(**training_inputs(batch))
        counts = LossCounts.of(batch["mel_lens"], batch["src_lens"], batch["emotions"])
        losses = reference_loss()(output, batch["mels"], batch["durations"], batch["emotions"], counts)
        losses.total.backward()
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        rate = learning_rate(start + index + 1, 64, 4000, (300000, 400000, 500000), 0.3)
        optimizer.param_groups[0]["lr"] = rate
        optimizer.step()
        optimizer.zero_grad()
        ours = [losses.total, losses.mel, losses.emotion, losses.duration, norm]
        # Adam divides by the root of squared gradients that are all but 0 (eps 1e-9): rounding grows with each step
        bound = LOSS if start == 0 else 2e-4
        losses_error = max(abs(float(a.detach()) - float(b)) for a, b in zip(ours[:4], row[:4], strict=True))
        parity(name, "losses", losses_error)
        assert losses_error <= bound
        parity(name, "gradient norm, relative", abs(float(norm) / float(row[4]) - 1))
        assert float(norm) == pytest.approx(float(row[4]), rel=1e-4 if start == 0 else 5e-3)
        assert rate == pytest.approx(float(row[5]), rel=1e-6)
    state = model.state_dict()
    for key, expected in group(values, "final_sum_abssum/").items():
        if "position_enc" in key:
            continue
        tensor = state[our_name(key)].double()
        deviation = abs(float(tensor.abs().sum() - expected[1])) / max(float(expected[1]), 1e-12)
        parity(name, "final abs-sums, relative", deviation)
        assert deviation <= 5e-3, key
    for key, expected in group(values, "final/").items():
        parity(name, "final tensors", error(state[our_name(key)], expected))
