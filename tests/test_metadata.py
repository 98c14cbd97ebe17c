"""train.txt, val.txt and the id maps."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from errors import UserError
from utils.metadata import Entry, IdMaps, read_metadata, write_metadata

ENTRY = Entry("angry-strong-01-02-Actor_05", "Actor_05", ("K", "IH1", "sp"), "Kids | are")


def test_entries_come_back(tmp_path):
    other = Entry("sad-normal-02-01-Actor_05", "Actor_05", ("D",), "Händel")
    write_metadata(tmp_path / "train.txt", [ENTRY, other])
    assert read_metadata(tmp_path / "train.txt") == [ENTRY, other]
    assert (
        (tmp_path / "train.txt")
        .read_text(encoding="utf-8")
        .startswith("angry-strong-01-02-Actor_05|Actor_05|{K IH1 sp}|Kids | are\n")
    )
    assert ENTRY.emotion == "angry" and ENTRY.language == "en"


def test_languages_other_than_english_stand_before_the_phones(tmp_path):
    chinese = Entry("none-0001", "0004", ("n", "i3", "h", "ao3"), "你好|{K}|en", "zh")
    english = Entry("none-0002", "zh", ("K",), "zh|{K}|kid")
    write_metadata(tmp_path / "train.txt", [chinese, english])
    written = (tmp_path / "train.txt").read_text(encoding="utf-8")
    assert written == "none-0001|0004|zh|{n i3 h ao3}|你好|{K}|en\nnone-0002|zh|{K}|zh|{K}|kid\n"
    assert read_metadata(tmp_path / "train.txt") == [chinese, english]
    (tmp_path / "train.txt").write_text("none-0002|zh|en|{K}|kid\n")
    assert read_metadata(tmp_path / "train.txt") == [Entry("none-0002", "zh", ("K",), "kid")]


def test_a_name_that_begins_with_none_has_no_emotion():
    assert Entry("none-LJ001-0001", "LJSpeech", ("K",), "kid").emotion is None
    assert Entry("nonesuch-1", "a", ("K",), "kid").emotion == "nonesuch"


text = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)


@given(st.lists(text, max_size=5))
def test_any_text_survives_on_its_own_line(tmp_path_factory, texts):
    path = tmp_path_factory.mktemp("metadata") / "train.txt"
    languages = ("en", "zh", "pt-BR")
    entries = [Entry(f"sad-{number}", "a", ("K",), line, languages[number % 3]) for number, line in enumerate(texts)]
    write_metadata(path, entries)
    assert [entry.language for entry in read_metadata(path)] == [entry.language for entry in entries]
    assert [entry.text for entry in read_metadata(path)] == [" ".join(line.split()) for line in texts]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("only a name", r"expected basename\|speaker"),
        ("a|b|{K}", r"expected basename\|speaker"),
        ("a|b|K IH1|text", "phones in braces"),
        ("a|b|{}|text", "phones in braces"),
        ("|b|{K}|text", "basename '' is not a file name"),
        ("a||{K}|text", "speaker '' is not"),
        ("a|b|zh|你好", r"expected basename\|speaker\|zh\|"),
        ("a|b|zh|K IH1|text", "phones in braces"),
        ("a|b|chinese|{K}|text", "phones in braces"),
        ("a|b|ZH|{K}|text", "phones in braces"),
        ("a|b||{K}|text", "phones in braces"),
        ("a|b|zh|en|{K}|text", "phones in braces"),
        ("../../a|b|{K}|text", "is not a file name"),
        ("angry-strong-01-02-Actor_05|Actor_05|{K}|text", "listed twice"),
    ],
)
def test_malformed_lines_name_file_and_line(tmp_path, line, reason):
    write_metadata(tmp_path / "val.txt", [ENTRY])
    with (tmp_path / "val.txt").open("a", encoding="utf-8") as file:
        file.write(f"\n{line}\n")
    with pytest.raises(UserError, match=rf"val\.txt:3: .*{reason}"):
        read_metadata(tmp_path / "val.txt")


def test_missing_and_binary_files(tmp_path):
    with pytest.raises(UserError, match=r"train\.txt is missing; run preprocess\.py"):
        read_metadata(tmp_path / "train.txt")
    (tmp_path / "train.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="not readable as UTF-8"):
        read_metadata(tmp_path / "train.txt")


@given(st.lists(st.text("abc", min_size=1), min_size=1))
def test_ids_do_not_depend_on_order(names):
    forward, backward = IdMaps.of(names, ["sad"]), IdMaps.of(reversed(names), ["sad"])
    assert forward == backward and list(forward.speakers) == sorted(set(names))
    assert list(forward.speakers.values()) == list(range(len(set(names))))


def test_unlabelled_utterances_get_no_number():
    assert IdMaps.of(["a"], ["sad", None, "angry"]).emotions == {"angry": 0, "sad": 1}


def test_id_maps_come_back_and_know_their_names(tmp_path):
    maps = IdMaps.of(["Actor_02", "Actor_01"], ["sad", "angry"])
    maps.save(tmp_path)
    assert IdMaps.load(tmp_path) == maps
    assert (maps.speaker_id("Actor_02"), maps.emotion_id("angry")) == (1, 0)
    with pytest.raises(UserError, match="unknown speaker 'Actor_99'; known: Actor_01, Actor_02"):
        maps.speaker_id("Actor_99")
    with pytest.raises(UserError, match="unknown emotion 'joy'; known: angry, sad"):
        maps.emotion_id("joy")


@pytest.mark.parametrize("value", [[], {}, {"a": 1}, {"a": 0, "b": 0}, {"a": "0"}, {"a": True}])
def test_damaged_maps_are_named(tmp_path, value):
    IdMaps.of(["a"], ["sad"]).save(tmp_path)
    (tmp_path / "speakers.json").write_text(json.dumps(value))
    with pytest.raises(UserError, match=r"speakers\.json: expected names numbered"):
        IdMaps.load(tmp_path)
