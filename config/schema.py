"""Typed configuration: `config/<DATASET>/{preprocess,model,train}.yaml` plus `--set file.section.key=value` overrides.

A YAML file may begin with `inherit: OTHER_DATASET`; it then holds only what differs from that dataset's file.
Unknown keys, wrong types and impossible combinations are `UserError`s that name the file and the key.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from errors import UserError

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

CONFIG_ROOT = Path(__file__).resolve().parent
FILES = ("preprocess", "model", "train")

PositiveInt = Annotated[int, Field(gt=0)]
Count = Annotated[int, Field(ge=0)]
Rate = Annotated[float, Field(ge=0.0, le=1.0)]
Dropout = Annotated[float, Field(ge=0.0, lt=1.0)]
PositiveFloat = Annotated[float, Field(gt=0.0)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, protected_namespaces=())


def _divides(size: int, **heads: int) -> None:
    for key, value in heads.items():
        if size % value:
            raise ValueError(f"{key} {value} must divide the hidden size {size}")


def _odd(**sizes: int) -> None:
    for key, value in sizes.items():
        if value % 2 == 0:
            raise ValueError(f"{key} must be odd, got {value}")


# ---------------------------------------------------------------------------------------------- preprocess.yaml


class PreprocessPaths(_Section):
    corpus_path: str  # the corpus as downloaded
    raw_path: str  # 22,050 Hz wav + lab, one folder per speaker
    preprocessed_path: str  # TextGrids, features, metadata
    lexicon_path: str | None = None  # pronunciations that win over the built-in dictionary: WORD PH PH … per line


class Split(_Section):
    """Which utterances validate. `by` random takes `val_size` of them; the others hold out what `hold_out` names."""

    by: Literal["random", "speaker", "statement", "speaker_emotion"] = "random"
    hold_out: list[str] = []  # speakers, statements ("01"), or pairs written "Actor_01/happy"
    seed: Count = 1234

    @model_validator(mode="after")
    def _held_out_are_named(self) -> Split:
        if self.by != "random" and not self.hold_out:
            raise ValueError(f"split.by is {self.by}: split.hold_out must name at least one to hold out")
        if self.by == "speaker_emotion" and any(pair.count("/") != 1 for pair in self.hold_out):
            raise ValueError('split.hold_out must hold pairs like "Actor_01/happy"')
        return self


class Text(_Section):
    text_cleaners: list[Literal["english_cleaners"]] = ["english_cleaners"]
    language: Literal["en"] = "en"


class Audio(_Section):
    sampling_rate: PositiveInt = 22050  # Hz
    max_wav_value: PositiveFloat = 32768.0  # int16 full scale
    normalization: Literal["speaker_peak", "utterance_peak"] = "speaker_peak"


class Stft(_Section):
    filter_length: PositiveInt = 1024  # samples
    hop_length: PositiveInt = 256  # samples
    win_length: PositiveInt = 1024  # samples

    @model_validator(mode="after")
    def _window_fits(self) -> Stft:
        if not self.hop_length <= self.win_length <= self.filter_length:
            raise ValueError("stft needs hop_length <= win_length <= filter_length")
        return self


class Mel(_Section):
    n_mel_channels: PositiveInt = 80
    mel_fmin: Annotated[float, Field(ge=0.0)] = 0.0  # Hz
    mel_fmax: PositiveFloat | None = 8000.0  # Hz; null = half the sampling rate (MelGAN)


class Preprocessing(_Section):
    val_size: Count = 128  # utterances, for a random split
    speaker_embedder: Literal["none", "DeepSpeaker"] = "none"
    speaker_embedder_checkpoint: str | None = None  # null = the published file's name under deepspeaker/
    split: Split = Split()
    text: Text = Text()
    audio: Audio = Audio()
    stft: Stft = Stft()
    mel: Mel = Mel()

    @model_validator(mode="after")
    def _bands_lie_below_nyquist(self) -> Preprocessing:
        nyquist = self.audio.sampling_rate / 2
        top = self.mel.mel_fmax or nyquist
        if not self.mel.mel_fmin < top <= nyquist:
            raise ValueError(f"mel needs mel_fmin < mel_fmax <= {nyquist:g} Hz (half of audio.sampling_rate)")
        return self


class PreprocessConfig(_Section):
    dataset: str
    corpus: Literal["RAVDESS"] = "RAVDESS"  # which module of preprocessor/ knows the corpus's layout
    path: PreprocessPaths
    preprocessing: Preprocessing = Preprocessing()


# ---------------------------------------------------------------------------------------------------- model.yaml


class Transformer(_Section):
    encoder_layer: PositiveInt = 1
    encoder_head: PositiveInt = 2
    encoder_hidden: PositiveInt = 64
    duration_predictor_layer: PositiveInt = 1
    duration_predictor_head: PositiveInt = 2
    duration_predictor_hidden: PositiveInt = 64
    conv_filter_size: PositiveInt = 256
    conv_kernel_size: tuple[PositiveInt, PositiveInt] = (9, 1)
    lconv_kernel_size: PositiveInt = 3
    lconv_head: PositiveInt = 2
    encoder_dropout: Dropout = 0.2
    duration_predictor_dropout: Dropout = 0.2

    @model_validator(mode="after")
    def _sizes_agree(self) -> Transformer:
        _divides(self.encoder_hidden, encoder_head=self.encoder_head)
        _divides(
            self.duration_predictor_hidden,
            duration_predictor_head=self.duration_predictor_head,
            lconv_head=self.lconv_head,
        )
        _odd(lconv_kernel_size=self.lconv_kernel_size)
        for size in self.conv_kernel_size:
            _odd(conv_kernel_size=size)
        if self.encoder_hidden != self.duration_predictor_hidden:
            raise ValueError("encoder_hidden and duration_predictor_hidden must be equal (their outputs are added)")
        if self.encoder_hidden % 2:
            raise ValueError("encoder_hidden must be even (sines and cosines share it)")
        return self


class EmotionTokenLayer(_Section):
    ref_enc_filters: list[PositiveInt] = [32, 32, 64, 64, 128, 128]
    ref_enc_size: tuple[PositiveInt, PositiveInt] = (3, 3)
    ref_enc_strides: tuple[PositiveInt, PositiveInt] = (2, 2)
    ref_enc_pad: tuple[Count, Count] = (1, 1)
    ref_enc_gru_size: PositiveInt = 32
    mask_padding: bool = True  # false: padding frames leak into the embedding, as in the original


class Decoder(_Section):
    decoder_layer: PositiveInt = 6
    decoder_head: PositiveInt = 8
    decoder_hidden: PositiveInt = 64
    conv_kernel_size: PositiveInt = 15
    decoder_dropout: Dropout = 0.2

    @model_validator(mode="after")
    def _sizes_agree(self) -> Decoder:
        _divides(self.decoder_hidden, decoder_head=self.decoder_head)
        _odd(conv_kernel_size=self.conv_kernel_size)
        return self


class Vocoder(_Section):
    # auto: HiFi-GAN where its checkpoint lies at the expected place, otherwise Griffin-Lim
    model: Literal["auto", "HiFi-GAN", "MelGAN", "Griffin-Lim"] = "auto"
    speaker: Literal["LJSpeech", "universal"] = "universal"
    checkpoint: str | None = None  # null = {hifigan,melgan}/ and the published file's name
    griffin_lim_iterations: PositiveInt = 60


class ModelConfig(_Section):
    external_speaker_dim: PositiveInt = 512  # width of an external speaker embedding (DeepSpeaker: 512)
    transformer: Transformer = Transformer()
    emotion_token_layer: EmotionTokenLayer = EmotionTokenLayer()
    decoder: Decoder = Decoder()
    multi_speaker: Literal[True] = True
    max_seq_len: PositiveInt = 320  # positions in the stored sinusoid table
    vocoder: Vocoder = Vocoder()

    @model_validator(mode="after")
    def _hidden_sizes_agree(self) -> ModelConfig:
        if self.decoder.decoder_hidden != self.transformer.encoder_hidden:
            raise ValueError("decoder.decoder_hidden must equal transformer.encoder_hidden")
        return self


# ---------------------------------------------------------------------------------------------------- train.yaml


class TrainPaths(_Section):
    ckpt_path: str
    log_path: str
    result_path: str


class Optimizer(_Section):
    batch_size: PositiveInt = 32  # utterances per process and micro-batch
    betas: tuple[Rate, Rate] = (0.9, 0.98)
    eps: PositiveFloat = 1e-9
    weight_decay: Annotated[float, Field(ge=0.0)] = 0.0
    grad_clip_thresh: PositiveFloat = 1.0
    grad_acc_step: PositiveInt = 1  # micro-batches per optimiser step
    warm_up_step: PositiveInt = 4000
    anneal_steps: list[PositiveInt] = [300000, 400000, 500000]
    anneal_rate: PositiveFloat = 0.3
    lr_scale: PositiveFloat = 1.0  # factor on the whole schedule
    amp_dtype: Literal["auto", "float16", "bfloat16"] = "auto"  # auto: whichever is fast on the device


class Step(_Section):
    total_step: PositiveInt = 900000
    log_step: PositiveInt = 100
    synth_step: PositiveInt = 1000
    val_step: PositiveInt = 1000
    save_step: PositiveInt = 25000


class Loss(_Section):
    alpha: Annotated[float, Field(ge=0.0)] = 0.1  # weight of the emotion loss
    beta: Annotated[float, Field(ge=0.0)] = 0.1  # weight of the duration loss
    mel_normalization: Literal["mean", "reference"] = "mean"
    emotion: Literal["cross_entropy", "bce"] = "cross_entropy"


class EmotionTraining(_Section):
    soft_token_rate: Rate = 0.1  # share of the labelled utterances trained through the soft token of their own mel


class SemiSupervised(_Section):
    unlabelled_speakers: list[str] = []  # all emotion labels of these speakers are dropped
    unlabelled_fraction: Rate = 0.0  # share of the remaining utterances whose label is dropped (chosen by the seed)


class TrainConfig(_Section):
    seed: Count = 1234
    path: TrainPaths
    optimizer: Optimizer = Optimizer()
    step: Step = Step()
    loss: Loss = Loss()
    emotion: EmotionTraining = EmotionTraining()
    semi_supervised: SemiSupervised = SemiSupervised()
    num_workers: Count = 2  # processes that load batches


class Config(_Section):
    """Everything one run needs to know; plain data, so it travels inside checkpoints (`to_dict` / `from_dict`)."""

    dataset: str
    preprocess: PreprocessConfig
    model: ModelConfig
    train: TrainConfig

    def to_dict(self) -> dict[str, Any]:
        """Plain dicts, lists, strings and numbers, fit for JSON and for `torch.load(weights_only=True)`."""
        return self.model_dump(mode="json")

    @classmethod
    def from_dict(cls, values: dict[str, Any], source: str) -> Config:
        """Rebuild from `to_dict`'s result. Raises UserError naming `source` and the key that is wrong."""
        return _validate(values, source)


# -------------------------------------------------------------------------------------------------------- loading


def known_datasets(root: Path = CONFIG_ROOT) -> list[str]:
    """Names of the folders under `config/` that hold a configuration."""
    return sorted(path.parent.name for path in root.glob("*/preprocess.yaml"))


def load_config(dataset: str, overrides: Sequence[str] = (), root: Path = CONFIG_ROOT) -> Config:
    """Read `config/<dataset>/*.yaml` and apply `file.section.key=value` overrides in order.

    Raises UserError for an unknown dataset, unreadable YAML, an unknown key, a wrong type or a value out of range.
    """
    if dataset not in known_datasets(root):
        known = ", ".join(known_datasets(root))
        raise UserError(f"unknown dataset {dataset!r}: config/{dataset}/preprocess.yaml does not exist; known: {known}")
    values: dict[str, Any] = {"dataset": dataset}
    for name in FILES:
        values[name] = _read_file(root, dataset, name, ())
    for override in overrides:
        _apply_override(values, override)
    return _validate(values, f"config/{dataset}")


class _Loader(yaml.SafeLoader):
    """SafeLoader that reads 1e-9 as a number (YAML 1.1 wants 1.0e-9) and refuses a key given twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                raise yaml.constructor.ConstructorError(None, None, f"key {key!r} is given twice", key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep)


_Loader.yaml_implicit_resolvers = {key: list(value) for key, value in yaml.SafeLoader.yaml_implicit_resolvers.items()}
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?[0-9][0-9_]*(\.[0-9]*)?[eE][-+]?[0-9]+$"), list("-+0123456789")
)


def _parse_yaml(text: str, source: str) -> Any:
    try:
        return yaml.load(text, Loader=_Loader)
    except yaml.YAMLError as error:
        raise UserError(f"{source} is not valid YAML: {error}") from error


def _read_file(root: Path, dataset: str, name: str, seen: tuple[str, ...]) -> dict[str, Any]:
    path = root / dataset / f"{name}.yaml"
    shown = f"config/{dataset}/{name}.yaml"
    if dataset in seen:
        raise UserError(f"{shown}: `inherit` goes in a circle: {' -> '.join([*seen, dataset])}")
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read {shown}: {error}") from error
    values = _parse_yaml(text, shown)
    if not isinstance(values, dict):
        raise UserError(f"{shown} must hold a mapping of keys to values")
    parent = values.pop("inherit", None)
    if parent is None:
        return values
    if not isinstance(parent, str) or not (root / parent / f"{name}.yaml").is_file():
        raise UserError(f"{shown}: `inherit` names {parent!r}, but config/{parent}/{name}.yaml does not exist")
    return _merge(_read_file(root, parent, name, (*seen, dataset)), values)


def _merge(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in changes.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = _merge(merged[key], value) if both else value
    return merged


def _apply_override(values: dict[str, Any], override: str) -> None:
    key, separator, text = override.partition("=")
    parts = key.strip().split(".")
    if not separator or len(parts) < 2 or parts[0] not in FILES:
        raise UserError(
            f"--set {override}: expected file.section.key=value with file one of {', '.join(FILES)}, "
            "for example --set train.optimizer.batch_size=16"
        )
    node = values
    for part in parts[:-1]:
        node = node.setdefault(part, {})
        if not isinstance(node, dict):
            raise UserError(f"--set {override}: {part} is a value, not a section")
    node[parts[-1]] = _parse_yaml(text, f"--set {override}")


def _validate(values: dict[str, Any], source: str) -> Config:
    try:  # by way of JSON, whose strict mode takes a list where a tuple is wanted, but still no "16" for 16
        return Config.model_validate_json(json.dumps(values))
    except TypeError as error:  # a YAML date, say
        raise UserError(f"{source}: {error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        raise UserError(f"{_location(first['loc'], source)}: {_reason(first)}") from error


def _location(parts: tuple[int | str, ...], source: str) -> str:
    """('train', 'optimizer', 'eps') -> 'config/RAVDESS/train.yaml: optimizer.eps'."""
    if parts and parts[0] in FILES and source.startswith("config/"):
        source, parts = f"{source}/{parts[0]}.yaml", parts[1:]
    return f"{source}: {'.'.join(str(part) for part in parts)}" if parts else source


def _reason(error: ErrorDetails) -> str:
    if error["type"] == "extra_forbidden":
        return "unknown key"
    if error["type"] == "missing":
        return "this key is required"
    message = error["msg"].removeprefix("Value error, ")
    return message if error["type"] == "value_error" else f"{message}, got {error['input']!r}"
