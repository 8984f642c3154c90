"""Live HTTP-FLV of servers and encoders of odd habits: codecs by extended headers, script and empty tags between pictures, times that
wrap, encoders that begin anew, sound alone. Five viewers of each join 0.3 to 22 s apart; every tag says in its body which it is."""

from __future__ import annotations

import http.client
import random
import struct
import threading
import time
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

from media_players import AUDIO, SCRIPT, VIDEO, FlvParser
from media_rebase import metadata, tag
from media_rig import Bars, World

PICTURE_MS, SOUND_MS = 40, 23
JOINS = [0, 0.3, 3, 10, 22]
# Long enough that all habits show: what happens once happens 16 s after the start.
WATCH_SECONDS, RESTART_MS = 36, 16_000
# What a second player at the first viewer's gateway comes to, with the last of the others.
SECOND = ["plain", "restart", "sound"]
# The programme has run for a minute.
BEGUN_MS = 60_000
CONFIG = {"avc": b"\x17\x00\0\0\0avcC", "hevc": b"\x90hvc1hvcC", "av1": b"\x90av01av1C", "modex": b"\x97\x02abc\x00hvc1hvcC", "h263": b""}
KEY = {"avc": b"\x17\x01\0\0\0", "hevc": b"\x91hvc1\0\0\0", "av1": b"\x93av01", "modex": b"\x97\x02abc\x01hvc1\0\0\0", "h263": b"\x12"}
INTER = {"avc": b"\x27\x01\0\0\0", "hevc": b"\xa1hvc1\0\0\0", "av1": b"\xa3av01", "modex": b"\xa7\x02abc\x01hvc1\0\0\0", "h263": b"\x22"}
SOUND_CONFIG, SOUND = b"\xaf\x00\x11\x90", b"\xaf\x01"
SEQUENCE_END = b"\x17\x02\0\0\0"


@dataclass
class Habit:
    codec: str = "avc"
    gop_ms: int = 2_000
    base_ms: int = 0  # what is added to the programme's time
    rebase: bool = False  # each client's times begin at 10
    cache: bool = True  # a client begins with the group under way, else with the next keyframe
    sound: bool = True
    pictures: bool = True
    flags: int = 5
    script_ms: int = 0  # script tags so far apart, and empty ones half as far
    restart: bool = False
    end: bool = False  # says so before


HABITS = {
    "plain": Habit(), "hevc": Habit("hevc"), "av1": Habit("av1", 1_000), "modex": Habit("modex"), "h263": Habit("h263"),
    "script": Habit(script_ms=300), "wrap24": Habit(base_ms=2**24 - BEGUN_MS - 15_000), "wrap32": Habit(base_ms=2**32 - BEGUN_MS - 15_000),
    "restart": Habit(restart=True), "restart_end": Habit(restart=True, end=True), "restart_rebased": Habit(restart=True, rebase=True),
    "sound": Habit(pictures=False, flags=4), "pictures": Habit(sound=False, flags=1), "rebased": Habit(rebase=True),
    "uncached": Habit(rebase=True, cache=False), "long_groups": Habit(gop_ms=10_000), "intra": Habit(gop_ms=40), "no_flags": Habit(flags=0),
}


class Programme:
    """The tags of a stream by the clock."""

    def __init__(self, habit: Habit):
        self.habit, self._begun = habit, time.monotonic() - BEGUN_MS / 1000

    def now(self) -> int:
        return int((time.monotonic() - self._begun) * 1000)

    def stamp(self, at: int) -> int:
        restarted = self.habit.restart and at >= BEGUN_MS + RESTART_MS
        return at - BEGUN_MS - RESTART_MS if restarted else at + self.habit.base_ms

    def config(self, kind: int, at: int) -> bytes:
        own = SOUND_CONFIG if kind == AUDIO else CONFIG[self.habit.codec]
        return own and own + bytes([self.habit.restart and at >= BEGUN_MS + RESTART_MS])

    def body(self, kind: int, number: int) -> bytes:
        key = number * PICTURE_MS % self.habit.gop_ms == 0
        head = SOUND if kind == AUDIO else (KEY if key else INTER)[self.habit.codec]
        size = 300 if kind == AUDIO else 6_000 if key else 1_500
        return head + struct.pack(">BI", kind, number) + random.Random(f"{kind} {number}").randbytes(size)

    def between(self, begin: int, end: int) -> list[tuple[int, int, int]]:
        """(time, kind, number) of what is sent in that time."""
        habit, every = self.habit, []
        every += [(PICTURE_MS, VIDEO)] if habit.pictures else []
        every += [(SOUND_MS, AUDIO)] if habit.sound else []
        every += [(habit.script_ms, SCRIPT), (habit.script_ms // 2, 0)] if habit.script_ms else []
        return sorted((n * ms, kind, n) for ms, kind in every for n in range(-(-begin // ms), -(-end // ms)))

    def wire(self, at: int, kind: int, number: int, less: int) -> bytes:
        if kind in (SCRIPT, 0):
            return tag(kind or VIDEO, self.stamp(at) - less, metadata() if kind else b"")
        return tag(kind, self.stamp(at) - less, self.body(kind, number))

    def headers(self, at: int, less: int) -> bytes:
        kinds = [AUDIO] * self.habit.sound + [VIDEO] * self.habit.pictures
        return b"".join(tag(kind, self.stamp(at) - less, self.config(kind, at)) for kind in kinds if self.config(kind, at))

    def start(self) -> int:
        now, gop = self.now(), self.habit.gop_ms
        if not self.habit.pictures:
            return now
        return now // gop * gop if self.habit.cache else -(-now // gop) * gop

    def send(self, write) -> None:
        """To one client, until it leaves."""
        at = self.start()
        less = self.stamp(at) - 10 if self.habit.rebase else 0
        old = at < BEGUN_MS + RESTART_MS and self.habit.restart
        write(b"FLV\x01" + bytes([self.habit.flags]) + b"\0\0\0\x09\0\0\0\0" + tag(SCRIPT, 0, metadata()) + self.headers(at, less))
        while True:
            end, out = max(at, self.now()), b""
            for moment, kind, number in self.between(at, end):
                if old and moment >= BEGUN_MS + RESTART_MS:
                    out += tag(VIDEO, moment + self.habit.base_ms - less, SEQUENCE_END) if self.habit.end else b""
                    old, less = False, 0
                    out += self.headers(moment, 0)
                out += self.wire(moment, kind, number, less)
            if out:
                write(out)
            at = end
            time.sleep(0.02)


class Server:
    """All habits, each at a path of its own."""

    def __init__(self):
        self.programmes = programmes = {name: Programme(habit) for name, habit in HABITS.items()}

        class Handler(BaseHTTPRequestHandler):
            protocol_version, disable_nagle_algorithm = "HTTP/1.1", True

            def log_message(self, *_):
                pass

            def do_GET(self):
                self.send_response(200)
                self.send_header("Content-Type", "video/x-flv")
                self.send_header("Transfer-Encoding", "chunked")
                self.end_headers()
                try:
                    programmes[Path(self.path).stem].send(lambda data: self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data)))
                except OSError:
                    self.close_connection = True

        class Listener(ThreadingHTTPServer):
            daemon_threads, request_queue_size = True, 128

        self._listener = Listener(("127.0.0.1", 0), Handler)
        self.address = f"127.0.0.1:{self._listener.server_address[1]}"
        threading.Thread(target=self._listener.serve_forever, daemon=True).start()


class Witness(threading.Thread):
    """Notes what a client is given: (kind, time stamp, payload)."""

    def __init__(self, url: str, until: float):
        super().__init__(daemon=True)
        self._url, self._until = urlsplit(url), until
        self.came, self.first_ms, self.error = [], None, None

    def run(self) -> None:
        parser, asked = FlvParser(), time.monotonic()
        connection = http.client.HTTPConnection(self._url.hostname, self._url.port, timeout=15)
        try:
            connection.request("GET", self._url.path)
            answer = connection.getresponse()
            while time.monotonic() < self._until:
                data = answer.read1(64 * 1024)
                if not data:
                    raise OSError(f"status {answer.status}: the stream ended")
                came = [tag for tag in parser.feed(data) if tag[0] != SCRIPT]
                if came and self.first_ms is None:
                    self.first_ms = round((time.monotonic() - asked) * 1000)
                self.came += came
        except (OSError, ValueError, http.client.HTTPException) as error:
            self.error = f"{type(error).__name__}: {error}"
        connection.close()


def faults(programme: Programme, came: list) -> list[str]:
    """What is wrong with a player's tags: bytes, order, configuration, times."""
    said, last, configured = [], {}, set()
    for kind, stamp, payload in came:
        config = programme.config(kind, 0)
        if config and payload[:-1] == config[:-1]:
            configured.add(kind)
            continue
        head = SOUND if kind == AUDIO else INTER[programme.habit.codec]
        try:
            told, number = struct.unpack(">BI", payload[len(head):len(head) + 5])
        except struct.error:
            said.append(f"an odd tag {payload[:16]!r}")
            continue
        if told != kind or payload != programme.body(kind, number):
            said.append(f"{kind} {number} has other bytes")
        if config and kind not in configured:
            said.append(f"{kind} {number} before its configuration")
        if kind in last:
            step = (stamp - last[kind][1] + 2**31) % 2**32 - 2**31
            said += [f"{kind}: {number} after {last[kind][0]}"] if number != last[kind][0] + 1 else []
            said += [f"{kind} {number}: {step} ms later"] if not 0 <= step < 500 else []
        elif kind == VIDEO and number * PICTURE_MS % programme.habit.gop_ms:
            said.append(f"begins with picture {number}, which is no keyframe")
        last[kind] = number, stamp
    return said


def habits(session, _assets) -> Bars:
    bars = Bars("flv_habits")
    server = Server()
    with World(session, "flv_habits", len(JOINS), origin=server.address) as world:
        begun = time.monotonic()
        witnesses: dict = {name: [] for name in HABITS}
        for viewer, join in zip(world.viewers, JOINS):
            time.sleep(max(0.0, begun + join - time.monotonic()))
            for name in HABITS:
                witness = Witness(viewer.through(f"http://{server.address}/{name}.flv"), begun + WATCH_SECONDS)
                witness.start()
                witnesses[name].append(witness)
        # A second player at a gateway.
        for name in SECOND:
            witnesses[name].append(Witness(world.viewers[0].through(f"http://{server.address}/{name}.flv"), begun + WATCH_SECONDS))
            witnesses[name][-1].start()
        for witness in (witness for of_one in witnesses.values() for witness in of_one):
            witness.join(WATCH_SECONDS + 30)
        found = {}
        for name, of_one in witnesses.items():
            said = [[w.error] * bool(w.error) + faults(server.programmes[name], w.came) for w in of_one]
            found[name] = {"faults": sum(map(len, said)), "first": sum(said, [])[:4], "first_ms": [w.first_ms for w in of_one],
                           "tags": [len(w.came) for w in of_one]}
        bars.figures |= {"habits": found, "totals": world.totals()}
        bars.bar("tags lost, changed or out of order", sum(one["faults"] for one in found.values()), at_most=0)
        bars.bar("tags at a player, least", min(count for one in found.values() for count in one["tags"]), at_least=100)
        bars.bar("sound alone begins within, ms", max(ms or 99_999 for ms in found["sound"]["first_ms"]), at_most=1_000)
        bars.bar("bytes from peers", world.totals()["from_peers"], at_least=1_000_000)
    return bars
