"""Users' own recordings: the list of them, and the way from there to a dataset."""

import csv
import io
import json
import shutil
import subprocess
import sys
import unicodedata
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from errors import UserError
from preprocessor.corpora.generic import Generic
from preprocessor.corpora.generic_rows import KEY_BYTES, key_of
from preprocessor.corpus import Utterance
from tests.corpus_files import write_corpus
from tests.paths import ROOT
from tests.processes import ENVIRONMENT, assert_ok, assert_refused, run_script, with_overrides
from tests.sample import sample_corpus, utterances_of
from tests.small_corpus import tree

WAVS = ("wavs/anna_01.wav", "wavs/anna_02.flac", "wavs/bo_01.wav")


def own(folder: Path, content: str | bytes, name: str = "metadata.csv") -> Path:
    write_corpus(folder, WAVS)
    (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder


def test_a_list_with_every_column_in_any_order(tmp_path):
    own(
        tmp_path,
        "Speaker,text,PATH,split,emotion,intensity,language,sex\n"
        'anna,"Well, ""here"" we\n are.",./wavs//anna_01.wav,train,Happy,very strong,EN,F\n'
        ",,,,,,,\n"
        "\n"
        "anna, Plain ,wavs/anna_02.flac,,none,,,\n"
        "Bo_2.x-Ä,Ça va {AA1} | yes,wavs/bo_01.wav,val,ärger,,en,male,,\n",
    )
    scan = Generic().scan(tmp_path)
    assert list(scan.utterances) == [
        Utterance(tmp_path / "wavs/bo_01.wav", "wavs+bo_01", "Ça va {AA1} | yes", "Bo_2.x-Ä", emotion="ärger",
                  sex="male", language="en", split="val"),
        Utterance(tmp_path / "wavs/anna_01.wav", "wavs+anna_01", 'Well, "here" we are.', "anna", emotion="happy",
                  intensity="very strong", sex="female", language="en", split="train"),
        Utterance(tmp_path / "wavs/anna_02.flac", "wavs+anna_02", "Plain", "anna"),
    ]  # fmt: skip
    assert [item.name for item in scan.utterances] == ["ärger-wavs+bo_01", "happy-wavs+anna_01", "none-wavs+anna_02"]
    assert not scan.left_out


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize(("name", "separator"), [("metadata.csv", ","), ("metadata.tsv", "\t")])
def test_byte_order_marks_line_ends_and_tabs(tmp_path, encoding, end, name, separator):
    lines = ["path,text,speaker", "wavs/bo_01.wav,Grüße,bo", ""]
    own(tmp_path, end.join(lines).replace(",", separator).encode(encoding), name)
    scan = Generic().scan(tmp_path)
    assert list(scan.utterances) == [Utterance(tmp_path / "wavs/bo_01.wav", "wavs+bo_01", "Grüße", "bo")]
    assert scan.left_out == {f"audio file that {name} does not name": 2}


def test_recordings_elsewhere_can_be_linked(tmp_path):
    write_corpus(tmp_path / "elsewhere", ["take.wav"])
    own(tmp_path / "corpus", "path,text,speaker\nlinked/take.wav,Yes,anna\n")
    (tmp_path / "corpus/linked").symlink_to(tmp_path / "elsewhere")
    assert [item.key for item in Generic().scan(tmp_path / "corpus").utterances] == ["linked+take"]


HEADER = "path,text,speaker,emotion,intensity,language,sex,split\n"
GOOD = "wavs/anna_01.wav,Yes,anna,happy,,en,female,train\n"


def line(path="wavs/bo_01.wav", text="Yes", speaker="bo", emotion="", intensity="", language="", sex="", split=""):
    return ",".join((path, text, speaker, emotion, intensity, language, sex, split)) + "\n"


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (line(path=""), "the path is empty; .*for example wavs/a.wav"),
        (line(path="wavs/bo_02.wav"), r"there is no file wavs/bo_02\.wav in .*; correct the path, or remove the line"),
        (line(path="bo_01.wav"), r"no file bo_01\.wav .*did you mean wavs/bo_01\.wav\?"),
        (line(path="wavs/BO_01.WAV"), r"did you mean wavs/bo_01\.wav\?"),
        (line(path="wavs/bo_01"), r"did you mean wavs/bo_01\.wav\?"),
        (line(path="wavs/anna_02.wav"), r"did you mean wavs/anna_02\.flac\?"),
        (line(path="wavs\\bo_01.wav"), r"did you mean wavs/bo_01\.wav\?"),
        (line(path="wavs\\x.wav"), r"write wavs/x\.wav, with / instead of"),
        (line(path="metadata.csv"), r"metadata\.csv is none of \.wav, \.flac, \.ogg, \.mp3; convert it"),
        (line(path="wavs"), "there is no file wavs in"),
        (line(path="../corpus/wavs/bo_01.wav"), r"leads out of the corpus's folder; .*for example wavs/a\.wav"),
        (line(path="wavs/../../x.wav"), "leads out of the corpus's folder"),
        (line(path="~/x.wav"), "leads out of the corpus's folder"),
        (line(path="/etc/passwd"), "leads out of the corpus's folder"),
        (line(path="wavs/" + "x" * 300 + ".wav"), "there is no file"),
        (line(path="wavs/anna_01.wav"), r"wavs/anna_01\.wav is in line 2 already; remove one"),
        (line(path="wavs/./anna_01.wav", speaker="x"), r"wavs/anna_01\.wav is in line 2 already"),
        (line(text=""), "the text is empty; write what is spoken"),
        (line(text="...!"), r"'\.\.\.!' holds no letter and no digit"),
        (line(text="a\x07"), r"text holds the control character '\\x07'"),
        (line(speaker=""), "the speaker is empty; with one speaker"),
        (line(speaker="Anna Maria"), "speaker 'Anna Maria' can't be a folder's name; .*for example Anna_Maria"),
        (line(speaker="../up"), "speaker '../up' can't be a folder's name; .*for example up"),
        (line(speaker=".hidden"), "for example hidden"),
        (line(speaker="a|b"), "for example a_b"),
        (line(speaker="?"), "for example speaker_1"),
        (line(speaker="x" * 61), r"at most 60 bytes"),
        (line(speaker="Anna"), "speaker 'Anna' differs from 'anna' in line 2 by capitals only"),
        (line(emotion="very happy"), "emotion 'very happy' must be a word of letters only, for example veryhappy"),
        (line(emotion="3"), "letters only, for example happy; leave the cell empty"),
        (line(emotion="a-b"), "for example ab"),
        (line(emotion="x" * 41), "must be a word"),
        (line(language="xx"), r"unknown language 'xx'; known: en \(English\).*leave the cell empty"),
        (line(sex="diverse"), "sex 'diverse' is none of male, female; leave the cell empty"),
        (line(speaker="anna", sex="m"), "anna is male here, but female in line 2"),
        (line(split="dev"), "split 'dev' is none of train, val, test"),
        (line().strip() + ",x\n", "9 cells, but the header names 8 columns; a text with a comma must"),
        ("wavs/bo_01.wav,Yes\n", "2 cells, but the header names 8 columns; is a comma missing"),
        (line(text='"Yes'), "begins with a quotation mark must end with one"),
        (line(text='"Yes" she said'), r'marks inside it are doubled: "She said ""no"" to him\."'),
        (line(text='"' + "x" * 140000), "field larger than field limit"),
    ],
)
def test_a_wrong_row_is_named_with_its_line(tmp_path, row, message):
    folder = own(tmp_path / "corpus", HEADER + GOOD + "\n" + row)
    with pytest.raises(UserError, match=rf"corpus/metadata\.csv:4: .*{message}") as caught:
        Generic().scan(folder)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("path,text", "there is no column 'speaker'; the header must name at least 'path,text,speaker'"),
        ("path,text,speaker,gender", "unknown column 'gender'; did you mean 'sex'\\? Known: path, text, .*, split;"),
        ("file,transcript,speaker", "unknown column 'file'; did you mean 'path'"),
        ("path,text,speaker,emotoin", "unknown column 'emotoin'; did you mean 'emotion'"),
        ("path,text,speaker,age", "unknown column 'age'; Known: path, "),
        ("path,text,text,speaker", "the column 'text' is there twice"),
        ("path,,text,speaker", "column 2 has no name"),
        ("path;text;speaker", "the cells are separated by semicolons; separate them by commas in a metadata.csv, or"),
        ("path\ttext\tspeaker", "the cells are separated by tabs"),
        ("wavs/a.wav|Hello|Hello", "the first line must name the columns, for example 'path,text,speaker'; got 'wavs"),
        ("", "the first line must name the columns"),
    ],
)
def test_a_wrong_header_is_named(tmp_path, header, message):
    own(tmp_path, header + "\nwavs/bo_01.wav,Yes,bo\n" if header else "")
    with pytest.raises(UserError, match=rf"metadata\.csv:1: {message}"):
        Generic().scan(tmp_path)


def test_what_else_may_be_wrong_with_a_list(tmp_path):
    with pytest.raises(UserError, match=r"there is no metadata\.csv or metadata\.tsv in .*path,text,speaker"):
        Generic().scan(tmp_path)
    with pytest.raises(UserError, match=r"it holds list\.csv"):
        Generic().scan(own(tmp_path / "other", "", "list.csv"))
    own(tmp_path / "both", HEADER + GOOD)
    with pytest.raises(UserError, match=r"holds both metadata\.csv and metadata\.tsv; keep"):
        Generic().scan(own(tmp_path / "both", "", "metadata.tsv"))
    with pytest.raises(UserError, match=r"metadata\.csv: there is nothing below the header"):
        Generic().scan(own(tmp_path / "empty", HEADER + "\n,,\n"))
    with pytest.raises(UserError, match=r"metadata\.csv:3: a character is not in UTF-8; save .*CSV UTF-8"):
        Generic().scan(own(tmp_path / "latin", (HEADER + GOOD + line(text="Müller")).encode("cp1252")))
    rows = "".join(line(path=f"{number}.wav") for number in range(12))
    with pytest.raises(UserError, match=r":2: .*\(also wrong: lines 3, 4, 5, 6, 7, 8, 9, 10, 11 …\)$"):
        Generic().scan(own(tmp_path / "many", HEADER + rows))
    with pytest.raises(UserError, match=r":2: .*\(also wrong: line 4\)$"):
        Generic().scan(own(tmp_path / "two", HEADER + line(path="0.wav") + GOOD + line(path="1.wav")))


def test_a_path_in_full_is_answered_with_what_it_should_be(tmp_path):
    folder = own(tmp_path / "corpus", HEADER + line(path=str(tmp_path.resolve() / "corpus/wavs/bo_01.wav")))
    with pytest.raises(UserError, match=r"leads out .*for example wavs/bo_01\.wav, and"):
        Generic().scan(folder)


def test_one_name_for_two_files_is_refused(tmp_path):
    write_corpus(tmp_path, ["wavs/bo_01.flac"])
    own(tmp_path, HEADER + line() + line(path="wavs/bo_01.flac"))
    with pytest.raises(UserError, match=r":3: wavs/bo_01\.flac has the name of line 2's file but for the suffix"):
        Generic().scan(tmp_path)
    (tmp_path / "metadata.csv").write_text(HEADER + line() + line(path="wavs/bo_01.flac", speaker="anna"))
    assert len(Generic().scan(tmp_path).utterances) == 2


NAMES = st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=60)
PATHS = st.lists(NAMES.filter(lambda name: name not in (".", "..")), min_size=1, max_size=4).map("/".join)


@given(st.lists(PATHS, min_size=1, max_size=8, unique=True))
@example(["a/b", "a+b", "a-b", "a_b", "a b", "a|b", "a\tb", "\u0301", "é", "e\u0301"])
def test_keys_are_safe_file_names_and_differ_where_paths_do(paths):
    keys = [key_of(f"{path}.wav") for path in paths]
    assert len(set(keys)) == len(keys)
    for key in keys:
        assert 0 < len(key.encode()) <= KEY_BYTES
        assert all(c.isalnum() or c in "+_-." or unicodedata.category(c)[0] == "M" for c in key)


def quoted(rows: list[list[str]], delimiter: str = ",") -> str:
    buffer = io.StringIO()
    csv.writer(buffer, delimiter=delimiter).writerows(rows)
    return buffer.getvalue()


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Path:
    return write_corpus(tmp_path_factory.mktemp("generic"), WAVS)


CELLS = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=30),
    st.sampled_from([*WAVS, "path", "text", "speaker", "emotion", "", "anna", "happy", "en", "f", "val", "../x", "\0"]),
)


@settings(max_examples=150, deadline=None)
@given(rows=st.lists(st.lists(CELLS, max_size=9), max_size=6), with_header=st.booleans(), raw=st.booleans())
def test_whatever_the_list_holds_only_user_errors_come_out(corpus, rows, with_header, raw):
    rows = [HEADER.strip().split(","), *rows] if with_header else rows
    content = "\n".join(",".join(row) for row in rows) if raw else quoted(rows)
    (corpus / "metadata.csv").write_text(content, encoding="utf-8", newline="")
    try:
        scan = Generic().scan(corpus)
    except UserError as error:
        assert "\n" not in str(error)
    else:
        assert all(item.audio_path.is_file() and "/" not in item.speaker + item.name for item in scan.utterances)


@settings(max_examples=60, deadline=None)
@given(
    spoken=st.lists(st.text(st.characters(exclude_categories=["C"]), max_size=60), min_size=3, max_size=3),
    emotion=st.sampled_from(["", "happy", "Überrascht", "喜"]),
    delimiter=st.sampled_from([",", "\t"]),
)
def test_texts_come_through_whatever_stands_in_them(corpus, spoken, emotion, delimiter):
    spoken = [unicodedata.normalize("NFC", f"a{text}") for text in spoken]
    rows = [[text, path, "anna", emotion] for text, path in zip(spoken, WAVS, strict=True)]
    name = "metadata.csv" if delimiter == "," else "metadata.tsv"
    path = corpus / name
    path.write_text(quoted([["text", "path", "speaker", "emotion"], *rows], delimiter), encoding="utf-8", newline="")
    (corpus / ("metadata.tsv" if delimiter == "," else "metadata.csv")).unlink(missing_ok=True)
    found = {item.audio_path: item for item in Generic().scan(corpus).utterances}
    path.unlink()
    for text, wav in zip(spoken, WAVS, strict=True):
        assert found[corpus / wav].text == " ".join(text.split())
        assert found[corpus / wav].emotion == (emotion.lower() or None)


# ------------------------------------------------------------------------------------------------ the real scripts


def prepared(folder: Path, raw: Path) -> subprocess.CompletedProcess:
    overrides = [f"preprocess.path.raw_path={raw}"]
    arguments = ("--dataset", "generic", "--corpus_path", folder, "--jobs", 1, *with_overrides(overrides))
    return run_script("prepare_align.py", *arguments)


def test_prepare_align_reads_a_list(tmp_path):
    folder = own(tmp_path / "corpus", HEADER + line() + line(path=WAVS[0], speaker="anna", emotion="Sad", split="val"))
    result = prepared(folder, tmp_path / "raw")
    assert_ok(result)
    assert "1 of audio file that metadata.csv does not name" in result.stdout
    assert {name for name in tree(tmp_path / "raw") if name.endswith((".wav", ".lab"))} == {
        f"{stem}{suffix}" for stem in ("anna/sad-wavs+anna_01", "bo/none-wavs+bo_01") for suffix in (".wav", ".lab")
    }
    facts = json.loads((tmp_path / "raw/anna/prepare_align.json").read_text())["files"]["sad-wavs+anna_01"]["facts"]
    assert facts["split"] == "val"
    own(folder, HEADER + GOOD + line(path="nowhere.wav"))
    assert_refused(prepared(folder, tmp_path / "bad"), r"corpus/metadata\.csv:3: there is no file nowhere")
    assert not (tmp_path / "bad").exists()


OWN_CONFIG = {
    "preprocess": "inherit: generic\ndataset: mine\n"
    "path: {corpus_path: data/mine, raw_path: raw_data/mine, preprocessed_path: preprocessed_data/mine}\n"
    "preprocessing: {split: {by: suggested, hold_out: [val]}}\n",
    "model": "inherit: generic\n",
    "train": "inherit: generic\n"
    "path: {ckpt_path: output/ckpt/mine, log_path: output/log/mine, result_path: output/result/mine}\n",
}


def checkout(folder: Path) -> Path:
    """The project as a user has it, with a folder of their own under config/."""
    folder.mkdir()
    for source in ROOT.glob("[!.]*"):
        if source.name == "config":
            shutil.copytree(source, folder / "config", ignore=shutil.ignore_patterns("__pycache__"))
        elif source.suffix == ".py":
            shutil.copy(source, folder)
        elif (source / "__init__.py").is_file():
            (folder / source.name).symlink_to(source)
    (folder / "config/mine").mkdir()
    for name, content in OWN_CONFIG.items():
        (folder / f"config/mine/{name}.yaml").write_text(content)
    return folder


def test_a_users_own_recordings_become_a_dataset(tmp_path):
    """The steps of the README, with speech that has other names, other folders and other words for emotions."""
    project = checkout(tmp_path / "project")
    rows = ["path\ttext\tspeaker\temotion\tsplit"]
    spoken = utterances_of(sample_corpus())
    names = [f"{emotion}-normal-0{number}-01-{speaker}" for number, emotion in ((1, "happy"), (2, "sad"), (1, "calm"))
             for speaker in ("Actor_01", "Actor_02")]  # fmt: skip
    for number, name in enumerate(names):
        item = spoken[name]
        path = project / f"data/mine/{item.speaker}/take {number}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(item.audio_path)
        emotion = {"happy": "Joy", "sad": "grief", "calm": ""}[item.emotion]
        split = "val" if number == 3 else ""
        rows.append(f"{item.speaker}/take {number}.wav\t{item.text}\t{item.speaker}\t{emotion}\t{split}")
    (project / "data/mine/metadata.tsv").write_text("\n".join(rows) + "\n", encoding="utf-8-sig")
    for script in ("prepare_align.py", "align.py", "preprocess.py"):
        result = subprocess.run(
            [sys.executable, script, "--dataset", "mine", "--jobs", "1"], cwd=project, env=ENVIRONMENT,
            capture_output=True, text=True, timeout=300, check=False,
        )  # fmt: skip
        assert_ok(result)
    output = project / "preprocessed_data/mine"
    train, val = ((output / f"{part}.txt").read_text().splitlines() for part in ("train", "val"))
    assert len(train) == 5 and len(val) == 1
    assert val[0].startswith("grief-Actor_02+take_3-") and "|Actor_02|{D AA1 G Z " in val[0]
    assert val[0].endswith("|Dogs are sitting by the door")
    assert sorted(entry.split("-")[0] for entry in train) == ["grief", "joy", "joy", "none", "none"]
    assert json.loads((output / "emotions.json").read_text()) == {"grief": 0, "joy": 1}
    assert json.loads((output / "speakers.json").read_text()) == {"Actor_01": 0, "Actor_02": 1}
    assert json.loads((output / "skipped.json").read_text()) == []
