"""The rig of the media tests, all on loopback: a real nginx as the origin, a tracker, viewers, and the processes around them.

    origin (nginx)  <---  viewer 0 .. N-1 (pcdn peer: gateway + admin)  <---  players
                            \\____ tracker ____/

A Session owns the working directory, the origin and everything started; leaving it ends every process it started, by its
pid. A World is one swarm of viewers with a tracker of its own, so that several worlds can run at once. Every viewer names
itself to the origin in a header (X-Viewer), so the origin's log tells who read how much.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import threading
import time
import urllib.request
from collections import defaultdict
from pathlib import Path

from ports import free_port

READY_SECONDS = 30
# Of a connection to the origin: 20 Mbit/s, ten times what the clips need. Without it a film would be here from loopback
# before any peer could say a word.
RATE = 2_500_000
# A proxy or a setting of the caller's means nothing here.
CLEAN_ENVIRONMENT = {
    key: value for key, value in os.environ.items()
    if not key.lower().endswith("_proxy") and not key.startswith("PCDN_")
}
# A live encoder that stutters on a busy machine is none of pcdn's faults: before the others, where that may be asked for.
PROMPT = ["nice", "-n", "-10"] if os.geteuid() == 0 else []
HERE = Path(__file__).resolve().parent


class RigError(Exception):
    """The rig or a program in it did not do what the scenario needs; the scenario fails."""


def poll_until(condition, seconds: float, what: str):
    """Waits until `condition()` is true, and gives what it gave."""
    end = time.monotonic() + seconds
    while not (value := condition()):
        if time.monotonic() > end:
            raise RigError(f"{what}: not within {seconds} s")
        time.sleep(0.05)
    return value


def wait_until(condition, seconds: float) -> bool:
    """Waits until `condition()` is true, but no longer than that; whether it is."""
    end = time.monotonic() + seconds
    while not (met := condition()) and time.monotonic() < end:
        time.sleep(0.05)
    return met


def opener() -> urllib.request.OpenerDirector:
    """Opens URLs without any proxy of the caller's."""
    return urllib.request.build_opener(urllib.request.ProxyHandler({}))


def get(url: str, seconds: float = 10, headers: dict | None = None) -> bytes:
    request = urllib.request.Request(url, headers=headers or {})
    with opener().open(request, timeout=seconds) as answer:
        return answer.read()


class Process:
    """A program with its output in files. `ready` is set by a line of standard error that contains the mark."""

    def __init__(self, name: str, argv: list, logs: Path, mark: str | None = None, environment: dict | None = None,
                 directory: Path | None = None):
        self.name, self.stdout_path, self.stderr_path = name, logs / f"{name}.stdout", logs / f"{name}.stderr"
        self.ready_line, self._ready = "", threading.Event()
        with open(self.stdout_path, "wb") as stdout:
            self.popen = subprocess.Popen(
                [str(a) for a in argv], stdin=subprocess.DEVNULL, stdout=stdout, stderr=subprocess.PIPE,
                start_new_session=True, env=CLEAN_ENVIRONMENT | (environment or {}), cwd=directory,
            )
        self._thread = threading.Thread(target=self._follow, args=(mark,), daemon=True)
        self._thread.start()

    def _follow(self, mark: str | None) -> None:
        with open(self.stderr_path, "wb", buffering=0) as copy:
            for line in self.popen.stderr:
                copy.write(line)
                if mark and mark.encode() in line and not self._ready.is_set():
                    self.ready_line = line.decode(errors="replace").strip()
                    self._ready.set()
        self.popen.wait()
        self._ready.set()

    @property
    def running(self) -> bool:
        return self.popen.poll() is None

    def wait_ready(self, seconds: float = READY_SECONDS) -> str:
        if not self._ready.wait(seconds) or not self.ready_line:
            raise RigError(f"{self.name} was not ready: {self.last_words()}")
        return self.ready_line

    def wait(self, seconds: float) -> int:
        try:
            code = self.popen.wait(seconds)
        except subprocess.TimeoutExpired:
            raise RigError(f"{self.name} still ran after {seconds:.0f} s: {self.last_words()}") from None
        self._thread.join(5)
        return code

    def stop(self, seconds: float = 6, first: int = signal.SIGTERM) -> None:
        if self.running:
            self.popen.send_signal(first)
            try:
                self.popen.wait(seconds)
            except subprocess.TimeoutExpired:
                self.kill()

    def kill(self) -> None:
        """SIGKILL to the program and its children: it has a session of its own."""
        try:
            os.killpg(self.popen.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.popen.wait(5)

    def last_words(self) -> str:
        text = self.stderr_path.read_text(errors="replace").strip()
        return " | ".join(text.splitlines()[-4:]) or "(nothing on stderr)"


class Origin:
    """nginx with the assets. Its log has a line per request with the bytes of the body and who asked."""

    CONFIG = """
        worker_processes 1; daemon off; pid {dir}/nginx.pid; error_log {dir}/nginx-error.log;
        events {{ worker_connections 4096; }}
        http {{
            log_format figures escape=json '{{"who":"$http_x_viewer","host":"$http_host","method":"$request_method",'
                '"uri":"$uri","range":"$http_range","status":$status,"body":$body_bytes_sent}}';
            access_log {dir}/origin.log figures;
            sendfile on; keepalive_requests 100000; default_type application/octet-stream;
            client_body_temp_path {dir}/t1; proxy_temp_path {dir}/t2; fastcgi_temp_path {dir}/t3;
            uwsgi_temp_path {dir}/t4; scgi_temp_path {dir}/t5;
            types {{
                application/vnd.apple.mpegurl m3u8; application/dash+xml mpd; video/mp2t ts; video/mp4 mp4 m4s m4v;
                audio/mp4 m4a; video/x-flv flv; text/html html; text/javascript js mjs;
            }}
            server {{
                listen 127.0.0.1:{port}; listen 127.0.0.1:{twin}; root {dir}/www; limit_rate {rate};
                location ~ \\.(m3u8|mpd|pcdn)$ {{ add_header Cache-Control no-cache; }}
                location /modules/ {{ alias {modules}/; }}
                location /page/ {{ alias {page}/; }}
            }}
        }}
    """

    def __init__(self, directory: Path, logs: Path):
        self.www, self._log = directory / "www", directory / "origin.log"
        self.www.mkdir()
        # Two ports: the same content under two names.
        self.port, self.twin = free_port(), free_port()
        config = directory / "nginx.conf"
        browser = HERE / "browser"
        config.write_text(self.CONFIG.format(
            dir=directory, port=self.port, twin=self.twin, rate=RATE, page=browser, modules=browser / "node_modules"))
        head = "user root;" if os.geteuid() == 0 else ""
        config.write_text(head + config.read_text())
        self.process = Process("nginx", ["nginx", "-e", directory / "nginx-error.log", "-c", config], logs)
        poll_until(self._answers, 10, "nginx listens")

    def _answers(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), 1).close()
            return True
        except OSError:
            return False

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}/{path}"

    def requests(self, world: str) -> list[dict]:
        """What the viewers of a world (their names are WORLD.N) asked for."""
        lines = self._log.read_text(errors="replace").splitlines()
        return [line for line in map(json.loads, lines) if line["who"].startswith(world + ".")]

    def bytes(self, world: str) -> dict:
        """Body bytes by kind: media, playlists, manifests (.pcdn)."""
        sums: dict = defaultdict(int)
        for line in self.requests(world):
            if line["method"] != "HEAD":
                sums[kind_of(line["uri"])] += line["body"]
        return dict(sums)


def kind_of(uri: str) -> str:
    if uri.endswith(".pcdn"):
        return "manifest"
    return "playlist" if uri.endswith((".m3u8", ".mpd")) else "media"


class Viewer:
    """A `pcdn peer`."""

    def __init__(self, name: str, process: Process):
        self.name, self.process = name, process
        places = defaultdict(list)
        for pair in process.wait_ready().split()[1:]:
            what, _, address = pair.partition("=")
            places[what].append(address)
        v4 = [a for a in places["gateway"] if a.startswith("127.")]
        self.gateway, self.admin = v4[0], [a for a in places["admin"] if a.startswith("127.")][0]
        self._last: list = []

    def through(self, url: str) -> str:
        """The URL a player opens for an origin's `url`."""
        return f"http://{self.gateway}/{url.replace('://', '/', 1)}"

    def api(self, call: str):
        return json.loads(get(f"http://{self.admin}/api/v1/{call}"))

    def swarms(self) -> list[dict]:
        """Its swarms; those last seen once it is gone."""
        if self.process.running:
            try:
                self._last = self.api("swarms")
            except (OSError, ValueError):
                pass
        return self._last


class World:
    """A tracker and viewers."""

    def __init__(self, session: "Session", name: str, viewers: int, options: list | None = None, origin: str | None = None):
        """`origin` is HOST:PORT of another origin than the session's nginx."""
        self.session, self.name = session, name
        ports = (session.origin.port, session.origin.twin)
        names = [origin] if origin else [f"{host}:{port}" for host in ("127.0.0.1", "localhost") for port in ports]
        self._origins = [word for name in names for word in ("--origin", name)]
        self.logs = session.logs / name
        self.logs.mkdir(parents=True, exist_ok=True)
        self._count, self._options = viewers, options or []
        self.viewers: list[Viewer] = []
        self._processes: list[Process] = []

    def __enter__(self) -> "World":
        try:
            tracker = self.spawn("tracker", [self.session.pcdn, "tracker", "--listen", "127.0.0.1:0"], "ready")
            line = tracker.wait_ready()
            self.tracker = next(p.partition("=")[2] for p in line.split()[1:])
            started = [self._start(number) for number in range(self._count)]
            self.viewers = [Viewer(p.name, p) for p in started]
        except BaseException:
            self.__exit__()
            raise
        return self

    def _start(self, number: int) -> Process:
        name = f"viewer{number}"
        argv = [
            self.session.pcdn, "peer", "--listen", "127.0.0.1:0", "--tracker", self.tracker,
            "--gateway", "127.0.0.1:0", "--admin", "127.0.0.1:0", *self._origins,
            "--data-dir", self.logs / f"{name}.data", "--header", f"X-Viewer: {self.name}.{number}",
            "--log-level", self.session.log_level, *self._options,
        ]
        return self.spawn(name, argv, "ready")

    def spawn(self, name: str, argv: list, mark: str | None = None, **more) -> Process:
        process = Process(name, argv, self.logs, mark, **more)
        self._processes.append(process)
        return process

    def totals(self) -> dict:
        """Useful bytes over all viewers and swarms."""
        each = [totals_of(viewer.swarms()) for viewer in self.viewers]
        sums = {key: sum(one[key] for one in each) for key in each[0]}
        fetched = sums["from_peers"] + sums["from_origin"]
        sums["ratio"] = round(sums["from_peers"] / fetched, 3) if fetched else 0.0
        sums["ratio_each"] = [one["ratio"] for one in each]
        return sums

    def __exit__(self, *_) -> None:
        for process in reversed(self._processes):
            if process.running:
                process.popen.send_signal(signal.SIGTERM)
        for process in reversed(self._processes):
            process.stop()
        for data in self.logs.glob("*.data"):
            shutil.rmtree(data, ignore_errors=True)


def totals_of(swarms: list[dict]) -> dict:
    keys = ("from_peers", "from_origin", "wasted", "rejected_pieces", "stalls")
    sums = {key: sum(swarm["report"][key] for swarm in swarms) for key in keys}
    fetched = sums["from_peers"] + sums["from_origin"]
    return sums | {"ratio": round(sums["from_peers"] / fetched, 3) if fetched else 0.0}


class Session:
    """Everything of one run."""

    def __init__(self, given, directory: Path):
        self.pcdn, self.quick, self.log_level = Path(given.pcdn).resolve(), given.quick, given.log_level
        self.directory, self.flv_server = directory, given.flv_server
        self.logs = Path(given.logs).resolve() if given.logs else directory / "logs"
        self.logs.mkdir(parents=True, exist_ok=True)
        self._processes: list[Process] = []
        self._lock = threading.Lock()

    def __enter__(self) -> "Session":
        self.origin = Origin(self.directory, self.logs)
        return self

    def __exit__(self, *_) -> None:
        for process in reversed(self._processes):
            process.stop()
        self.origin.process.stop(first=signal.SIGQUIT)
        shutil.copy(self.directory / "origin.log", self.logs)

    def spawn(self, name: str, argv: list, mark: str | None = None, **more) -> Process:
        process = Process(name, argv, self.logs, mark, **more)
        with self._lock:
            self._processes.append(process)
        return process

    def run(self, argv: list, seconds: float = 300, **more) -> str:
        """A short program to its end; what it prints."""
        done = subprocess.run([str(a) for a in argv], capture_output=True, text=True, timeout=seconds, check=False,
                              stdin=subprocess.DEVNULL, env=CLEAN_ENVIRONMENT, **more)
        if done.returncode != 0:
            raise RigError(f"{Path(argv[0]).name} ended with {done.returncode}: {done.stderr.strip()[-600:]}")
        return done.stdout

    def sign(self, path: Path) -> None:
        self.run([self.pcdn, "sign", path, "--key", self.directory / "publisher.key"])


class Bars:
    """The figures of a scenario and what they must be."""

    def __init__(self, name: str):
        self.name, self.figures, self.bars, self.begun = name, {}, [], time.monotonic()

    def bar(self, what: str, value, at_least=None, at_most=None, equals=None) -> None:
        if equals is not None:
            bar, good = f"= {equals}", value == equals
        elif at_least is not None:
            bar, good = f">= {at_least}", value >= at_least
        else:
            bar, good = f"<= {at_most}", value <= at_most
        self.bars.append({"what": what, "value": value, "bar": bar, "pass": bool(good)})

    def line(self, error: str | None = None) -> dict:
        good = not error and bool(self.bars) and all(bar["pass"] for bar in self.bars)
        took = round(time.monotonic() - self.begun, 1)
        line = {"scenario": self.name, "pass": good, "took_s": took, "figures": self.figures, "bars": self.bars}
        return line | ({"error": error} if error else {})
