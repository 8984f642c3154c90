"""A model of a video player: reads a file over HTTP at the pace of its bit rate, and notes when it had to wait.

It starts to play once START_SECONDS of media have arrived, takes `--rate` bytes a second from its buffer, stops reading
while it is `--ahead` seconds ahead, and stalls when the buffer runs empty before the end; a stall ends once
RESTART_SECONDS of media are buffered again. Whether a stall happened is computed from arrival times, so the model costs
next to no CPU time.

Prints one line of JSON: first_ms (until the first FIRST_BYTES were there), start_ms, stalls, stalled_ms, bytes, sha256,
seconds, error.
"""

import argparse
import hashlib
import http.client
import json
import socket
import time
from urllib.parse import urlsplit

START_SECONDS = 2.0
RESTART_SECONDS = 1.0
FIRST_BYTES = 256 * 1024
# Kept small: what the kernel holds for us would count as read ahead without the model knowing.
RECEIVE_BUFFER = 256 * 1024


class Playback:
    """The buffer of the player. Times are seconds since the request."""

    def __init__(self, rate: float):
        self.rate = rate
        self.arrived = 0
        self.buffered = 0.0
        self.playing = False
        self.clock = 0.0
        self.first_at = None
        self.started_at = None
        self.stalls = 0
        self.stalled = 0.0

    def advance(self, now: float) -> None:
        """Plays from the buffer up to `now`."""
        elapsed, self.clock = now - self.clock, now
        if self.started_at is None:
            return
        if not self.playing:
            self.stalled += elapsed
            return
        lasts = self.buffered / self.rate
        if elapsed > lasts:
            self.buffered, self.playing = 0.0, False
            self.stalls += 1
            self.stalled += elapsed - lasts
        else:
            self.buffered -= elapsed * self.rate

    def arrive(self, now: float, count: int, last: bool) -> None:
        self.advance(now)
        self.arrived += count
        self.buffered += count
        if self.first_at is None and self.arrived >= FIRST_BYTES:
            self.first_at = now
        enough = self.rate * (START_SECONDS if self.started_at is None else RESTART_SECONDS)
        if not self.playing and (self.buffered >= enough or last):
            self.playing = True
            if self.started_at is None:
                self.started_at = now


def connect(host: str, port: int, timeout: float) -> http.client.HTTPConnection:
    connection = http.client.HTTPConnection(host, port, timeout=timeout)
    connection.sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
    connection.sock.settimeout(timeout)
    connection.sock.connect((host, port))
    return connection


def play(url: str, size: int, rate: float, ahead: float, timeout: float) -> dict:
    playback, digest, error = Playback(rate), hashlib.sha256(), None
    begun = time.monotonic()
    try:
        parts = urlsplit(url)
        connection = connect(parts.hostname, parts.port or 80, timeout)
        connection.request("GET", parts.path)
        response = connection.getresponse()
        if response.status != 200:
            raise OSError(f"status {response.status}: {response.read(200)!r}")
        while playback.arrived < size:
            playback.advance(time.monotonic() - begun)
            surplus = playback.buffered / rate - ahead
            if surplus > 0:
                time.sleep(surplus)
                continue
            block = response.read1(64 * 1024)
            if not block:
                raise OSError(f"the body ended after {playback.arrived} of {size} bytes")
            digest.update(block)
            last = playback.arrived + len(block) >= size
            playback.arrive(time.monotonic() - begun, len(block), last)
    except (OSError, http.client.HTTPException) as failure:
        error = f"{type(failure).__name__}: {failure}"
    return {
        "first_ms": milliseconds(playback.first_at),
        "start_ms": milliseconds(playback.started_at),
        "stalls": playback.stalls,
        "stalled_ms": milliseconds(playback.stalled),
        "bytes": playback.arrived,
        "sha256": digest.hexdigest(),
        "seconds": round(time.monotonic() - begun, 2),
        "error": error,
    }


def milliseconds(seconds):
    return None if seconds is None else round(seconds * 1000)


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("url")
    options.add_argument("--size", type=int, required=True, help="bytes of the whole file")
    options.add_argument("--rate", type=float, default=1e6, help="bytes a second that playing takes")
    options.add_argument("--ahead", type=float, default=30, help="seconds of buffer at which reading pauses")
    options.add_argument("--timeout", type=float, default=60, help="give up after this long without a byte")
    given = options.parse_args()
    result = play(given.url, given.size, given.rate, given.ahead, given.timeout)
    print(json.dumps(result))
    return 1 if result["error"] else 0


if __name__ == "__main__":
    raise SystemExit(main())
