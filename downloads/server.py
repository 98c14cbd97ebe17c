"""Asking a web server for a file, or for what is missing of it, over https (or http, where that is allowed)."""

from __future__ import annotations

import http.client
import re
import ssl
import urllib.error
import urllib.request
from dataclasses import dataclass
from email.message import Message
from typing import IO, Any
from urllib.parse import urlsplit

from errors import UserError

RETRIED = {408, 425, 429, 500, 502, 503, 504}
USER_AGENT = "cross-speaker-emotion-transfer/1.0 (download.py)"


@dataclass(frozen=True)
class Network:
    """How patient to be, and with whom."""

    timeout: float = 30.0  # seconds without a byte
    retries: int = 5  # failures in a row that are followed by another attempt
    plain_http: bool = False  # allow http:// where the URL itself has it; https never leads to it


class AgainError(Exception):
    """An attempt failed in a way that the next may not."""

    def __init__(self, reason: str, wait: float | None = None) -> None:
        super().__init__(reason)
        self.wait = wait  # seconds, where the server asked for it


class RangeError(Exception):
    """The server has no such range (416)."""

    def __init__(self, total: int | None) -> None:
        super().__init__("no such range")
        self.total = total  # bytes in the whole file, where the server says so


def check_url(url: str, plain_http: bool) -> None:
    """Raise UserError unless this is a usable https URL (or http, where that is allowed)."""
    allowed = ("https", "http") if plain_http else ("https",)
    try:
        split = urlsplit(url)
        usable = split.scheme in allowed and split.hostname and split.username is None and (split.port or 1) > 0
    except ValueError:
        usable = False
    if not usable or not re.fullmatch(r"[!-~]+", url):
        raise UserError(f"{url!r} is not a URL to download from; it must begin with {' or '.join(allowed)}://host/")


def ask(url: str, begin: int, validator: str | None, network: Network) -> Any:
    """The server's answer (http.client.HTTPResponse, status 2xx, headers read, redirects followed).

    With `begin` > 0 only the bytes from there on are asked for; with a `validator` (ETag or Last-Modified) all of them,
    should the file have changed. Raises RangeError, AgainError, or UserError where asking again would not help.
    """
    check_url(url, network.plain_http)
    headers = {"User-Agent": USER_AGENT, "Accept-Encoding": "identity"}
    if begin:
        headers["Range"] = f"bytes={begin}-"
    if begin and validator:
        headers["If-Range"] = validator
    try:
        return _opener().open(urllib.request.Request(url, headers=headers), timeout=network.timeout)
    except urllib.error.HTTPError as error:
        with error:
            raise _refusal(error, url) from error
    except (OSError, http.client.HTTPException) as error:  # URLError is an OSError
        reason = getattr(error, "reason", error)
        if isinstance(reason, ssl.SSLCertVerificationError):
            raise UserError(f"{url}: the server's certificate is not valid ({reason.verify_message})") from error
        raise AgainError(f"no answer ({reason or type(reason).__name__})") from error


def read(response: Any, most: int) -> bytes:
    """What has arrived of the body, at most `most` bytes; nothing: it ended. Raises AgainError when the line breaks."""
    try:
        return response.read1(most)
    except (OSError, http.client.HTTPException) as error:
        raise AgainError(f"the connection broke ({error or type(error).__name__})") from error


def content_range(response: Any) -> tuple[int, int | None] | None:
    """Of a 206 answer: where it begins, and how long the whole file is (None: not said); None: unreadable."""
    match = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("Content-Range", "").strip())
    return (int(match[1]), None if match[2] == "*" else int(match[2])) if match else None


def content_length(response: Any) -> int | None:
    """How long the body is going to be; None: not said."""
    length = response.headers.get("Content-Length", "").strip()
    return int(length) if length.isdigit() else None


def _refusal(error: urllib.error.HTTPError, url: str) -> Exception:
    if error.code == 416:
        match = re.fullmatch(r"bytes \*/(\d+)", error.headers.get("Content-Range", "").strip())
        return RangeError(int(match[1]) if match else None)
    if error.code not in RETRIED:
        return UserError(f"{url}: the server answers {error.code} ({error.reason}); is there a mirror for --url?")
    asked = error.headers.get("Retry-After", "").strip()
    return AgainError(f"the server answers {error.code} ({error.reason})", float(asked) if asked.isdigit() else None)


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Redirects to https, and from http to http."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Message, newurl: str
    ) -> urllib.request.Request | None:
        try:
            check_url(newurl, plain_http=req.full_url.lower().startswith("http://"))
        except UserError as error:
            raise UserError(f"{req.full_url} redirects: {error}; is there a mirror for --url?") from error
        return super().redirect_request(req, fp, code, msg, headers, newurl)  # type: ignore[arg-type]


def _opener() -> urllib.request.OpenerDirector:
    """Only http(s), by the proxy that the environment names: urllib's own opener would follow ftp and read files."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
        _Redirects(),
    ):
        opener.add_handler(handler)
    return opener
