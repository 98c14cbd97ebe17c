"""CREMA-D (Cao et al. 2014, doi:10.1109/TAFFC.2014.2336244): 91 actors, 12 sentences, 6 emotions.

AudioWAV/1001_IEO_ANG_HI.wav    actor, sentence, emotion, intensity
VideoDemographics.csv           ActorID, Age, Sex, …
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Literal

from errors import UserError
from preprocessor.corpora.files import audio_files, read_text
from preprocessor.corpus import About, Scan, Utterance, corpus_folder, finished

SENTENCES = {
    "IEO": "It's eleven o'clock",
    "TIE": "That is exactly what happened",
    "IOM": "I'm on my way to the meeting",
    "IWW": "I wonder what this is about",
    "TAI": "The airplane is almost full",
    "MTI": "Maybe tomorrow it will be cold",
    "IWL": "I would like a new alarm clock",
    "ITH": "I think I have a doctor's appointment",
    "DFA": "Don't forget a jacket",
    "ITS": "I think I've seen this before",
    "TSI": "The surface is slick",
    "WSI": "We'll stop in a couple of minutes",
}
EMOTIONS = {"ANG": "anger", "DIS": "disgust", "FEA": "fear", "HAP": "happy", "NEU": "neutral", "SAD": "sad"}
INTENSITIES = {"LO": "low", "MD": "medium", "HI": "high", "XX": None}
ACTORS = tuple(str(actor) for actor in range(1001, 1092))
FIELDS = ("actor", "sentence", "emotion", "intensity")
CODES: tuple[Collection[str], ...] = (ACTORS, SENTENCES, EMOTIONS, INTENSITIES)

MISNAMED = {"1040_ITH_SAD_X": "1040_ITH_SAD_XX"}  # as distributed
WITHOUT_SIGNAL = ("1076_MTI_SAD_XX",)
FOLDERS = ("AudioWAV", "AudioMP3")  # the same recordings; the first that is there
DEMOGRAPHICS = "VideoDemographics.csv"
SEXES: Mapping[str, Literal["male", "female"]] = {"male": "male", "female": "female"}


class CremaD:
    """The corpus as cloned, or a folder of its recordings."""

    about = About(
        title="CREMA-D",
        home="https://github.com/CheyneyComputerScience/CREMA-D",
        licence="ODbL 1.0, contents DbCL 1.0",
        get="clone the repository there with git-lfs (a zip of it has no audio), so that it holds AudioWAV",
    )

    def scan(self, folder: Path) -> Scan:
        """List the recordings, but for the one without a signal. Without VideoDemographics.csv the sexes are None."""
        folder = corpus_folder(folder, self.about)
        audio = next((folder / name for name in FOLDERS if (folder / name).is_dir()), folder)
        sexes = read_sexes(folder / DEMOGRAPHICS)
        utterances: list[Utterance] = []
        left_out: Counter[str] = Counter()
        for path in audio_files(audio):
            actor, sentence, emotion, intensity = _codes(path)
            if path.stem in WITHOUT_SIGNAL:
                left_out["recording without a signal"] += 1
                continue
            utterances.append(
                Utterance(
                    audio_path=path,
                    key=f"{sentence}-{intensity}-{actor}",
                    text=SENTENCES[sentence],
                    speaker=actor,
                    emotion=EMOTIONS[emotion],
                    intensity=INTENSITIES[intensity],
                    statement=sentence,
                    sex=sexes.get(actor),
                    language="en",
                )
            )
        return finished(utterances, left_out, folder, self.about)


def _codes(path: Path) -> list[str]:
    """The four checked codes of a file's name."""
    codes = MISNAMED.get(path.stem, path.stem).split("_")
    if len(codes) != len(FIELDS):
        raise UserError(f"{path}: not a CREMA-D name; expected {'_'.join(FIELDS)}, for example 1001_IEO_ANG_HI.wav")
    for field, code, known in zip(FIELDS, codes, CODES, strict=True):
        if code not in known:
            choice = f"{known[0]} … {known[-1]}" if isinstance(known, tuple) else ", ".join(known)
            raise UserError(f"{path}: {field} {code!r} is not one of {choice}; a right name is 1001_IEO_ANG_HI.wav")
    return codes


def read_sexes(path: Path) -> dict[str, Literal["male", "female"]]:
    """Actor -> sex, from VideoDemographics.csv; empty without it. UserError when a line of it is not as expected."""
    if not path.is_file():
        return {}
    sexes: dict[str, Literal["male", "female"]] = {}
    try:
        rows = list(csv.DictReader(read_text(path, ("cp1252",)).splitlines()))
    except csv.Error as error:
        raise UserError(f"{path} is no list that CREMA-D comes with ({error}); get it again, or remove it") from error
    for number, row in enumerate(rows, start=2):
        actor, sex = row.get("ActorID"), row.get("Sex")
        if not actor or not sex or sex.lower() not in SEXES:
            raise UserError(
                f'{path}, line {number}: expected ActorID and Sex ("Male" or "Female"), got {actor!r}, {sex!r}'
            )
        sexes[actor] = SEXES[sex.lower()]
    return sexes
