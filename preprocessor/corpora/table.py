"""A list of recordings as users write it (metadata.csv, metadata.tsv): from the file to rows of known columns."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from errors import UserError
from preprocessor.corpora.files import read_text

DELIMITERS = {".csv": ",", ".tsv": "\t"}
DELIMITER_NAMES = {",": "commas", "\t": "tabs", ";": "semicolons", "|": "bars"}
SYNONYMS = {  # what others call our columns
    "path": ("file", "filename", "file_name", "audio", "audio_file", "audio_path", "wav", "wav_path", "clip", "id"),
    "text": ("transcript", "transcription", "sentence", "normalized_text", "normalised_text"),
    "speaker": ("speaker_id", "speaker_name", "spk", "spk_id", "client_id", "voice"),
    "emotion": ("emotion_id", "label", "style", "category"),
    "intensity": ("emotion_intensity", "strength", "level"),
    "language": ("lang", "locale", "language_code"),
    "sex": ("gender",),
    "split": ("subset", "set", "partition"),
}


@dataclass(frozen=True)
class Row:
    """One row; cells are stripped, and those of columns that the file lacks are empty."""

    place: str  # "data/generic/metadata.csv:7", for errors: the line that the row begins in
    cells: dict[str, str]


def read_table(path: Path, required: Sequence[str], optional: Sequence[str]) -> list[Row]:
    """Rows below a header that names the columns, in any order and case. Rows without any content are passed over.

    The file's suffix says what separates the cells. Cells may stand in double quotation marks, and must where they
    hold the separator, a line break or begin with such a mark; marks inside are doubled (RFC 4180).
    Raises UserError, as "file:line: …", for a header that lacks or doubles a column or has one that is not known, for
    rows of another length than the header, and for wrong quoting.
    """
    delimiter = DELIMITERS[path.suffix]
    records = _records(path, delimiter)
    place, header = next(records, (f"{path}:1", [""]))
    columns = _columns(place, header, delimiter, required, optional)
    rows = []
    for place, record in records:
        while len(record) > len(columns) and not record[-1]:  # spreadsheets fill their rows up
            record.pop()
        if len(record) != len(columns):
            raise UserError(_wrong_length(place, len(record), len(columns), delimiter))
        rows.append(Row(place, dict.fromkeys((*required, *optional), "") | dict(zip(columns, record, strict=True))))
    return rows


def _read(path: Path) -> str:
    try:
        return read_text(path)
    except UserError:
        with suppress(OSError):
            data = path.read_bytes()
            try:
                data.decode("utf-8")
            except UnicodeDecodeError as error:
                line = data.count(b"\n", 0, error.start) + 1
                raise UserError(
                    f"{path}:{line}: a character is not in UTF-8; save the file as UTF-8 (spreadsheets: CSV UTF-8)"
                ) from error
        raise


def _records(path: Path, delimiter: str) -> Iterator[tuple[str, list[str]]]:
    """Place and stripped cells of every row that has any content."""
    reader = csv.reader(io.StringIO(_read(path), newline=""), delimiter=delimiter, strict=True, skipinitialspace=True)
    while True:
        place = f"{path}:{reader.line_num + 1}"
        try:
            record = [cell.strip() for cell in next(reader)]
        except StopIteration:
            return
        except csv.Error as error:
            raise UserError(
                f"{place}: wrong quotation marks ({error}); a cell that begins with a quotation mark must end with "
                'one, and marks inside it are doubled: "She said ""no"" to him."'
            ) from error
        if any(record):
            yield place, record


def _columns(
    place: str, header: Sequence[str], delimiter: str, required: Sequence[str], optional: Sequence[str]
) -> list[str]:
    """The header's names in our spelling."""
    known = (*required, *optional)
    columns = [name.lower() for name in header]
    while columns and not columns[-1]:
        columns.pop()
    example = delimiter.join(required)
    if not set(columns) & set(known):
        for other, name in DELIMITER_NAMES.items():
            if set(required) <= {cell.strip(' "').lower() for line in header for cell in line.split(other)}:
                raise UserError(
                    f"{place}: the cells are separated by {name}; separate them by commas in a metadata.csv, "
                    "or by tabs in a metadata.tsv"
                )
        if not any(_meant(column, known) for column in columns):
            raise UserError(
                f"{place}: the first line must name the columns, for example {example!r}; got "
                f"{delimiter.join(header)[:60]!r}"
            )
    for number, column in enumerate(columns, start=1):
        if not column:
            raise UserError(f"{place}: column {number} has no name; known: {', '.join(known)}")
        if column not in known:
            meant = _meant(column, known)
            hint = f"did you mean {meant!r}? " if meant and meant not in columns else ""
            raise UserError(
                f"{place}: unknown column {column!r}; {hint}Known: {', '.join(known)}; remove or rename the column"
            )
        if columns.count(column) > 1:
            raise UserError(f"{place}: the column {column!r} is there twice; remove or rename one")
    for column in required:
        if column not in columns:
            raise UserError(f"{place}: there is no column {column!r}; the header must name at least {example!r}")
    return columns


def _meant(column: str, known: Sequence[str]) -> str | None:
    """Which of our columns a name stands for, if that can be guessed."""
    name = column.replace(" ", "_").replace("-", "_")
    for ours in known:
        if name in SYNONYMS.get(ours, ()):
            return ours
    return next(iter(get_close_matches(name, known, n=1, cutoff=0.75)), None)


def _wrong_length(place: str, length: int, wanted: int, delimiter: str) -> str:
    if length < wanted:
        hint = f"is a {'tab' if delimiter == chr(9) else 'comma'} missing? Empty cells need theirs too"
    elif delimiter == ",":
        hint = 'a text with a comma must stand in quotation marks: "Well, well."'
    else:
        hint = "a text with a tab must stand in quotation marks"
    return f"{place}: {length} cells, but the header names {wanted} columns; {hint}"
