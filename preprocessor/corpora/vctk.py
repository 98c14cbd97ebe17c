"""VCTK (Yamagishi, Veaux & MacDonald 2019): about 110 English speakers of many accents, about 400 sentences each.

0.92  wav48_silence_trimmed/p225/p225_001_mic1.flac   txt/p225/p225_001.txt   speaker-info.txt
0.80  wav48/p225/p225_001.wav                         txt/p225/p225_001.txt   speaker-info.txt
"""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Literal

from errors import UserError
from preprocessor.corpora.files import audio_files, read_text
from preprocessor.corpus import About, Scan, Utterance, corpus_folder, finished

MICROPHONES = ("mic1", "mic2")  # DPA 4035 (omnidirectional) and Sennheiser MKH 800
LAYOUTS = {  # folder of the recordings -> their names
    "wav48_silence_trimmed": re.compile(r"(?P<id>(?P<speaker>[ps]\d+)_\d{3})_(?P<microphone>mic[12])"),
    "wav48": re.compile(r"(?P<id>(?P<speaker>[ps]\d+)_\d{3})(?P<microphone>)"),
}
EXAMPLES = {"wav48_silence_trimmed": "p225_001_mic1.flac", "wav48": "p225_001.wav"}
UNPACKED = ("VCTK-Corpus-0.92", "VCTK-Corpus")  # what archives and other programs call the folder
SEXES: dict[str, Literal["male", "female"]] = {"F": "female", "M": "male"}


class Vctk:
    """The corpus as unpacked from VCTK-Corpus-0.92.zip, or the older 0.80. No emotion labels.

    `microphone`: which of the two recordings of a sentence is taken. p280 and p315 have none by mic2, and the texts of
    p315 are lost; what is missing is left out.
    """

    about = About(
        title="VCTK",
        home="https://datashare.ed.ac.uk/handle/10283/3443",
        licence="CC BY 4.0",
        get="unpack VCTK-Corpus-0.92.zip there, so that it holds wav48_silence_trimmed, txt and speaker-info.txt",
        direct=True,
    )

    def __init__(self, microphone: str = "mic1") -> None:
        if microphone not in MICROPHONES:
            raise UserError(
                f"preprocess.corpus_options.microphone: {microphone!r} is not one of {', '.join(MICROPHONES)}"
            )
        self._microphone = microphone

    def scan(self, folder: Path) -> Scan:
        """List the recordings by the chosen microphone that have a text."""
        root, layout = self._layout(corpus_folder(folder, self.about))
        sexes = read_sexes(root / "speaker-info.txt")
        utterances: list[Utterance] = []
        left_out: Counter[str] = Counter()
        for path in audio_files(root / layout):
            match = LAYOUTS[layout].fullmatch(path.stem)
            if match is None:
                raise UserError(f"{path}: not a VCTK name; expected one like {EXAMPLES[layout]}")
            speaker = match["speaker"]
            if path.parent.name != speaker:
                raise UserError(f"{path}: the name says speaker {speaker}, but it lies in {path.parent.name}")
            if match["microphone"] not in ("", self._microphone):
                left_out[f"the other microphone, {match['microphone']}"] += 1
                continue
            text_path = root / "txt" / speaker / f"{match['id']}.txt"
            text = " ".join(read_text(text_path).split()) if text_path.is_file() else ""
            if not text:
                left_out["recording without a text"] += 1
                continue
            utterances.append(
                Utterance(
                    path, key=match["id"], text=text, speaker=speaker, sex=sexes.get(speaker), language="en"
                )
            )  # fmt: skip
        return finished(utterances, left_out, folder, self.about)

    def _layout(self, folder: Path) -> tuple[Path, str]:
        """The folder that holds the parts of the corpus, and that of its recordings."""
        for root in (folder, *(folder / name for name in UNPACKED)):
            for layout in LAYOUTS:
                if (root / layout).is_dir():
                    if layout == "wav48" and self._microphone != "mic1":
                        raise UserError(
                            f"{root / layout} is VCTK 0.80, which has one microphone: "
                            "set preprocess.corpus_options.microphone to mic1, or get 0.92"
                        )
                    return root, layout
        raise UserError(
            f"corpus folder {folder} holds neither {' nor '.join(LAYOUTS)}; {self.about.get} ({self.about.home})"
        )


def read_sexes(path: Path) -> dict[str, Literal["male", "female"]]:
    """Speaker -> sex, as far as speaker-info.txt says (columns ID AGE GENDER …; in 0.80 the ids are bare numbers)."""
    sexes: dict[str, Literal["male", "female"]] = {}
    for line in read_text(path).split("\n") if path.is_file() else ():
        fields = line.split()
        if len(fields) > 2 and fields[2] in SEXES:
            sexes[f"p{fields[0]}" if fields[0].isdigit() else fields[0]] = SEXES[fields[2]]
    return sexes
