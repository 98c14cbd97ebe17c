"""What download.py does to a corpus's folder and to the disk."""

import json
import resource
import shutil

import pytest

import download
import downloads.folder
from downloads.archives import RELEASES, Archive
from downloads.folder import MARKER
from downloads.install import install
from downloads.selection import select
from downloads.server import Network
from errors import UserError
from tests.file_server import FileServer
from tests.processes import assert_ok, assert_refused
from tests.small_archives import archive_of, corpus, md5, process, random_zip, zipped
from tests.small_corpus import tree

LOCAL = Network(timeout=5.0, retries=1, plain_http=True)


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")


SPEECH = zipped({"Actor_01/speech.wav": b"speech", "Actor_02/speech.wav": b"speech", "README": b"of the speech"})
SONG = zipped({"Actor_01/song.wav": b"song", "README": b"of the song"})
SUBSET = zipped({"dev-clean/a.wav": b"a", "dev-clean/deep/b.wav": b"b", "README": b"again"})
CLASH = zipped({"Actor_01/speech.wav": b"something else"})


@pytest.fixture
def server():
    files = {"/speech.zip": SPEECH, "/song.zip": SONG, "/subset.zip": SUBSET, "/clash.zip": CLASH}
    with FileServer(files) as running:
        yield running


def archives(server: FileServer, *parts: str) -> list[Archive]:
    return [archive_of(server.files[f"/{part}.zip"], server.url(f"/{part}.zip"), part) for part in parts]


# ----------------------------------------------------------------------------------------------------------- parts


def test_parts_that_share_folders_are_merged_into_one_corpus(tmp_path, server):
    done = install(archives(server, "speech", "song"), tmp_path / "R", LOCAL)
    assert corpus(tmp_path / "R") == {
        "Actor_01/speech.wav": b"speech", "Actor_02/speech.wav": b"speech", "Actor_01/song.wav": b"song",
        "README": b"of the speech",
    }  # fmt: skip
    assert done.files == 4
    parts = json.loads((tmp_path / "R" / MARKER).read_text())["parts"]
    assert {part: facts["files"] for part, facts in parts.items()} == {"speech": 3, "song": 1}
    assert install(archives(server, "song"), tmp_path / "R", LOCAL).files == 0  # any part of it is there


def test_files_that_are_in_two_archives_and_differ_stop_everything(tmp_path, server):
    with pytest.raises(UserError, match=r"Actor_01/speech\.wav is in two of the archives"):
        install(archives(server, "speech", "clash"), tmp_path / "R", LOCAL)
    assert not (tmp_path / "R").exists()


def test_a_part_with_folders_of_its_own_is_added_later(tmp_path, server):
    install(archives(server, "speech"), tmp_path / "R", LOCAL, grows=True)
    before = corpus(tmp_path / "R")
    assert install(archives(server, "speech", "subset"), tmp_path / "R", LOCAL, grows=True).files == 3
    assert corpus(tmp_path / "R") == before | {"dev-clean/a.wav": b"a", "dev-clean/deep/b.wav": b"b"}
    assert len(server.asked) == 2 and sorted(path.name for path in tmp_path.iterdir()) == ["R"]
    assert install(archives(server, "speech", "subset"), tmp_path / "R", LOCAL, grows=True).files == 0
    (tmp_path / "R" / "dev-clean" / "a.wav").unlink()
    with pytest.raises(UserError, match="holds 4 files, but 5 were unpacked"):
        install(archives(server, "speech", "subset"), tmp_path / "R", LOCAL, grows=True)


def test_adding_a_part_goes_on_after_an_interruption(tmp_path, server, monkeypatch):
    """Killed after its folder was moved in and before the marker said so: the next run says so."""
    install(archives(server, "speech"), tmp_path / "R", LOCAL, grows=True)

    def write(path, value, calls=[]):  # noqa: B006 - counts
        calls.append(path)
        if len(calls) == 2:
            raise KeyboardInterrupt
        write_json(path, value)

    write_json = downloads.folder.write_json
    monkeypatch.setattr(downloads.folder, "write_json", write)
    with pytest.raises(KeyboardInterrupt):
        install(archives(server, "subset"), tmp_path / "R", LOCAL, grows=True)
    monkeypatch.undo()
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    assert (tmp_path / "R" / "dev-clean").is_dir()
    install(archives(server, "subset"), tmp_path / "R", LOCAL, grows=True)
    marker = json.loads((tmp_path / "R" / MARKER).read_text())
    assert set(marker["parts"]) == {"speech", "subset"} and marker["files"] == 5 and "adding" not in marker


def test_a_part_that_shares_folders_is_not_added_later(tmp_path, server):
    install(archives(server, "speech"), tmp_path / "R", LOCAL)
    before = tree(tmp_path / "R")
    with pytest.raises(UserError, match=r"holds speech in folders that song shares; .*--part speech --part song"):
        install(archives(server, "song"), tmp_path / "R", LOCAL)
    with pytest.raises(UserError, match=r"Actor_01 is in the way"):
        install(archives(server, "song"), tmp_path / "R", LOCAL, grows=True)
    assert tree(tmp_path / "R") == before


def test_the_configuration_names_the_parts_unless_the_command_does():
    def parts(*named, suggested=(), corpus="LibriTTS"):
        return [archive.part for archive in select(RELEASES[corpus], named, suggested, None, None)]

    assert parts() == ["train-clean-100"] and parts(corpus="RAVDESS") == ["speech"]
    assert parts(suggested=["dev-clean", "train-clean-100"]) == ["train-clean-100", "dev-clean"]
    assert parts("test-other", suggested=["dev-clean"]) == ["test-other"]
    assert parts(suggested=["speech", "song"], corpus="RAVDESS") == ["speech", "song"]
    with pytest.raises(UserError, match=r"--part x: there is no such part; known: speech, song"):
        parts("x", corpus="RAVDESS")


@pytest.mark.parametrize(
    "dataset, flags, said",
    [
        ("RAVDESS", ["--checksum", "md5:" + "0" * 32], "--checksum is for the archive of --url"),
        ("RAVDESS", ["--url", "https://h/a.zip", "--checksum", "md5:12"], "expected md5: and 32"),
        ("RAVDESS", ["--url", "https://h/a", "--part", "speech", "--part", "song"], "one archive"),
        ("ESD", ["--url", "https://h/a.zip"], "--url needs --checksum"),
        ("ESD", ["--url", "ftp://h/a.zip", "--checksum", "md5:" + "0" * 32], "is not a URL"),
        ("RAVDESS", ["--part", "video"], "there is no such part"),
    ],
)
def test_flags_that_do_not_go_together_are_refused(tmp_path, dataset, flags, said):
    with pytest.raises(UserError, match=said):
        download.main(["--dataset", dataset, "--to", str(tmp_path / "R"), *flags])
    assert list(tmp_path.iterdir()) == []


def test_a_corpus_without_a_release_comes_from_a_given_url(tmp_path, server, capsys):
    url = server.url("/speech.zip?x=/../y")
    flags = ["--to", str(tmp_path / "E"), "--url", url, "--checksum", md5(SPEECH)]
    download.main(["--dataset", "ESD", *flags])
    assert len(corpus(tmp_path / "E")) == 3 and "3 files" in capsys.readouterr().out


# ---------------------------------------------------------------------------------------------------------- folders


def test_what_somebody_else_put_there_is_left_alone(tmp_path, server):
    (tmp_path / "R").mkdir()
    (tmp_path / "R" / "mine.wav").write_bytes(b"mine")
    (tmp_path / "F").write_bytes(b"a file")
    for name, said in (("R", "was not filled by download.py"), ("F", "is not a folder")):
        with pytest.raises(UserError, match=said):
            install(archives(server, "speech"), tmp_path / name, LOCAL)
    assert server.asked == [] and tree(tmp_path) == {"R/mine.wav": b"mine", "F": b"a file"}


def test_an_empty_folder_and_a_link_to_another_disk_are_filled(tmp_path, server):
    (tmp_path / "empty").mkdir()
    (tmp_path / "big").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "big" / "R")
    for name in ("empty", "link"):
        install(archives(server, "speech"), tmp_path / name, LOCAL)
        assert len(corpus(tmp_path / name)) == 3
    assert (tmp_path / "link").is_symlink() and [path.name for path in (tmp_path / "big").iterdir()] == ["R"]


def test_a_corpus_with_files_missing_is_not_called_there(tmp_path, server):
    install(archives(server, "speech"), tmp_path / "R", LOCAL)
    shutil.rmtree(tmp_path / "R" / "Actor_02")
    with pytest.raises(UserError, match="holds 2 files, but 3 were unpacked there"):
        install(archives(server, "speech"), tmp_path / "R", LOCAL)


def test_keep_archive_keeps_it_and_the_next_download_uses_it(tmp_path, server):
    install(archives(server, "speech"), tmp_path / "R", LOCAL, keep_archives=True)
    assert tree(tmp_path / "R.download") == {"speech.zip": SPEECH}
    shutil.rmtree(tmp_path / "R")
    install(archives(server, "speech"), tmp_path / "R", LOCAL)
    assert len(server.asked) == 1 and not (tmp_path / "R.download").exists()


# ------------------------------------------------------------------------------------------------------------- disks


def test_a_disk_that_is_short_is_noticed_before_the_first_byte(tmp_path, server):
    huge = Archive("speech", "speech.zip", server.url("/speech.zip"), f"md5:{'0' * 32}", 10**17, 10**17)
    with pytest.raises(UserError, match=r"the disk is short: 200,000\.0 TB are needed .* --to DIR"):
        install([huge], tmp_path / "R", LOCAL)
    assert server.asked == []
    server.total = 10**17  # the table does not know, but the server says so
    unknown = Archive("speech", "speech.zip", server.url("/speech.zip"), f"md5:{'0' * 32}", None, None)
    with pytest.raises(UserError, match="the disk is short"):
        install([unknown], tmp_path / "R", LOCAL)
    assert len(server.asked) == 1 and list(tmp_path.iterdir()) == []


def test_a_write_that_fails_is_one_line_and_what_was_loaded_stays(tmp_path, server):
    """A limit on the size of files stands for a full disk: the write itself fails."""
    server.files["/a.zip"] = random_zip()
    limit = 150_000
    refused = process(
        server, tmp_path / "R", preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    )
    assert_refused(refused, r"cannot write .*R\.download/a\.zip\.part: File too large")
    assert (tmp_path / "R.download" / "a.zip.part").read_bytes() == server.files["/a.zip"][:limit]
    assert_ok(process(server, tmp_path / "R"))
    assert server.asked[1].range == f"bytes={limit}-" and len(corpus(tmp_path / "R")) == 3


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path, server):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(UserError, match=r"cannot write .*file.*: Not a directory"):
        install(archives(server, "speech"), tmp_path / "file" / "R", LOCAL)
