"""Runs the tracker scenarios; see `tracker` beside this."""

from __future__ import annotations

import json
import shutil
import socket
import struct
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
import warnings
from contextlib import ExitStack, contextmanager
from pathlib import Path

import libtorrent

from loopback import Failed, check, run, wait_for
from ports import free_port

# The ways to make and add a torrent that older versions have as well.
warnings.simplefilter("ignore", DeprecationWarning)

PIECE = 16 * 1024
CONTENT = bytes((i * 31 + i // 251) % 256 for i in range(40 * PIECE + 5))
# How long two clients may take to hear of each other and share the content: clients ask again after tens of seconds.
MEET_SECONDS = 60


@contextmanager
def process(session, name: str, argv: list, ready: str | None = None):
    log = session.directory / f"{name}.log"
    with open(log, "wb") as out:
        child = subprocess.Popen([str(word) for word in argv], stdin=subprocess.DEVNULL, stdout=out, stderr=out)
    try:
        if ready:
            wait_for(f"{name} says {ready!r}", 20, lambda: ready in log.read_text(errors="replace"), child)
        yield child
    finally:
        child.terminate()
        try:
            child.wait(10)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
        if session.logs:
            shutil.copy(log, session.logs)


def tracker(session, name: str, host: str, port: int, *options):
    listen = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    return process(session, name, [session.pcdn, "tracker", "--listen", listen, *options], ready="ready")


def get(url: str, token: str | None = None) -> bytes:
    """What curl gets: the tool an operator has at hand."""
    auth = ["-H", f"Authorization: Bearer {token}"] if token else []
    done = subprocess.run(["curl", "-sS", "--noproxy", "*", "--fail", "-m", "10", *auth, url], capture_output=True, check=False)
    check(f"curl reads {url}", done.returncode == 0, done.stderr.decode())
    return done.stdout


def stats(port: int) -> dict:
    return json.loads(get(f"http://127.0.0.1:{port}/v1/stats"))


def torrent(session, announce: list[str]) -> Path:
    """A torrent of CONTENT, its file where a seed looks for it."""
    seed = session.directory / "seed"
    seed.mkdir(exist_ok=True)
    (seed / "film.bin").write_bytes(CONTENT)
    files = libtorrent.file_storage()
    libtorrent.add_files(files, str(seed / "film.bin"))
    made = libtorrent.create_torrent(files, PIECE, libtorrent.create_torrent.v1_only)
    for tier, url in enumerate(announce):
        made.add_tracker(url, tier)
    libtorrent.set_piece_hashes(made, str(seed))
    path = session.directory / "film.torrent"
    path.write_bytes(libtorrent.bencode(made.generate()))
    return path


def client(listen: str) -> libtorrent.session:
    """A BitTorrent client that knows nobody but by trackers. libtorrent keeps connection ids for all sessions of a process by the
    tracker's address without its port, and the trackers of all scenarios have one address: it would show each the last one's id for a
    minute, and be refused."""
    quiet = {"enable_dht": False, "enable_lsd": False, "enable_upnp": False, "enable_natpmp": False}
    return libtorrent.session(quiet | {
        "listen_interfaces": listen, "allow_multiple_connections_per_ip": True, "announce_to_all_trackers": True,
        "announce_to_all_tiers": True, "alert_mask": libtorrent.alert.category_t.tracker_notification,
        "validate_https_trackers": False, "ssrf_mitigation": False, "min_reconnect_time": 1,
        "udp_tracker_token_expiry": 0,
    })


def seed_with(session, listen: str, path: Path):
    seeding = client(listen)
    handle = seeding.add_torrent({"ti": libtorrent.torrent_info(str(path)), "save_path": str(session.directory / "seed")})
    wait_for("the seed has checked its file", 20, lambda: handle.status().is_seeding)
    return seeding, handle


def bittorrent(session, scheme: str, host: str = "127.0.0.1") -> dict:
    """A libtorrent seed and an aria2 downloader meet by this tracker alone. (aria2 has no UDP trackers over IPv6.)"""
    literal = f"[{host}]" if ":" in host else host
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    port = free_port()
    path = torrent(session, [f"{scheme}://{literal}:{port}/announce"])
    with tracker(session, f"tracker-{scheme}", host, port):
        seeding, handle = seed_with(session, f"{literal}:{free_port()}", path)
        wait_for("the tracker counts the seed", 20, lambda: total(literal, port, "seeds") == 1)
        out = session.directory / f"out-{scheme}"
        began = time.monotonic()
        # Its UDP trackers share the socket of its DHT, which knows nobody here.
        dht = ["--enable-dht=true", f"--dht-listen-port={free_port()}", f"--dht-file-path={session.directory / 'dht.dat'}"]
        argv = ["aria2c", f"--dir={out}", *(dht if scheme == "udp" else ["--enable-dht=false"]), "--enable-dht6=false", "--bt-enable-lpd=false", "--enable-peer-exchange=false",
                "--seed-time=0", "--summary-interval=0", f"--listen-port={free_port()}", "--bt-tracker-interval=3", "--no-conf",
                f"--disable-ipv6={'false' if family == socket.AF_INET6 else 'true'}", "--file-allocation=none", path]
        with process(session, f"aria2-{scheme}", argv) as aria:
            wait_for("aria2 has it all", MEET_SECONDS, lambda: aria.poll() is not None)
            check("aria2 ends well", aria.returncode == 0, aria.returncode)
        check("every byte is right", (out / "film.bin").read_bytes() == CONTENT, "others")
        took = time.monotonic() - began
        seeding.remove_torrent(handle)
        wait_for("a goodbye counts", 20, lambda: total(literal, port, "seeds") == 0)
    return {"met_s": round(took, 1)}


def total(host: str, port: int, which: str) -> int:
    return sum(swarm[which] for swarm in json.loads(get(f"http://{host}:{port}/v1/swarms"))["swarms"])


def scrape(session: libtorrent.session, torrent) -> libtorrent.scrape_reply_alert:
    """What libtorrent reads of its first tracker. A request that it sends while its announce is under way may get lost in it, so it is
    asked again."""
    for _ in range(4):
        torrent.scrape_tracker(0)
        until = time.monotonic() + 5
        while time.monotonic() < until:
            for alert in session.pop_alerts():
                if isinstance(alert, libtorrent.scrape_reply_alert):
                    return alert
                if isinstance(alert, libtorrent.scrape_failed_alert):
                    # The words of a refusal over UDP are not among what it tells.
                    raise Failed(f"the scrape fails: {alert.error.message()} {alert.error_message()}")
            time.sleep(0.05)
    raise Failed("libtorrent reads no scrape, asked four times")


def two_libtorrents(session, host: str) -> dict:
    """Both are libtorrent, with the tracker on UDP and HTTP at once, IPv4 and IPv6 on one socket."""
    literal = f"[{host}]" if ":" in host else host
    port = free_port()
    path = torrent(session, [f"udp://{literal}:{port}/announce", f"http://{literal}:{port}/announce"])
    with tracker(session, "tracker-two", "::", port):
        seeding, handle = seed_with(session, f"{literal}:{free_port()}", path)
        taking = client(f"{literal}:{free_port()}")
        out = session.directory / "out-two"
        mine = taking.add_torrent({"ti": libtorrent.torrent_info(str(path)), "save_path": str(out)})
        began = time.monotonic()
        wait_for("the other has it all", MEET_SECONDS, lambda: mine.status().is_seeding)
        check("every byte is right", (out / "film.bin").read_bytes() == CONTENT, "others")
        took = time.monotonic() - began
        scraped = scrape(taking, mine)
        check("the scrape counts both", scraped.complete + scraped.incomplete >= 2, (scraped.complete, scraped.incomplete))
        counted = stats(port)
        check("it was announced to both ways", counted["announces"] >= 3 and counted["scrapes"] >= 1, counted)
        del seeding, handle
    return {"met_s": round(took, 1), "announces": counted["announces"]}


def connect(sock: socket.socket) -> bytes:
    sock.send(struct.pack(">QII", 0x41727101980, 0, 77))
    action, txn, connection = struct.unpack(">II8s", sock.recv(2048))
    check("a connect is answered", (action, txn) == (0, 77), (action, txn))
    return connection


def people(session) -> dict:
    """curl and a scraper read it; a stranger's datagrams are not worth a forged address."""
    port = free_port()
    networks = session.directory / "networks"
    networks.write_text("127.0.0.0/8 home lab # loopback\n")
    with tracker(session, "tracker-people", "127.0.0.1", port, "--networks", networks):
        base = f"http://127.0.0.1:{port}"
        body = json.dumps({"swarm": "11" * 32, "peer": "22" * 32, "ports": [{"scheme": "udp", "port": 4000}], "left": 0}).encode()
        asked = urllib.request.Request(f"{base}/v1/announce", body, {"Content-Type": "application/json"})
        answer = json.loads(urllib.request.urlopen(asked, timeout=10).read())
        check("an announce in JSON says where it came from", answer["observed"].startswith("127.0.0.1:"), answer)
        check("healthz", get(f"{base}/healthz") == b"ok\n", "another answer")
        one = json.loads(get(f"{base}/v1/swarms/{'11' * 32}"))
        check("the swarm is listed", one["seeds"] == 1 and one["peers"][0]["addrs"] == ["udp://127.0.0.1:4000"], one)
        check("by its info hash as well", json.loads(get(f"{base}/v1/swarms/{'11' * 20}"))["seeds"] == 1, "not")
        metrics = get(f"{base}/metrics").decode()
        check("metrics", "pcdn_tracker_peers 1" in metrics and metrics.endswith("# EOF\n"), metrics[:200])
        query = urllib.parse.urlencode({"info_hash": b"\x11" * 20, "peer_id": b"-XX0000-abcdefghijkl", "port": 6881, "left": 5, "compact": 1})
        bencoded = libtorrent.bdecode(get(f"{base}/announce?{query}"))
        check("a BitTorrent client meets a native peer", bencoded[b"peers"] == bytes([127, 0, 0, 1, 0x0F, 0xA0]), bencoded)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.connect(("127.0.0.1", port))
            sock.settimeout(1)
            connection = connect(sock)
            scrape = connection + struct.pack(">II", 2, 78) + b"\x11" * 20
            sock.send(scrape)
            check("a scrape by hand", struct.unpack(">5I", sock.recv(2048)) == (2, 78, 1, 0, 1), "others")
            sock.send(b"\0" * 8 + scrape[8:])
            wrong = sock.recv(2048)
            check("a forged id is not worth it", len(wrong) <= len(scrape) and wrong[3] == 3, wrong)
    return {"metrics_lines": metrics.count("\n")}


def redis(session) -> dict:
    """Two trackers on one database answer for each other, and each goes on alone when it is gone."""
    program = shutil.which("redis-server") or shutil.which("valkey-server")
    check("there is a database", program is not None, "neither redis-server nor valkey-server")
    at = free_port()
    argv = [program, "--port", at, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", session.directory]
    ports = [free_port(), free_port()]
    with ExitStack() as stack:
        database = ExitStack()
        stack.enter_context(database)
        database.enter_context(process(session, "redis", argv, ready="Ready to accept connections"))
        for number, port in enumerate(ports):
            store = ("--store", f"redis://127.0.0.1:{at}")
            stack.enter_context(tracker(session, f"tracker-shared-{number}", "127.0.0.1", port, *store))
        socks = []
        for port in ports:
            sock = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
            sock.connect(("127.0.0.1", port))
            sock.settimeout(3)
            socks.append(sock)

        def announce(which: int, swarm: bytes, listen: int, event: int = 2) -> list[int]:
            """The ports of those it is told of."""
            sock = socks[which]
            sock.send(connect(sock) + struct.pack(">II20s20sQQQIIIiH", 1, 79, swarm, b"x" * 20, 0, 5, 0, event, 0, 0, 30, listen))
            answer = sock.recv(2048)
            check("an announce is answered", answer[:4] == b"\0\0\0\1", answer)
            return sorted(struct.unpack(">H", answer[i + 4:i + 6])[0] for i in range(20, len(answer), 6))

        swarm = b"\x33" * 20
        check("nobody is there yet", announce(0, swarm, 5001) == [], "somebody")
        seen = wait_for("the other tracker knows who announced here", 10, lambda: 5001 in announce(1, swarm, 5002))
        check("and this one who announced there", wait_for("back", 10, lambda: announce(0, swarm, 5001) == [5002]), seen)
        announce(0, swarm, 5001, event=3)
        shared = json.loads(get(f"http://127.0.0.1:{ports[1]}/v1/swarms/{'33' * 20}"))
        check("JSON counts them too", shared["others"] >= 1, shared)
        database.close()
        began = time.monotonic()
        check("without the database it goes on", 5002 in announce(1, swarm, 5003), "not")
        check("at once", time.monotonic() - began < 2, time.monotonic() - began)
        check("with what it is told", 5003 in announce(1, swarm, 5004), "not")
    return {}


def private(session) -> dict:
    """Who does not know the secret reads nothing and announces nothing."""
    port = free_port()
    secret = session.directory / "secret"
    secret.write_text("sixteen bytes of secret at least\n")
    with tracker(session, "tracker-private", "127.0.0.1", port, "--secret", secret):
        for path in ["/v1/swarms", "/metrics", "/"]:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5)
                raise Failed(f"{path} is read without a token")
            except urllib.error.HTTPError as error:
                check("it says that it is private", error.code == 401, error.code)
        query = urllib.parse.urlencode({"info_hash": b"\x11" * 20, "peer_id": b"-XX0000-abcdefghijkl", "port": 6881})
        refused = libtorrent.bdecode(get(f"http://127.0.0.1:{port}/announce?{query}"))
        check("a BitTorrent client is refused in its own words", b"private" in refused[b"failure reason"], refused)
    return {}


SCENARIOS = {
    "people": people,
    "private": private,
    "udp": lambda session: bittorrent(session, "udp"),
    "http": lambda session: bittorrent(session, "http"),
    "http6": lambda session: bittorrent(session, "http", "::1"),
    "two_libtorrents": lambda session: two_libtorrents(session, "127.0.0.1"),
    "two_libtorrents_ipv6": lambda session: two_libtorrents(session, "::1"),
    "redis": redis,
}


if __name__ == "__main__":
    sys.exit(run("tests/e2e/tracker", "End-to-end tests of the tracker.", SCENARIOS))
