"""An origin whose habits are written down resource by resource: what type and length it tells, whether it gives ranges, what it
answers to HEAD. What nobody wrote down below /m/ is media, made of its path."""

from __future__ import annotations

import hashlib
import random
import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit


def noise(name: str, size: int) -> bytes:
    return random.Random(name).randbytes(size)


@dataclass
class Thing:
    """What is at a path."""

    body: bytes = b""
    kind: str | None = "application/octet-stream"
    status: int = 200
    headers: dict = field(default_factory=dict)
    ranges: bool = True
    length: bool = True  # else chunked
    head: bool = True  # else HEAD is a 405
    etag: bool = True
    make: Callable | None = None  # of the query and the request's headers, another Thing


class OddOrigin:
    """Serves Things. `name` and `twin` are two names of it."""

    def __init__(self):
        self.things: dict[str, Thing] = {}
        self.makers: dict[str, Callable] = {}  # by prefix: of path, query and headers
        origin = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version, disable_nagle_algorithm = "HTTP/1.1", True

            def log_message(self, *_):
                pass

            def do_HEAD(self):
                origin.answer(self, True)

            def do_GET(self):
                origin.answer(self, False)

        class Server(ThreadingHTTPServer):
            daemon_threads, request_queue_size = True, 128

        self._server = Server(("127.0.0.1", 0), Handler)
        self.port = self._server.server_address[1]
        self.name, self.twin = f"127.0.0.1:{self.port}", f"localhost:{self.port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def __enter__(self) -> "OddOrigin":
        return self

    def __exit__(self, *_) -> None:
        self._server.shutdown()
        self._server.server_close()

    def url(self, path: str) -> str:
        return f"http://{self.name}{path}"

    def put(self, path: str, body: bytes | str, kind: str | None = "application/octet-stream", **more) -> None:
        self.things[path] = Thing(body.encode() if isinstance(body, str) else body, kind, **more)

    def media(self, path: str, size: int = 30_000, **more) -> None:
        self.put(path, noise(path, size), **more)

    def _find(self, path: str, query: str, headers) -> Thing:
        thing = self.things.get(path)
        if thing and thing.make:
            return thing.make(query, headers)
        if thing:
            return thing
        for prefix, make in self.makers.items():
            if path.startswith(prefix):
                return make(path, query, headers)
        if path.startswith("/m/") and "missing" not in path:
            return Thing(noise(path, 30_000 + len(path)), "video/mp4")
        return Thing(b"no such thing", "text/plain", 404)

    def answer(self, request: BaseHTTPRequestHandler, is_head: bool) -> None:
        parts = urlsplit(request.path)
        thing = self._find(parts.path, parts.query, request.headers)
        if is_head and not thing.head:
            thing = Thing(b"", "text/plain", 405)
        thing = replace(thing, headers=dict(thing.headers))
        if thing.kind:
            thing.headers["Content-Type"] = thing.kind
        if thing.status == 200:
            if thing.etag:
                thing.headers["ETag"] = f'"{hashlib.md5(thing.body).hexdigest()[:12]}"'
            if thing.ranges:
                thing = part_of(thing, request.headers.get("Range", ""))
        request.send_response(thing.status)
        for name, value in thing.headers.items():
            request.send_header(name, value)
        framing = ("Content-Length", str(len(thing.body))) if thing.length else ("Transfer-Encoding", "chunked")
        request.send_header(*framing)
        try:
            request.end_headers()
            if is_head:
                return
            body = thing.body
            if not thing.length:
                body = b"".join(b"%x\r\n%s\r\n" % (len(p), p) for p in pieces(body)) + b"0\r\n\r\n"
            request.wfile.write(body)
        except OSError:
            pass


def pieces(body: bytes, size: int = 5_000) -> list[bytes]:
    return [body[at:at + size] for at in range(0, len(body), size)]


def part_of(thing: Thing, asked: str) -> Thing:
    """The one range of it that is asked for."""
    headers = thing.headers | {"Accept-Ranges": "bytes"}
    if not asked.startswith("bytes=") or "," in asked:
        return replace(thing, headers=headers)
    first, _, last = asked[6:].partition("-")
    length = len(thing.body)
    start = int(first) if first else max(0, length - int(last))
    end = min(int(last) + 1, length) if first and last else length
    if start >= length:
        return replace(thing, status=416, body=b"", headers=headers | {"Content-Range": f"bytes */{length}"})
    place = f"bytes {start}-{end - 1}/{length}"
    return replace(thing, status=206, body=thing.body[start:end], headers=headers | {"Content-Range": place})
