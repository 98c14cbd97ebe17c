"""RAVDESS's names, and what may lie in its folders."""

import itertools

import pytest

from errors import UserError
from preprocessor.corpora.ravdess import ACTORS, EMOTIONS, Ravdess
from preprocessor.corpus import get_corpus
from tests.paths import real_data
from tests.small_corpus import write_ravdess


def touch(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"")


def every_name():
    """The names of all 1,440 speech recordings."""
    for actor, emotion, statement, repetition in itertools.product(ACTORS, EMOTIONS, ("01", "02"), ("01", "02")):
        for intensity in ("01",) if emotion == "01" else ("01", "02"):
            yield f"Actor_{actor}/03-01-{emotion}-{intensity}-{statement}-{repetition}-{actor}.wav"


def test_all_1440_recordings_keep_a_name_of_their_own(tmp_path):
    touch(tmp_path, *every_name())
    scan = Ravdess().scan(tmp_path)
    assert len(scan.utterances) == len({item.name for item in scan.utterances}) == 1440
    assert list(scan.utterances) == sorted(scan.utterances, key=lambda item: (item.speaker, item.name))


def test_fields_of_a_name(tmp_path):
    touch(tmp_path, "Actor_06/03-01-08-02-02-01-06.FLAC")
    (item,) = Ravdess().scan(tmp_path).utterances
    assert item.name == "surprised-strong-02-01-Actor_06"
    assert (item.speaker, item.emotion, item.intensity, item.statement) == ("Actor_06", "surprised", "strong", "02")
    assert item.text == "Dogs are sitting by the door" and item.sex == "female"


def test_odd_actors_are_male(tmp_path):
    touch(tmp_path, *(f"Actor_{actor}/03-01-03-01-01-01-{actor}.wav" for actor in ("01", "02", "12", "13")))
    assert [item.sex for item in Ravdess().scan(tmp_path).utterances] == ["male", "female", "female", "male"]


def test_songs_videos_and_hidden_files_are_left_out(tmp_path):
    write_ravdess(tmp_path, actors=(1,))
    touch(
        tmp_path, "Actor_01/03-02-03-01-01-01-01.wav", "Actor_01/01-01-03-01-01-01-01.mp4", "Actor_01/.DS_Store",
        "Actor_01/._03-01-03-01-01-01-01.wav", "Actor_01/01-01-03-01-01-01-01.wav", "Actor_01/notes.txt", "README",
    )  # fmt: skip
    scan = Ravdess().scan(tmp_path)
    assert len(scan.utterances) == 4
    assert scan.left_out == {"vocal channel 02 (song)": 1, "video": 1, "modality 01 (video with sound)": 1}


def test_songs_are_an_option_and_get_names_of_their_own(tmp_path):
    write_ravdess(tmp_path, actors=(1,), emotions=(3,))
    touch(tmp_path, "Actor_01/03-02-03-01-01-01-01.wav", "Actor_01/03-02-06-02-02-02-01.wav")
    speech = [item.name for item in Ravdess().scan(tmp_path).utterances]
    assert speech == ["happy-normal-01-01-Actor_01", "happy-normal-02-01-Actor_01"]
    songs = get_corpus("RAVDESS", {"channels": ["song"]}).scan(tmp_path)
    assert [item.name for item in songs.utterances] == [
        "fearful-song-strong-02-02-Actor_01",
        "happy-song-normal-01-01-Actor_01",
    ]
    assert songs.left_out == {"vocal channel 01 (speech)": 2}
    assert songs.utterances[0].text == "Dogs are sitting by the door" and songs.utterances[0].intensity == "strong"
    both = get_corpus("RAVDESS", {"channels": ["song", "speech"]}).scan(tmp_path)
    assert [item.name for item in both.utterances] == sorted([*speech, *(item.name for item in songs.utterances)])


def test_unknown_channels_and_songs_of_emotions_that_were_not_sung(tmp_path):
    for channels, reason in ((["video"], "no 'video'; known: speech, song"), ([], "a list of speech, song")):
        with pytest.raises(UserError, match=rf"corpus_options\.channels: RAVDESS .*{reason}"):
            get_corpus("RAVDESS", {"channels": channels})
    write_ravdess(tmp_path, actors=(1,))
    touch(tmp_path, "Actor_01/03-02-07-01-01-01-01.wav")
    with pytest.raises(UserError, match="has no songs of emotion 07, only of 01, 02, 03, 04, 05, 06"):
        Ravdess(["song"]).scan(tmp_path)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("Actor_01/hello.wav", r"hello\.wav: not a RAVDESS name"),
        ("Actor_01/03-01-09-01-01-01-01.wav", "emotion code '09' is not one of 01, 02"),
        ("Actor_01/03-01-03-03-01-01-01.wav", "intensity code '03'"),
        ("Actor_01/03-01-03-01-07-01-01.wav", "statement code '07'"),
        ("Actor_01/03-01-03-01-01-01-25.wav", "actor code '25'"),
        ("Actor_01/04-01-03-01-01-01-01.wav", "modality code '04'"),
        ("Actor_01/3-01-03-01-01-01-01.wav", "modality code '3'"),
        ("Actor_01/03-01-03-01-01-01-02.wav", "says actor 02, but it lies in Actor_01"),
        ("Actor_01/03-01-01-02-01-01-01.wav", "no strong intensity"),
        ("Actor_01/03-01-03-01-01-01-01.flac", "same recording by name"),
    ],
)
def test_names_against_the_rules_are_refused(tmp_path, name, reason):
    write_ravdess(tmp_path, actors=(1,))
    touch(tmp_path, name)
    with pytest.raises(UserError, match=reason):
        Ravdess().scan(tmp_path)


def test_missing_and_empty_folders(tmp_path):
    with pytest.raises(UserError, match=r"does not exist; .*zenodo.*, or set preprocess\.path\.corpus_path"):
        Ravdess().scan(tmp_path / "nowhere")
    with pytest.raises(UserError, match="no Actor_XX folder"):
        Ravdess().scan(tmp_path)
    touch(tmp_path, "Actor_01/03-02-03-01-01-01-01.wav")
    with pytest.raises(UserError, match=r"no usable recording of RAVDESS \(1 of vocal channel 02 \(song\)\)"):
        Ravdess().scan(tmp_path)
    with pytest.raises(UserError, match="unknown corpus 'EmoV'; known: RAVDESS"):
        get_corpus("EmoV")


@pytest.mark.data
def test_the_real_corpus_is_read_whole():
    scan = Ravdess().scan(real_data("RAVDESS"))
    assert len(scan.utterances) == len({item.name for item in scan.utterances})
    folder = real_data("RAVDESS")
    assert len(scan.utterances) == len(list(folder.glob("Actor_*/*.flac"))) and not scan.left_out
    grids = {path.stem for path in real_data("TextGrid").glob("*/*.TextGrid")}
    assert grids == {item.name for item in scan.utterances}
