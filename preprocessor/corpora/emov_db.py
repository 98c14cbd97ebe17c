"""EmoV-DB, the Emotional Voices Database (Adigwe et al. 2018, arXiv 1806.09514): 4 English speakers, 5 emotions.

    bea_Angry/anger_1-28_0011.wav     emotion, the batch that it was recorded in (sentences 1 … 28), sentence
    cmuarctic.data                    ( arctic_a0011 "…" )

The sentences are those of CMU ARCTIC's set A by their number. They are not in the archives.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from errors import UserError
from preprocessor.corpora.files import audio_files, read_text
from preprocessor.corpus import About, Scan, Utterance, corpus_folder, finished

SPEAKERS: Mapping[str, Literal["male", "female"]] = {
    "bea": "female",
    "jenie": "female",
    "josh": "male",
    "sam": "male",
}
# file names and folders call the emotions differently
EMOTIONS = {
    "amused": "amused",
    "anger": "anger",
    "angry": "anger",
    "disgust": "disgust",
    "disgusted": "disgust",
    "neutral": "neutral",
    "sleepiness": "sleepy",
    "sleepy": "sleepy",
}
SENTENCES = "cmuarctic.data"
SENTENCES_HOME = "http://www.festvox.org/cmu_arctic/cmuarctic.data"

NAME = re.compile(r"([a-z]+)_(\d+)[-_](\d+)_(\d{4})")  # in lower case; amused_225_252_0226 occurs
FOLDER = re.compile(rf"(?:.*_)?({'|'.join(SPEAKERS)})(?:_({'|'.join(EMOTIONS)}))?")
LINE = re.compile(r'\(\s*arctic_a(\d{4})\s+"(.*)"\s*\)')


class EmovDb:
    """The corpus as unpacked: bea_Angry/, or bea/Angry/ as in the authors' sorted copy, or bea/; and cmuarctic.data."""

    about = About(
        title="EmoV-DB",
        home="https://openslr.org/115/",
        licence="non-commercial use only",
        get="unpack each archive there into a folder of its name (bea_Amused.tar.gz into bea_Amused/ and so on; there "
        f"is no folder in them) and put {SENTENCES} beside them, from {SENTENCES_HOME}",
    )

    def scan(self, folder: Path) -> Scan:
        """List the recordings. One whose number contradicts its batch is left out: what it says can't be known."""
        paths = audio_files(corpus_folder(folder, self.about))
        texts = read_sentences(folder / SENTENCES) if paths else {}
        utterances: list[Utterance] = []
        left_out: Counter[str] = Counter()
        for path in paths:
            name = _parse(path, folder)
            if not name.first <= int(name.sentence) <= name.last:
                left_out["unknown text (sentence number outside the batch in the name)"] += 1
            else:
                utterances.append(_utterance(path, name, texts, folder / SENTENCES))
        return finished(utterances, left_out, folder, self.about)


@dataclass(frozen=True)
class _Name:
    """What a recording's folder and name say."""

    speaker: str
    emotion: str
    first: int  # sentence of the batch
    last: int
    sentence: str  # four digits


def _parse(path: Path, folder: Path) -> _Name:
    """The speaker is in the folders alone, the emotion in the name and mostly in the folders."""
    inside = path.relative_to(folder).parent
    where = FOLDER.fullmatch("_".join(inside.parts).lower())
    if where is None:
        raise UserError(
            f"{path}: its folder names no speaker ({', '.join(SPEAKERS)}) and emotion of EmoV-DB; expected, for "
            "example, bea_Angry/anger_1-28_0011.wav"
        )
    match = NAME.fullmatch(path.stem.lower())
    if match is None or match[1] not in EMOTIONS:
        raise UserError(
            f"{path}: not an EmoV-DB name; expected emotion_batch_sentence, for example anger_1-28_0011.wav, the "
            f"emotion being one of {', '.join(EMOTIONS)}"
        )
    emotion = EMOTIONS[match[1]]
    if where[2] and EMOTIONS[where[2]] != emotion:
        raise UserError(f"{path}: the name says {match[1]}, but it lies in {inside}")
    return _Name(where[1], emotion, int(match[2]), int(match[3]), match[4])


def _utterance(path: Path, name: _Name, texts: Mapping[str, str], source: Path) -> Utterance:
    if name.sentence not in texts:
        raise UserError(f"{path}: {source} has no sentence arctic_a{name.sentence}; get it from {SENTENCES_HOME}")
    return Utterance(
        audio_path=path,
        key=f"{name.first}-{name.last}-{name.sentence}-{name.speaker}",  # batches may share a sentence
        text=texts[name.sentence],
        speaker=name.speaker,
        emotion=name.emotion,
        statement=name.sentence,
        sex=SPEAKERS[name.speaker],
        language="en",
    )


def read_sentences(path: Path) -> dict[str, str]:
    """Number ("0011") -> text, of ARCTIC's set A. Raises UserError when the file is missing or is another."""
    if not path.is_file():
        raise UserError(f"{path} is missing: EmoV-DB's texts are CMU ARCTIC's sentences; put {SENTENCES_HOME} there")
    found = (LINE.search(line) for line in read_text(path, ("cp1252",)).split("\n"))
    texts = {match[1]: " ".join(match[2].split()) for match in found if match}
    if not texts:
        raise UserError(f'{path} has no line like ( arctic_a0011 "…" ); put {SENTENCES_HOME} there')
    return texts
