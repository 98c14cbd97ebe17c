"""SAVEE, Surrey Audio-Visual Expressed Emotion (Haq & Jackson 2009): 4 male speakers of British English, 7 emotions.

    AudioData/DC/sa01.wav    speaker, emotion, sentence; also as DC_sa01.wav in one folder
    sentences.txt            sa01 What was said.    (yours: the archive of recordings holds no texts)

15 sentences in each emotion, 30 in neutral; some are common to several emotions.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from errors import UserError
from preprocessor.corpora.files import audio_files, read_text
from preprocessor.corpus import About, Scan, Utterance, corpus_folder, finished

SPEAKERS = ("DC", "JE", "JK", "KL")
EMOTIONS = {
    "a": "anger",
    "d": "disgust",
    "f": "fear",
    "h": "happiness",
    "n": "neutral",
    "sa": "sadness",
    "su": "surprise",
}
SENTENCES = "sentences.txt"

NAME = re.compile(rf"(?:({'|'.join(SPEAKERS)})_)?((a|d|f|h|n|sa|su)(\d\d))")
LINE = re.compile(rf"({NAME.pattern})\s+(\S.*)")


class Savee:
    """The corpus as unpacked, with the texts beside it."""

    about = About(
        title="SAVEE",
        home="http://kahlan.eps.surrey.ac.uk/savee/",
        licence="research only, after registration",
        get="register, unpack AudioData there, so that it holds AudioData/DC/a01.wav or DC/a01.wav or DC_a01.wav, and "
        f"write what is said to {SENTENCES} there, lines like `a01 text` (`DC_a01 text` for one speaker's alone)",
    )

    def scan(self, folder: Path) -> Scan:
        """List the recordings. One whose text sentences.txt lacks is left out.

        The statement is the first code that has the same text, so that a sentence is one statement in all emotions.
        """
        paths = audio_files(corpus_folder(folder, self.about))
        texts = read_sentences(folder / SENTENCES) if paths else {}
        codes: dict[str, str] = {}
        for code, text in sorted(texts.items(), key=lambda item: item[0].rpartition("_")[::-1]):
            codes.setdefault(text.casefold(), code.rpartition("_")[2])
        utterances: list[Utterance] = []
        left_out: Counter[str] = Counter()
        for path in paths:
            speaker, code = _parse(path)
            said = texts.get(f"{speaker}_{code}") or texts.get(code)
            if said is None:
                left_out[f"unknown text (no line in {SENTENCES})"] += 1
            else:
                utterances.append(_utterance(path, speaker, code, said, codes[said.casefold()]))
        return finished(utterances, left_out, folder, self.about)


def _exists(code: str) -> bool:
    """Whether the corpus has as many sentences in that emotion."""
    return 1 <= int(code[-2:]) <= (30 if code[:-2] == "n" else 15)


def _parse(path: Path) -> tuple[str, str]:
    """Speaker and code ("sa01") of a recording."""
    match = NAME.fullmatch(path.stem)
    if match is None or not _exists(match[2]):
        raise UserError(
            f"{path}: not a SAVEE name; expected emotion and sentence, for example a01.wav or DC_a01.wav, with one of "
            f"{', '.join(EMOTIONS)} and 01 … 15 (neutral: 01 … 30)"
        )
    speaker = path.parent.name if path.parent.name in SPEAKERS else match[1]
    if speaker is None:
        raise UserError(
            f"{path}: neither folder nor name says the speaker ({', '.join(SPEAKERS)}); expected DC/a01.wav"
        )
    if match[1] not in (None, speaker):
        raise UserError(f"{path}: the name says speaker {match[1]}, but it lies in {speaker}")
    return speaker, match[2]


def _utterance(path: Path, speaker: str, code: str, text: str, statement: str) -> Utterance:
    return Utterance(
        audio_path=path,
        key=f"{code[-2:]}-{speaker}",
        text=text,
        speaker=speaker,
        emotion=EMOTIONS[code[:-2]],
        statement=statement,
        sex="male",
        language="en",
    )


def read_sentences(path: Path) -> Mapping[str, str]:
    """Code ("sa01", or "DC_sa01" for one speaker's) -> text.

    Raises UserError when the file is missing, or names the line that is not `code text` or gives a code a second text.
    """
    if not path.is_file():
        raise UserError(
            f"{path} is missing: SAVEE's texts are not with its recordings; write lines like `a01 text` there"
        )
    texts: dict[str, str] = {}
    for number, line in enumerate(read_text(path, ("cp1252",)).split("\n"), start=1):
        if not line.strip():
            continue
        match = LINE.fullmatch(line.strip())
        if match is None or not _exists(match[3]):
            raise UserError(
                f"{path}, line {number}: expected a code and what was said, for example `a01 text`, got {line!r}"
            )
        code, text = match[1], " ".join(match[6].split())
        if texts.setdefault(code, text) != text:
            raise UserError(f"{path}, line {number}: a second text for {code}; keep the right one")
    return texts
