"""RAVDESS (Livingstone & Russo 2018, doi:10.1371/journal.pone.0196391): speech of 24 actors in 8 emotions.

Songs, of 23 of the actors in 6 emotions, are taken where corpus_options.channels names them.

Actor_05/03-01-06-02-01-02-05.wav
         modality-channel-emotion-intensity-statement-repetition-actor
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from errors import UserError
from preprocessor.corpora.options import chosen
from preprocessor.corpus import AUDIO_SUFFIXES, About, Scan, Utterance, corpus_folder, finished

MODALITIES = {"01": "video with sound", "02": "video without sound", "03": "audio"}
CHANNELS = {"01": "speech", "02": "song"}
EMOTIONS = {
    "01": "neutral",
    "02": "calm",
    "03": "happy",
    "04": "sad",
    "05": "angry",
    "06": "fearful",
    "07": "disgust",
    "08": "surprised",
}
SONG_EMOTIONS = ("01", "02", "03", "04", "05", "06")
INTENSITIES = {"01": "normal", "02": "strong"}
STATEMENTS = {"01": "Kids are talking by the door", "02": "Dogs are sitting by the door"}
REPETITIONS = ("01", "02")
ACTORS = tuple(f"{actor:02d}" for actor in range(1, 25))

FIELDS = ("modality", "vocal channel", "emotion", "intensity", "statement", "repetition", "actor")
CODES = (MODALITIES, CHANNELS, EMOTIONS, INTENSITIES, STATEMENTS, REPETITIONS, ACTORS)
ACTOR_FOLDER = re.compile(r"Actor_\d\d")
VIDEO_SUFFIXES = (".mp4", ".m4v", ".mov", ".avi", ".mkv")


class Ravdess:
    """The corpus as unpacked: Actor_01 … Actor_24 with WAV or FLAC files.

    channels: "speech" (Audio_Speech_Actors_01-24.zip), "song" (Audio_Song_Actors_01-24.zip, the same folders), or both.
    """

    about = About(
        title="RAVDESS",
        home="https://zenodo.org/records/1188976",
        licence="CC BY-NC-SA 4.0",
        get="unpack Audio_Speech_Actors_01-24.zip there (songs: Audio_Song_Actors_01-24.zip, too), so that it holds "
        "Actor_01 … Actor_24",
        direct=True,
    )

    def __init__(self, channels: Sequence[str] = ("speech",)) -> None:
        self._channels = chosen("RAVDESS", "channels", channels, tuple(CHANNELS.values()))

    def scan(self, folder: Path) -> Scan:
        """List the recordings of the chosen channels. Others and videos, in the same folders, are left out."""
        actors = self._actor_folders(folder)
        utterances: list[Utterance] = []
        left_out: Counter[str] = Counter()
        for actor in actors:
            for path in sorted(actor.iterdir()):
                if path.name.startswith("."):  # .DS_Store, ._03-01-….wav
                    continue
                if path.suffix.lower() in VIDEO_SUFFIXES:
                    left_out["video"] += 1
                elif path.suffix.lower() in AUDIO_SUFFIXES:
                    reason = self._left_out(path)
                    if reason is None:
                        utterances.append(self._utterance(path))
                    else:
                        left_out[reason] += 1
        return finished(utterances, left_out, folder, self.about)

    def _actor_folders(self, folder: Path) -> list[Path]:
        folder = corpus_folder(folder, self.about)
        actors = sorted(path for path in folder.iterdir() if path.is_dir() and ACTOR_FOLDER.fullmatch(path.name))
        if not actors:
            raise UserError(f"corpus folder {folder} holds no Actor_XX folder; {self.about.get}")
        return actors

    @staticmethod
    def _codes(path: Path) -> list[str]:
        """The seven checked codes of a file's name."""
        codes = path.stem.split("-")
        if len(codes) != len(FIELDS):
            raise UserError(
                f"{path}: not a RAVDESS name; expected {'-'.join(field.replace(' ', '_') for field in FIELDS)}, "
                "for example 03-01-06-02-01-02-05"
            )
        for field, code, known in zip(FIELDS, codes, CODES, strict=True):
            if code not in known:
                raise UserError(f"{path}: {field} code {code!r} is not one of {', '.join(known)}")
        return codes

    def _left_out(self, path: Path) -> str | None:
        modality, channel = self._codes(path)[:2]
        if MODALITIES[modality] != "audio":
            return f"modality {modality} ({MODALITIES[modality]})"
        return None if CHANNELS[channel] in self._channels else f"vocal channel {channel} ({CHANNELS[channel]})"

    def _utterance(self, path: Path) -> Utterance:
        _, channel, emotion, intensity, statement, repetition, actor = self._codes(path)
        speaker = f"Actor_{actor}"
        if path.parent.name != speaker:
            raise UserError(f"{path}: the name says actor {actor}, but it lies in {path.parent.name}")
        if EMOTIONS[emotion] == "neutral" and INTENSITIES[intensity] == "strong":
            raise UserError(f"{path}: RAVDESS has no strong intensity (02) for the neutral emotion (01)")
        song = CHANNELS[channel] == "song"
        if song and emotion not in SONG_EMOTIONS:
            raise UserError(f"{path}: RAVDESS has no songs of emotion {emotion}, only of {', '.join(SONG_EMOTIONS)}")
        parts = (INTENSITIES[intensity], statement, repetition, speaker)
        return Utterance(
            audio_path=path,
            key="-".join(("song", *parts) if song else parts),
            text=STATEMENTS[statement],
            speaker=speaker,
            emotion=EMOTIONS[emotion],
            intensity=INTENSITIES[intensity],
            statement=statement,
            sex="male" if int(actor) % 2 else "female",  # as the data set's description says
        )
