"""Parsers of corpora: names of recordings, lists of texts and speakers, a user's own metadata.csv."""

from pathlib import Path
from typing import Any

from errors import UserError
from preprocessor.corpora.crema_d import read_sexes as read_demographics
from preprocessor.corpora.emov_db import read_sentences as read_arctic
from preprocessor.corpora.esd import read_texts
from preprocessor.corpora.generic import Generic
from preprocessor.corpora.libritts import read_failed
from preprocessor.corpora.libritts import read_sexes as read_readers
from preprocessor.corpora.ljspeech import LJSpeech
from preprocessor.corpora.savee import read_sentences
from preprocessor.corpora.vctk import read_sexes as read_vctk
from preprocessor.corpus import get_corpus
from tests.fuzzing import Parser, inside, put


def _generic(suffix: str) -> Any:
    def read(data: bytes, folder: Path) -> object:
        for name in ("wavs/a.wav", "wavs/b c.wav", "wavs/😀.flac"):
            if not (folder / name).exists():
                put(b"", folder / name)
        put(data, folder / f"metadata.{suffix}")
        found = Generic().scan(folder)
        for each in found.utterances:
            assert inside(each.speaker) and inside(f"{each.speaker}-duration-{each.name}.npy"), each
        return found

    return read


TABLE = "path,text,speaker,emotion,intensity,language,sex,split\n"
TABLE += 'wavs/a.wav,"Well, here.",anna,happy,strong,en,female,train\n'
TABLE += "wavs/b c.wav,Hi,Bob,,,,,\nwavs/😀.flac,你好,anna,sad,,zh,f,val\n"


def _texts(data: bytes, folder: Path) -> object:
    """Each corpus's own list of texts or speakers."""
    path = put(data, folder / "list.txt")
    put(data, folder / "SPEAKERS.txt")
    put(data, folder / "a_bad_sample_list.txt")
    found: list[object] = [read_vctk(path), read_readers(folder), read_failed([folder])]
    for read in (
        lambda: read_texts(path, "en"), lambda: read_texts(path, "zh"), lambda: read_demographics(path),
        lambda: read_arctic(path), lambda: read_sentences(path), lambda: LJSpeech._texts(path),
    ):  # fmt: skip
        try:
            found.append(read())
        except UserError:
            found.append(None)
    return found


LISTS = (
    b"0011_000351\tThe nine the eggs.\tAngry\n0011_000352 I am  Happy\n",
    "0001_000001\t打远一看。\t中立\n".encode(), "0001_000001\t打远一看。\t中立\n".encode("gb18030"),
    "0011_000351\tThe nine.\tAngry\r\n".encode("utf-16"), b"ActorID,Age,Sex,Race\n1001,51,Male,x\n1002,21,Female,y\n",
    b'( arctic_a0001 "Author of the danger trail." )\n', b"a01 She had your suit.\nDC_n30 text\n",
    b"LJ001-0001|Printing, in 1455|Printing, in fourteen\n", b"ID AGE GENDER\np225 23 F English\n",
    b"14 | F | train | x\n",
)  # fmt: skip

NAMES = {
    "RAVDESS": (b"Actor_05/03-01-06-02-01-02-05.wav", b"Actor_01/03-02-01-01-02-01-01.flac"),
    "ESD": (b"0011/Angry/0011_000401.wav", b"0011/Angry/train/0011_000401.wav", b"a/0001/x/0001_000001.wav"),
    "EmoV-DB": (b"bea_Angry/anger_1-28_0011.wav", b"sam/Amused/amused_225_252_0226.wav"),
    "CREMA-D": (b"AudioWAV/1001_IEO_ANG_HI.wav", b"1040_ITH_SAD_X.wav"),
    "TESS": (b"OAF_back_angry.wav", b"YAF_pleasant_surprised/YAF_dog_ps.wav", b"OA_bite_neutral.wav"),
    "SAVEE": (b"AudioData/DC/sa01.wav", b"DC_n30.wav", b"JE/su15.wav"),
    "LJSpeech": (b"wavs/LJ001-0001.wav", b"wavs/x.wav"),
    "VCTK": (b"wav48/p225/p225_001.wav", b"wav48_silence_trimmed/p225/p225_001_mic1.flac"),
    "LibriTTS": (b"train-clean-100/19/198/19_198_000000_000002.wav",),
}
BESIDE = {  # what the corpora need beside recordings
    "EmoV-DB": {"cmuarctic.data": b'( arctic_a0011 "x" )'},
    "ESD": {"0011/0011.txt": b"0011_000401\tx\tAngry\n"},
    "SAVEE": {"sentences.txt": b"sa01 x\nn30 y\n"},
    "LJSpeech": {"metadata.csv": b"LJ001-0001|x|x\n"},
    "VCTK": {"txt/p225/p225_001.txt": b"x"},
    "LibriTTS": {"train-clean-100/19/198/19_198_000000_000002.normalized.txt": b"x"},
}


def _names(corpus: str) -> Any:
    def read(data: bytes, folder: Path) -> object:
        """The bytes are a recording's name in the corpus's folder."""
        place = folder / "corpus"
        for name, content in BESIDE.get(corpus, {}).items():
            if not (place / name).exists():
                put(content, place / name)
        place.mkdir(exist_ok=True)
        name = data.decode("utf-8", "surrogateescape").replace("\0", "")
        path = place / name.lstrip("/")
        made: list[Path] = []
        try:
            too_deep = len(path.parts) > 200  # pathlib makes folders by recursion
            if too_deep or ".." in Path(name).parts or path.exists():
                return None
            parents = [parent for parent in path.parents if parent.is_relative_to(place) and not parent.exists()]
            path.parent.mkdir(parents=True, exist_ok=True)
            made += [path, *parents]
            path.touch()
        except OSError:  # no file can be called so
            for parent in made[1:]:
                if parent.is_dir():
                    parent.rmdir()
            return None
        try:
            found = get_corpus(corpus).scan(place)
            for each in found.utterances:
                assert inside(each.speaker) and inside(f"{each.name}.wav"), each
            return found
        finally:
            path.unlink()
            for parent in parents:
                parent.rmdir()

    return read


_COLUMNS = (b"path,text,speaker\n", b'""', b"\t\t", b"wavs/a.wav")
_TABS = TABLE.replace('"Well, here."', "Well").replace(",", "\t").encode()
CORPUS_PARSERS = (
    Parser("metadata.csv", _generic("csv"), (TABLE.encode(), TABLE.encode("utf-16")), _COLUMNS),
    Parser("metadata.tsv", _generic("tsv"), (_TABS,), _COLUMNS),
    Parser("corpora's texts", _texts, LISTS),
    *(
        Parser(f"names of {corpus}", _names(corpus), names, (b".wav", b"_", b"-", b"/"))
        for corpus, names in NAMES.items()
    ),
)
