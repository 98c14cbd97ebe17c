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
from model.prosody import BASE, COMBS, HIGHEST, LOWEST
from model.published import from_published, is_published
from text import symbol_count, symbol_table
from text.phone_classes import RANGES, levels
from utils.checkpoint import LATEST, Checkpoint, checkpoint_path, known_steps, read_checkpoint, resolve_step
from utils.metadata import IdMaps
from utils.shipped import ACOUSTIC, CONFIG, EMBEDDINGS, PRETRAINED, read_shipped, shipped_folder


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
        reference_type=tokens.ref_enc_type,
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
        prosody_layers=config.model.prosody.layer,
        prosody_heads=config.model.prosody.head,
        prosody_kernel=config.model.prosody.conv_kernel_size,
        prosody_dropout=config.model.prosody.dropout,
        intensities=len(config.model.intensities),
        postfilter=config.model.postfilter,
        min_phone_frames=config.model.min_phone_frames if config.model.alignment == "learned" else None,
    )


def new_model(config: Config, ids: IdMaps) -> AcousticModel:
    """A model with fresh weights; its aligner, if it has one, knows roughly what each phone sounds like."""
    model = AcousticModel(model_sizes(config, ids))
    if model.aligner is not None:
        model.aligner.templates.copy_(phone_templates(config.preprocess, model.sizes.symbols))
    if model.prosody is not None:
        from audio.harmonics import harmonic_combs

        octaves = torch.linspace(LOWEST, HIGHEST, COMBS, dtype=torch.float64)
        model.prosody.combs.copy_(harmonic_combs(mel_spectrogram(config), BASE * torch.exp2(octaves)))
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
    shipped: bool = False  # of pretrained/, not of a run of the user's

    @property
    def label(self) -> str:
        """What its results' folder is called: the step, or "pretrained"."""
        return PRETRAINED if self.shipped else str(self.step)

    @property
    def speaker_embeddings(self) -> Path:
        """Where external speaker embeddings lie."""
        features = Path(self.config.preprocess.path.preprocessed_path)
        return (self.path.parent if self.shipped else features) / EMBEDDINGS

    def __str__(self) -> str:
        source = f"shipped weights {self.path.parent}" if self.shipped else str(self.path)
        return f"{source} (step {self.step})"


def load_model(config: Config, step: int | str | None, device: torch.device) -> LoadedModel:
    """Load checkpoint `step` (a number or "latest") of `config.train.path.ckpt_path`, or the dataset's shipped weights
    ("pretrained"), strictly. None: the shipped weights where there are any, else the latest checkpoint.

    Sizes, audio settings and id maps are the checkpoint's own; of `config` only the vocoder and the paths are kept.
    A published checkpoint of the original carries none of them: there `config` and the id maps beside the features
    count. Raises UserError naming the file for a missing, truncated or foreign one.
    """
    folder, described = shipped_folder(config), None
    shipped = step == PRETRAINED or (step is None and folder.is_dir())
    if shipped:
        content, path, described = _read_shipped(folder), folder / ACOUSTIC, folder / CONFIG
        number = content.step
    else:
        number = _resolve(config, step or LATEST)
        path = checkpoint_path(Path(config.train.path.ckpt_path), number)
        content = read_checkpoint(path)
    model, trained, ids = build_model(content, config, path, described)
    return LoadedModel(model.to(device).eval(), trained, ids, number, path, shipped)


def _read_shipped(folder: Path) -> Checkpoint:
    if not folder.is_dir():
        raise UserError(f"there are no shipped weights in {folder}; train first, and give --restore_step latest")
    content = read_shipped(folder)
    if content.config is None:
        raise UserError(f"{folder} holds no configuration of its model")
    return content


def _resolve(config: Config, step: int | str) -> int:
    """As `resolve_step`; where there is no checkpoint at all, the shipped weights are named, if there are any."""
    folder, shipped = Path(config.train.path.ckpt_path), shipped_folder(config)
    if not known_steps(folder) and shipped.is_dir():
        raise UserError(f"no checkpoint in {folder}; train first, or use those of {shipped}: --restore_step pretrained")
    return resolve_step(folder, step)


def build_model(
    content: Checkpoint, config: Config, path: Path, described: Path | None = None
) -> tuple[AcousticModel, Config, IdMaps]:
    """The model of a checkpoint that was read from `path`, the configuration it was trained with, its id maps.

    `described`: the file that its configuration and symbols come from, if it is another one. Of `config` the vocoder
    and the paths are kept. Raises UserError where the weights do not fit.
    """
    described = described or path
    if content.config is None:
        ids = IdMaps.load(Path(config.preprocess.path.preprocessed_path))
        trained = config
    else:
        trained = from_dict(content.config, str(described))
        trained = trained.model_copy(
            update={
                "model": trained.model.model_copy(update={"vocoder": config.model.vocoder}),
                "train": trained.train.model_copy(update={"path": config.train.path}),
                "preprocess": trained.preprocess.model_copy(update={"path": config.preprocess.path}),
            }
        )
        ids = IdMaps(content.speakers, content.emotions)
        if content.symbols != symbol_table(trained.preprocess.preprocessing.text.languages):
            raise UserError(f"{described} has another symbol table; such weights cannot be used with this version")
    model = AcousticModel(model_sizes(trained, ids))
    load_weights(model, content.weights, path)
    return model, trained, ids


def load_weights(model: AcousticModel, state: dict[str, torch.Tensor], path: Path) -> None:
    """Load a state dict under our names or the original's, strictly; UserError naming `path` if it does not fit."""
    try:
        state = from_published(state) if is_published(state) else state
        if model.postfilter is None:  # training goes on from a checkpoint that has one
            state = {name: value for name, value in state.items() if not name.startswith("postfilter.")}
        model.load_state_dict(state, strict=True)
    except (RuntimeError, ValueError) as error:
        raise UserError(f"{path} does not fit the configured model: {str(error)[:300]}") from error
    for name, own in model.state_dict().items():
        if own.is_floating_point() != state[name].is_floating_point():  # which loading has cast
            raise UserError(f"{path} does not fit the configured model: {name} is {state[name].dtype}, not {own.dtype}")
