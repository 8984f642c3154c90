"""Two mapping nodes on one database answer for each other: what one read the other serves, one dies and the other goes on,
the database goes away and comes back."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

FILM = bytes(range(256)) * 12_000
DEADLINE_SECONDS = 30


class Origin(BaseHTTPRequestHandler):
    """Serves the film, whole; counts how often it was read."""

    protocol_version = "HTTP/1.1"
    reads = 0

    def do_HEAD(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(FILM)))
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("ETag", '"film-1"')
        self.end_headers()

    def do_GET(self) -> None:
        Origin.reads += 1
        self.do_HEAD()
        self.wfile.write(FILM)

    def log_message(self, *_: object) -> None:
        pass


class Node:
    """`pcdn mapping` as a process."""

    def __init__(self, pcdn: str, store: str, key: Path, allow: str):
        argv = [pcdn, "mapping", "--listen", "127.0.0.1:0", "--store", store, "--key", str(key), "--allow", allow]
        self.process = subprocess.Popen(argv, stderr=subprocess.PIPE, text=True)
        for line in self.process.stderr:
            if line.startswith("ready mapping="):
                self.url = "http://" + line.split("=")[1].split()[0]
                break
        else:
            raise SystemExit(f"{store}: the mapping node ended")
        threading.Thread(target=self.process.stderr.read, daemon=True).start()

    def get(self, path: str) -> tuple[int, bytes]:
        try:
            with urllib.request.urlopen(self.url + path, timeout=15) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()

    def map(self, url: str) -> dict:
        until = time.monotonic() + DEADLINE_SECONDS
        while time.monotonic() < until:
            status, body = self.get("/v1/map?" + urllib.parse.urlencode({"url": url}))
            if status == 200:
                return json.loads(body)
            time.sleep(0.1)
        raise SystemExit(f"no answer about {url}: {status} {body!r}")

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


def check(what: str, holds: bool) -> None:
    print(json.dumps({"what": what, "pass": holds}), flush=True)
    if not holds:
        sys.exit(1)


def two_nodes(pcdn: str, store: str, directory: Path, origin: str) -> None:
    kind = store.split(":")[0]
    key = directory / "mapping.key"
    film = f"http://{origin}/{kind}-{store.rsplit(':', 1)[1].split('/')[0]}.bin"
    reads = Origin.reads
    one, two = Node(pcdn, store, key, origin), Node(pcdn, store, key, origin)
    try:
        told = one.map(film)
        check(f"{store}: the other node serves what one read", two.map(film)["generation"] == told["generation"])
        check(f"{store}: the content was read once", Origin.reads == reads + 1)
        manifest = f"/v1/manifest/{told['rid']}/{told['generation']}"
        signed = one.get(manifest)
        one.kill()
        check(f"{store}: and its manifest, also when that one is dead", two.get(manifest) == signed and signed[0] == 200)
        check(f"{store}: it is ready", two.get("/readyz")[0] == 200)
        three = Node(pcdn, store, key, origin)
        check(f"{store}: a new node finds everything", three.map(film)["generation"] == told["generation"])
        three.kill()
    finally:
        one.kill()
        two.kill()


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--pcdn", required=True)
    arguments.add_argument("--directory", type=Path, required=True)
    arguments.add_argument("stores", nargs="+")
    options = arguments.parse_args()
    for name in [name for name in os.environ if name.startswith("PCDN_") or name.lower().endswith("_proxy")]:
        del os.environ[name]
    server = ThreadingHTTPServer(("127.0.0.1", 0), Origin)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    for store in options.stores:
        two_nodes(options.pcdn, store, options.directory, f"127.0.0.1:{server.server_port}")


main()
