"""ESD, the Emotional Speech Dataset (Zhou et al. 2022, doi:10.1016/j.specom.2021.11.006): 20 speakers, 5 emotions.

    0011/Angry/train/0011_000401.wav      some copies have no train, evaluation and test folders
    0011/0011.txt                         file name, text, emotion; in whichever encoding and with stray tabs and blanks

Speakers 0001 … 0010 speak Mandarin, 0011 … 0020 English. Each reads the same 350 sentences of the language in every
emotion, and the recordings are numbered through: 1 … 350 neutral, 351 … 700 angry, and so on.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from errors import UserError
from preprocessor.corpora.files import audio_files, read_text
from preprocessor.corpora.options import chosen
from preprocessor.corpus import About, Scan, Utterance, corpus_folder, finished

EMOTIONS = ("neutral", "angry", "happy", "sad", "surprise")  # in the order of the numbers
SENTENCES = 350  # of each emotion
LABELS = ("neutral", "angry", "happy", "sad", "surprise", "中立", "生气", "快乐", "伤心", "惊喜")  # in the text files
LANGUAGES = ("en", "zh")
MALE = ("0004", "0005", "0006", "0008", "0010", "0011", "0012", "0013", "0014", "0020")  # as its ReadMe.txt says
SPLITS: Mapping[str, Literal["train", "val", "test"]] = {"train": "train", "evaluation": "val", "test": "test"}
LAST_VAL, LAST_TEST = 20, 50  # sentences 1 … 20 are for validation, 21 … 50 for tests, the rest for training

FOLDER = re.compile(r"\d{4}")
SPEAKER = re.compile(r"00(0[1-9]|1\d|20)")
NAME = re.compile(r"(\d{4})_(\d{6})")
LINE = re.compile(r"\ufeff?\s*(\d{4}_\d{6})\s*(.*)")
LABEL = re.compile(rf"((^|\s)({'|'.join(LABELS)})|\t\w+)$", re.IGNORECASE)  # after a tab, any word
HAN = re.compile(r"[\u4e00-\u9fff]")


class Esd:
    """The corpus as unpacked, or the folder that it was unpacked into.

    languages: "en", "zh", or both.
    """

    about = About(
        title="ESD",
        home="https://github.com/HLTSingapore/Emotional-Speech-Data",
        licence="research only, by a licence agreement to be sent to the authors",
        get="sign the licence, download the archive and unpack it there, so that it holds 0011/0011.txt and "
        "0011/Angry/…/0011_000351.wav",
    )

    def __init__(self, languages: Sequence[str] = ("en",)) -> None:
        self._languages = chosen("ESD", "languages", languages, LANGUAGES)

    def scan(self, folder: Path) -> Scan:
        """List the recordings of the chosen languages. One whose text its speaker's file lacks is left out."""
        utterances: list[Utterance] = []
        left_out: Counter[str] = Counter()
        for speaker in self._speaker_folders(folder):
            paths = audio_files(speaker)
            language = language_of(speaker.name)
            if language not in self._languages:
                left_out[f"language {language}"] += len(paths)
                continue
            texts = read_texts(speaker / f"{speaker.name}.txt", language) if paths else {}
            for path in paths:
                utterance = self._utterance(path, speaker, texts.get(path.stem))
                if utterance is None:
                    left_out[f"unknown text (no line in {speaker.name}.txt)"] += 1
                else:
                    utterances.append(utterance)
        return finished(utterances, left_out, folder, self.about)

    def _speaker_folders(self, folder: Path) -> list[Path]:
        folder = corpus_folder(folder, self.about)
        for pattern in ("*", "*/*"):  # the archive has one folder around all of them
            found = [path for path in sorted(folder.glob(pattern)) if path.is_dir() and FOLDER.fullmatch(path.name)]
            for path in found:
                if not SPEAKER.fullmatch(path.name):
                    raise UserError(f"{path}: not a speaker of ESD; they are 0001 … 0010 (zh) and 0011 … 0020 (en)")
            if found:
                return found
        raise UserError(f"corpus folder {folder} holds no folder of a speaker (0001 … 0020); {self.about.get}")

    @staticmethod
    def _utterance(path: Path, folder: Path, text: str | None) -> Utterance | None:
        speaker, emotion, number, split = _parts(path, folder)
        if text is None:
            return None
        return Utterance(
            audio_path=path,
            key=path.stem,
            text=text,
            speaker=speaker,
            emotion=emotion,
            statement=f"{number:03d}",
            sex="male" if speaker in MALE else "female",
            language=language_of(speaker),
            split=split,
        )


def language_of(speaker: str) -> Literal["en", "zh"]:
    """What a speaker, "0001" … "0020", speaks."""
    return "zh" if int(speaker) <= 10 else "en"


def _parts(path: Path, folder: Path) -> tuple[str, str, int, Literal["train", "val", "test"]]:
    """Speaker, emotion, number of the sentence (1 … 350) and split, from a recording's path, all of it checked."""
    match = NAME.fullmatch(path.stem)
    number = int(match[2]) if match else 0
    if match is None or not 1 <= number <= SENTENCES * len(EMOTIONS):
        raise UserError(f"{path}: not an ESD name; expected speaker_number up to 001750, for example 0011_000351.wav")
    if match[1] != folder.name:
        raise UserError(f"{path}: the name says speaker {match[1]}, but it lies in {folder.name}")
    emotion = EMOTIONS[(number - 1) // SENTENCES]
    sentence = (number - 1) % SENTENCES + 1
    inside = [part.lower() for part in path.relative_to(folder).parts[:-1]]
    if not 1 <= len(inside) <= 2 or inside[1:] not in ([], *([part] for part in SPLITS)):
        raise UserError(f"{path}: expected it in {folder.name}/{emotion.capitalize()}[/train, /evaluation or /test]")
    if inside[0] != emotion:
        raise UserError(
            f"{path}: number {match[2]} is {emotion} by ESD's numbering ({SENTENCES} sentences of each of "
            f"{', '.join(EMOTIONS)}), but it lies in {path.relative_to(folder).parts[0]}"
        )
    return match[1], emotion, sentence, SPLITS[inside[1]] if inside[1:] else _split_of(sentence)


def _split_of(sentence: int) -> Literal["train", "val", "test"]:
    """How the official copy divides the sentences, for those without its folders."""
    if sentence <= LAST_VAL:
        return "val"
    return "test" if sentence <= LAST_TEST else "train"


def read_texts(path: Path, language: Literal["en", "zh"]) -> dict[str, str]:
    """Recording's name -> text, from a speaker's file.

    Real ones are in ASCII, UTF-16 and GBK, the English ones too, and where a column or a word is followed by blanks
    instead of a tab, or the text holds a tab, the line is still read. Raises UserError when the file is missing or
    unreadable, or gives one recording two texts.
    """
    if not path.is_file():
        raise UserError(f"{path} is missing; it holds the speaker's texts, lines of name, tab, text, tab, emotion")
    text = read_text(path, ("gb18030", "cp1252") if language == "en" else ("gb18030",))
    if language == "en" and HAN.search(text):  # two Latin-1 letters make one Chinese character
        text = read_text(path, ("cp1252",))
    texts: dict[str, str] = {}
    for number, line in enumerate(text.split("\n"), start=1):
        match = LINE.match(line)
        said = _without_label(match[2]) if match else ""
        if match is None or not said:
            continue  # a recording that has no text elsewhere is reported as such
        if texts.setdefault(match[1], said) != said:
            raise UserError(f"{path}, line {number}: a second text for {match[1]}; keep the right one")
    return texts


def _without_label(columns: str) -> str:
    """The text of `text<TAB>emotion`, its blanks collapsed."""
    return " ".join(LABEL.sub("", columns.rstrip()).split())
