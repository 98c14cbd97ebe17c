"""A real HTTP server on loopback that can be as bad as those of the world."""

import os
import re
import socket
import ssl
import struct
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

CHUNK = 1 << 14  # bytes


@dataclass
class Asked:
    """One request, and what went out for it."""

    path: str
    range: str | None
    if_range: str | None
    status: int = 0
    sent: int = 0  # bytes of the body


@dataclass
class FileServer:
    """Serves `files` and does as its fields say. Use as a context manager; the fields may be changed while it runs."""

    files: dict[str, bytes]
    ranges: bool = True  # False: Range is ignored
    if_range: bool = True  # False: If-Range is ignored
    etag: str | None = '"one"'
    modified: str | None = None
    total: int | None = None  # what Content-Length says where it lies
    chunked: bool = False  # no Content-Length
    drops: list[int] = field(default_factory=list)  # per answer, after so many bytes the connection ends
    reset: bool = False  # … by RST instead of FIN
    stalls: list[int] = field(default_factory=list)  # per answer, after so many bytes nothing comes until `go_on`
    statuses: list[tuple[int, dict[str, str]]] = field(default_factory=list)  # per request, instead of an answer
    redirects: dict[str, str] = field(default_factory=dict)
    tls: Path | None = None  # certificate and key
    asked: list[Asked] = field(default_factory=list)

    def __enter__(self) -> "FileServer":
        self.go_on = threading.Event()
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"world": self}))
        if self.tls is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(self.tls)
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02})
        self.thread.start()
        return self

    def __exit__(self, *_: Any) -> None:
        self.go_on.set()
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()

    def url(self, path: str) -> str:
        return f"http{'s' if self.tls else ''}://127.0.0.1:{self.server.server_port}{path}"

    @property
    def sent(self) -> int:
        return sum(asked.sent for asked in self.asked)

    @property
    def ranges_asked(self) -> list[str | None]:
        return [asked.range for asked in self.asked]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    world: FileServer

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        world = self.world
        asked = Asked(self.path, self.headers.get("Range"), self.headers.get("If-Range"))
        world.asked.append(asked)
        self.close_connection = True
        path = self.path.partition("?")[0]
        if world.statuses:
            self._answer(asked, *world.statuses.pop(0))
        elif path in world.redirects:
            self._answer(asked, 302, {"Location": world.redirects[path]})
        elif path not in world.files:
            self._answer(asked, 404, {})
        else:
            self._file(asked, world.files[path])

    def _answer(self, asked: Asked, status: int, headers: dict[str, str], length: int | None = 0) -> None:
        asked.status = status
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if length is not None:
            self.send_header("Content-Length", str(length))
        self.send_header("Connection", "close")
        self.end_headers()

    def _file(self, asked: Asked, content: bytes) -> None:
        world = self.world
        validators = {"ETag": world.etag, "Last-Modified": world.modified}
        headers = {name: value for name, value in validators.items() if value is not None}
        match = re.fullmatch(r"bytes=(\d+)-", asked.range or "")
        same = not world.if_range or asked.if_range in (None, *headers.values())
        if world.ranges and match and same:
            begin = int(match[1])
            if begin >= len(content):
                self._answer(asked, 416, {"Content-Range": f"bytes */{len(content)}"})
                return
            body, status = content[begin:], 206
            headers["Content-Range"] = f"bytes {begin}-{len(content) - 1}/{len(content)}"
        else:
            body, status = content, 200
        self._answer(asked, status, headers, None if world.chunked else world.total or len(body))
        self._body(asked, body)

    def _body(self, asked: Asked, body: bytes) -> None:
        world = self.world
        drop = world.drops.pop(0) if world.drops else len(body)
        stall = world.stalls.pop(0) if world.stalls else None
        end = min(drop, len(body))
        try:
            while asked.sent < end:
                if stall is not None and asked.sent >= stall:
                    world.go_on.wait()
                chunk = body[asked.sent : min(asked.sent + CHUNK, end)]
                self.wfile.write(chunk)
                asked.sent += len(chunk)
            if drop < len(body) and world.reset:
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                os.close(self.connection.detach())
        except OSError:  # the client is gone
            pass
