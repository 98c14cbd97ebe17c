"""From a configuration or a checkpoint to an acoustic model; shared by train.py, synthesize.py and evaluate.py."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from audio.mel import MelSpectrogram, band_centres
from config import Config, from_dict
from config.schema import PreprocessConfig
from errors import UserError
from model import AcousticModel, ModelSizes
from model.published import from_published, is_published
from text import symbol_count, symbol_table
from text.phone_classes import RANGES, levels
from utils.checkpoint import checkpoint_path, read_checkpoint, resolve_step
from utils.metadata import IdMaps


def model_sizes(config: Config, ids: IdMaps) -> ModelSizes:
    """The numbers that `config` and the id maps fix."""
    transformer, tokens, decoder = (
        config.model.transformer,
        config.model.emotion_token_layer,
        config.model.decoder,
    )
    external = config.preprocess.preprocessing.speaker_embedder != "none"
    return ModelSizes(
        symbols=symbol_count(config.preprocess.preprocessing.text.languages),
        speakers=len(ids.speakers),
        emotions=len(ids.emotions),
        external_speaker=config.model.external_speaker_dim if external else None,
        mel_bands=config.preprocess.preprocessing.mel.n_mel_channels,
        hidden=transformer.encoder_hidden,
        max_phones=config.model.max_seq_len,
        encoder_layers=transformer.encoder_layer,
        encoder_heads=transformer.encoder_head,
        encoder_dropout=transformer.encoder_dropout,
        duration_layers=transformer.duration_predictor_layer,
        duration_heads=transformer.duration_predictor_head,
        duration_dropout=transformer.duration_predictor_dropout,
        conv_filters=transformer.conv_filter_size,
        conv_kernels=transformer.conv_kernel_size,
        lconv_kernel=transformer.lconv_kernel_size,
        lconv_heads=transformer.lconv_head,
        reference_filters=tuple(tokens.ref_enc_filters),
        reference_kernel=tokens.ref_enc_size,
        reference_strides=tokens.ref_enc_strides,
        reference_padding=tokens.ref_enc_pad,
        reference_hidden=tokens.ref_enc_gru_size,
        mask_reference_padding=tokens.mask_padding,
        reference_pooling=tokens.pooling,
        reference_input=tokens.normalise_input,
        reference_dropout=tokens.ref_enc_dropout,
        decoder_layers=decoder.decoder_layer,
        decoder_heads=decoder.decoder_head,
        decoder_kernel=decoder.conv_kernel_size,
        decoder_dropout=decoder.decoder_dropout,
        min_phone_frames=config.model.min_phone_frames if config.model.alignment == "learned" else None,
    )


def new_model(config: Config, ids: IdMaps) -> AcousticModel:
    """A model with fresh weights; its aligner, if it has one, knows roughly what each phone sounds like."""
    model = AcousticModel(model_sizes(config, ids))
    if model.aligner is not None:
        model.aligner.templates.copy_(phone_templates(config.preprocess, model.sizes.symbols))
    return model


def phone_templates(config: PreprocessConfig, symbols: int) -> Tensor:
    """[symbols, bands]: rough level of every symbol's spectrum (text/phone_classes.py) in each mel band."""
    which = torch.bucketize(mel_centres(config), torch.tensor(RANGES, dtype=torch.float64))  # (bands,)
    templates = torch.zeros(symbols, config.preprocessing.mel.n_mel_channels)
    table = symbol_table(config.preprocessing.text.languages)
    for row, symbol in zip(templates, table, strict=False):  # the last row may be unused
        if symbol.startswith("@"):
            row.copy_(torch.tensor(levels(symbol[1:]))[which])
    return templates


def mel_centres(config: PreprocessConfig) -> Tensor:
    """[bands] float64: frequencies in Hz at which the mel bands peak."""
    mel, rate = config.preprocessing.mel, config.preprocessing.audio.sampling_rate
    return torch.from_numpy(band_centres(rate, mel.n_mel_channels, mel.mel_fmin, mel.mel_fmax))


def mel_spectrogram(config: Config) -> MelSpectrogram:
    """The analysis that the model was trained on."""
    preprocessing = config.preprocess.preprocessing
    return MelSpectrogram(
        preprocessing.audio.sampling_rate,
        preprocessing.stft.filter_length,
        preprocessing.stft.hop_length,
        preprocessing.stft.win_length,
        preprocessing.mel.n_mel_channels,
        preprocessing.mel.mel_fmin,
        preprocessing.mel.mel_fmax,
    )


def uses_external_speakers(config: Config) -> bool:
    """Whether speakers are embeddings computed beforehand, not rows of a lookup table."""
    return config.preprocess.preprocessing.speaker_embedder != "none"


@dataclass(frozen=True)
class LoadedModel:
    model: AcousticModel  # in eval mode
    config: Config  # what it was trained with
    ids: IdMaps
    step: int
    path: Path


def load_model(config: Config, step: int | str, device: torch.device) -> LoadedModel:
    """Load checkpoint `step` (a number or "latest") of `config.train.path.ckpt_path`, weights strictly.

    Sizes, audio settings and id maps are the checkpoint's own; of `config` only the vocoder and the paths are kept.
    A published checkpoint of the original carries none of them: there `config` and the id maps beside the features
    count. Raises UserError naming the file for a missing, truncated or foreign one.
    """
    number = resolve_step(Path(config.train.path.ckpt_path), step)
    path = checkpoint_path(Path(config.train.path.ckpt_path), number)
    content = read_checkpoint(path)
    if content.config is None:
        ids = IdMaps.load(Path(config.preprocess.path.preprocessed_path))
        trained = config
    else:
        trained = from_dict(content.config, str(path))
        trained = trained.model_copy(
            update={
                "model": trained.model.model_copy(update={"vocoder": config.model.vocoder}),
                "train": trained.train.model_copy(update={"path": config.train.path}),
                "preprocess": trained.preprocess.model_copy(update={"path": config.preprocess.path}),
            }
        )
        ids = IdMaps(content.speakers, content.emotions)
        if content.symbols != symbol_table(trained.preprocess.preprocessing.text.languages):
            raise UserError(f"{path} was trained with another symbol table; it cannot be used with this version")
    model = AcousticModel(model_sizes(trained, ids))
    load_weights(model, content.model, path)
    return LoadedModel(model.to(device).eval(), trained, ids, number, path)


def load_weights(model: AcousticModel, state: dict[str, torch.Tensor], path: Path) -> None:
    """Load a state dict under our names or the original's, strictly; UserError naming `path` if it does not fit."""
    try:
        model.load_state_dict(from_published(state) if is_published(state) else state, strict=True)
    except (RuntimeError, ValueError) as error:
        raise UserError(f"{path} does not fit the configured model: {str(error)[:300]}") from error
