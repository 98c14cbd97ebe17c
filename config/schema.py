"""The keys of `config/<DATASET>/{preprocess,model,train}.yaml`, their types, defaults and impossible ones."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, model_validator

from config.fields import STRICT, Count, Dropout, PositiveFloat, PositiveInt, Rate
from config.vocoder import VocoderTraining

Corpus = Literal["RAVDESS", "ESD", "EmoV-DB", "CREMA-D", "TESS", "SAVEE", "LJSpeech", "VCTK", "LibriTTS", "generic"]
EmotionName = Annotated[str, Field(pattern=r"^[^\W\d_]+$")]  # letters only: file names begin with it and a hyphen


class _Section(BaseModel):
    model_config = STRICT


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
    corpus_path: str = ""  # the corpus as downloaded
    corpus_paths: dict[str, str] = {}  # of joined datasets, those that lie elsewhere than their own configuration says
    raw_path: str  # 22,050 Hz wav + lab, one folder per speaker
    preprocessed_path: str  # TextGrids, features, metadata
    lexicon_path: str | None = None  # pronunciations that win over the built-in dictionary: WORD PH PH … per line


class Split(_Section):
    """Which utterances validate. `by` random takes `val_size` of them; the others hold out what `hold_out` names."""

    by: Literal["random", "speaker", "statement", "speaker_emotion", "suggested"] = "random"
    hold_out: list[str] = []  # speakers, statements ("01"), pairs written "Actor_01/happy", or suggested splits ("val")
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
    # what is spoken, by the codes of text/languages.py; the first is that of utterances whose corpus does not say
    languages: Annotated[list[str], Field(min_length=1)] = ["en"]


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
    corpus: Corpus = "RAVDESS"  # which module of preprocessor/corpora/ knows the corpus's layout
    corpus_options: dict[str, str | bool | list[str]] = {}  # what that module leaves to choose
    # not empty: this dataset is those of config/ together, and corpus, corpus_options and path.corpus_path say nothing
    datasets: list[str] = []
    # The corpus's name of an emotion -> ours; the value "none" drops the label, the key "none" is what utterances
    # without a label get. Names that the corpus does not have do no harm.
    emotion_map: dict[str, EmotionName] = {}
    path: PreprocessPaths
    preprocessing: Preprocessing = Preprocessing()

    @model_validator(mode="after")
    def _joined_datasets_are_told_apart(self) -> PreprocessConfig:
        for name in self.datasets:
            if self.datasets.count(name) > 1:
                raise ValueError(f"datasets lists {name} twice")
        for name in self.path.corpus_paths:
            if name not in self.datasets:
                known = ", ".join(self.datasets) or "none"
                raise ValueError(f"path.corpus_paths names {name!r}, which is not among datasets ({known})")
        return self


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
    # convolutions: a network, as the original | functionals: statistics of the spectrum and one layer; of the options
    # below it knows gru_size, mask_padding and dropout
    ref_enc_type: Literal["convolutions", "functionals"] = "convolutions"
    ref_enc_filters: list[PositiveInt] = [32, 32, 64, 64, 128, 128]
    ref_enc_size: tuple[PositiveInt, PositiveInt] = (3, 3)
    ref_enc_strides: tuple[PositiveInt, PositiveInt] = (2, 2)
    ref_enc_pad: tuple[Count, Count] = (1, 1)
    ref_enc_gru_size: PositiveInt = 32
    mask_padding: bool = True  # false: padding frames leak into the embedding, as in the original
    pooling: Literal["gru", "statistics", "attention"] = "gru"  # how the reference encoder sums up time
    # fixed: two constants make the mel roughly standard normal | both: and each utterance's own statistics beside it
    normalise_input: Literal["none", "fixed", "both"] = "none"
    ref_enc_dropout: Dropout = 0.0  # before and after the summary


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


class Prosody(_Section):
    """Pitch, voicing and loudness of every frame as the decoder is told them; no part of the paper's model."""

    layer: Count = 0  # blocks of their predictor; 0 = none, as the original
    head: PositiveInt = 8
    conv_kernel_size: PositiveInt = 15
    dropout: Dropout = 0.1


class Vocoder(_Section):
    # auto: `checkpoint`, else the vocoder in pretrained/<dataset>, else HiFi-GAN as published, else Griffin-Lim
    model: Literal["auto", "Fourier", "HiFi-GAN", "MelGAN", "Griffin-Lim"] = "auto"
    speaker: Literal["LJSpeech", "universal"] = "universal"
    checkpoint: str | None = None  # null = {hifigan,melgan}/ and the published file's name
    griffin_lim_iterations: PositiveInt = 60
    corrections: Count | None = None  # of the Fourier vocoder: comparisons with the wanted mel; null = as trained
    low_iterations: Count | None = None  # of its Griffin-Lim below 1 kHz; null = as trained


class ModelConfig(_Section):
    external_speaker_dim: PositiveInt = 512  # width of an external speaker embedding (DeepSpeaker: 512)
    transformer: Transformer = Transformer()
    emotion_token_layer: EmotionTokenLayer = EmotionTokenLayer()
    decoder: Decoder = Decoder()
    prosody: Prosody = Prosody()
    # how strongly an emotion is meant, as a word between hyphens in the utterances' names; empty = nothing of the kind
    intensities: list[Annotated[str, Field(pattern=r"^[A-Za-z]+$")]] = []
    postfilter: bool = False  # true in checkpoints that fit_postfilter.py has completed
    multi_speaker: Literal[True] = True
    max_seq_len: PositiveInt = 320  # positions in the stored sinusoid table
    alignment: Literal["textgrid", "learned"] = "textgrid"  # durations from TextGrids, or found while training
    min_phone_frames: PositiveInt = 3  # shortest phone of the learned alignment
    vocoder: Vocoder = Vocoder()

    @model_validator(mode="after")
    def _hidden_sizes_agree(self) -> ModelConfig:
        if self.decoder.decoder_hidden != self.transformer.encoder_hidden:
            raise ValueError("decoder.decoder_hidden must equal transformer.encoder_hidden")
        _divides(self.decoder.decoder_hidden, prosody_head=self.prosody.head)
        _odd(prosody_conv_kernel_size=self.prosody.conv_kernel_size)
        if len(set(self.intensities)) < len(self.intensities) or len(self.intensities) == 1:
            raise ValueError(f"intensities must be none or at least two different words, got {self.intensities}")
        return self


# ---------------------------------------------------------------------------------------------------- train.yaml


class TrainPaths(_Section):
    ckpt_path: str
    log_path: str
    result_path: str
    pretrained_path: str | None = None  # shipped weights; null = pretrained/<dataset> beside the scripts


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
    ema: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0  # running mean of the weights, which is what speaks; 0 = none
    amp_dtype: Literal["auto", "float16", "bfloat16"] = "auto"  # auto: whichever is fast on the device
    max_bad_steps: PositiveInt = 10  # in a row whose loss or gradient is not finite, then training stops


class Step(_Section):
    total_step: PositiveInt = 900000
    log_step: PositiveInt = 100
    synth_step: PositiveInt = 1000
    val_step: PositiveInt = 1000
    save_step: PositiveInt = 25000


class Loss(_Section):
    alpha: Annotated[float, Field(ge=0.0)] = 0.1  # weight of the emotion loss
    beta: Annotated[float, Field(ge=0.0)] = 0.1  # weight of the duration loss
    gamma: Annotated[float, Field(ge=0.0)] = 1.0  # weight of the forward-sum loss (learned alignment)
    delta: Annotated[float, Field(ge=0.0)] = 0.0125  # weight of the binarisation loss (learned alignment)
    epsilon: Annotated[float, Field(ge=0.0)] = 0.2  # weight of the pitch, voicing and loudness losses (model.prosody)
    mel_normalization: Literal["mean", "reference"] = "mean"
    emotion: Literal["cross_entropy", "bce"] = "cross_entropy"


class ReferenceAugmentation(_Section):
    """Random changes of the reference mel in training, never of the target; 0 turns each off."""

    speed: Annotated[float, Field(ge=0.0, le=0.7)] = 0.0  # largest logarithm of the factor on its length
    pitch: Annotated[float, Field(ge=0.0, le=0.7)] = 0.0  # largest logarithm of the factor on its frequencies
    level: Annotated[float, Field(ge=0.0)] = 0.0  # largest offset, in log-mel units (1 = 8.7 dB)
    tilt: Annotated[float, Field(ge=0.0)] = 0.0  # largest slope and bow over the bands, in log-mel units at the ends
    time_mask: Count = 0  # longest masked span, frames
    band_mask: Count = 0  # widest masked span, mel bands
    masks: PositiveInt = 2  # spans of each kind

    @property
    def any(self) -> bool:
        """Whether anything is changed."""
        settings = (self.speed, self.pitch, self.level, self.tilt, self.time_mask, self.band_mask)
        return max(settings) > 0


class EmotionTraining(_Section):
    soft_token_rate: Rate = 0.1  # share of the labelled utterances trained through the soft token of their own mel
    augment: ReferenceAugmentation = ReferenceAugmentation()


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
    num_workers: Count | Literal["auto"] = "auto"  # processes that load batches; auto: 0 on a CPU, 4 on a GPU
    compile: Literal["none", "default", "reduce-overhead"] = "none"  # torch.compile; reduce-overhead: CUDA graphs
    pad_multiple: tuple[PositiveInt, PositiveInt] = (1, 1)  # frames, phones: batches are padded to multiples of these
    distributed_timeout: PositiveInt = 1800  # seconds that training processes wait for each other


class Config(_Section):
    """Everything one run needs to know; plain data, so it travels inside checkpoints (`config.from_dict` reads it)."""

    dataset: str
    preprocess: PreprocessConfig
    model: ModelConfig
    train: TrainConfig
    vocoder: VocoderTraining = VocoderTraining()

    def to_dict(self) -> dict[str, Any]:
        """Plain dicts, lists, strings and numbers, fit for JSON and for `torch.load(weights_only=True)`."""
        return self.model_dump(mode="json")
