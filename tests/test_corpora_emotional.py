"""CREMA-D, TESS and SAVEE in the layouts that they are found in, and what holds for all corpora with emotions."""

import pytest

from config import load_config
from errors import UserError
from preprocessor.corpora.crema_d import SENTENCES, CremaD
from preprocessor.corpora.savee import Savee
from preprocessor.corpora.tess import Tess
from preprocessor.corpus import get_corpus
from tests.listing import fields, recordings, text_file, write_emov_db
from tests.processes import assert_ok, assert_refused, run_script
from utils.metadata import intensity_of

# ------------------------------------------------------------------------------------------------------- CREMA-D

DEMOGRAPHICS = ('"ActorID","Age","Sex","Race","Ethnicity"', '1001,51,"Male","x","y"', '1002,21,"Female","x","y"')


def test_crema_d_as_cloned(tmp_path):
    names = ("1001_DFA_ANG_XX", "1002_IEO_FEA_HI", "1002_IEO_HAP_LO", "1002_ITS_SAD_MD", "1040_ITH_SAD_X")
    recordings(tmp_path, *(f"AudioWAV/{name}.wav" for name in names), "AudioWAV/1076_MTI_SAD_XX.wav")
    recordings(tmp_path, *(f"AudioMP3/{name}.mp3" for name in names), "AudioWAV/.1001.wav")
    text_file(tmp_path, "VideoDemographics.csv", *DEMOGRAPHICS, end="\r\n")
    text_file(tmp_path, "processedResults/summaryTable.csv", "x")
    scan = CremaD().scan(tmp_path)
    assert fields(scan, "name", "speaker", "text", "intensity", "statement", "sex", "language") == [
        ("anger-DFA-XX-1001", "1001", "Don't forget a jacket", None, "DFA", "male", "en"),
        ("fear-IEO-HI-1002", "1002", "It's eleven o'clock", "high", "IEO", "female", "en"),
        ("happy-IEO-LO-1002", "1002", "It's eleven o'clock", "low", "IEO", "female", "en"),
        ("sad-ITS-MD-1002", "1002", "I think I've seen this before", "medium", "ITS", "female", "en"),
        ("sad-ITH-XX-1040", "1040", "I think I have a doctor's appointment", None, "ITH", None, "en"),
    ]
    words = load_config("CREMA-D", []).model.intensities
    assert [intensity_of(item.name, words) for item in scan.utterances] == [None, 2, 0, 1, None]
    assert {item.audio_path.suffix for item in scan.utterances} == {".wav"}
    assert scan.left_out == {"recording without a signal": 1}


def test_crema_d_without_its_tables_or_folders(tmp_path):
    recordings(tmp_path / "mp3", *(f"AudioMP3/1091_{sentence}_NEU_XX.mp3" for sentence in SENTENCES))
    recordings(tmp_path / "flat", *(f"1091_{sentence}_NEU_XX.wav" for sentence in SENTENCES))
    for copy in ("mp3", "flat"):
        scan = CremaD().scan(tmp_path / copy)
        assert len({item.text for item in scan.utterances}) == 12
        assert {item.sex for item in scan.utterances} == {None}
    text_file(tmp_path / "flat", "VideoDemographics.csv", *DEMOGRAPHICS, "1003,21,")
    with pytest.raises(UserError, match=r"VideoDemographics\.csv, line 4: expected ActorID and Sex"):
        CremaD().scan(tmp_path / "flat")


# ---------------------------------------------------------------------------------------------------------- TESS


def test_tess_flat_and_in_folders(tmp_path):
    names = {
        "OAF_angry": "OAF_back_angry", "OAF_Fear": "OAF_back_fear", "OAF_Pleasant_surprise": "OAF_back_ps",
        "OAF_neutral": "OA_bite_neutral", "YAF_pleasant_surprised": "YAF_back_ps", "YAF_sad": "YAF_home_sad",
    }  # fmt: skip
    recordings(tmp_path / "flat", *(f"{name}.wav" for name in names.values()), ".DS_Store", "._YAF_home_sad.wav")
    recordings(tmp_path / "folders", *(f"TESS data/{folder}/{name}.wav" for folder, name in names.items()))
    for copy in ("flat", "folders"):
        scan = Tess().scan(tmp_path / copy)
        assert fields(scan, "name", "speaker", "text", "statement", "sex", "language", "split") == [
            ("angry-back-OAF", "OAF", "Say the word back", "back", "female", "en", None),
            ("fear-back-OAF", "OAF", "Say the word back", "back", "female", "en", None),
            ("neutral-bite-OAF", "OAF", "Say the word bite", "bite", "female", "en", None),
            ("surprise-back-OAF", "OAF", "Say the word back", "back", "female", "en", None),
            ("sad-home-YAF", "YAF", "Say the word home", "home", "female", "en", None),
            ("surprise-back-YAF", "YAF", "Say the word back", "back", "female", "en", None),
        ]


# --------------------------------------------------------------------------------------------------------- SAVEE

SPOKEN = (
    "a01 She had your dark suit.",
    "JK_a01 She had a dark suit.",
    "",
    "sa02  Two   words",
    "n30 she had your dark suit.",
)


def test_savee_in_every_layout(tmp_path):
    names = ("DC_a01", "JK_a01", "DC_sa02", "KL_n30")
    recordings(tmp_path / "data", *(f"AudioData/{name.replace('_', '/')}.wav" for name in names))
    recordings(tmp_path / "folders", *(f"{name.replace('_', '/')}.wav" for name in names), "DC/.a02.wav")
    recordings(tmp_path / "flat", *(f"{name}.wav" for name in names))
    text_file(tmp_path / "data", "AudioData/Info.txt", "Speakers")
    for copy in ("data", "folders", "flat"):
        text_file(tmp_path / copy, "sentences.txt", *SPOKEN)
        scan = Savee().scan(tmp_path / copy)
        assert fields(scan, "name", "speaker", "text", "statement", "sex", "language") == [
            ("anger-01-DC", "DC", "She had your dark suit.", "a01", "male", "en"),
            ("sadness-02-DC", "DC", "Two words", "sa02", "male", "en"),
            ("anger-01-JK", "JK", "She had a dark suit.", "a01", "male", "en"),
            ("neutral-30-KL", "KL", "she had your dark suit.", "a01", "male", "en"),  # one sentence, one statement
        ]


def test_savee_needs_its_sentences(tmp_path):
    recordings(tmp_path, "DC_a01.wav", "DC_su15.wav")
    with pytest.raises(UserError, match=r"sentences\.txt is missing: SAVEE's texts are not with its recordings; write"):
        Savee().scan(tmp_path)
    text_file(tmp_path, "sentences.txt", "a01 Spoken.")
    scan = Savee().scan(tmp_path)
    assert fields(scan, "name") == [("anger-01-DC",)]
    assert scan.left_out == {"unknown text (no line in sentences.txt)": 1}
    for line, reason in (
        ("a16 Spoken.", "expected a code and what was said"),
        ("x01 Spoken.", "expected a code"),
        ("a02", "expected a code"),
        ("a01 Something else.", "a second text for a01"),
    ):
        text_file(tmp_path, "sentences.txt", "a01 Spoken.", line)
        with pytest.raises(UserError, match=rf"sentences\.txt, line 2: {reason}"):
            Savee().scan(tmp_path)


# ---------------------------------------------------------------------------------------------------------- all


def write_savee(folder):
    recordings(folder, "AudioData/DC/h01.wav", "AudioData/DC/d01.wav")
    text_file(folder, "sentences.txt", "h01 Happy text.", "d01 Other text.")


WRITERS = {
    "EmoV-DB": write_emov_db,
    "CREMA-D": lambda folder: recordings(folder, "AudioWAV/1001_IEO_ANG_HI.wav"),
    "TESS": lambda folder: recordings(folder, "OAF_angry/OAF_back_angry.wav"),
    "SAVEE": write_savee,
}


@pytest.mark.parametrize(
    ("corpus", "name", "reason"),
    [
        ("EmoV-DB", "bea_Angry/hello.wav", r"hello\.wav: not an EmoV-DB name; .*example anger_1-28_0011\.wav"),
        ("EmoV-DB", "bea_Angry/fear_1-28_0011.wav", "not an EmoV-DB name"),
        ("EmoV-DB", "bea_Angry/anger_1-28_11.wav", "not an EmoV-DB name"),
        ("EmoV-DB", "bea_Angry/neutral_1-28_0011.wav", "the name says neutral, but it lies in bea_Angry"),
        ("EmoV-DB", "bob_Angry/anger_1-28_0011.wav", r"names no speaker \(bea, jenie, josh, sam\) and emotion"),
        ("EmoV-DB", "bea_Fear/anger_1-28_0011.wav", r"expected, for example, bea_Angry/anger_1-28_0011\.wav"),
        ("EmoV-DB", "anger_1-28_0011.wav", "its folder names no speaker"),
        ("EmoV-DB", "bea/Angry/anger_1-28_0011.wav", "same recording by name"),
        ("CREMA-D", "AudioWAV/1001_IEO_ANG.wav", r"not a CREMA-D name; .*example 1001_IEO_ANG_HI\.wav"),
        ("CREMA-D", "AudioWAV/1092_IEO_ANG_HI.wav", "actor '1092' is not one of 1001 … 1091"),
        ("CREMA-D", "AudioWAV/1001_ABC_ANG_HI.wav", "sentence 'ABC' is not one of IEO, TIE"),
        ("CREMA-D", "AudioWAV/1001_IEO_SUR_HI.wav", "emotion 'SUR' is not one of ANG"),
        ("CREMA-D", "AudioWAV/1001_IEO_ANG_X.wav", "intensity 'X' is not one of LO, MD, HI, XX"),
        ("CREMA-D", "AudioWAV/copy/1001_IEO_ANG_HI.wav", "same recording by name"),
        ("TESS", "OAF_angry/OAF_angry.wav", r"not a TESS name; .*example OAF_back_angry\.wav"),
        ("TESS", "OAF_angry/OA_back_angry.wav", "not a TESS name"),
        ("TESS", "MAF_back_angry.wav", "not a TESS name; .*OAF, YAF"),
        ("TESS", "OAF_back_calm.wav", "not a TESS name"),
        ("TESS", "YAF_angry/OAF_home_angry.wav", "the name says OAF and angry, but it lies in YAF_angry"),
        ("TESS", "copy/OAF_back_angry.wav", "same recording by name"),
        ("SAVEE", "AudioData/DC/x01.wav", r"not a SAVEE name; .*example a01\.wav or DC_a01\.wav"),
        ("SAVEE", "AudioData/DC/a16.wav", "not a SAVEE name"),
        ("SAVEE", "AudioData/DC/n31.wav", r"01 … 15 \(neutral: 01 … 30\)"),
        ("SAVEE", "AudioData/DC/JK_a01.wav", "the name says speaker JK, but it lies in DC"),
        ("SAVEE", "AudioData/a01.wav", r"neither folder nor name says the speaker \(DC, JE, JK, KL\)"),
        ("SAVEE", "DC_h01.wav", "same recording by name"),
    ],
)
def test_names_against_the_rules_are_refused(tmp_path, corpus, name, reason):
    WRITERS[corpus](tmp_path)
    assert get_corpus(corpus).scan(tmp_path).utterances
    recordings(tmp_path, name)
    with pytest.raises(UserError, match=reason):
        get_corpus(corpus).scan(tmp_path)


@pytest.mark.parametrize("corpus", [*WRITERS, "ESD"])
def test_missing_and_empty_folders_say_how_to_get_the_corpus(tmp_path, corpus):
    about = get_corpus(corpus).about
    with pytest.raises(UserError) as missing:
        get_corpus(corpus).scan(tmp_path / "nowhere")
    assert f"does not exist; {about.get} ({about.home})" in str(missing.value) and "--corpus_path" in str(missing.value)
    text_file(tmp_path, "notes.txt", "x")
    with pytest.raises(UserError) as empty:
        get_corpus(corpus).scan(tmp_path)
    assert about.get in str(empty.value)
    with pytest.raises(UserError, match=rf"{corpus} has no option 'speed'"):
        get_corpus(corpus, {"speed": True})


def test_emotions_get_ravdess_names_where_it_has_them():
    from preprocessor.corpora import crema_d, emov_db, esd, ravdess, savee, tess

    for dataset, module in {"CREMA-D": crema_d, "EmoV-DB": emov_db, "SAVEE": savee, "TESS": tess, "ESD": esd}.items():
        emotions = module.EMOTIONS if dataset == "ESD" else module.EMOTIONS.values()
        names = load_config(dataset).preprocess.emotion_map
        assert set(names) <= set(emotions)
        unknown = {names.get(emotion, emotion) for emotion in emotions} - set(ravdess.EMOTIONS.values())
        assert unknown == ({"amused", "sleepy"} if dataset == "EmoV-DB" else set())


def test_prepare_align_makes_savee_and_refuses_emov_db_without_texts(tmp_path):
    write_savee(tmp_path / "SAVEE")
    write_emov_db(tmp_path / "EmoV-DB")
    (tmp_path / "EmoV-DB/cmuarctic.data").unlink()
    raw = tmp_path / "raw"
    flags = ("--jobs", 1, "--set", f"preprocess.path.raw_path={raw}", "--corpus_path")
    refused = run_script("prepare_align.py", "--dataset", "EmoV-DB", *flags, tmp_path / "EmoV-DB")
    assert_refused(refused, r"cmuarctic\.data is missing: EmoV-DB's texts are CMU ARCTIC's")
    assert not raw.exists()
    assert_ok(run_script("prepare_align.py", "--dataset", "SAVEE", *flags, tmp_path / "SAVEE"))
    assert (raw / "DC/happy-01-DC.lab").read_text() == "Happy text." and (raw / "DC/disgust-01-DC.wav").is_file()
