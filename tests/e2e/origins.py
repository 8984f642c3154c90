"""Runs the scenarios of origins; see `origins` beside this."""

from __future__ import annotations

import hashlib
import json
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import ExitStack, contextmanager
from pathlib import Path

from loopback import Place, check, run, wait_for
from ports import free_port

FILM_BYTES = 24 << 20
# What the checks of a mirror, the heads and the cut-off bodies may cost beside the film itself.
TWICE_MAX = 256 << 10
# The origin gives so much a second to each connection, and the player takes so much: a film of 12 s.
ORIGIN_RATE, PLAYER_RATE = "4m", 2 << 20
# Which server speaks what, under the name that the figures carry.
SUITE = [("nginx", "1.1"), ("nginx", "2"), ("caddy", "1.1"), ("caddy", "2"), ("caddy", "3")]
ROW = {"1.1": "http1", "2": "http2", "3": "http3"}


def answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
        return True
    except OSError:
        return False


class Session:
    """One scenario's place: files, certificates, and what was started."""

    def __init__(self, place: Place, stack: ExitStack):
        self.pcdn, self.directory, self.logs, self.stack = place.pcdn, place.directory, place.logs, stack
        self.root = self.directory / "root"
        self.root.mkdir()
        self.film = random.Random(7).randbytes(FILM_BYTES)
        (self.root / "film.bin").write_bytes(self.film)
        (self.root / "empty.bin").write_bytes(b"")
        self._certificates()

    def _certificates(self) -> None:
        self.ca, self.key = self.directory / "ca.pem", self.directory / "key.pem"
        made = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
                "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1",
                "-addext", "basicConstraints=critical,CA:FALSE", "-keyout", self.key, "-out", self.ca]
        subprocess.run(list(map(str, made)), check=True, capture_output=True)

    @contextmanager
    def _process(self, name: str, argv: list, ready: str | None, env=None):
        log = self.directory / f"{name}.log"
        with open(log, "wb") as out:
            child = subprocess.Popen([str(word) for word in argv], stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                                     start_new_session=True, env=env)
        try:
            if ready:
                wait_for(f"{name} says {ready!r}", 30, lambda: ready in log.read_text(errors="replace"), child)
            yield child
        finally:
            for how in (signal.SIGCONT, signal.SIGTERM, signal.SIGKILL):
                try:
                    # Its workers belong to its session.
                    os.killpg(child.pid, how)
                    if how != signal.SIGCONT:
                        child.wait(5)
                except (ProcessLookupError, subprocess.TimeoutExpired):
                    continue
            child.wait()
            if self.logs:
                shutil.copy(log, self.logs)

    def process(self, name: str, argv: list, ready: str | None = None, env=None) -> subprocess.Popen:
        return self.stack.enter_context(self._process(name, argv, ready, env))

    def nginx(self, http2: bool, rate: str = "0") -> tuple[int, subprocess.Popen]:
        """nginx on a TCP port; speaks 1.1, and 2 where it is told to."""
        port = free_port()
        home = self.directory / f"nginx-{port}"
        home.mkdir()
        config = home / "nginx.conf"
        config.write_text(f"""
            {"user root;" if os.geteuid() == 0 else ""} daemon off; worker_processes 1; pid {home}/pid; error_log stderr warn;
            events {{ worker_connections 256; }}
            http {{
                access_log {home}/access.log; sendfile on; default_type application/octet-stream;
                client_body_temp_path {home}/body; proxy_temp_path {home}/proxy; fastcgi_temp_path {home}/fastcgi;
                uwsgi_temp_path {home}/uwsgi; scgi_temp_path {home}/scgi;
                server {{
                    listen 127.0.0.1:{port} ssl {'http2' if http2 else ''};
                    ssl_certificate {self.ca}; ssl_certificate_key {self.key};
                    root {self.root}; limit_rate {rate};
                }}
            }}""")
        child = self.process(f"nginx-{port}", ["nginx", "-p", home, "-c", config])
        wait_for("nginx answers", 20, lambda: answers(port), child)
        return port, child

    def caddy(self, protocols: str = "h1 h2 h3", alt_svc: str | None = None) -> tuple[int, subprocess.Popen]:
        """Caddy on a port of TCP and of UDP."""
        port = free_port()
        home = self.directory / f"caddy-{port}"
        home.mkdir()
        config = home / "Caddyfile"
        offer = f'header Alt-Svc `{alt_svc}`' if alt_svc else ""
        config.write_text(f"""{{
            admin off
            auto_https off
            persist_config off
            storage file_system {home}
            servers {{
                protocols {protocols}
            }}
        }}
        https://localhost:{port}, https://127.0.0.1:{port} {{
            bind 127.0.0.1
            tls {self.ca} {self.key}
            root * {self.root}
            {offer}
            file_server
        }}
        """)
        env = os.environ | {"HOME": str(home), "XDG_DATA_HOME": str(home), "XDG_CONFIG_HOME": str(home)}
        child = self.process(f"caddy-{port}", ["caddy", "run", "--config", config], env=env)
        wait_for("Caddy answers", 20, lambda: answers(port), child)
        return port, child

    def options(self, version: str, ca: Path | None = None) -> list:
        return ["--origin", "localhost", "--origin", "127.0.0.1", "--origin-ca", ca or self.ca, "--p2p", "off", "--origin-http", version]

    def get(self, url: str, version: str, *more, ca: Path | None = None) -> tuple[int, dict, bytes]:
        """`pcdn get`: exit status, report, bytes."""
        out = self.directory / f"out-{time.monotonic_ns()}"
        argv = [self.pcdn, "get", url, *self.options(version, ca), "--out", out, "--json", *more]
        done = subprocess.run(list(map(str, argv)), capture_output=True, timeout=120)
        report = json.loads(done.stdout) if done.stdout.strip() else {"stderr": done.stderr.decode(errors="replace")}
        return done.returncode, report, out.read_bytes() if out.exists() else b""

    def rules(self, content: str, mirrors: list[int]) -> Path:
        """A rule file: what lies at localhost is `content`, and lies at these ports of 127.0.0.1 as well."""
        places = ", ".join(f'"https://127.0.0.1:{port}/{{1}}"' for port in mirrors)
        rules = self.directory / "rules.toml"
        rules.write_text(f'[[rule]]\nhost = "localhost*"\npath = "/(.*)"\nkey = "{content}/{{1}}"\nmirrors = [{places}]\n')
        return rules

    def peer(self, version: str, *more) -> "Peer":
        gateway, admin = free_port(), free_port()
        argv = [self.pcdn, "peer", *self.options(version), "--gateway", f"127.0.0.1:{gateway}", "--admin", f"127.0.0.1:{admin}",
                "--listen", "127.0.0.1:0", "-vv", *more]
        child = self.process(f"peer-{version}-{gateway}", argv, "ready")
        return Peer(gateway, admin, child)


class Peer:
    """A node with its gateway."""

    def __init__(self, gateway: int, admin: int, child):
        self.gateway, self.admin, self.child = gateway, admin, child

    def url(self, origin: str) -> str:
        return f"http://127.0.0.1:{self.gateway}/{origin.replace('://', '/', 1)}"

    def curl(self, origin: str, *more) -> tuple[int, bytes]:
        """Status and body."""
        argv = ["curl", "-s", "--max-time", "60", "-w", "%{stderr}%{http_code}", *map(str, more), self.url(origin)]
        done = subprocess.run(argv, capture_output=True, timeout=90)
        return int(done.stderr[-3:] or 0), done.stdout

    def api(self, path: str):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.admin}/api/v1/{path}", timeout=10) as answer:
            return json.load(answer)

    def metric(self, name: str) -> float:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.admin}/metrics", timeout=10) as answer:
            text = answer.read().decode()
        found = re.search(rf"^{re.escape(name)} (\S+)$", text, re.M)
        check(f"/metrics has {name}", found is not None, text[:200])
        return float(found.group(1))


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def suite(session: Session) -> dict:
    """The same requests to nginx and Caddy over 1.1, 2 and 3."""
    ports = {"nginx": {"1.1": session.nginx(False)[0], "2": session.nginx(True)[0]}}
    caddy = session.caddy()[0]
    ports["caddy"] = {version: caddy for version in ROW}
    film, figures = session.film, {}
    stranger = session.directory / "stranger.pem"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=x", "-keyout", "/dev/null",
                    "-out", str(stranger)], check=True, capture_output=True)
    for server, version in SUITE:
        base, row = f"https://localhost:{ports[server][version]}", ROW[version]
        name = f"{server} {version}"
        code, report, got = session.get(f"{base}/film.bin", version)
        check(f"{name}: the whole is right", code == 0 and sha(got) == sha(film), (code, report))
        carried = {key: value["bytes"] for key, value in report["origin_http"].items() if key != "fallbacks"}
        check(f"{name}: this version carried it", carried[row] >= 0.9 * FILM_BYTES, report["origin_http"])
        check(f"{name}: nothing came twice", sum(carried.values()) <= FILM_BYTES + TWICE_MAX, carried)
        figures[name] = {"seconds": report["seconds"], "bytes": carried}
        code, report, got = session.get(f"{base}/film.bin", version, "--range", "1000-2000000")
        check(f"{name}: a range is right", code == 0 and got == film[1000:2000001], (code, len(got)))
        code, report, got = session.get(f"{base}/empty.bin", version)
        check(f"{name}: nothing is nothing", code == 0 and got == b"", (code, report))
        code, report, _ = session.get(f"{base}/nothing", version)
        check(f"{name}: what is not there is not found", code == 4, (code, report))
        code, report, _ = session.get(f"{base}/film.bin", version, ca=stranger)
        check(f"{name}: a strange authority is not trusted", code == 5, (code, report))
        peer = session.peer(version)
        for asked, status, bytes_ in [("bytes=-1000", 206, film[-1000:]), ("bytes=24000000-", 206, film[24000000:]),
                                      ("bytes=5-9", 206, film[5:10]), ("bytes=99999999-", 416, None)]:
            got = peer.curl(f"{base}/film.bin", "-H", f"Range: {asked}")
            check(f"{name}: {asked}", got[0] == status and bytes_ in (None, got[1]), (got[0], len(got[1])))
        check(f"{name}: /metrics says so", peer.metric(f'pcdn_origin_received_bytes_total{{proto="h{version[0]}"}}') > 0, "")
        check(f"{name}: status says so", peer.api("status")["origin_http"][row]["bytes"] > 0, "")
        figures[f"{name}_change_s"] = changes(session, peer, base, name, f'pcdn_origin_received_bytes_total{{proto="h{version[0]}"}}')
    return figures


def changes(session: Session, peer: "Peer", base: str, name: str, received: str) -> list[float]:
    """Other content of equal length under a URL, first while the node has a part of the old one, then while it has all of it: the
    new one comes when the old one has lost its freshness, and never a mixture. Gives how long that took."""
    film, file, took = session.film, session.root / "changing.bin", []
    file.write_bytes(film)
    check(f"{name}: before the change", peer.curl(f"{base}/changing.bin", "-r", "0-99999")[1] == film[:100000], "")
    for n, (old, new) in enumerate([(film, film[::-1]), (film[::-1], film)]):
        file.write_bytes(new)
        os.utime(file, (time.time() + 10 * (n + 1), time.time() + 10 * (n + 1)))
        began = time.monotonic()

        def settled() -> bool:
            before, (status, got) = peer.metric(received), peer.curl(f"{base}/changing.bin")
            check(f"{name}: no mixture", len(got) < FILM_BYTES or got in (old, new), (status, len(got)))
            # What is given of the old one is here already: a check costs a byte at most.
            check(f"{name}: the old one is not fetched again", got != old or peer.metric(received) <= before + 1, (status, n))
            return got == new
        # Without a word of the server's own a file so new is fresh for a second, and checked first after two.
        wait_for(f"{name}: the new content comes", 10, settled)
        took.append(round(time.monotonic() - began, 2))
        # All of it is here now.
        check(f"{name}: it stays", peer.curl(f"{base}/changing.bin")[1] == new, n)
    return took


def alt_svc(session: Session) -> dict:
    """HTTP/3 is found by what the server says over TCP."""
    port, _ = session.caddy()
    url = f"https://localhost:{port}/film.bin"
    # Not so fast that it is here before the offer is taken up.
    code, report, got = session.get(url, "auto", "--download-limit", "20MB/s")
    traffic = report.get("origin_http", {})
    check("the bytes are right", code == 0 and got == session.film, report)
    check("it began over HTTP/2 and went on over HTTP/3", traffic["http2"]["requests"] >= 1 and traffic["http3"]["bytes"] > FILM_BYTES // 2,
          traffic)
    check("nothing fell back", traffic["fallbacks"] == 0, traffic)
    peer = session.peer("auto")
    for again in range(3):
        # One after the other: a film may be here before the offer is taken up.
        status, got = peer.curl(f"{url}?again={again}")
        check("through the gateway, too", status == 200 and got == session.film, status)
    h2, h3 = (peer.metric(f'pcdn_origin_received_bytes_total{{proto="{proto}"}}') for proto in ("h2", "h3"))
    check("/metrics shows the change", h3 > FILM_BYTES // 2, (h2, h3))
    return {"get": traffic, "gateway_h2_bytes": h2, "gateway_h3_bytes": h3}


def without_udp(session: Session) -> dict:
    """An offer that leads to silence costs nothing: nobody waits for it, and what asks for it at once comes back to TCP."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        offer = f'h3=":{silent.getsockname()[1]}"; ma=86400'
        port, _ = session.caddy("h1 h2", offer)
        url, seconds = f"https://localhost:{port}/film.bin", {}
        for version in ("2", "auto", "3"):
            code, report, got = session.get(url, version)
            check(f"{version}: the bytes are right", code == 0 and got == session.film, report)
            check(f"{version}: TCP carried all", report["origin_http"]["http3"]["bytes"] == 0, report["origin_http"])
            check(f"{version}: nobody waited", report["stalls"] == 0, report)
            seconds[version] = report["seconds"]
        silent.setblocking(False)
        check("the offer was tried", silent.recv(2048), "")
    # The machine may be busy; a handshake that somebody waits for costs 3 s.
    check("an offer that leads nowhere costs no time", seconds["auto"] <= seconds["2"] * 1.5 + 1, seconds)
    return {"seconds": seconds}


def play(peer: "Peer", url: str, then) -> tuple[bytes, float]:
    """Plays `url` at the player's rate from a second of it on, and does `then` at a quarter; gives the bytes, and how long the picture
    stood still."""
    arrived, body = [], bytearray()
    with urllib.request.urlopen(peer.url(url), timeout=60) as answer:
        while True:
            part = answer.read1(64 << 10)
            if not part:
                break
            body += part
            arrived.append((time.monotonic(), len(body)))
            if then and len(body) >= FILM_BYTES // 4:
                then()
                then = None
    shown, still = 0, 0.0
    began = next(when for when, have in arrived if have >= PLAYER_RATE)
    for when, have in arrived:
        # Until these bytes came there were `shown` of them; the picture needed so many.
        needed = (when - began - still) * PLAYER_RATE
        if when > began and needed > shown:
            still += (needed - shown) / PLAYER_RATE
        shown = have
    return bytes(body), still


def mirror(session: Session, how: int) -> dict:
    """The first of two places dies within the film; a player with a second in hand notices nothing."""
    dying, child = session.nginx(True, ORIGIN_RATE)
    other, _ = session.caddy()
    rules = session.rules("film", [other])
    peer, before = session.peer("auto", "--mapper", f"template:{rules}"), {}

    def kill() -> None:
        before.update(peer.api("status")["origin_http"])
        os.killpg(child.pid, how)
    body, still = play(peer, f"https://localhost:{dying}/film.bin", kill)
    check("the player has the film, and no other byte", body == session.film, len(body))
    status = peer.api("status")
    carried = status["origin_http"]
    total = sum(row["bytes"] for key, row in carried.items() if key != "fallbacks")
    first = sum(row["bytes"] for key, row in before.items() if key != "fallbacks")
    figures = {"still_s": round(still, 3), "stalled_ms": status["stalled_ms"], "from_origin": status["from_origin"],
               "wasted": status["wasted"], "carried": total, "carried_before": first}
    check("it died within the film", first < FILM_BYTES, figures)
    check("the picture never stood still", still == 0, figures)
    # The node's own count is of a reader that has nothing in hand: it waits for as long as the death takes to be seen.
    check("it was seen within a second", status["stalled_ms"] < 1000, figures)
    check("no byte came twice, but for what shows that the mirror is one", total <= FILM_BYTES + TWICE_MAX and status["wasted"] == 0,
          figures)
    return figures


def other_bytes(session: Session) -> dict:
    """A mirror of equal length with other bytes is found out before it gives any to a player."""
    wrong = session.directory / "wrong"
    wrong.mkdir()
    (wrong / "film.bin").write_bytes(session.film[::-1])
    dying, child = session.nginx(True, ORIGIN_RATE)
    right, session.root = session.root, wrong
    false, _ = session.caddy()
    session.root = right
    true, _ = session.nginx(True)
    rules = session.rules("film", [false, true])
    peer = session.peer("auto", "--mapper", f"template:{rules}")
    body, still = play(peer, f"https://localhost:{dying}/film.bin", lambda: os.killpg(child.pid, signal.SIGKILL))
    check("not one wrong byte", body == session.film, len(body))
    check("the picture never stood still", still == 0, still)
    return {"still_s": still, "wasted": peer.api("status")["wasted"]}


def hls(session: Session, how: int) -> dict:
    """A playlist's host dies while it is played; the other host has the playlist and its segments under the same names."""
    segments = [session.film[n << 20:(n + 1) << 20] for n in range(16)]
    show = session.root / "show"
    show.mkdir()
    for n, segment in enumerate(segments):
        (show / f"{n}.ts").write_bytes(segment)
    listed = "".join(f"#EXTINF:2.0,\n{n}.ts\n" for n in range(len(segments)))
    (show / "index.m3u8").write_text(f"#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:2\n{listed}#EXT-X-ENDLIST\n")
    dying, child = session.nginx(True)
    other, _ = session.caddy()
    rules = session.rules("show", [other])
    peer = session.peer("auto", "--mapper", f"template:{rules}")
    base, waits = f"https://localhost:{dying}/show", []
    check("the playlist comes", peer.curl(f"{base}/index.m3u8")[0] == 200, "")
    for n, segment in enumerate(segments):
        if n == 5:
            os.killpg(child.pid, how)
        began = time.monotonic()
        status, got = peer.curl(f"{base}/{n}.ts")
        waits.append(round(time.monotonic() - began, 2))
        check(f"segment {n} is right", status == 200 and got == segment, (status, len(got)))
        time.sleep(0.2)
    began = time.monotonic()
    status, text = peer.curl(f"{base}/index.m3u8")
    waits.append(round(time.monotonic() - began, 2))
    check("the playlist comes from elsewhere", status == 200 and b"15.ts" in text, (status, text[:80]))
    figures = {"waits_s": waits, "origin_http": peer.api("status")["origin_http"]}
    # A player has at least one segment, 2 s, in hand.
    check("a player noticed nothing", max(waits) < 2, figures)
    return figures


SCENARIOS = {
    "suite": suite,
    "alt_svc": alt_svc,
    "without_udp": without_udp,
    "mirror_killed": lambda session: mirror(session, signal.SIGKILL),
    "mirror_silent": lambda session: mirror(session, signal.SIGSTOP),
    "mirror_other_bytes": other_bytes,
    "hls_killed": lambda session: hls(session, signal.SIGKILL),
    "hls_silent": lambda session: hls(session, signal.SIGSTOP),
}


def with_session(scenario):
    """The scenario with a session, which ends with it."""
    def play(place: Place) -> dict:
        with ExitStack() as stack:
            return scenario(Session(place, stack))
    return play


if __name__ == "__main__":
    scenarios = {name: with_session(scenario) for name, scenario in SCENARIOS.items()}
    sys.exit(run("tests/e2e/origins", "End-to-end tests of origins.", scenarios))
