"""Result files: waveform, picture, and what made them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from audio import save
from synthesis.requests import Request
from synthesis.synthesizer import Speech, Synthesizer, join
from text.cleaners import to_ascii
from text.words import shorten
from utils.files import write_json
from utils.plot import mel_figure, save_figure

PICTURE_SECONDS = 30.0  # of a long text's spectrogram


def write_result(synthesizer: Synthesizer, request: Request, speeches: list[Speech], folder: Path) -> Path:
    """Write {name}.wav, .png and .json into `folder`; returns the wav's path."""
    rate = synthesizer.sampling_rate
    wav = join([speech.wav for speech in speeches], rate)
    path = folder / f"{request.name}.wav"
    save(path, wav, rate)
    hop = synthesizer.loaded.config.preprocess.preprocessing.stft.hop_length
    mel = np.concatenate([speech.mel for speech in speeches])[: round(PICTURE_SECONDS * rate / hop)]
    how = request.emotion or f"as in {request.reference.name if request.reference else '?'}"
    title = f"{request.speaker}, {how}: {shorten(to_ascii(request.text), 70)}"  # figures have no font for other scripts
    save_figure(mel_figure([(title, mel)], hop / rate), path.with_suffix(".png"))
    write_json(path.with_suffix(".json"), description(synthesizer, request, speeches, len(wav) / rate))
    return path


def description(synthesizer: Synthesizer, request: Request, speeches: list[Speech], seconds: float) -> dict[str, Any]:
    """What made a result: enough to make it again."""
    loaded = synthesizer.loaded
    return {
        "text": request.text,
        "speaker": request.speaker,
        "emotion": request.emotion,
        "reference": None if request.reference is None else str(request.reference),
        "reference_peak": None if request.reference is None else request.reference_peak,
        "emotion_weights": speeches[0].emotion_weights,
        "dataset": loaded.config.dataset,
        "checkpoint": str(loaded.path),
        "step": loaded.step,
        "vocoder": synthesizer.vocoder.name,
        "sampling_rate": synthesizer.sampling_rate,
        "seconds": round(seconds, 3),
        "chunks": [
            {
                "text": chunk.text,
                "phones": list(speech.phones),
                "frames": speech.durations,
                "words": [
                    {"word": word.text, "phones": list(word.phones), "source": word.source} for word in chunk.words
                ],
            }
            for chunk, speech in zip(request.chunks, speeches, strict=True)
        ],
    }
