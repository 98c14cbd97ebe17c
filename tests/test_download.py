"""download.py: real processes, and the functions behind it, against a real server on loopback."""

import hashlib
import re
import signal
import subprocess
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest

import download
import prepare_align
from config import known_datasets, load_config
from downloads.archives import RELEASES, Archive, find_release
from downloads.folder import MARKER
from downloads.install import install
from downloads.selection import CHECKSUM
from downloads.server import Network, check_url
from errors import UserError
from preprocessor.corpus import CORPORA
from tests.file_server import FileServer
from tests.processes import ENVIRONMENT, assert_ok, assert_refused, command
from tests.small_corpus import tree, write_ravdess

PATIENT = Network(timeout=2.0, retries=3, plain_http=True)
LOCAL = {**ENVIRONMENT, "no_proxy": "127.0.0.1"}


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")


def zipped(folder: Path, path: Path) -> bytes:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(folder.rglob("*")):
            if file.is_file():
                archive.write(file, file.relative_to(folder))
    return path.read_bytes()


def random_zip(path: Path, seed: int = 1, files: int = 3, size: int = 100_000) -> bytes:
    """An archive of noise."""
    generator = np.random.default_rng(seed)
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(files):
            archive.writestr(f"Actor_{number:02d}/{seed}-{number}.wav", generator.bytes(size))
    return path.read_bytes()


def md5(content: bytes) -> str:
    return f"md5:{hashlib.md5(content).hexdigest()}"


def archive_of(content: bytes, url: str, part: str = "speech", known: bool = True, **facts) -> Archive:
    """A line of the table for this content."""
    size = len(content) if known else None
    return Archive(part, f"{part}.zip", url, md5(content), size, None, **facts)


def arguments(server: FileServer, target: Path, *flags: object) -> list[str]:
    url = server.url("/a.zip")
    checksum = [] if "--checksum" in flags else ["--checksum", md5(server.files["/a.zip"])]
    return command("download.py", "--dataset", "RAVDESS", "--to", target, "--url", url, *checksum, *flags)


def process(server: FileServer, target: Path, *flags: object, **options) -> subprocess.CompletedProcess:
    return subprocess.run(
        arguments(server, target, *flags), capture_output=True, text=True, timeout=60, env=LOCAL, check=False, **options
    )


def started(server: FileServer, target: Path, *flags: object) -> subprocess.Popen:
    return subprocess.Popen(
        arguments(server, target, *flags), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=LOCAL
    )


def wait_for(condition, seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.002)


def loaded(target: Path) -> int:
    part = target.with_name(f"{target.name}.download") / "a.zip.part"
    return part.stat().st_size if part.exists() else 0


def work(target: Path) -> list[str]:
    """What is left of the work, apart from the lock, which the kernel frees."""
    folder = target.with_name(f"{target.name}.download")
    return sorted({path.name for path in folder.iterdir()} - {"lock"}) if folder.exists() else []


# ------------------------------------------------------------------------------------------------- the whole way


def test_from_the_server_to_prepare_align_and_once_only(tmp_path):
    paths = write_ravdess(tmp_path / "source")
    content = zipped(tmp_path / "source", tmp_path / "source.zip")
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
    found = tree(target)
    assert found.pop(MARKER) and found == tree(tmp_path / "source")
    assert [path.name for path in target.parent.iterdir()] == ["RAVDESS"]
    raw = tmp_path / "raw"
    prepare_align.main(
        [
            "--dataset",
            "RAVDESS",
            "--corpus_path",
            str(target),
            "--set",
            f"preprocess.path.raw_path={raw}",
            "--jobs",
            "1",
        ]
    )
    assert len(list(raw.rglob("*.wav"))) == len(paths)


def test_the_published_checksum_is_in_force_for_a_mirror(tmp_path):
    """Without --checksum a mirror must have what the table says: here already the size differs."""
    with FileServer({"/Audio_Speech_Actors_01-24.zip": random_zip(tmp_path / "a.zip")}) as server:
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


# ------------------------------------------------------------------------------------------- connections that end


@pytest.mark.parametrize("reset", [False, True])
@pytest.mark.parametrize("known", [False, True])
def test_a_dropped_connection_is_resumed_where_it_ended(tmp_path, reset, known):
    content = random_zip(tmp_path / "a.zip")
    with FileServer({"/a.zip": content}, drops=[100_000, 90_000], reset=reset) as server:
        install([archive_of(content, server.url("/a.zip"), known=known)], tmp_path / "R", PATIENT)
        begins = [int(asked.range.removeprefix("bytes=").removesuffix("-")) for asked in server.asked[1:]]
        assert server.asked[0].range is None and len(begins) == 2 and 0 < begins[0] < begins[1]
        assert all(asked.if_range == '"one"' and asked.status == 206 for asked in server.asked[1:])
        if not reset:  # with a reset, what was under way is lost
            assert begins == [100_000, 190_000] and server.sent == len(content)
    assert len(tree(tmp_path / "R")) == 3 + 1


def test_a_server_that_ignores_ranges_begins_anew(tmp_path):
    content = random_zip(tmp_path / "a.zip")
    with FileServer({"/a.zip": content}, drops=[100_000], ranges=False) as server:
        install([archive_of(content, server.url("/a.zip"))], tmp_path / "R", PATIENT)
        assert [asked.status for asked in server.asked] == [200, 200]
        assert server.sent == 100_000 + len(content)


@pytest.mark.parametrize(
    "before, after",
    [
        ({}, {"etag": '"two"'}),  # If-Range differs: the server sends all of it
        ({"if_range": False}, {"etag": '"two"'}),  # the server does not look at If-Range
        ({"etag": None, "modified": "Mon, 01 Jan 2024 00:00:00 GMT"}, {"modified": "Tue, 02 Jan 2024 00:00:00 GMT"}),
        ({"etag": None}, {"files": 4}),  # nothing tells it but the size
    ],
)
def test_a_file_that_changed_meanwhile_is_never_patched_together(tmp_path, before, after):
    old = random_zip(tmp_path / "old.zip", seed=1)
    new = random_zip(tmp_path / "new.zip", seed=2, files=after.pop("files", 3))
    archive = Archive("speech", "speech.zip", "", md5(new), None, None)
    with FileServer({"/a.zip": old}, drops=[100_000], **before) as server:
        archive = Archive("speech", "speech.zip", server.url("/a.zip"), md5(new), None, None)
        with pytest.raises(UserError, match="connection"):
            install([archive], tmp_path / "R", Network(retries=0, plain_http=True))
        assert work(tmp_path / "R") == ["speech.zip.part", "speech.zip.part.json"]
        server.files["/a.zip"] = new
        for name, value in after.items():
            setattr(server, name, value)
        install([archive], tmp_path / "R", PATIENT)
        assert server.asked[1].range == "bytes=100000-"
    assert all(name == MARKER or "/2-" in name for name in tree(tmp_path / "R"))


def test_a_complete_part_and_an_archive_put_there_by_hand_are_not_loaded_again(tmp_path):
    content = random_zip(tmp_path / "a.zip")
    with FileServer({"/a.zip": content}) as server:
        for name, known, requests in (("part", True, 0), ("part", False, 1), ("whole", False, 0)):
            target = tmp_path / f"{name}-{known}"
            folder = tmp_path / f"{target.name}.download"
            folder.mkdir()
            (folder / ("speech.zip" if name == "whole" else "speech.zip.part")).write_bytes(content)
            server.asked.clear()
            install([archive_of(content, server.url("/a.zip"), known=known)], target, PATIENT)
            assert [asked.status for asked in server.asked] == [416] * requests
            assert len(tree(target)) == 4


@pytest.mark.parametrize("known", [False, True])
def test_a_part_that_is_too_long_is_begun_anew(tmp_path, known):
    content = random_zip(tmp_path / "a.zip")
    (tmp_path / "R.download").mkdir()
    (tmp_path / "R.download" / "speech.zip.part").write_bytes(content + b"more")
    with FileServer({"/a.zip": content}) as server:
        install([archive_of(content, server.url("/a.zip"), known=known)], tmp_path / "R", PATIENT)
    assert len(tree(tmp_path / "R")) == 4


def test_a_body_without_a_length_is_loaded_and_must_not_outgrow_the_archive(tmp_path):
    content = random_zip(tmp_path / "a.zip")
    with FileServer({"/a.zip": content}, chunked=True) as server:
        install([archive_of(content, server.url("/a.zip"))], tmp_path / "R", PATIENT)
        server.files["/a.zip"] = content * 2
        with pytest.raises(UserError, match="sends more than the 300"):
            install([archive_of(content, server.url("/a.zip"))], tmp_path / "S", PATIENT)
    assert len(tree(tmp_path / "R")) == 4 and not (tmp_path / "S").exists()


def test_a_server_that_stalls_is_asked_again(tmp_path):
    content = random_zip(tmp_path / "a.zip")
    with FileServer({"/a.zip": content}, stalls=[160_000]) as server:
        install([archive_of(content, server.url("/a.zip"))], tmp_path / "R", Network(0.5, 1, plain_http=True))
        assert server.ranges_asked[0] is None and re.fullmatch(r"bytes=1\d{5}-", server.ranges_asked[1])


# ------------------------------------------------------------------------------------- servers that say something


def test_errors_of_the_moment_are_tried_again_and_only_so_often(tmp_path):
    content = random_zip(tmp_path / "a.zip")
    statuses = [(500, {}), (429, {"Retry-After": "0"}), (503, {"Retry-After": "1"})]
    with FileServer({"/a.zip": content}, statuses=statuses) as server:
        begun = time.monotonic()
        install([archive_of(content, server.url("/a.zip"))], tmp_path / "R", PATIENT)
        assert time.monotonic() - begun > 1.4 and len(server.asked) == 4  # 0.5 s, none, the second asked for
        server.asked.clear()
        server.statuses = [(502, {"Retry-After": "0"})] * 9
        with pytest.raises(UserError, match=r"502 .* 4 times in a row"):
            install([archive_of(content, server.url("/a.zip"))], tmp_path / "S", PATIENT)
        assert len(server.asked) == 4


@pytest.mark.parametrize("status", [401, 403, 404, 410])
def test_other_errors_are_final(tmp_path, status):
    with FileServer({"/a.zip": b"x"}, statuses=[(status, {})]) as server:
        with pytest.raises(UserError, match=f"answers {status} .*--url"):
            install([archive_of(b"x", server.url("/a.zip"))], tmp_path / "R", PATIENT)
        assert len(server.asked) == 1


def test_no_server_at_all_is_one_line(tmp_path):
    with FileServer({}) as server:
        url = server.url("/a.zip")
    with pytest.raises(UserError, match=r"refused.*2 times in a row"):
        install([archive_of(b"x", url)], tmp_path / "R", Network(retries=1, plain_http=True))
    assert list(tmp_path.iterdir()) == []


def test_redirects_are_followed_also_when_resuming(tmp_path):
    content = random_zip(tmp_path / "a.zip")
    with FileServer({"/real.zip": content}, redirects={"/a.zip": "/b", "/b": "/real.zip"}, drops=[100_000]) as server:
        install([archive_of(content, server.url("/a.zip"))], tmp_path / "R", PATIENT)
        assert [asked.path for asked in server.asked if asked.status != 302] == ["/real.zip"] * 2
        assert server.asked[-1].status == 206


@pytest.mark.parametrize("place", ["file:///etc/hostname", "ftp://127.0.0.1/a.zip", "/a.zip", "http://user@127.0.0.1/"])
def test_redirects_to_nowhere_good_are_refused(tmp_path, place):
    with FileServer({}, redirects={"/a.zip": place}) as server, pytest.raises(UserError, match=r"is not a URL|30\d"):
        install([archive_of(b"x", server.url("/a.zip"))], tmp_path / "R", PATIENT)
    assert not (tmp_path / "R").exists() and work(tmp_path / "R") == []


@pytest.mark.parametrize(
    "url",
    ["ftp://host/a.zip", "file:///etc/passwd", "https://", "host/a.zip", "https://u:p@host/a", "https://h/a b", "x"],
)
def test_what_is_no_url_is_refused(url):
    with pytest.raises(UserError, match="is not a URL to download from"):
        check_url(url, plain_http=True)


def test_plain_http_is_for_an_explicit_url_only():
    check_url("http://mirror.example/a.zip", plain_http=True)
    check_url("https://mirror.example/a.zip", plain_http=False)
    with pytest.raises(UserError, match="must begin with https://"):
        check_url("http://mirror.example/a.zip", plain_http=False)


# --------------------------------------------------------------------------------------------------- wrong content


def test_a_wrong_checksum_removes_the_file_and_is_one_line(tmp_path):
    content, other = random_zip(tmp_path / "a.zip", 1), random_zip(tmp_path / "b.zip", 2)
    with FileServer({"/a.zip": other}) as server:
        refused = process(server, tmp_path / "R", "--checksum", md5(content))
        assert_refused(refused, md5(content)[4:], md5(other)[4:], "removed")
        assert not (tmp_path / "R").exists() and work(tmp_path / "R") == []
        server.files["/a.zip"] = content
        assert_ok(
            process(server, tmp_path / "R", "--checksum", f"sha256:{hashlib.sha256(content).hexdigest().upper()}")
        )
    assert len(tree(tmp_path / "R")) == 4


# ---------------------------------------------------------------------------------------------- ends of the process


def test_killed_while_loading_it_goes_on_and_the_bytes_are_the_same(tmp_path):
    content = random_zip(tmp_path / "a.zip", size=400_000)
    with FileServer({"/a.zip": content}, stalls=[300_000, 200_000, 100_000]) as server:
        for whole in (300_000, 500_000, 600_000):
            running = started(server, tmp_path / "R", "--keep_archive")
            wait_for(lambda whole=whole: loaded(tmp_path / "R") >= whole)
            running.kill()
            running.communicate()
            assert not (tmp_path / "R").exists()
        have = loaded(tmp_path / "R")
        assert_ok(process(server, tmp_path / "R", "--keep_archive"))
        assert server.ranges_asked[-1] == f"bytes={have}-" and len(server.asked) == 4
    assert (tmp_path / "R.download" / "a.zip").read_bytes() == content
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        expected = {name: archive.read(name) for name in archive.namelist()}
    assert {name: data for name, data in tree(tmp_path / "R").items() if name != MARKER} == expected


def test_killed_at_any_moment_the_corpus_is_missing_or_whole(tmp_path):
    content = random_zip(tmp_path / "a.zip", files=1000, size=100)
    target = tmp_path / "R"
    with FileServer({"/a.zip": content}) as server:
        process(server, tmp_path / "once", "--keep_archive")
        expected = tree(tmp_path / "once")
        unpacking = tmp_path / "R.download" / "unpacking" / "0"
        for files in (1, 900):
            running = started(server, target)
            wait_for(lambda files=files: target.exists() or (unpacking / f"Actor_{files:02d}").exists())
            running.kill()
            running.communicate()
            assert not target.exists() or tree(target) == expected
        assert_ok(process(server, target))
        assert len(server.asked) == 2  # what was loaded once was not loaded again
    assert tree(target) == expected and work(target) == []


def test_ctrl_c_while_loading_keeps_what_is_loaded(tmp_path):
    content = random_zip(tmp_path / "a.zip")
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
    assert len(tree(target)) == 3 + 1


def test_ctrl_c_while_unpacking_leaves_nothing_half_unpacked(tmp_path):
    content = random_zip(tmp_path / "a.zip", files=2500, size=200)
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
    assert len(tree(target)) == 2500 + 1


def test_two_at_once_do_not_meet(tmp_path):
    content = random_zip(tmp_path / "a.zip")
    with FileServer({"/a.zip": content}, stalls=[100_000]) as server:
        running = started(server, tmp_path / "R")
        wait_for(lambda: loaded(tmp_path / "R") > 0)
        assert_refused(process(server, tmp_path / "R"), "another download.py is at work")
        server.go_on.set()
        running.communicate(timeout=60)
        assert running.returncode == 0 and len(server.asked) == 1


# ---------------------------------------------------------------------------------------------------------- the table


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
