"""download.py in processes of its own, killed and interrupted, with a real server on loopback."""

import hashlib
import io
import re
import signal
import subprocess
import zipfile

import pytest

import download
import prepare_align
from config import known_datasets, load_config
from downloads.archives import RELEASES, find_release
from downloads.selection import CHECKSUM
from downloads.server import check_url
from errors import UserError
from preprocessor.corpus import CORPORA
from tests.file_server import FileServer
from tests.processes import assert_ok, assert_refused, command
from tests.small_archives import LOCAL, corpus, loaded, md5, process, random_zip, started, wait_for, work, zipped
from tests.small_corpus import tree, write_ravdess


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")


def test_from_the_server_to_prepare_align_and_once_only(tmp_path):
    paths = write_ravdess(tmp_path / "source")
    content = zipped(tree(tmp_path / "source"))
    target = tmp_path / "data" / "RAVDESS"
    with FileServer({"/a.zip": content}) as server:
        first = process(server, target)
        assert_ok(first)
        again = process(server, target)
        assert_ok(again)
        assert len(server.asked) == 1 and server.sent == len(content)
    assert "CC BY-NC-SA 4.0" in first.stdout.splitlines()[0]
    assert f"python prepare_align.py --dataset RAVDESS --corpus_path {target}" in first.stdout
    assert "is there already" in again.stdout and again.stderr == ""
    assert corpus(target) == tree(tmp_path / "source")
    assert [path.name for path in target.parent.iterdir()] == ["RAVDESS"]
    raw = tmp_path / "raw"
    flags = ["--corpus_path", str(target), "--set", f"preprocess.path.raw_path={raw}", "--jobs", "1"]
    prepare_align.main(["--dataset", "RAVDESS", *flags])
    assert len(list(raw.rglob("*.wav"))) == len(paths)


def test_the_published_checksum_is_in_force_for_a_mirror(tmp_path):
    """Without --checksum a mirror must have what the table says: here already the size differs."""
    with FileServer({"/Audio_Speech_Actors_01-24.zip": random_zip()}) as server:
        url = server.url("/Audio_Speech_Actors_01-24.zip")
        with pytest.raises(UserError, match=r"offers 300,\d+ bytes, but Audio_Speech\S+ has 208,468,073"):
            download.main(["--dataset", "RAVDESS", "--to", str(tmp_path / "R"), "--url", url])
    assert not (tmp_path / "R").exists() and work(tmp_path / "R") == []


def by_hand(dataset: str) -> bool:
    config = load_config(dataset).preprocess
    return dataset == "Sample" or bool(config.datasets) or find_release(dataset, config.corpus) is None


@pytest.mark.parametrize("dataset", [name for name in known_datasets() if by_hand(name)])
def test_what_cannot_be_downloaded_says_how_to_get_it(dataset, tmp_path):
    config = load_config(dataset).preprocess
    with pytest.raises(UserError) as refusal:
        download.main(["--dataset", dataset, "--to", str(tmp_path / "corpus")])
    said = str(refusal.value)
    assert config.datasets or "by hand" in said or "make_sample_corpus.py" in said
    assert all(f"download.py --dataset {member}" in said for member in config.datasets)
    assert list(tmp_path.iterdir()) == []


def test_a_corpus_without_a_release_is_one_line_and_code_2():
    refused = subprocess.run(
        command("download.py", "--dataset", "ESD"), capture_output=True, text=True, env=LOCAL, check=False
    )
    assert_refused(refused, "cannot be downloaded", "data/ESD", "github.com/HLTSingapore")
    assert refused.stdout == ""


def test_a_wrong_checksum_removes_the_file_and_is_one_line(tmp_path):
    content, other = random_zip(1), random_zip(2)
    with FileServer({"/a.zip": other}) as server:
        refused = process(server, tmp_path / "R", "--checksum", md5(content))
        assert_refused(refused, md5(content)[4:], md5(other)[4:], "removed")
        assert not (tmp_path / "R").exists() and work(tmp_path / "R") == []
        server.files["/a.zip"] = content
        sha256 = f"sha256:{hashlib.sha256(content).hexdigest().upper()}"
        assert_ok(process(server, tmp_path / "R", "--checksum", sha256))
    assert len(corpus(tmp_path / "R")) == 3


def test_killed_while_loading_it_goes_on_and_the_bytes_are_the_same(tmp_path):
    content = random_zip(size=400_000)
    with FileServer({"/a.zip": content}, stalls=[300_000, 200_000]) as server:
        for whole in (300_000, 500_000):
            running = started(server, tmp_path / "R", "--keep_archive")
            wait_for(lambda whole=whole: loaded(tmp_path / "R") >= whole)
            running.kill()
            running.communicate()
            assert not (tmp_path / "R").exists()
        have = loaded(tmp_path / "R")
        assert_ok(process(server, tmp_path / "R", "--keep_archive"))
        assert server.ranges_asked[-1] == f"bytes={have}-" and len(server.asked) == 3
    assert (tmp_path / "R.download" / "a.zip").read_bytes() == content
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert corpus(tmp_path / "R") == {name: archive.read(name) for name in archive.namelist()}


def test_killed_at_any_moment_the_corpus_is_missing_or_whole(tmp_path):
    content = random_zip(files=500, size=100)
    target = tmp_path / "R"
    with FileServer({"/a.zip": content}) as server:
        process(server, tmp_path / "once", "--keep_archive")
        expected = tree(tmp_path / "once")
        unpacking = tmp_path / "R.download" / "unpacking" / "0"
        for files in (1, 450):
            running = started(server, target)
            wait_for(lambda files=files: target.exists() or (unpacking / f"Actor_{files:02d}").exists())
            running.kill()
            running.communicate()
            assert not target.exists() or tree(target) == expected
        assert_ok(process(server, target))
        assert len(server.asked) == 2  # what was loaded once was not loaded again
    assert tree(target) == expected and "unpacking" not in work(target)


def test_ctrl_c_while_loading_keeps_what_is_loaded(tmp_path):
    content = random_zip()
    target = tmp_path / "R"
    with FileServer({"/a.zip": content}, stalls=[100_000]) as server:
        running = started(server, target)
        wait_for(lambda: loaded(target) >= 100_000)
        running.send_signal(signal.SIGINT)
        output, errors = running.communicate(timeout=60)
        assert running.returncode == 130 and errors == "interrupted\n" and "the same command goes on" in output
        assert work(target) == ["a.zip.part", "a.zip.part.json"] and not target.exists()
        assert_ok(process(server, target))
        assert server.asked[1].range is not None
    assert len(corpus(target)) == 3


def test_ctrl_c_while_unpacking_leaves_nothing_half_unpacked(tmp_path):
    content = random_zip(files=2500, size=200)
    with FileServer({"/a.zip": content}) as server:
        for attempt in range(10):  # on a busy machine it may be over before it is seen
            target = tmp_path / f"R{attempt}"
            running = started(server, target)
            begun = tmp_path / f"R{attempt}.download" / "unpacking" / "0" / "Actor_100"
            wait_for(lambda target=target, begun=begun: begun.exists() or target.exists())
            running.send_signal(signal.SIGINT)
            _, errors = running.communicate(timeout=60)
            if running.returncode == 130 and not target.exists():
                break
        assert running.returncode == 130 and errors == "interrupted\n"
        assert work(target) == ["a.zip"] and not target.exists()
        assert_ok(process(server, target))
        assert len(server.asked) == attempt + 1
    assert len(corpus(target)) == 2500


def test_two_at_once_do_not_meet(tmp_path):
    content = random_zip()
    with FileServer({"/a.zip": content}, stalls=[100_000]) as server:
        running = started(server, tmp_path / "R")
        wait_for(lambda: loaded(tmp_path / "R") > 0)
        assert_refused(process(server, tmp_path / "R"), "another download.py is at work")
        server.go_on.set()
        running.communicate(timeout=60)
        assert running.returncode == 0 and len(server.asked) == 1


def test_the_table_is_complete_and_every_url_is_https():
    for name, release in RELEASES.items():
        assert name in CORPORA or name == "LibriTTS-R"
        assert len({archive.part for archive in release.archives}) == len(release.archives)
        assert len({archive.file for archive in release.archives}) == len(release.archives)
        for archive in release.archives:
            check_url(archive.url, plain_http=False)
            assert CHECKSUM.fullmatch(archive.checksum)
            assert archive.unpacked > (archive.size or 0) > -1
            assert re.fullmatch(r"[\w.-]+\.(zip|tar\.gz|tar\.bz2)", archive.file)
            assert archive.url.partition("?")[0].endswith((archive.file, "/content"))
    assert RELEASES["RAVDESS"].archives[0].checksum == "md5:bc696df654c87fed845eb13823edef8a"


def test_datasets_find_their_release():
    assert find_release("RAVDESS_reference", "RAVDESS") is RELEASES["RAVDESS"]
    assert find_release("LibriTTS_R", "LibriTTS") is find_release("LibriTTS-R", "LibriTTS") is RELEASES["LibriTTS-R"]
    assert find_release("LibriTTS", "LibriTTS") is RELEASES["LibriTTS"]
    assert find_release("VCTK", "generic") is None and find_release("ESD", "ESD") is None
