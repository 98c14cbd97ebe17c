"""Your own recordings: audio files in any folders, and a list of them, metadata.csv or metadata.tsv.

    path,text,speaker,emotion,intensity,language,sex,split
    wavs/anna_01.wav,"Well, here we are.",anna,happy,strong,en,female,train

path, text and speaker are needed, in any order; the other columns may be missing, and so may single cells of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from errors import UserError
from preprocessor.corpora.files import audio_files
from preprocessor.corpora.generic_rows import Checker
from preprocessor.corpora.table import Row, read_table
from preprocessor.corpus import About, Scan, corpus_folder, finished

REQUIRED = ("path", "text", "speaker")
OPTIONAL = ("emotion", "intensity", "language", "sex", "split")
LISTS = ("metadata.csv", "metadata.tsv")


class Generic:
    """A corpus that its user described in metadata.csv or metadata.tsv, which lies in the corpus's folder.

    Paths are relative to that folder and stay in it; symbolic links may lead elsewhere. Everything that is wrong with
    the list is said as "file:line: …" before anything is made of it.
    """

    about = About(
        title="your own recordings",
        home="README.md, section Your own data",
        licence="yours",
        get="put your recordings there, and a metadata.csv that begins with the line path,text,speaker",
    )

    def scan(self, folder: Path) -> Scan:
        """List the recordings that the list names; audio files that it does not name are counted as left out."""
        folder = corpus_folder(folder, self.about)
        path = self._list(folder)
        rows = read_table(path, REQUIRED, OPTIONAL)
        if not rows:
            raise UserError(f"{path}: there is nothing below the header; write a line for each recording")
        checker = Checker(folder)
        utterances, problems = [], []
        for row in rows:
            try:
                utterances.append(checker.utterance(row))
            except UserError as error:
                problems.append((row, error))
        if problems:
            raise UserError(f"{problems[0][1]}{_also_wrong([row for row, _ in problems[1:]])}")
        unnamed = sum(file.relative_to(folder).as_posix() not in checker.paths for file in audio_files(folder))
        left_out = {f"audio file that {path.name} does not name": unnamed} if unnamed else {}
        return finished(utterances, left_out, folder, self.about)

    @staticmethod
    def _list(folder: Path) -> Path:
        found = [folder / name for name in LISTS if (folder / name).is_file()]
        if len(found) > 1:
            raise UserError(f"{folder} holds both {' and '.join(LISTS)}; keep the one that is right")
        if not found:
            others = sorted(path.name for path in folder.iterdir() if path.suffix.lower() in (".csv", ".tsv", ".txt"))
            hint = f" (it holds {', '.join(others[:3])})" if others else ""
            raise UserError(
                f"there is no {' or '.join(LISTS)} in {folder}{hint}; write one that begins with the line "
                "path,text,speaker, followed by a line for each recording"
            )
        return found[0]


def _also_wrong(rows: Sequence[Row]) -> str:
    lines = [row.place.rpartition(":")[2] for row in rows]
    if not lines:
        return ""
    return f" (also wrong: line{'s' if len(lines) > 1 else ''} {', '.join(lines[:9])}{' …' if len(lines) > 9 else ''})"
