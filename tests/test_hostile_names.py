"""Names of speakers and utterances that would lead out of their folder: refused in one line, or harmless.

They come from lists, folders, manifests, id maps, checkpoints and users' own lists of recordings.
"""

import json
import unicodedata

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from errors import UserError
from preprocessor.corpora.generic import Generic
from preprocessor.facts import MANIFEST
from preprocessor.sources import list_sources
from synthesis.requests import batch_requests, in_every_emotion, safe_name, single_request
from tests.fuzzing import inside
from tests.parsers_binary import CHECKPOINT, saved
from tests.processes import assert_ok, assert_refused, run_script, with_overrides
from tests.small_corpus import tree, write_ravdess, write_raw
from tests.test_hostile_files import put
from utils.checkpoint import read_checkpoint
from utils.files import read_json, write_json, write_text
from utils.metadata import Entry, IdMaps, metadata_line, read_metadata, write_metadata
from utils.names import LONGEST, problem_of

REFUSED = (
    "", "..", ".", "../../x", "/etc/passwd", "a/b", "a\\..\\..\\b", "C:\\x", "c:x", "x:stream", "a\0b", "\0", "a\nb",
    "a\tb",
    "x" * 256, "é" * 200, "😀" * 80, "CON", "con", "nul", "NUL.wav", "com1", "COM9.x", "lpt1", "aux ", "a.", "a ",
    ".a",
    "a|b", "a\x1b[2Jb", "a\x7fb", "a\u2028b", "a\u0085b", "\ud800", "~/x/..", "..\\x",
)  # fmt: skip
ALLOWED = (
    "a",
    "Actor_05",
    "0011",
    "anna-b",
    "Łukasz",
    "张伟",
    "김민수",
    "😀",
    "a.b",
    "console",
    "null",
    "com",
    "a b",
    "Ó'Neil",
    "~",
    "-rf",
)


@pytest.mark.parametrize("name", REFUSED)
def test_names_that_lead_out_are_refused_wherever_they_come_from(tmp_path, name):
    assert problem_of(name) is not None
    outside = tmp_path / "a" / "b" / "c"
    outside.mkdir(parents=True)
    listing, ids = outside / "val.txt", IdMaps.of(["anna"], ["angry"])
    entries = (Entry(name, "anna", ("K",), "x"), Entry("angry-a", name, ("K",), "x"))
    for entry in entries:
        listing.write_bytes(metadata_line(entry).encode("utf-8", "surrogatepass"))
        for read in (read_metadata, lambda path: batch_requests(path, ids)):
            with pytest.raises(UserError, match=r"val\.txt") as refusal:
                read(listing)
            assert str(refusal.value).isprintable()
    for field, value in (("speakers", {name: 0, "b": 1}), ("emotions", {"b": 1, name: 0})):
        path = put(saved({**CHECKPOINT, field: value}), outside / "5.pth.tar")
        with pytest.raises(UserError, match=r"5\.pth\.tar: " + field):
            read_checkpoint(path)
        (outside / "speakers.json").write_text(json.dumps({"b": 0}))
        (outside / "emotions.json").write_text(json.dumps({"b": 0}))
        (outside / f"{field}.json").write_text(json.dumps(value))
        with pytest.raises(UserError, match=rf"{field}\.json"):
            IdMaps.load(outside)


@pytest.mark.parametrize("name", ALLOWED)
def test_names_that_lead_nowhere_else_are_taken(tmp_path, name):
    assert problem_of(name) is None
    write_metadata(tmp_path / "val.txt", [Entry(name, name, ("K",), "x")])
    assert [entry.key for entry in read_metadata(tmp_path / "val.txt")] == [(name, name)]
    maps = IdMaps.of([name], ["sad"])
    maps.save(tmp_path)
    assert IdMaps.load(tmp_path) == maps
    write_text(tmp_path / f"{name}.json", "x")
    assert (tmp_path / f"{name}.json").read_text() == "x"


ANY_NAME = st.one_of(
    st.text(st.characters(codec=None), max_size=20),
    st.text(st.sampled_from("./\\:|ab \0\n~CONcon1é😀\u202e"), max_size=12),
    st.text(st.sampled_from("aé😀"), min_size=100, max_size=260),
)


@settings(max_examples=300, deadline=None)
@given(ANY_NAME, ANY_NAME)
@example("x" * 100, "y" * 130)
@example("x" * 100, "y" * 131)
def test_what_a_list_may_name_stays_in_its_folder_whole(tmp_path_factory, speaker, name):
    folder = tmp_path_factory.getbasetemp() / "names"
    folder.mkdir(exist_ok=True)
    line = metadata_line(Entry(name, speaker, ("K",), "x"))
    (folder / "val.txt").write_bytes(line.encode("utf-8", "surrogatepass"))
    try:
        (entry,) = read_metadata(folder / "val.txt")
    except UserError:
        return
    assert entry.key == (speaker, name)
    for made in (
        f"{speaker}-duration-{name}.npy",
        f"{speaker}_{name}.json",
        f"{name}.TextGrid",
        f"{speaker}-spker_embed.npy",
    ):
        assert inside(made)
        write_text(folder / made, "x")  # by way of a temporary name, which must fit, too
        (folder / made).unlink()
    assert len(speaker.encode()) + len(name.encode()) <= LONGEST


@settings(max_examples=150, deadline=None)
@given(ANY_NAME, ANY_NAME)
@example("nul", "")
def test_names_of_results_are_made_safe(speaker, text):
    for name in (safe_name(speaker), safe_name(f"{speaker}_angry_{text}")):
        assert (inside(f"{name}.wav") and name.isascii() and problem_of(name) is None) or name.lower() in (
            "con",
            "nul",
            "aux",
        )


def test_emotions_of_a_checkpoint_that_lead_out_never_become_names_of_results(tmp_path):
    """--emotion_id all puts each at the end of a name; the checkpoint is refused before."""
    path = put(saved({**CHECKPOINT, "emotions": {"../../x": 0}}), tmp_path / "5.pth.tar")
    with pytest.raises(UserError, match="no name of a speaker or an emotion"):
        read_checkpoint(path)
    request = single_request("Hello", "anna", "angry", None, None, None)
    for each in in_every_emotion(request, IdMaps.of(["anna"], ["angry", "sad"])):
        assert inside(f"{each.name}.wav")


# --------------------------------------------------------------------------------------- stages, on real files


@pytest.mark.parametrize("name", ["a|b", "a\nb|c|{K}|d", "nul", "x" * 240, "a:b", "trailing.", "\udcff", "a\x1b[2J"])
@pytest.mark.parametrize("what", ["speaker", "utterance"])
def test_recordings_that_lists_cannot_name_are_refused(tmp_path, name, what):
    raw = tmp_path / "raw" / (name if what == "speaker" else "anna")
    raw.mkdir(parents=True)
    (raw / f"{name if what == 'utterance' else 'a'}.lab").write_text("Kid")
    with pytest.raises(UserError, match=r"is not a file name.*rename it") as refusal:
        list(list_sources(tmp_path / "raw"))
    assert str(refusal.value).isprintable()


def test_preprocess_says_so_in_one_line_and_writes_nothing(tmp_path):
    write_raw(tmp_path / "raw", tmp_path / "grids")
    (tmp_path / "raw" / "Actor_01" / "angry-a|b.wav").write_bytes(b"x")
    flags = [f"preprocess.path.raw_path={tmp_path / 'raw'}", f"preprocess.path.preprocessed_path={tmp_path / 'out'}"]
    result = run_script(
        "preprocess.py", "--dataset", "Sample", "--textgrids", tmp_path / "grids", *with_overrides(flags)
    )
    assert_refused(result, r"basename 'angry-a\|b' is not a file name: it holds '\|'; rename it")
    assert not (tmp_path / "out").exists() or not tree(tmp_path / "out")


def test_a_manifest_removes_no_file_but_its_own(tmp_path):
    """prepare_align.py removes what it made and no longer wants, by the names in a manifest: it may be a stranger's."""
    write_ravdess(tmp_path / "corpus", actors=(1,))
    raw = tmp_path / "raw"
    flags = [f"preprocess.path.corpus_path={tmp_path / 'corpus'}", f"preprocess.path.raw_path={raw}"]
    arguments = ("prepare_align.py", "--dataset", "RAVDESS", "--jobs", 1, *with_overrides(flags))
    assert_ok(run_script(*arguments))
    before = tree(raw)
    path = raw / "Actor_01" / MANIFEST
    manifest = json.loads(path.read_text())
    victims = [tmp_path / "victim.wav", tmp_path / "victim.lab", raw / "other.wav"]
    for victim in victims:
        victim.write_text("mine")
    some = next(iter(manifest["files"].values()))
    for name in ("../../victim", str(tmp_path / "victim"), "../other"):
        path.write_text(json.dumps({**manifest, "peak": 0.1, "files": {**manifest["files"], name: some}}))
        assert_ok(run_script(*arguments))
        assert all(victim.read_text() == "mine" for victim in victims), name
        (raw / "other.wav").rename(tmp_path / "kept")
        assert tree(raw) == before
        (tmp_path / "kept").rename(raw / "other.wav")


SPEAKERS = (
    "../../x",
    "/tmp/x",
    "a/b",
    "..",
    ".",
    "a\\b",
    "a:b",
    "CON",
    "nul",
    "com1",
    "a.",
    ".a",
    "a b",
    "x" * 300,
    "😀",
    "é" * 40,
)


@pytest.mark.parametrize("speaker", SPEAKERS)
def test_own_lists_make_names_that_stay_inside_or_are_refused(tmp_path, speaker):
    put(b"", tmp_path / "wavs" / "a.wav")
    put(f"path,text,speaker\nwavs/a.wav,Hi,{speaker}\n".encode(), tmp_path / "metadata.csv")
    try:
        found = Generic().scan(tmp_path)
    except UserError as error:
        assert "metadata.csv:2" in str(error)
        return
    for each in found.utterances:
        assert inside(each.speaker) and problem_of(each.speaker) is None and problem_of(each.name) is None


@pytest.mark.parametrize(
    "path", ["../../x.wav", "/etc/passwd", "wavs/../../x.wav", "~/x.wav", "x\0.wav", "wavs", "", "C:\\x.wav"]
)
def test_own_lists_read_nothing_outside_their_folder(tmp_path, path):
    folder = tmp_path / "a" / "b"
    put(b"", folder / "wavs" / "a.wav")
    put(b"", tmp_path / "x.wav")
    put(f"path,text,speaker\n{path},Hi,anna\n".encode(), folder / "metadata.csv")
    with pytest.raises(UserError, match=r"metadata\.csv:2" if "\0" not in path else r"metadata\.csv"):
        Generic().scan(folder)


def test_bidirectional_marks_and_other_commands_reach_no_terminal():
    error = UserError("a\x1b[31m\u202eb\r\nc\ud800\x07")
    assert str(error) == "a\\x1b[31m\\u202eb c\\ud800\\x07"
    assert all(unicodedata.category(character)[0] != "C" for character in str(error))


def test_export_writes_only_into_its_folder(tmp_path):
    """The names of a checkpoint's speakers become names of files; they are refused when it is read."""
    options = [f"train.path.ckpt_path={tmp_path / 'ckpt'}", f"train.path.pretrained_path={tmp_path / 'to'}"]
    put(saved({**CHECKPOINT, "speakers": {"../../x": 0}}), tmp_path / "ckpt" / "5.pth.tar")
    result = run_script("export.py", "--dataset", "Sample", "--restore_step", 5, *with_overrides(options))
    assert_refused(result, r"5\.pth\.tar: speakers: '\.\./\.\./x' is no name")
    assert not (tmp_path / "to").exists()


def test_a_report_may_hold_names_that_are_no_utf_8(tmp_path):
    """Linux allows any bytes in a name; Python shows those that are no UTF-8 as lone surrogates."""
    write_json(tmp_path / "a.json", {"x\udcff.wav": "é\ud800"})
    assert read_json(tmp_path / "a.json", "x") == {"x\udcff.wav": "é\ud800"}
