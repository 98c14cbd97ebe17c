"""TESS, the Toronto emotional speech set (Pichora-Fuller & Dupuis 2020, doi:10.5683/SP2/E8H2MF).

    OAF_back_angry.wav    actress (of 64 or 26 years), word, emotion; in one folder, or in OAF_angry/ and so on

Both say 200 words in "Say the word …", in 7 emotions.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from errors import UserError
from preprocessor.corpora.files import audio_files
from preprocessor.corpus import About, Scan, Utterance, corpus_folder, finished

SPEAKERS = ("OAF", "YAF")  # older, younger adult female
EMOTIONS: Mapping[str, str] = {
    "angry": "angry",
    "disgust": "disgust",
    "fear": "fear",
    "happy": "happy",
    "neutral": "neutral",
    "sad": "sad",
    "ps": "surprise",  # pleasant surprise
    "pleasant_surprise": "surprise",
    "pleasant_surprised": "surprise",
}
MISNAMED = {"OA_bite_neutral": "OAF_bite_neutral"}  # as distributed

NAME = re.compile(rf"({'|'.join(SPEAKERS)})_([A-Za-z]+)_({'|'.join(EMOTIONS)})", re.IGNORECASE | re.ASCII)
FOLDER = re.compile(rf"({'|'.join(SPEAKERS)})_({'|'.join(EMOTIONS)})", re.IGNORECASE | re.ASCII)


class Tess:
    """The corpus as unpacked: every recording in one folder, or a folder per actress and emotion."""

    about = About(
        title="TESS",
        home="https://doi.org/10.5683/SP2/E8H2MF",
        licence="CC BY-NC-ND 4.0",
        get="download all files there, so that it holds OAF_back_angry.wav or OAF_angry/OAF_back_angry.wav",
    )

    def scan(self, folder: Path) -> Scan:
        """List the recordings, wherever in the folder they lie."""
        paths = audio_files(corpus_folder(folder, self.about))
        return finished([_utterance(path) for path in paths], {}, folder, self.about)


def _utterance(path: Path) -> Utterance:
    match = NAME.fullmatch(MISNAMED.get(path.stem, path.stem))
    if match is None:
        raise UserError(
            f"{path}: not a TESS name; expected actress_word_emotion, for example OAF_back_angry.wav, with one of "
            f"{', '.join(SPEAKERS)} and one of {', '.join(EMOTIONS)}"
        )
    speaker, word, emotion = match[1].upper(), match[2].lower(), EMOTIONS[match[3].lower()]
    where = FOLDER.fullmatch(path.parent.name)
    if where and (where[1].upper(), EMOTIONS[where[2].lower()]) != (speaker, emotion):
        raise UserError(f"{path}: the name says {speaker} and {match[3]}, but it lies in {path.parent.name}")
    return Utterance(
        audio_path=path,
        key=f"{word}-{speaker}",
        text=f"Say the word {word}",
        speaker=speaker,
        emotion=emotion,
        statement=word,
        sex="female",
        language="en",
    )
