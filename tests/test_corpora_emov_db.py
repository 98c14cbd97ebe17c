"""EmoV-DB: its layouts, its numbers, and the texts that are not with it."""

import pytest

from errors import UserError
from preprocessor.corpora.emov_db import EmovDb
from tests.listing import ARCTIC, fields, recordings, text_file, write_emov_db


def test_as_unpacked(tmp_path):
    write_emov_db(tmp_path)
    recordings(tmp_path, "bea_Angry/._anger_1-28_0012.wav")
    text_file(tmp_path, "bea_Angry/anger_1-28.TextGrid", "an annotation")
    scan = EmovDb().scan(tmp_path)
    trail = "Author of the danger trail, Philip Steels, etc."
    assert fields(scan, "name", "speaker", "text", "statement", "sex") == [
        ("amused-1-15-0001-bea", "bea", trail, "0001", "female"),
        ("anger-1-28-0011-bea", "bea", 'He said: "No".', "0011", "female"),
        ("disgust-1-28-0001-jenie", "jenie", trail, "0001", "female"),
        ("sleepy-1-28-0001-josh", "josh", trail, "0001", "male"),
        ("neutral-1-28-0001-sam", "sam", trail, "0001", "male"),
        ("sleepy-1-28-0011-sam", "sam", 'He said: "No".', "0011", "male"),
    ]
    assert not scan.left_out and set(fields(scan, "language", "intensity", "split")) == {("en", None, None)}


def test_in_the_authors_sorted_copy_and_by_speaker(tmp_path):
    write_emov_db(tmp_path / "openslr")
    expected = fields(EmovDb().scan(tmp_path / "openslr"), "name", "speaker", "text")
    for path in sorted((tmp_path / "openslr").rglob("*.wav")):
        speaker, emotion = path.parent.name.split("_")
        recordings(tmp_path / "sorted", f"EmoV-DB_sorted/{speaker}/{emotion}/{path.name}")
        recordings(tmp_path / "flat", f"{speaker}/{path.name}")
    for copy in ("sorted", "flat"):
        text_file(tmp_path / copy, "cmuarctic.data", *ARCTIC)
        assert fields(EmovDb().scan(tmp_path / copy), "name", "speaker", "text") == expected


def test_leaves_out_numbers_that_contradict_their_batch(tmp_path):
    write_emov_db(tmp_path)
    recordings(tmp_path, "josh_Amused/amused_197-224_0023.wav", "josh_Amused/amused_225_252_0026.wav")
    scan = EmovDb().scan(tmp_path)
    assert len(scan.utterances) == 6
    assert scan.left_out == {"unknown text (sentence number outside the batch in the name)": 2}


def test_says_where_its_texts_are(tmp_path):
    write_emov_db(tmp_path)
    recordings(tmp_path, "sam_Angry/anger_1-28_0002.wav")
    with pytest.raises(UserError, match=r"anger_1-28_0002\.wav: .*cmuarctic\.data has no sentence arctic_a0002; get"):
        EmovDb().scan(tmp_path)
    text_file(tmp_path, "cmuarctic.data", "<html>404</html>")
    with pytest.raises(UserError, match=r"has no line like \( arctic_a0011"):
        EmovDb().scan(tmp_path)
    (tmp_path / "cmuarctic.data").unlink()
    with pytest.raises(UserError, match=r"cmuarctic\.data is missing: .*put http://www\.festvox\.org/cmu_arctic/"):
        EmovDb().scan(tmp_path)
    assert "http://www.festvox.org/cmu_arctic/cmuarctic.data" in EmovDb.about.get
