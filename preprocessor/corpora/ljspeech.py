"""LJSpeech 1.1 (Ito & Johnson 2017): one speaker reads from seven books, about 24 hours.

metadata.csv          LJ001-0001|as written|as spoken, numbers and abbreviations in words
wavs/LJ001-0001.wav
"""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

from errors import UserError
from preprocessor.corpora.files import audio_files, read_text
from preprocessor.corpus import About, Scan, Utterance, corpus_folder, finished

SPEAKER = "LJSpeech"
FIELDS = ("id", "text", "normalised text")
ID = re.compile(r"LJ\d{3}-\d{4}")


class LJSpeech:
    """The corpus as unpacked from LJSpeech-1.1.tar.bz2. Its recordings have no emotion labels."""

    about = About(
        title="LJSpeech",
        home="https://keithito.com/LJ-Speech-Dataset/",
        licence="public domain",
        get="unpack LJSpeech-1.1.tar.bz2 there, so that it holds metadata.csv and wavs/LJ001-0001.wav",
        direct=True,
    )

    def scan(self, folder: Path) -> Scan:
        """List the recordings that have a text; texts are the normalised ones."""
        folder = corpus_folder(folder, self.about)
        root = next((path for path in (folder, folder / "LJSpeech-1.1") if (path / "metadata.csv").is_file()), None)
        if root is None:
            raise UserError(f"corpus folder {folder} holds no metadata.csv; {self.about.get} ({self.about.home})")
        texts = self._texts(root / "metadata.csv")
        paths = audio_files(root / "wavs") if (root / "wavs").is_dir() else []
        left_out = Counter(
            {
                "recording without a text": sum(path.stem not in texts for path in paths),
                "text without a recording": len(texts.keys() - {path.stem for path in paths}),
            }
        )
        utterances = [
            Utterance(path, key=path.stem, text=texts[path.stem], speaker=SPEAKER, sex="female", language="en")
            for path in paths
            if path.stem in texts
        ]
        return finished(utterances, +left_out, folder, self.about)

    @staticmethod
    def _texts(path: Path) -> dict[str, str]:
        """Id -> normalised text. The file has no header and no quoting: quotation marks belong to the text."""
        texts: dict[str, str] = {}
        for number, line in enumerate(read_text(path).split("\n"), start=1):
            if not line.strip():
                continue
            fields = [field.strip() for field in line.split("|")]
            if len(fields) != len(FIELDS) or not ID.fullmatch(fields[0]):
                raise UserError(
                    f"{path}:{number}: expected {'|'.join(FIELDS)} with an id like LJ001-0001, got {line[:60]!r}; "
                    "a list of your own recordings is read by preprocess.corpus: generic"
                )
            name, _, text = fields
            if not text:
                raise UserError(f"{path}:{number}: {name} has no normalised text; unpack LJSpeech-1.1.tar.bz2 again")
            if name in texts:
                raise UserError(f"{path}:{number}: {name} is listed twice; unpack LJSpeech-1.1.tar.bz2 again")
            texts[name] = text
        return texts
