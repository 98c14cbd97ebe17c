"""The acoustic model and the vocoders, in this process, after loading."""

from __future__ import annotations

import statistics

import torch
from torch import Tensor

from acoustic import LoadedModel, load_model
from benchmarks.bench import Bench, Settings
from benchmarks.inputs import FRAMES_PER_PHONE
from model import AcousticModel
from synthesis.synthesizer import one_thread
from vocoder import Vocoder, load_vocoder

SENTENCE = 18  # phones of "Kids are talking by the door"
SPEECH = (1, 5, 30)  # seconds
VOCODED = 2.0  # seconds
VOCODERS = {
    **{f"HiFi-GAN {version}": ("HiFi-GAN", f"{version}.pt", "8000") for version in ("V1", "V2", "V3")},
    "Fourier": ("Fourier", "Fourier.pt", "8000"),
    "MelGAN": ("MelGAN", "MelGAN.pt", "null"),
    "Griffin-Lim": ("Griffin-Lim", None, "8000"),
}


def load(settings: Settings, device: torch.device) -> LoadedModel:
    """The model as synthesize.py loads it."""
    return load_model(settings.config(), "latest", device)


def load_one(settings: Settings, name: str, device: torch.device) -> Vocoder:
    """One of VOCODERS, with random weights, as synthesize.py loads it."""
    kind, file, top = VOCODERS[name]
    overrides = [f"model.vocoder.model={kind}", f"preprocess.preprocessing.mel.mel_fmax={top}"]
    if file is not None:
        overrides.append(f"model.vocoder.checkpoint={settings.work / 'vocoders' / file}")
    return load_vocoder(settings.config(*overrides), device)


def speak(model: AcousticModel, phones: int, batch: int, device: torch.device) -> Tensor:
    """Mel spectrograms [batch, T, M] of so many phones each, by label."""
    ids = torch.arange(phones, device=device) % 60 + 200
    with torch.inference_mode():
        output = model(
            ids.expand(batch, -1),
            torch.full((batch,), phones, device=device),
            torch.zeros(batch, dtype=torch.long, device=device),
            emotions=torch.zeros(batch, dtype=torch.long, device=device),
        )
    return output.mels[-1]


def acoustic(bench: Bench) -> None:
    """Latency by length, one sentence and eight; settled and on one thread, as `Synthesizer` has it."""
    device = bench.device()
    loaded = load(bench.settings, device)
    loaded.model.settle()
    preprocessing = loaded.config.preprocess.preprocessing
    seconds_per_phone = FRAMES_PER_PHONE * preprocessing.stft.hop_length / preprocessing.audio.sampling_rate
    cases = {"one sentence, 18 phones": (SENTENCE, 1), "eight sentences of 18 phones": (SENTENCE, 8)}
    cases |= {f"{seconds} s of speech": (round(seconds / seconds_per_phone), 1) for seconds in SPEECH}
    for name, (phones, batch) in cases.items():
        bench.calibrate(threads=1)
        with one_thread():
            frames = speak(loaded.model, phones, batch, device).shape[1]
            taken = bench.time(lambda: speak(loaded.model, phones, batch, device))  # noqa: B023
        cost = 1000 * statistics.median(taken.cpu)
        bench.timed(f"acoustic model, {name}", taken, f"{phones} phones, {frames} frames; {cost:.1f} CPU ms")


def vocoders(bench: Bench) -> None:
    """Two seconds of audio from each."""
    device = bench.device()
    seconds = 0.2 if bench.settings.quick else VOCODED
    for name in VOCODERS:
        vocoder = load_one(bench.settings, name, device)
        frames = round(seconds * 22050 / vocoder.hop_length)
        mels = torch.randn(1, frames, 80, generator=torch.Generator().manual_seed(0)).to(device) - 5.0
        bench.calibrate()
        taken = bench.time(lambda: vocoder(mels))  # noqa: B023
        length = frames * vocoder.hop_length / 22050
        factor = statistics.median(taken.wall) / length
        note = f"{length:.2f} s of audio; real-time factor {factor:.3f}, {1 / factor:.1f}× real time"
        bench.timed(f"vocoder {name}", taken, note)
