"""LibriTTS (Zen et al. 2019) and LibriTTS-R (Koizumi et al. 2023): 585 hours of audiobooks by 2,456 readers.

train-clean-100/19/198/19_198_000000_000002.wav   .normalized.txt   .original.txt
subset/reader/chapter/reader_chapter_paragraph_sentence
speakers.tsv, SPEAKERS.txt                        reader, sex, subset, name
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal

from errors import UserError
from preprocessor.corpora.files import audio_files, read_text
from preprocessor.corpora.options import chosen
from preprocessor.corpus import About, Scan, Utterance, corpus_folder, finished

Sex = Literal["male", "female"]
SplitName = Literal["train", "val", "test"]

SUBSETS: dict[str, SplitName] = {
    "train-clean-100": "train",
    "train-clean-360": "train",
    "train-other-500": "train",
    "dev-clean": "val",
    "dev-other": "val",
    "test-clean": "test",
    "test-other": "test",
}
NAME = re.compile(r"(?P<reader>\d+)_(?P<chapter>\d+)_\d{6}_\d{6}")
UNPACKED = ("LibriTTS", "LibriTTS_R")  # the folders inside the archives
FAILED = "libritts_r_failed_speech_restoration_examples"  # folder of LibriTTS-R's lists of what should not be used
SEXES: dict[str, Sex] = {"F": "female", "M": "male"}


class LibriTTS:
    """Either corpus as unpacked from one or more of its archives. No emotion labels.

    `subsets`: which to read, of train-clean-100, train-clean-360, train-other-500, dev-clean, dev-other, test-clean,
    test-other; by default all that are there. They suggest the split. Recordings that LibriTTS-R's own lists
    (*_bad_sample_list.txt) call badly restored are left out where these lists are in the folder.
    """

    about = About(
        title="LibriTTS",
        home="https://www.openslr.org/60/",
        licence="CC BY 4.0",
        get="unpack some of train-clean-100.tar.gz, dev-clean.tar.gz … there, so that it holds train-clean-100/19/198 "
        "(LibriTTS-R: train_clean_100.tar.gz … and doc.tar.gz of https://www.openslr.org/141/)",
        direct=True,
    )

    def __init__(self, subsets: Sequence[str] | None = None) -> None:
        self._subsets = None if subsets is None else chosen("LibriTTS", "subsets", subsets, tuple(SUBSETS))

    def scan(self, folder: Path) -> Scan:
        """List the recordings that have a text; texts are the normalised ones, a speaker is a reader's number."""
        folder = corpus_folder(folder, self.about)
        root, subsets = self._present(folder)
        sexes = read_sexes(root)
        failed = read_failed((folder, root))
        utterances: list[Utterance] = []
        left_out: Counter[str] = Counter()
        for subset in subsets:
            for path in audio_files(root / subset):
                reader = _reader(path)
                if path.stem in failed:
                    left_out["badly restored recording"] += 1
                    continue
                text_path = path.with_name(f"{path.stem}.normalized.txt")
                text = " ".join(read_text(text_path).split()) if text_path.is_file() else ""
                if not text:
                    left_out["recording without a text"] += 1
                    continue
                utterances.append(
                    Utterance(
                        path, key=path.stem, text=text, speaker=reader, sex=sexes.get(reader), language="en",
                        split=SUBSETS[subset],
                    )
                )  # fmt: skip
        return finished(utterances, left_out, folder, self.about)

    def _present(self, folder: Path) -> tuple[Path, Sequence[str]]:
        """The folder that holds the subsets, and those of them to read."""
        for root in (folder, *(folder / name for name in UNPACKED)):
            present = [subset for subset in SUBSETS if (root / subset).is_dir()]
            if present:
                break
        else:
            raise UserError(f"corpus folder {folder} holds no subset; {self.about.get} ({self.about.home})")
        for subset in self._subsets or ():
            if subset not in present:
                raise UserError(
                    f"preprocess.corpus_options.subsets: {subset} is not in {root}, which has {', '.join(present)}; "
                    f"download it ({self.about.home}) or leave it out of the list"
                )
        return root, self._subsets or present


def _reader(path: Path) -> str:
    match = NAME.fullmatch(path.stem)
    if match is None:
        raise UserError(f"{path}: not a LibriTTS name; expected one like 19_198_000000_000002.wav")
    if (path.parent.parent.name, path.parent.name) != (match["reader"], match["chapter"]):
        raise UserError(
            f"{path}: the name says reader {match['reader']}, chapter {match['chapter']}, "
            f"but it lies in {path.parent.parent.name}/{path.parent.name}"
        )
    return match["reader"]


def read_sexes(root: Path) -> dict[str, Sex]:
    """Reader -> sex, from speakers.tsv or SPEAKERS.txt, whichever is there.

    Only the first two columns are looked at: the published speakers.tsv has a broken header and names left out.
    """
    sexes: dict[str, Sex] = {}
    for name, separator in (("SPEAKERS.txt", "|"), ("speakers.tsv", "\t")):
        path = root / name
        for line in read_text(path).split("\n") if path.is_file() else ():
            fields = [field.strip() for field in line.split(separator)]
            if len(fields) > 1 and fields[0].isdigit() and fields[1] in SEXES:
                sexes[fields[0]] = SEXES[fields[1]]
    return sexes


def read_failed(folders: Iterable[Path]) -> set[str]:
    """Names, without suffix, of the recordings in LibriTTS-R's lists of failed restorations."""
    places = [place for folder in folders for place in (folder, folder / FAILED)]
    lists = {path for place in places for path in place.glob("*_bad_sample_list.txt")}
    return {Path(line.strip()).stem for path in lists for line in read_text(path).split("\n") if line.strip()}
