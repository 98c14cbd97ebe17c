"""What the corpora's modules share: finding audio files, reading text files of any encoding."""

from __future__ import annotations

import codecs
import os
from collections.abc import Sequence
from pathlib import Path

from errors import UserError
from preprocessor.corpus import AUDIO_SUFFIXES

UTF_16_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def audio_files(folder: Path) -> list[Path]:
    """Audio files anywhere below `folder`, sorted; hidden files and folders (.DS_Store, ._a.wav) are not looked at.

    Raises UserError when a folder can't be read.
    """
    found: list[Path] = []
    try:
        for parent, folders, names in os.walk(folder, onerror=_raise, followlinks=True):
            folders[:] = [name for name in folders if not name.startswith(".")]
            found += [
                Path(parent, name)
                for name in names
                if not name.startswith(".") and Path(name).suffix.lower() in AUDIO_SUFFIXES
            ]
    except OSError as error:
        raise UserError(f"{error.filename}: can't be read ({error.strerror})") from error
    return sorted(found)


def _raise(error: OSError) -> None:
    raise error


def read_text(path: Path, fallbacks: Sequence[str] = ()) -> str:
    """The text of a file in UTF-8 (a byte order mark is dropped), in UTF-16, or in one of `fallbacks`.

    `fallbacks` are names of encodings ("gb18030"), tried in their order once UTF-8 fails. Line ends become "\\n".
    Raises UserError when the file can't be read or is in none of these.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: can't be read ({error.strerror})") from error
    encodings = _utf_16(data) or ("utf-8-sig", *fallbacks)
    for encoding in encodings:
        try:
            text = data.decode(encoding)
        except UnicodeDecodeError:
            continue
        return text.replace("\r\n", "\n").replace("\r", "\n")
    raise UserError(f"{path}: the text is not in {' or '.join(encodings)}; save it as UTF-8")


def _utf_16(data: bytes) -> tuple[str, ...]:
    """The kind of UTF-16 that `data` is in, if it is: by its mark, or by the zeros in half of its ASCII characters."""
    if data.startswith(UTF_16_MARKS):
        return ("utf-16",)  # drops the mark
    if b"\0" not in data:
        return ()
    return ("utf-16-le",) if data[1::2].count(0) >= data[::2].count(0) else ("utf-16-be",)
