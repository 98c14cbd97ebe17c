"""Corpora from the names of their files: real, tiny recordings, and texts; and what was read from them."""

import io
from functools import lru_cache
from pathlib import Path
from typing import Any

import soundfile

from preprocessor.corpus import Scan
from tests.small_corpus import noise

RATE = 16000


@lru_cache(maxsize=1)
def _short_wav() -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, noise(0.03, 0.5, 7, RATE), RATE, format="WAV")
    return buffer.getvalue()


def recordings(folder: Path, *names: str) -> None:
    """A recording of 0.03 s under each name; a suffix of another format does not change what is in it."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(_short_wav())


def text_file(folder: Path, name: str, *lines: str, encoding: str = "utf-8", end: str = "\n") -> None:
    """A text file of these lines."""
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes("".join(f"{line}{end}" for line in lines).encode(encoding))


def fields(scan: Scan, *names: str) -> list[tuple[Any, ...]]:
    """These fields of every utterance."""
    return [tuple(getattr(item, name) for name in names) for item in scan.utterances]


ARCTIC = (
    '( arctic_a0001 "Author of the danger trail, Philip Steels, etc." )',
    '( arctic_a0011 "He said: "No"." )',
    '( arctic_b0011 "Another set\'s eleventh." )',
)


def write_emov_db(folder: Path) -> None:
    """EmoV-DB as unpacked from openslr.org/115, each archive into a folder of its name."""
    recordings(
        folder, "bea_Amused/amused_1-15_0001.wav", "bea_Angry/anger_1-28_0011.wav", "josh_Sleepy/sleepy_1-28_0001.wav",
        "jenie_Disgusted/disgust_1-28_0001.wav", "sam_Neutral/Neutral_1_28_0001.wav",
        "sam_Sleepy/sleepiness_1-28_0011.wav",
    )  # fmt: skip
    text_file(folder, "cmuarctic.data", *ARCTIC)
