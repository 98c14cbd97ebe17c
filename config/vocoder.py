"""The keys of `config/<DATASET>/vocoder.yaml`: how train_vocoder.py trains. All have defaults."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, model_validator

from config.fields import STRICT, Count, PositiveFloat, PositiveInt, Rate


class _Section(BaseModel):
    model_config = STRICT


# Lists, where elsewhere tuples stand: `_preset` has them validated as Python objects, which are strict about that
Pair = Annotated[list[float], Field(min_length=2, max_length=2)]
Resolution = Annotated[list[PositiveInt], Field(min_length=3, max_length=3)]  # FFT, hop, window in samples
DiscriminatorName = Literal["multi_period", "multi_scale", "multi_resolution"]
# What suits each architecture; any key may be given otherwise. HiFi-GAN's values are the paper's, the Fourier head's
# are meant for a CPU, where a step with the paper's discriminators takes twenty seconds.
_HIFIGAN_PRESET: dict[str, Any] = {
    "discriminators": {"kinds": ["multi_period", "multi_scale"], "period_channels": [32, 128, 512, 1024, 1024]},
    "adversarial_from_step": 0,
    "loss": {"stft": 0.0},
    "data": {"context": 0},
    "optimizer": {"ema": 0.0, "grad_clip_thresh": None},
}
_FOURIER_PRESET: dict[str, Any] = {
    "discriminators": {"kinds": ["multi_period", "multi_resolution"], "period_channels": [16, 32, 64, 128, 128]},
    "adversarial_from_step": 20000,
    "loss": {"stft": 45.0},
    "data": {"context": 8},
    "optimizer": {"ema": 0.999, "grad_clip_thresh": 1000.0},
}


class VocoderPaths(_Section):
    ckpt_path: str = "output/ckpt_vocoder/{dataset}"  # training states and, beside them, generators to use
    log_path: str = "output/log_vocoder/{dataset}"
    pitch_path: str = "output/pitch_vocoder/{dataset}"  # pitch of the recordings, kept from run to run


class VocoderData(_Section):
    segment_size: PositiveInt = 8192  # samples that the losses see; a whole number of hops
    context: Count = 8  # more mel frames on either side, whose samples are thrown away
    speech_share: Rate = 0.9  # of the segments that lie where speech is; the others lie anywhere
    real_share: Rate = 0.5  # of the segments have the recordings' mels, where the others have predicted ones
    gain: Pair = [-12.0, 3.0]  # dB, drawn for every segment; never so much that it would clip

    @model_validator(mode="after")
    def _gain_is_a_range(self) -> VocoderData:
        if self.gain[0] > self.gain[1]:
            raise ValueError("data.gain must be [lowest, highest]")
        return self


class VocoderOptimizer(_Section):
    batch_size: PositiveInt = 16  # segments per process
    learning_rate: PositiveFloat = 2e-4
    decay: Annotated[float, Field(gt=0.0, le=1.0)] = 0.999  # factor on the learning rates after every epoch
    warm_up_step: Count = 0  # steps in which the generator's learning rate rises from 0
    betas: Annotated[list[Rate], Field(min_length=2, max_length=2)] = [0.8, 0.99]
    weight_decay: Annotated[float, Field(ge=0.0)] = 0.01
    grad_clip_thresh: PositiveFloat | None = 1000.0  # norm; null = none, as the paper
    ema: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.999  # running mean of the weights, which is what is used; 0 = none
    amp_dtype: Literal["auto", "float16", "bfloat16"] = "auto"
    max_bad_steps: PositiveInt = 10  # in a row whose loss or gradient is not finite, then training stops


class VocoderLoss(_Section):
    mel: Annotated[float, Field(ge=0.0)] = 45.0  # weight of the L1 distance of full-band log-mel spectrograms
    stft: Annotated[float, Field(ge=0.0)] = 45.0  # weight of the multi-resolution STFT loss
    adversarial: Annotated[float, Field(ge=0.0)] = 1.0
    feature_matching: Annotated[float, Field(ge=0.0)] = 2.0
    pitch: Annotated[float, Field(ge=0.0)] = 9.0  # weight of the Fourier head's pitch losses
    resolutions: list[Resolution] = [[512, 50, 240], [1024, 120, 600], [2048, 240, 1200]]

    @model_validator(mode="after")
    def _windows_fit(self) -> VocoderLoss:
        for size, hop, window in self.resolutions:
            if not hop <= window <= size:
                raise ValueError(f"loss.resolutions needs hop <= window <= FFT, got {[size, hop, window]}")
        return self


class Discriminators(_Section):
    kinds: list[DiscriminatorName] = ["multi_period", "multi_resolution"]
    periods: list[PositiveInt] = [2, 3, 5, 7, 11]  # samples
    period_channels: Annotated[list[PositiveInt], Field(min_length=2)] = [16, 32, 64, 128, 128]
    resolution_channels: PositiveInt = 16
    resolutions: list[Resolution] = [[512, 128, 512], [1024, 256, 1024], [2048, 512, 2048]]


class VocoderStep(_Section):
    total_step: PositiveInt = 1000000
    log_step: PositiveInt = 100
    val_step: PositiveInt = 1000
    synth_step: PositiveInt = 5000
    save_step: PositiveInt = 5000
    val_utterances: PositiveInt = 32  # of val.txt, evenly spread
    keep_states: PositiveInt | None = 5  # older training states go (a gigabyte for hifigan_v1); generators all stay


class VocoderTraining(_Section):
    """How train_vocoder.py trains. Which vocoder speaks is the business of model.vocoder."""

    architecture: Literal["fourier", "fourier_tiny", "hifigan_v1", "hifigan_v2", "hifigan_v3"] = "fourier"
    seed: Count = 1234
    path: VocoderPaths = VocoderPaths()
    data: VocoderData = VocoderData()
    optimizer: VocoderOptimizer = VocoderOptimizer()
    loss: VocoderLoss = VocoderLoss()
    discriminators: Discriminators = Discriminators()
    adversarial_from_step: Count = 20000  # before it there is nothing but the spectral losses
    step: VocoderStep = VocoderStep()
    distributed_timeout: PositiveInt = 1800  # seconds that training processes wait for each other

    @model_validator(mode="before")
    @classmethod
    def _preset(cls, values: Any) -> Any:
        """What is not given is as suits the architecture."""
        if not isinstance(values, dict):
            return values
        hifigan = str(values.get("architecture", "fourier")).startswith("hifigan")
        filled = dict(values)
        for key, preset in (_HIFIGAN_PRESET if hifigan else _FOURIER_PRESET).items():
            given = filled.get(key, {} if isinstance(preset, dict) else preset)
            filled[key] = {**preset, **given} if isinstance(preset, dict) and isinstance(given, dict) else given
        return filled
