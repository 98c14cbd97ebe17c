"""ESD: its numbering, its two layouts, and text files as uneven as the real ones."""

import codecs
import json
from collections import Counter

import pytest

from errors import UserError
from preprocessor.corpora.esd import Esd
from preprocessor.corpora.files import audio_files, read_text
from preprocessor.corpus import get_corpus
from tests.listing import recordings, text_file
from tests.processes import assert_ok, assert_refused, run_script

EGGS = "The nine the eggs, I keep."
PRETTY = "打远一看，它们的确很是美丽，"


def write_esd(folder):
    """Two speakers in the official layout."""
    recordings(
        folder, "0011/Neutral/evaluation/0011_000001.wav", "0011/Neutral/test/0011_000021.wav",
        "0011/Angry/evaluation/0011_000351.wav", "0011/Angry/train/0011_000401.wav",
        "0011/Surprise/train/0011_001750.wav", "0002/Happy/train/0002_001050.wav",
        "0002/Sad/evaluation/0002_001051.wav",
    )  # fmt: skip
    text_file(
        folder, "0011/0011.txt", f"0011_000001\t{EGGS}\tNeutral", "0011_000021\tWill it rain?\tNeutral",
        f"0011_000351\t{EGGS}\tAngry", "0011_000401\tI don't know.\tAngry", "0011_001750\tThe last one.\tSurprise",
    )  # fmt: skip
    text_file(
        folder,
        "0002/0002.txt",
        "0002_001050\t他去了。\t快乐",
        f"0002_001051\t{PRETTY}\t伤心",
        encoding="gbk",
        end="\r\n",
    )
    text_file(folder, "ReadMe.txt", "0001: Chinese Female")


def test_what_is_known_of_each_recording(tmp_path):
    write_esd(tmp_path)
    scan = get_corpus("ESD", {"languages": ["zh", "en"]}).scan(tmp_path)
    known = [(i.speaker, i.name, i.text, i.statement, i.split, i.language, i.sex) for i in scan.utterances]
    assert known == [
        ("0002", "happy-0002_001050", "他去了。", "350", "train", "zh", "female"),
        ("0002", "sad-0002_001051", PRETTY, "001", "val", "zh", "female"),
        ("0011", "angry-0011_000351", EGGS, "001", "val", "en", "male"),
        ("0011", "angry-0011_000401", "I don't know.", "051", "train", "en", "male"),
        ("0011", "neutral-0011_000001", EGGS, "001", "val", "en", "male"),
        ("0011", "neutral-0011_000021", "Will it rain?", "021", "test", "en", "male"),
        ("0011", "surprise-0011_001750", "The last one.", "350", "train", "en", "male"),
    ]
    assert not scan.left_out and {item.intensity for item in scan.utterances} == {None}


def test_english_is_the_default_and_the_archives_own_folder_may_stay(tmp_path):
    write_esd(tmp_path / "ESD/Emotion Speech Dataset")
    scan = Esd().scan(tmp_path / "ESD")
    assert {item.speaker for item in scan.utterances} == {"0011"} and scan.left_out == {"language zh": 2}
    assert {item.speaker for item in Esd(["zh"]).scan(tmp_path / "ESD").utterances} == {"0002"}


def test_a_whole_speaker_without_split_folders_is_split_by_the_numbers(tmp_path):
    folders = ("Neutral", "Angry", "Happy", "Sad", "Surprise")
    names = [f"0020_{number:06d}" for number in range(1, 1751)]
    recordings(tmp_path, *(f"0020/{folders[index // 350]}/{name}.wav" for index, name in enumerate(names)))
    text_file(tmp_path, "0020/0020.txt", *(f"{name}\tSentence {index % 350}.\tx" for index, name in enumerate(names)))
    utterances = Esd().scan(tmp_path).utterances
    assert len({item.name for item in utterances}) == 1750
    assert Counter(item.split for item in utterances) == {"train": 1500, "test": 150, "val": 100}
    of_statement = {}
    for item in utterances:
        of_statement.setdefault(item.statement, set()).add((item.text, item.split))
    assert len(of_statement) == 350 and all(len(said) == 1 for said in of_statement.values())


def test_sexes_are_those_of_the_read_me(tmp_path):
    speakers = [f"{number:04d}" for number in range(1, 21)]
    recordings(tmp_path, *(f"{speaker}/Neutral/{speaker}_000001.wav" for speaker in speakers))
    for speaker in speakers:
        text_file(tmp_path, f"{speaker}/{speaker}.txt", f"{speaker}_000001\tA.\tNeutral")
    utterances = Esd(["en", "zh"]).scan(tmp_path).utterances
    assert "".join(item.sex[0] for item in utterances) == "fffmmmfmfmmmmmfffffm"
    assert [item.language for item in utterances] == ["zh"] * 10 + ["en"] * 10


CURLY = "I don’t “know”."


@pytest.mark.parametrize(
    ("speaker", "text", "encoding"),
    [
        ("0011", EGGS, "ascii"),
        ("0012", CURLY, "utf-16"),  # with a mark
        ("0012", EGGS, "utf-16-le"),  # without
        ("0012", EGGS, "utf-16-be"),
        ("0016", CURLY, "gbk"),
        ("0016", CURLY, "cp1252"),
        ("0016", "A café’s fiancée.", "cp1252"),
        ("0017", CURLY, "utf-8-sig"),
        ("0003", PRETTY, "utf-16"),
        ("0003", PRETTY, "utf-16-le"),
        ("0001", PRETTY, "gb2312"),
        ("0001", PRETTY, "utf-8"),
    ],
)
def test_texts_in_every_encoding_that_occurs(tmp_path, speaker, text, encoding):
    recordings(tmp_path, f"{speaker}/Neutral/{speaker}_000001.wav")
    text_file(tmp_path, f"{speaker}/{speaker}.txt", f"{speaker}_000001\t{text}\tNeutral", encoding=encoding, end="\r\n")
    (item,) = Esd(["en", "zh"]).scan(tmp_path).utterances
    assert item.text == text


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("0015_000001 Let the glass globe be. Neutral", "Let the glass globe be."),  # blanks for tabs
        ("0015_000001\tIt\tmust come  sometimes.\tNeutral", "It must come sometimes."),  # a tab in the text
        ("0015_000001\tIt\tmust come.", "It must come."),  # and no emotion
        ("0015_000001\tI am Happy\tNeutral", "I am Happy"),  # an emotion's name in the text
        ("0015_000001\tYes.\tSuprise ", "Yes."),  # a misspelt emotion
        ("\ufeff0015_000001\tYes.\tneutral", "Yes."),  # a mark inside the file
        ("0015_000001\t他来了。\t中立", "他来了。"),
        ("0015_000001\t\tNeutral", None),
        ("0015_000002\tAnother.\tNeutral", None),
    ],
)
def test_uneven_lines_are_read_and_recordings_without_a_text_left_out(tmp_path, line, text):
    recordings(tmp_path, "0015/Neutral/0015_000001.wav", "0015/Neutral/0015_000003.wav")
    text_file(tmp_path, "0015/0015.txt", "", line, "0015_000003\tOk.\tNeutral")
    scan = Esd().scan(tmp_path)
    assert {item.key: item.text for item in scan.utterances}.get("0015_000001") == text
    assert scan.left_out == ({} if text else {"unknown text (no line in 0015.txt)": 1})


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("0011/Angry/hello.wav", r"hello\.wav: not an ESD name; .*example 0011_000351\.wav"),
        ("0011/Angry/0011_351.wav", "not an ESD name"),
        ("0011/Surprise/0011_001751.wav", "up to 001750"),
        ("0011/Neutral/0011_000000.wav", "not an ESD name"),
        ("0011/Angry/0012_000351.wav", "says speaker 0012, but it lies in 0011"),
        ("0011/Angry/0011_000350.wav", "number 000350 is neutral .*lies in Angry"),
        ("0011/Angry/dev/0011_000351.wav", r"expected it in 0011/Angry\[/train, /evaluation or /test\]"),
        ("0011/0011_000351.wav", "expected it in 0011/Angry"),
        ("0021/Angry/0021_000351.wav", "0021: not a speaker of ESD"),
        ("0011/Angry/train/0011_000351.wav", "are the same recording by name"),
    ],
)
def test_names_against_the_rules_are_refused(tmp_path, name, reason):
    write_esd(tmp_path)
    recordings(tmp_path, name)
    with pytest.raises(UserError, match=reason):
        Esd().scan(tmp_path)


def test_what_is_missing_or_contradictory_is_named(tmp_path):
    write_esd(tmp_path)
    text_file(tmp_path, "0011/0011.txt", f"0011_000001\t{EGGS}\tNeutral", "0011_000001\tOther.\tNeutral")
    with pytest.raises(UserError, match=r"0011\.txt, line 2: a second text for 0011_000001"):
        Esd().scan(tmp_path)
    (tmp_path / "0011/0011.txt").unlink()
    with pytest.raises(UserError, match=r"0011\.txt is missing; it holds the speaker's texts"):
        Esd().scan(tmp_path)
    (tmp_path / "0002/0002.txt").write_bytes(b"0002_001050\t\xff\xff\xff")
    with pytest.raises(UserError, match=r"0002\.txt: the text is not in utf-8-sig or gb18030; save it as UTF-8"):
        Esd(["zh"]).scan(tmp_path)
    with pytest.raises(UserError, match="holds no folder of a speaker"):
        Esd().scan(tmp_path / "0011")
    for languages, reason in ((["fr"], "ESD has no 'fr'; known: en, zh"), ([], "takes a list"), ("en", "takes a list")):
        with pytest.raises(UserError, match=rf"corpus_options\.languages: .*{reason}"):
            get_corpus("ESD", {"languages": languages})


def test_audio_is_found_anywhere_but_where_it_is_hidden(tmp_path):
    recordings(tmp_path, "b/c/2.FLAC", "a.wav", "._a.wav", ".trash/3.wav", "b/.DS_Store", "b/notes.txt", "b/1.mp3")
    assert [str(path.relative_to(tmp_path)) for path in audio_files(tmp_path)] == ["a.wav", "b/1.mp3", "b/c/2.FLAC"]
    (tmp_path / "old.txt").write_bytes(codecs.BOM_UTF8 + "é\r\nb\rc".encode())
    assert read_text(tmp_path / "old.txt") == "é\nb\nc"
    with pytest.raises(UserError, match=r"none\.txt: can't be read \(No such file"):
        read_text(tmp_path / "none.txt")


def test_prepare_align_reads_both_languages(tmp_path):
    write_esd(tmp_path / "ESD")
    raw = tmp_path / "raw"
    flags = ("--corpus_path", tmp_path / "ESD", "--set", f"preprocess.path.raw_path={raw}", "--jobs", 1)
    result = run_script("prepare_align.py", "--dataset", "ESD", *flags)
    assert_ok(result)
    assert "left out of ESD: 2 of language zh" in result.stdout and "5 recordings of 1 speakers" in result.stdout
    assert (raw / "0011/surprised-0011_001750.lab").read_text() == "The last one."  # by config/ESD's emotion_map
    assert_ok(run_script("prepare_align.py", "--dataset", "ESD_zh", *flags))
    assert (raw / "0002/sad-0002_001051.lab").read_text(encoding="utf-8") == PRETTY
    facts = json.loads((raw / "0002/prepare_align.json").read_text())["files"]["sad-0002_001051"]["facts"]
    assert facts == {"statement": "001", "sex": "female", "language": "zh", "split": "val"}
    before = sorted(raw.rglob("*"))
    recordings(tmp_path / "ESD", "0011/Happy/train/x.wav")
    assert_refused(run_script("prepare_align.py", "--dataset", "ESD", *flags), r"x\.wav: not an ESD name")
    assert sorted(raw.rglob("*")) == before
