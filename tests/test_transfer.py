"""Loading over HTTP from servers that drop, stall, change, redirect, refuse and pretend."""

import re
import shutil
import subprocess
import time

import pytest

from downloads.archives import Archive
from downloads.install import install
from downloads.server import Network, check_url
from errors import UserError
from tests.file_server import FileServer
from tests.small_archives import archive_of, corpus, md5, random_zip, work

PATIENT = Network(timeout=5.0, retries=3, plain_http=True)


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")


@pytest.mark.parametrize("reset, known", [(False, True), (True, False)])
def test_a_dropped_connection_is_resumed_where_it_ended(tmp_path, reset, known):
    content = random_zip()
    with FileServer({"/a.zip": content}, drops=[100_000, 90_000], reset=reset) as server:
        install([archive_of(content, server.url("/a.zip"), known=known)], tmp_path / "R", PATIENT)
        begins = [int(asked.range.removeprefix("bytes=").removesuffix("-")) for asked in server.asked[1:]]
        assert server.asked[0].range is None and len(begins) == 2 and 0 < begins[0] < begins[1]
        assert all(asked.if_range == '"one"' and asked.status == 206 for asked in server.asked[1:])
        if not reset:  # with a reset, what was under way is lost
            assert begins == [100_000, 190_000] and server.sent == len(content)
    assert len(corpus(tmp_path / "R")) == 3


def test_a_server_that_ignores_ranges_begins_anew(tmp_path):
    content = random_zip()
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
    old = random_zip(seed=1)
    new = random_zip(seed=2, files=after.pop("files", 3))
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
    assert all("/2-" in name for name in corpus(tmp_path / "R"))


def test_a_complete_part_and_an_archive_put_there_by_hand_are_not_loaded_again(tmp_path):
    content = random_zip()
    with FileServer({"/a.zip": content}) as server:
        for name, known, requests in (("part", True, 0), ("part", False, 1), ("whole", False, 0)):
            target = tmp_path / f"{name}-{known}"
            folder = tmp_path / f"{target.name}.download"
            folder.mkdir()
            (folder / ("speech.zip" if name == "whole" else "speech.zip.part")).write_bytes(content)
            server.asked.clear()
            install([archive_of(content, server.url("/a.zip"), known=known)], target, PATIENT)
            assert [asked.status for asked in server.asked] == [416] * requests
            assert len(corpus(target)) == 3


@pytest.mark.parametrize("known", [False, True])
def test_a_part_that_is_too_long_is_begun_anew(tmp_path, known):
    content = random_zip()
    (tmp_path / "R.download").mkdir()
    (tmp_path / "R.download" / "speech.zip.part").write_bytes(content + b"more")
    with FileServer({"/a.zip": content}) as server:
        install([archive_of(content, server.url("/a.zip"), known=known)], tmp_path / "R", PATIENT)
    assert len(corpus(tmp_path / "R")) == 3


def test_a_body_without_a_length_is_loaded_and_must_not_outgrow_the_archive(tmp_path):
    content = random_zip()
    with FileServer({"/a.zip": content}, chunked=True) as server:
        install([archive_of(content, server.url("/a.zip"))], tmp_path / "R", PATIENT)
        server.files["/a.zip"] = content * 2
        with pytest.raises(UserError, match="sends more than the 300"):
            install([archive_of(content, server.url("/a.zip"))], tmp_path / "S", PATIENT)
    assert len(corpus(tmp_path / "R")) == 3 and not (tmp_path / "S").exists()


def test_a_server_that_stalls_is_asked_again(tmp_path):
    content = random_zip()
    with FileServer({"/a.zip": content}, stalls=[160_000]) as server:
        install([archive_of(content, server.url("/a.zip"))], tmp_path / "R", Network(0.5, 9, plain_http=True))
        assert server.ranges_asked[0] is None and re.fullmatch(r"bytes=1\d{5}-", server.ranges_asked[-1])


def test_errors_of_the_moment_are_tried_again_and_only_so_often(tmp_path, capsys):
    content = random_zip()
    statuses = [(500, {}), (503, {}), (429, {"Retry-After": "0"})]
    with FileServer({"/a.zip": content}, statuses=statuses) as server:
        begun = time.monotonic()
        install([archive_of(content, server.url("/a.zip"))], tmp_path / "R", PATIENT)
        assert time.monotonic() - begun > 1.4 and len(server.asked) == 4
        assert re.findall(r"going on in ([\d.]+) s", capsys.readouterr().out) == ["0.5", "1", "0"]
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
    content = random_zip()
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


@pytest.fixture
def certificate(tmp_path):
    """A certificate for 127.0.0.1 that nobody signed, with its key."""
    if shutil.which("openssl") is None:
        pytest.skip("no openssl to make a certificate")
    path = tmp_path / "certificate.pem"
    made = subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", "-", "-out", "-"],
        capture_output=True, check=False,
    )  # fmt: skip
    if made.returncode:
        pytest.skip(f"openssl cannot make a certificate: {made.stderr[-200:]!r}")
    path.write_bytes(made.stdout)
    return path


def test_a_certificate_that_nobody_vouches_for_is_refused_at_once(tmp_path, certificate):
    content = random_zip()
    with FileServer({"/a.zip": content}, tls=certificate) as server:
        with pytest.raises(UserError, match="certificate is not valid"):
            install([archive_of(content, server.url("/a.zip"))], tmp_path / "R", PATIENT)
        assert server.asked == []


def test_https_never_leads_to_http(tmp_path, certificate, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    content = random_zip()
    with FileServer({"/a.zip": content}) as plain, FileServer({"/a.zip": content}, tls=certificate) as secure:
        archive = archive_of(content, secure.url("/a.zip"))
        secure.redirects["/a.zip"] = plain.url("/a.zip")
        for network in (PATIENT, Network(retries=1)):
            with pytest.raises(UserError, match=rf"redirects: '{re.escape(plain.url('/a.zip'))}' is not"):
                install([archive], tmp_path / "R", network)
        assert plain.asked == [] and len(secure.asked) == 2
        secure.redirects.clear()
        install([archive], tmp_path / "R", Network(retries=1))
    assert len(corpus(tmp_path / "R")) == 3
