"""Rows of a user's list of recordings -> utterances; what is wrong with a row is said so that it can be mended."""

from __future__ import annotations

import hashlib
import posixpath
import re
import unicodedata
from collections import defaultdict
from pathlib import Path, PurePosixPath
from typing import Any, Literal, get_args

from errors import UserError
from preprocessor.corpora.files import audio_files
from preprocessor.corpora.table import Row
from preprocessor.corpus import AUDIO_SUFFIXES, Utterance
from text.languages import check_languages
from utils.metadata import NO_EMOTION
from utils.names import problem_of

Sex = Literal["male", "female"]
SplitName = Literal["train", "val", "test"]
SEXES: dict[str, Sex] = {"male": "male", "m": "male", "female": "female", "f": "female"}
SPLITS: dict[str, SplitName] = {name: name for name in get_args(SplitName)}
LETTERS = re.compile(r"[^\W\d_]+")

# Names of features are "{speaker}-mel-{emotion}-{key}.npy"; file systems allow 255 bytes, temporary names need some.
SPEAKER_BYTES, EMOTION_BYTES, KEY_BYTES = 60, 40, 80


class Checker:
    """Makes utterances of rows; remembers the former ones, which the next may contradict."""

    def __init__(self, folder: Path) -> None:
        self.paths: dict[str, str] = {}  # relative path -> line that named it
        self._folder = folder
        self._names: dict[tuple[str, str], str] = {}  # speaker, utterance's name -> line
        self._speakers: dict[str, tuple[str, str]] = {}  # speaker in lower case -> its spelling, line
        self._sexes: dict[str, tuple[Sex, str]] = {}  # speaker -> sex, line
        self._by_name: dict[str, list[str]] | None = None

    def utterance(self, row: Row) -> Utterance:
        """Raises UserError that begins with the row's place."""
        cells = {name: unicodedata.normalize("NFC", cell) for name, cell in row.cells.items() if name != "path"}
        for name, cell in (*cells.items(), ("path", row.cells["path"])):
            control = next((c for c in cell if unicodedata.category(c) == "Cc" and not c.isspace()), None)
            if control is not None:
                raise UserError(f"{row.place}: {name} holds the control character {control!r}; remove it")
        line = row.place.rpartition(":")[2]
        path = self._path(row)
        speaker = self._speaker(cells["speaker"], row.place, line)
        utterance = Utterance(
            audio_path=self._folder / path,
            key=key_of(path),
            text=_text(cells["text"], row.place),
            speaker=speaker,
            emotion=_emotion(cells["emotion"], row.place),
            intensity=" ".join(cells["intensity"].split()) or None,
            sex=self._sex(cells["sex"], speaker, row.place, line),
            language=_language(cells["language"], row.place),
            split=_choice("split", cells["split"], SPLITS, row.place),
        )
        former = self.paths.setdefault(path, line)
        if former != line:
            raise UserError(f"{row.place}: {path} is in line {former} already; remove one of the two lines")
        former = self._names.setdefault((speaker, utterance.name), line)
        if former != line:
            raise UserError(
                f"{row.place}: {path} has the name of line {former}'s file but for the suffix; they are taken for one "
                "recording: remove one, or rename its file"
            )
        return utterance

    def _path(self, row: Row) -> str:
        """The path, normalised: "./wavs//a.wav" -> "wavs/a.wav"."""
        cell, place = row.cells["path"], row.place
        if not cell:
            raise UserError(f"{place}: the path is empty; write where the recording is, for example wavs/a.wav")
        path = posixpath.normpath(cell)
        if posixpath.isabs(path) or path.split("/")[0] in ("..", "~"):
            raise UserError(
                f"{place}: {cell} leads out of the corpus's folder; write the path as seen from {self._folder}, "
                f"for example {self._inside(cell) or 'wavs/a.wav'}, and copy or link files there that lie elsewhere"
            )
        if PurePosixPath(path).suffix.lower() not in AUDIO_SUFFIXES and _is_file(self._folder / path):
            raise UserError(f"{place}: {cell} is none of {', '.join(AUDIO_SUFFIXES)}; convert it: ffmpeg -i FILE a.wav")
        if not _is_file(self._folder / path):
            alike = self._alike(path)
            hint = f"did you mean {alike}?" if alike else "correct the path, or remove the line"
            if "\\" in cell and not alike:
                hint = f"write {cell.replace(chr(92), '/')}, with / instead of \\"
            raise UserError(f"{place}: there is no file {cell} in {self._folder}; {hint}")
        return path

    def _inside(self, cell: str) -> str | None:
        """What an absolute path to a file in the folder should be."""
        try:
            return Path(cell).relative_to(self._folder.resolve()).as_posix()
        except (ValueError, OSError):
            return None

    def _alike(self, path: str) -> str | None:
        """A recording of that name elsewhere in the folder, whatever its suffix and case."""
        if self._by_name is None:
            self._by_name = defaultdict(list)
            for file in audio_files(self._folder):
                self._by_name[file.stem.lower()].append(file.relative_to(self._folder).as_posix())
        name = PurePosixPath(path.replace("\\", "/")).name.lower()
        found = self._by_name.get(PurePosixPath(name).stem) or self._by_name.get(name)
        return found[0] if found else None

    def _speaker(self, cell: str, place: str, line: str) -> str:
        if not cell:
            raise UserError(f"{place}: the speaker is empty; with one speaker, write any name into every line")
        proper = "".join(c if _is_plain(c) else "_" for c in cell).lstrip(".-")
        if cell != proper or len(cell.encode()) > SPEAKER_BYTES or problem_of(cell) is not None:
            short = proper.encode()[:SPEAKER_BYTES].decode(errors="ignore").strip("_.") or "speaker_1"
            short = short if problem_of(short) is None else f"speaker_{short}"  # Windows has a device called nul
            raise UserError(
                f"{place}: speaker {cell[:80]!r} can't be a folder's name; use letters, digits, _ - and . only "
                f"(at most {SPEAKER_BYTES} bytes), for example {short}"
            )
        spelling, former = self._speakers.setdefault(cell.casefold(), (cell, line))
        if spelling != cell:
            raise UserError(
                f"{place}: speaker {cell!r} differs from {spelling!r} in line {former} by capitals only; "
                "write them the same, or give them different names"
            )
        return cell

    def _sex(self, cell: str, speaker: str, place: str, line: str) -> Sex | None:
        sex = _choice("sex", cell, SEXES, place)
        if sex is None:
            return None
        known, former = self._sexes.setdefault(speaker, (sex, line))
        if known != sex:
            raise UserError(f"{place}: {speaker} is {sex} here, but {known} in line {former}; correct one of them")
        return sex


def _text(cell: str, place: str) -> str:
    if not any(c.isalnum() for c in cell):
        what = f"{cell[:40]!r} holds no letter and no digit" if cell else "the text is empty"
        raise UserError(f"{place}: {what}; write what is spoken, or remove the line")
    return " ".join(cell.split())


def _emotion(cell: str, place: str) -> str | None:
    emotion = cell.lower()
    if emotion in ("", NO_EMOTION):
        return None
    if not LETTERS.fullmatch(emotion) or len(emotion.encode()) > EMOTION_BYTES:
        proper = "".join(LETTERS.findall(emotion))[:20] or "happy"
        raise UserError(
            f"{place}: emotion {cell[:80]!r} must be a word of letters only, for example {proper}; "
            "leave the cell empty where there is no label"
        )
    return emotion


def _language(cell: str, place: str) -> str | None:
    if not cell:
        return None
    try:
        check_languages([cell.lower()])
    except UserError as error:
        raise UserError(f"{place}: {error}; leave the cell empty for the first of text.languages") from error
    return cell.lower()


def _choice(column: str, cell: str, values: dict[str, Any], place: str) -> Any:
    if not cell:
        return None
    if cell.lower() not in values:
        known = ", ".join(dict.fromkeys(values.values()))
        raise UserError(f"{place}: {column} {cell[:80]!r} is none of {known}; leave the cell empty if it is not known")
    return values[cell.lower()]


def key_of(path: str) -> str:
    """Part of file names that stands for a recording: "wavs/anna_01.wav" -> "wavs+anna_01".

    Different paths have different keys: where a character is replaced or the path is long, a digest of it is added.
    """
    stem = str(PurePosixPath(path).with_suffix(""))
    plain = "".join("+" if c == "/" else c if _is_plain(c) else "_" for c in stem)
    if plain == stem.replace("/", "+") and "+" not in stem and len(plain.encode()) <= KEY_BYTES:
        return plain
    digest = hashlib.sha256(stem.encode()).hexdigest()[:8]
    return f"{plain.encode()[: KEY_BYTES - 9].decode(errors='ignore')}-{digest}"


def _is_plain(character: str) -> bool:
    """Letters and digits of any script, with their marks, and _ - . are safe in file names everywhere."""
    return character.isalnum() or character in "_-." or unicodedata.category(character).startswith("M")


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # a name that no file can have
        return False
