"""LJSpeech, VCTK and LibriTTS as they are when unpacked."""

from pathlib import Path

import pytest

from config import load_config
from errors import UserError
from preprocessor.corpora.libritts import LibriTTS
from preprocessor.corpora.ljspeech import LJSpeech
from preprocessor.corpora.vctk import Vctk
from preprocessor.corpus import Utterance, get_corpus
from tests.corpus_files import write_corpus
from tests.processes import assert_ok, assert_refused, run_script, with_overrides


@pytest.mark.parametrize("name", ["LJSpeech", "VCTK", "LibriTTS", "LibriTTS-R", "generic"])
def test_configurations_name_what_the_modules_know(tmp_path, name):
    config = load_config(name)
    corpus = get_corpus(config.preprocess.corpus, config.preprocess.corpus_options)
    assert config.preprocess.dataset == name and config.preprocess.path.corpus_path == f"data/{name}"
    with pytest.raises(UserError, match=rf"data/{name} does not exist; .*--corpus_path"):
        corpus.scan(tmp_path / config.preprocess.path.corpus_path)


# ------------------------------------------------------------------------------------------------------- LJSpeech

LJ = {
    "metadata.csv": 'LJ001-0001|In 1807, "they" came.|In eighteen oh seven, "they" came.\n'
    "LJ001-0002|Dr. Smith|Doctor Smith\n"
    "LJ002-0001|Yes|Yes\n"
}
LJ_WAVS = ("wavs/LJ001-0001.wav", "wavs/LJ001-0002.wav", "wavs/LJ009-0009.wav")


@pytest.mark.parametrize("inside", ["", "LJSpeech-1.1"])
def test_ljspeech_is_read_with_its_normalised_texts(tmp_path, inside):
    root = write_corpus(tmp_path / inside, LJ_WAVS, LJ)
    scan = LJSpeech().scan(tmp_path)
    assert list(scan.utterances) == [
        Utterance(root / "wavs/LJ001-0001.wav", "LJ001-0001", 'In eighteen oh seven, "they" came.', "LJSpeech",
                  sex="female", language="en"),
        Utterance(root / "wavs/LJ001-0002.wav", "LJ001-0002", "Doctor Smith", "LJSpeech", sex="female", language="en"),
    ]  # fmt: skip
    assert scan.utterances[0].name == "none-LJ001-0001"
    assert scan.left_out == {"recording without a text": 1, "text without a recording": 1}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("LJ001-0003|only two", r"metadata\.csv:4: expected id\|text\|normalised text .*corpus: generic"),
        ("anna_01|Hello|Hello", r"metadata\.csv:4: expected .*LJ001-0001"),
        ("LJ001-0001|again|again", r"metadata\.csv:4: LJ001-0001 is listed twice"),
        ("LJ001-0003|text|", r"metadata\.csv:4: LJ001-0003 has no normalised text"),
    ],
)
def test_ljspeech_names_the_line_that_is_wrong(tmp_path, line, message):
    write_corpus(tmp_path, LJ_WAVS, {"metadata.csv": LJ["metadata.csv"] + line + "\n"})
    with pytest.raises(UserError, match=message):
        LJSpeech().scan(tmp_path)


def test_ljspeech_without_its_parts(tmp_path):
    with pytest.raises(UserError, match=r"holds no metadata\.csv; unpack LJSpeech-1\.1\.tar\.bz2"):
        LJSpeech().scan(tmp_path)
    write_corpus(tmp_path, (), LJ)
    with pytest.raises(UserError, match=r"no usable recording of LJSpeech \(3 of text without a recording\)"):
        LJSpeech().scan(tmp_path)


def prepare(folder, raw):
    overrides = with_overrides([f"preprocess.path.raw_path={raw}"])
    return run_script("prepare_align.py", "--dataset", "LJSpeech", "--corpus_path", folder, "--jobs", 1, *overrides)


def test_prepare_align_reads_ljspeech(tmp_path):
    write_corpus(tmp_path / "corpus", LJ_WAVS, LJ)
    assert_ok(prepare(tmp_path / "corpus", tmp_path / "raw"))
    labs = {path.stem: path.read_text() for path in (tmp_path / "raw/LJSpeech").glob("*.lab")}
    assert labs == {
        "none-LJ001-0001": 'In eighteen oh seven, "they" came.', "none-LJ001-0002": "Doctor Smith",
    }  # fmt: skip
    assert_refused(prepare(tmp_path / "nowhere", tmp_path / "raw"), r"keithito\.com/LJ-Speech-Dataset")


# ----------------------------------------------------------------------------------------------------------- VCTK

VCTK_TEXTS = {
    "txt/p225/p225_001.txt": "Please call Stella.\n",
    "txt/p225/p225_002.txt": "Ask her to bring these things.\n",
    "txt/p226/p226_001.txt": "Please call Stella.\n",
    "txt/s5/s5_001.txt": "Please call Stella.\n",
}
INFO_092 = (
    "ID  AGE  GENDER  ACCENTS  REGION COMMENTS \n"
    "p225  23  F    English    Southern  England\n"
    "p226  22  M    English    Surrey\n"
    "p315  18  M    American   New England   (Text unavailable)\n"
)
INFO_080 = (
    "ID  AGE  GENDER  ACCENTS  REGION \n225  23  F    English    Southern  England\n226  22  M    English    Surrey\n"
)


def vctk_092(folder: Path) -> Path:
    recordings = [
        f"wav48_silence_trimmed/{name.split('_')[0]}/{name}_{microphone}.flac"
        for name in ("p225_001", "p225_002", "p226_001", "p315_001", "s5_001")
        for microphone in ("mic1", "mic2")
        if (name, microphone) != ("p225_002", "mic2")
    ]
    write_corpus(folder, recordings, VCTK_TEXTS | {"speaker-info.txt": INFO_092})
    (folder / "wav48_silence_trimmed/p225/log.txt").write_text("what the corpus keeps there")
    return folder


@pytest.mark.parametrize("inside", ["", "VCTK-Corpus-0.92"])
def test_vctk_092_by_the_first_microphone(tmp_path, inside):
    root = vctk_092(tmp_path / inside)
    scan = Vctk().scan(tmp_path)
    audio = root / "wav48_silence_trimmed"
    assert list(scan.utterances) == [
        Utterance(audio / "p225/p225_001_mic1.flac", "p225_001", "Please call Stella.", "p225", sex="female",
                  language="en"),
        Utterance(audio / "p225/p225_002_mic1.flac", "p225_002", "Ask her to bring these things.", "p225", sex="female",
                  language="en"),
        Utterance(audio / "p226/p226_001_mic1.flac", "p226_001", "Please call Stella.", "p226", sex="male",
                  language="en"),
        Utterance(audio / "s5/s5_001_mic1.flac", "s5_001", "Please call Stella.", "s5", language="en"),
    ]  # fmt: skip
    assert scan.left_out == {"the other microphone, mic2": 4, "recording without a text": 1}


def test_vctk_by_the_second_microphone_lacks_some(tmp_path):
    vctk_092(tmp_path)
    first, second = (get_corpus("VCTK", {"microphone": name}).scan(tmp_path).utterances for name in ("mic1", "mic2"))
    assert {item.name for item in first} - {item.name for item in second} == {"none-p225_002"}
    assert all(item.audio_path.stem.endswith("_mic2") for item in second)


def test_vctk_080(tmp_path):
    recordings = [f"wav48/{name.split('_')[0]}/{name}.wav" for name in ("p225_001", "p226_001", "p315_001")]
    root = write_corpus(tmp_path / "VCTK-Corpus", recordings, VCTK_TEXTS | {"speaker-info.txt": INFO_080})
    scan = Vctk().scan(tmp_path)
    assert list(scan.utterances) == [
        Utterance(root / "wav48/p225/p225_001.wav", "p225_001", "Please call Stella.", "p225", sex="female",
                  language="en"),
        Utterance(root / "wav48/p226/p226_001.wav", "p226_001", "Please call Stella.", "p226", sex="male",
                  language="en"),
    ]  # fmt: skip
    assert scan.left_out == {"recording without a text": 1}
    with pytest.raises(UserError, match=r"0\.80, which has one microphone: set .*microphone to mic1"):
        Vctk("mic2").scan(tmp_path)


@pytest.mark.parametrize(
    ("recording", "message"),
    [
        ("wav48_silence_trimmed/p225/p225_001.flac", r"p225_001\.flac: not a VCTK name; .*p225_001_mic1\.flac"),
        ("wav48_silence_trimmed/p226/p225_001_mic1.flac", "says speaker p225, but it lies in p226"),
        ("wav48_silence_trimmed/p225/p225_001_mic1.wav", "same recording by name"),
    ],
)
def test_vctk_refuses_names_against_the_rules(tmp_path, recording, message):
    write_corpus(vctk_092(tmp_path), [recording])
    with pytest.raises(UserError, match=message):
        Vctk().scan(tmp_path)


def test_vctk_options_and_places(tmp_path):
    with pytest.raises(UserError, match=r"corpus_options\.microphone: 'mic3' is not one of mic1, mic2"):
        get_corpus("VCTK", {"microphone": "mic3"})
    with pytest.raises(UserError, match="holds neither wav48_silence_trimmed nor wav48"):
        Vctk().scan(tmp_path)


# ------------------------------------------------------------------------------------------------------- LibriTTS

READERS_TSV = "READER\tGENDER\tSUBSET NAME\n19\tF\ttrain-clean-100\tA Name\n84\tF\tdev-clean\n61\tM\ttest-clean\n"
SPEAKERS_TXT = (
    "; Some pipe(|) separated metadata about all LibriVox readers\n;ID  |SEX| SUBSET           |MINUTES| NAME\n"
    "19   | F | train-clean-100  | 25.19 | A Name\n61   | M | test-clean       | 8.08  | B Name\n"
)
LIBRI = ("train-clean-100/19/198/19_198_000000_000002", "train-clean-100/19/198/19_198_000010_000000",
         "dev-clean/84/121123/84_121123_000008_000000", "test-clean/61/70968/61_70968_000003_000001")  # fmt: skip


def libri(folder: Path, *names: str) -> Path:
    files = {f"{name}.normalized.txt": f"Text of {Path(name).name}." for name in names}
    originals = {f"{name}.original.txt": "Not this." for name in names}
    return write_corpus(folder, [f"{name}.wav" for name in names], files | originals)


@pytest.mark.parametrize("inside", ["", "LibriTTS", "LibriTTS_R"])
@pytest.mark.parametrize(("list_name", "content"), [("speakers.tsv", READERS_TSV), ("SPEAKERS.txt", SPEAKERS_TXT)])
def test_libritts_subsets_suggest_the_split(tmp_path, inside, list_name, content):
    root = libri(tmp_path / inside, *LIBRI)
    (root / list_name).write_text(content)
    scan = LibriTTS().scan(tmp_path)
    found = [(item.speaker, item.key, item.split, item.sex) for item in scan.utterances]
    assert found == [
        ("19", "19_198_000000_000002", "train", "female"),
        ("19", "19_198_000010_000000", "train", "female"),
        ("61", "61_70968_000003_000001", "test", "male"),
        ("84", "84_121123_000008_000000", "val", "female" if list_name == "speakers.tsv" else None),
    ]
    assert scan.utterances[0] == Utterance(
        root / f"{LIBRI[0]}.wav", "19_198_000000_000002", "Text of 19_198_000000_000002.", "19", sex="female",
        language="en", split="train",
    )  # fmt: skip
    assert not scan.left_out


def test_libritts_reads_the_chosen_subsets(tmp_path):
    libri(tmp_path, *LIBRI)
    scan = get_corpus("LibriTTS", {"subsets": ["dev-clean", "test-clean"]}).scan(tmp_path)
    assert [item.split for item in scan.utterances] == ["test", "val"]
    with pytest.raises(UserError, match=r"train-clean-360 is not in .*, which has train-clean-100, dev-clean"):
        LibriTTS(["train-clean-360"]).scan(tmp_path)
    for wrong in ("dev-clean", [], ["dev_clean"], True):
        with pytest.raises(UserError, match=r"corpus_options\.subsets: .*train-clean-100.*"):
            get_corpus("LibriTTS", {"subsets": wrong})


def test_libritts_leaves_out_what_has_no_text_or_was_badly_restored(tmp_path):
    libri(tmp_path / "LibriTTS_R", *LIBRI)
    (tmp_path / "LibriTTS_R" / f"{LIBRI[1]}.normalized.txt").unlink()
    lists = tmp_path / "libritts_r_failed_speech_restoration_examples"
    lists.mkdir()
    (lists / "dev-clean_bad_sample_list.txt").write_text(f"./{LIBRI[2]}.wav\n")
    scan = LibriTTS().scan(tmp_path)
    assert [item.key for item in scan.utterances] == [Path(LIBRI[0]).name, Path(LIBRI[3]).name]
    assert scan.left_out == {"recording without a text": 1, "badly restored recording": 1}


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("dev-clean/84/121123/84_121123_8_0", r"not a LibriTTS name; .*19_198_000000_000002\.wav"),
        ("dev-clean/84/19/84_121123_000009_000000", "reader 84, chapter 121123, but it lies in 84/19"),
        ("dev-clean/85/121123/84_121123_000009_000000", "but it lies in 85/121123"),
    ],
)
def test_libritts_refuses_names_against_the_rules(tmp_path, name, message):
    libri(tmp_path, *LIBRI, name)
    with pytest.raises(UserError, match=message):
        LibriTTS().scan(tmp_path)


def test_libritts_without_subsets(tmp_path):
    with pytest.raises(UserError, match=r"holds no subset; unpack .*openslr\.org/141"):
        LibriTTS().scan(tmp_path)
