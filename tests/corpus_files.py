"""Files of corpora for tests: recordings of generated noise, and texts."""

from collections.abc import Iterable, Mapping
from pathlib import Path

import soundfile

from tests.small_corpus import RATE, noise

NO_TEXTS: Mapping[str, str] = {}


def write_corpus(folder: Path, recordings: Iterable[str], texts: Mapping[str, str] = NO_TEXTS) -> Path:
    """Write 0.1 s of noise to each path of `recordings`, and the texts; returns `folder`."""
    for number, name in enumerate(recordings):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(folder / name, noise(0.1, 0.5, number), RATE)
    for name, text in texts.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    return folder
