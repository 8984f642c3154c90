"""An emulation of a server whose habits differ from node-media-server's: it relays one HTTP-FLV stream and, as was measured
of SRS, gives every client timestamps of its own that begin at 0, an onMetaData of its own, then the sequence headers, then
the group of pictures under way, then what comes.      media_rebase.py PORT SOURCE-URL

It is no server for anything else: one stream, whatever the path.
"""

from __future__ import annotations

import queue
import struct
import sys
import threading
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from media_players import AUDIO, SCRIPT, VIDEO, FlvParser, is_coded

# As SRS: the first frame's time stamp is not quite zero.
FIRST_MS = 10
# A client that is so far behind is cut off.
QUEUED_MAX = 4096


def tag(kind: int, stamp: int, payload: bytes) -> bytes:
    stamp &= 0xFFFFFFFF
    head = bytes([kind]) + len(payload).to_bytes(3, "big") + (stamp & 0xFFFFFF).to_bytes(3, "big") + bytes([stamp >> 24])
    return head + b"\0\0\0" + payload + struct.pack(">I", 11 + len(payload))


def metadata() -> bytes:
    """onMetaData with a field set of its own."""
    name = b"\x02\x00\x0aonMetaData"
    server = b"\x00\x06server\x02\x00\x08rebaser1"
    return name + b"\x08" + struct.pack(">I", 1) + server + b"\x00\x00\x09"


class Relay:
    """The stream as it comes: headers, the last group of pictures, and who listens."""

    def __init__(self):
        self.lock, self.headers, self.group, self.listeners = threading.Lock(), {}, [], []

    def read(self, source: str) -> None:
        parser = FlvParser()
        with urllib.request.urlopen(source, timeout=30) as stream:
            while data := stream.read1(64 * 1024):
                for kind, stamp, payload in parser.feed(data):
                    self._take(kind, stamp, payload)
        print("the source ended", file=sys.stderr, flush=True)

    def _take(self, kind: int, stamp: int, payload: bytes) -> None:
        with self.lock:
            if kind == SCRIPT:
                return
            if not is_coded(kind, payload):
                if len(payload) > 2 and payload[1] == 0:
                    self.headers[kind] = payload
                return
            if kind == VIDEO and payload[0] >> 4 == 1:
                self.group = []
            self.group.append((kind, stamp, payload))
            for listener in self.listeners:
                if listener.qsize() < QUEUED_MAX:
                    listener.put((kind, stamp, payload))
                else:
                    listener.put(None)

    def join(self) -> tuple[list, dict, queue.Queue]:
        with self.lock:
            listener: queue.Queue = queue.Queue()
            self.listeners.append(listener)
            return list(self.group), dict(self.headers), listener

    def leave(self, listener: queue.Queue) -> None:
        with self.lock:
            self.listeners.remove(listener)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    relay: Relay

    def do_HEAD(self) -> None:
        self._head()

    def do_GET(self) -> None:
        self._head()
        group, headers, listener = self.relay.join()
        try:
            self._send(b"FLV\x01\x05\x00\x00\x00\x09\x00\x00\x00\x00" + tag(SCRIPT, 0, metadata()))
            for kind in (AUDIO, VIDEO):
                if kind in headers:
                    self._send(tag(kind, 0, headers[kind]))
            base = None
            while True:
                item = group.pop(0) if group else listener.get(timeout=60)
                if item is None:
                    return
                kind, stamp, payload = item
                base = stamp - FIRST_MS if base is None else base
                self._send(tag(kind, max(stamp - base, 0), payload))
        except (OSError, queue.Empty):
            pass
        finally:
            self.relay.leave(listener)
            self.close_connection = True

    def _head(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "video/x-flv")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()

    def _send(self, data: bytes) -> None:
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        self.wfile.flush()

    def log_message(self, *words) -> None:
        print(self.headers.get("X-Viewer", "-"), *words, file=sys.stderr, flush=True)


def main() -> None:
    Handler.relay = Relay()
    server = ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print("ready", file=sys.stderr, flush=True)
    Handler.relay.read(sys.argv[2])


if __name__ == "__main__":
    main()
