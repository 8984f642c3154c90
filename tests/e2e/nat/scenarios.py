"""Scenarios: what the textbook says of two homes behind NATs, through the real binary."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from homes import HOST, KINDS, PORT, TRACKED, TRACKER, V6_HOST, Homes, HomesError

MIB = 1 << 20
# A viewer that gets nothing from peers takes this long for the matrix's file: 4 MiB at 400 kB/s.
FILE = 4 * MIB
HEALS_IN = 1.0


def meets(a: str, b: str) -> bool:
    """Whether a direct way exists by RFC 4787's terms."""
    hard = {("sym", "sym"), ("sym", "port"), ("port", "sym")}
    return "block" not in (a, b) and (a, b) not in hard


def survey_time() -> None:
    """A node needs about two seconds to know its NAT; viewers seldom come in the same second."""
    time.sleep(2.5)


def pair(tools: "Tools", a: str, b: str, scheme: str = "udp") -> dict:
    """A seeder behind one router, a viewer whose origin is slow behind the other."""
    with tools.homes(f"{scheme}-{a}-{b}", (a, b)) as homes:
        url = homes.publish(FILE)
        homes.origin()
        homes.tracker()
        homes.get("a1", url, "--seed", listen=f"{scheme}://0.0.0.0:4000")
        homes.seeded("a1")
        survey_time()
        begun = time.monotonic()
        viewer = homes.get("b1", url, listen=f"{scheme}://0.0.0.0:4000")
        if viewer.wait(60):
            raise HomesError(f"the viewer ended with {viewer.returncode}: {homes.report('b1')}")
        seconds, report = time.monotonic() - begun, homes.report("b1")
        direct = report["from_peers"] > 0
        figures = {"direct": direct, "textbook": meets(a, b), "seconds": round(seconds, 2),
                   "p2p_ratio": report["p2p_ratio"], "stalls": report["stalls"]}
        # Without a peer the origin alone serves it, and that must not take longer for there being one that cannot be reached.
        alone = FILE / 400_000 + 2.5
        right = report["sha256"] == homes.sha256 and report["stalls"] == 0
        return figures | {"ok": right and direct == meets(a, b) and seconds < alone}


def by_neighbour(tools: "Tools", a: str, b: str, scheme: str = "udp") -> dict:
    """A tracker that calls nobody, and a third peer that both homes reach and that gives hardly anything: it calls them together."""
    with tools.homes(f"neighbour-{scheme}-{a}-{b}", (a, b)) as homes:
        url = homes.publish(FILE)
        homes.origin()
        homes.tracker()
        homes.calls_nobody()
        listen = f"{scheme}://0.0.0.0:4000"
        homes.get("host", url, "--seed", "--upload-limit", "20kB/s", listen=listen)
        homes.seeded("host")
        homes.get("a1", url, "--seed", listen=listen)
        homes.seeded("a1")
        # Until it has a link to the third.
        survey_time()
        viewer = homes.get("b1", url, listen=listen)
        if viewer.wait(60):
            raise HomesError(f"the viewer ended with {viewer.returncode}")
        report = homes.report("b1")
        direct = report["from_peers"] > FILE / 4
        return {"direct": direct, "textbook": meets(a, b), "p2p_ratio": report["p2p_ratio"], "seconds": report["seconds"],
                "ok": report["sha256"] == homes.sha256 and report["stalls"] == 0 and direct == meets(a, b)}


def over_v6(tools: "Tools", a: str, b: str, scheme: str = "udp") -> dict:
    """Two homes with IPv6 behind routers that let in what was written to; by IPv4 they would not meet. The tracker calls them."""
    with tools.homes(f"v6-{scheme}-{a}-{b}", (a, b), v6=True) as homes:
        url = homes.publish(FILE)
        homes.origin()
        homes.tracker()
        by = ("--tracker", f"[{V6_HOST}]:{TRACKER}")
        listen = f"{scheme}://[::]:4000"
        homes.get("a1", url, "--seed", listen=listen, by=by)
        homes.seeded("a1")
        survey_time()
        homes.count("b1", "input", "meta nfproto ipv6 udp length > 1000")
        viewer = homes.get("b1", url, listen=listen, by=by)
        if viewer.wait(60):
            raise HomesError(f"the viewer ended with {viewer.returncode}")
        report = homes.report("b1")
        six = homes.counted("b1")
        return {"p2p_ratio": report["p2p_ratio"], "bytes_v6": six,
                "ok": report["sha256"] == homes.sha256 and report["from_peers"] > FILE / 4 and six >= report["from_peers"]}


class Arrivals:
    """Watches how long nothing of size came over UDP into a host."""

    def __init__(self, homes: Homes, host: str):
        self.homes, self.host, self.longest, self.ending = homes, host, 0.0, threading.Event()
        homes.inside(host, "nft", "add table ip w; add counter ip w c; add chain ip w i { type filter hook input priority 0; };"
                     " add rule ip w i meta l4proto udp meta length > 1000 counter name c")
        self.thread = threading.Thread(target=self.watch, daemon=True)
        self.thread.start()

    def watch(self) -> None:
        before, at = 0, time.monotonic()
        while not self.ending.wait(0.03):
            text = self.homes.inside(self.host, "nft", "-j", "list", "counter", "ip", "w", "c")
            packets = next(o["counter"]["packets"] for o in json.loads(text)["nftables"] if "counter" in o)
            now = time.monotonic()
            if packets != before:
                before, at = packets, now
            self.longest = max(self.longest, now - at)

    def stop(self) -> float:
        self.ending.set()
        self.thread.join()
        return self.longest


def rebind(tools: "Tools", a: str, b: str, side: str) -> dict:
    """A router restarts in the middle of a download and gives other ports: the link goes on within a second."""
    with tools.homes(f"rebind-{a}-{b}-{side}", (a, b)) as homes:
        url = homes.publish(24 * MIB)
        homes.origin()
        homes.tracker()
        homes.get("a1", url, "--seed", "--upload-limit", "2MB/s")
        homes.seeded("a1")
        survey_time()
        viewer = homes.get("b1", url)
        time.sleep(4)
        arrivals = Arrivals(homes, "b1")
        time.sleep(0.5)
        homes.set_router(side, 47_000)
        time.sleep(3)
        pause = arrivals.stop()
        running = viewer.poll() is None
        if viewer.wait(60):
            raise HomesError(f"the viewer ended with {viewer.returncode}")
        report = homes.report("b1")
        links = (homes.directory / "b1.stderr").read_text().count("why=Silent")
        right = report["sha256"] == homes.sha256 and report["rejected_pieces"] == 0
        return {"pause_s": round(pause, 2), "links_lost": links, "p2p_ratio": report["p2p_ratio"],
                "ok": right and running and pause <= HEALS_IN and links == 0}


PLAYER = """
import socket, sys, time
# A player with a second of buffer: reads at the media's rate, and says how long it waited beyond that.
host, path, rate = sys.argv[1], sys.argv[2], int(sys.argv[3])
s = socket.create_connection(("127.0.0.1", 7400)); s.settimeout(20)
s.sendall(f"GET {path} HTTP/1.1\\r\\nHost: 127.0.0.1:7400\\r\\nConnection: close\\r\\n\\r\\n".encode())
begun, got, first, late = time.monotonic(), 0, None, 0.0
while True:
    data = s.recv(65536)
    now = time.monotonic()
    if not data: break
    first = first or now
    due = first + 1 + got / rate
    late = max(late, now - due)
    got += len(data)
    time.sleep(max(0, first + got / rate - now))
print('{"bytes": %d, "start_s": %.2f, "late_s": %.2f}' % (got, first - begun, max(late, 0)))
"""


def playback(tools: "Tools", kind: str) -> dict:
    """A player beside peers that cannot be reached: what it needs comes from the CDN in time."""
    rate, size = 300_000, 3 * MIB
    with tools.homes(f"playback-{kind}", (kind, kind)) as homes:
        url = homes.publish(size)
        homes.origin()
        homes.tracker()
        homes.get("a1", url, "--seed")
        survey_time()
        homes.start("b1", "node", homes.pcdn, "peer", "--tracker", f"{HOST}:{TRACKER}", "--origin", HOST)
        player = homes.start("b1", "player", sys.executable, "-c", PLAYER, HOST, f"/http/{HOST}:{PORT}/film.bin", str(rate),
                             ready=None)
        if player.wait(60):
            raise HomesError((homes.directory / "player.stderr").read_text()[-400:])
        report = homes.report("player")
        return report | {"ok": report["bytes"] > size and report["late_s"] == 0 and report["start_s"] < 3}


def same_home(tools: "Tools", kind: str, by: tuple) -> dict:
    """Two viewers behind one router that does not turn traffic around and has a narrow uplink: what they exchange stays inside."""
    with tools.homes(f"same-home-{kind}-{len(by)}", (kind, "none"), hosts=2, slow="a") as homes:
        url = homes.publish(FILE)
        homes.origin()
        homes.tracker()
        homes.narrow_uplink("a", "1mbit")
        homes.get("a1", url, "--seed", by=by)
        homes.seeded("a1")
        survey_time()
        before, begun = homes.over_wan("a"), time.monotonic()
        viewer = homes.get("a2", url, by=by, listen="udp://0.0.0.0:4001")
        if viewer.wait(90):
            raise HomesError(f"the viewer ended with {viewer.returncode}")
        seconds, crossed, report = time.monotonic() - begun, homes.over_wan("a") - before, homes.report("a2")
        # What came from the origin, its headers and acknowledgements, and words with the tracker.
        origin = report["from_origin"] * 1.15 + 64 * 1024
        return {"p2p_ratio": report["p2p_ratio"], "seconds": round(seconds, 2), "over_wan": crossed,
                "ok": report["sha256"] == homes.sha256 and report["p2p_ratio"] > 0.8 and crossed < origin}


def limited(tools: "Tools", option: str, viewers: int) -> dict:
    """A seeder whose uplink is limited, by peer or by swarm: what leaves it keeps to that, and makes use of it."""
    rate = 300_000
    with tools.homes(f"limit-{option}", ("none", "none"), hosts=viewers) as homes:
        url = homes.publish(2 * FILE)
        homes.origin()
        homes.tracker()
        homes.get("a1", url, "--seed", option, f"{rate}B/s")
        homes.seeded("a1")
        survey_time()
        homes.count("a1", "output", "meta l4proto udp meta length > 1000")
        begun = time.monotonic()
        running = [homes.get(f"b{n}", url, listen=f"udp://0.0.0.0:{4000 + n}") for n in range(1, viewers + 1)]
        running[0].wait(60)
        seconds, given = time.monotonic() - begun, homes.counted("a1")
        if any(viewer.wait(60) for viewer in running):
            raise HomesError("a viewer failed")
        reports = [homes.report(f"b{n}") for n in range(1, viewers + 1)]
        # Headers are 5 % at most; a bucket holds a quarter of a second, and what stood in the buffers.
        most = rate * (seconds + 0.5) * 1.05 + 128 * 1024
        right = all(report["sha256"] == homes.sha256 for report in reports)
        return {"given": given, "seconds": round(seconds, 2), "rate": round(given / seconds),
                "ok": right and rate * seconds * 0.5 < given < most}


def metered(tools: "Tools") -> dict:
    """A viewer whose bytes cost money takes from peers and gives nothing, though nobody else has the file any more."""
    with tools.homes("metered", ("none", "none"), hosts=2, slow="ab") as homes:
        url = homes.publish(FILE)
        homes.origin()
        homes.tracker()
        seeder = homes.get("a1", url, "--seed")
        homes.seeded("a1")
        homes.get("b1", url, "--seed", "--metered")
        homes.seeded("b1")
        seeder.terminate()
        seeder.wait(10)
        homes.count("b1", "output", "meta l4proto udp meta length > 1000")
        viewer = homes.get("a2", url)
        if viewer.wait(60):
            raise HomesError(f"the viewer ended with {viewer.returncode}")
        report, given = homes.report("a2"), homes.counted("b1")
        # It is dialled: hellos are long, too.
        return {"given": given, "from_peers": report["from_peers"],
                "ok": report["sha256"] == homes.sha256 and report["from_peers"] == 0 and given < 64 * 1024}


def opened(tools: "Tools", upnp: bool) -> dict:
    """Two homes that no punch joins; the router of one opens a port when it is asked, and closes it when the node ends."""
    with tools.homes("upnp" if upnp else "natpmp", ("sym", "port")) as homes:
        url = homes.publish(FILE)
        homes.origin()
        homes.tracker()
        homes.port_opener("a", upnp)
        seeder = homes.get("a1", url, "--seed")
        time.sleep(8)
        asked = homes.inside("ra", "nft", "list", "chain", "inet", "filter", "prerouting_miniupnpd").count("dnat")
        viewer = homes.get("b1", url)
        if viewer.wait(60):
            raise HomesError(f"the viewer ended with {viewer.returncode}")
        report = homes.report("b1")
        seeder.terminate()
        seeder.wait(10)
        left = homes.inside("ra", "nft", "list", "chain", "inet", "filter", "prerouting_miniupnpd").count("dnat")
        right = report["sha256"] == homes.sha256 and report["from_peers"] > 0
        return {"p2p_ratio": report["p2p_ratio"], "opened": asked, "left": left,
                "ok": right and asked == 1 and left == 0}


def doctor(tools: "Tools", a: str, b: str) -> dict:
    """What `pcdn doctor` says behind two routers."""
    kinds = {"none": "open", "full": "open", "addr": "address-restricted", "port": "port-restricted", "sym": "symmetric",
             "block": "unknown"}
    with tools.homes(f"doctor-{a}-{b}", (a, b)) as homes:
        homes.tracker()
        said = {}
        for host, kind in (("a1", a), ("b1", b)):
            process = homes.start(host, host, homes.pcdn, "doctor", "--json", "--tracker", f"{HOST}:{TRACKER}", ready=None)
            said[kind] = (process.wait(30), homes.report(host))
        ok = all(report["nat"] == kinds[kind] and report["p2p"] == (kind != "block") and (status == 0) == report["p2p"]
                 for kind, (status, report) in said.items())
        return {kind: report["nat"] for kind, (_, report) in said.items()} | {"ok": ok}


QUICK = [("none", "none"), ("full", "port"), ("port", "port"), ("addr", "sym"), ("port", "sym"), ("block", "port")]


def scenarios(quick: bool) -> dict:
    pairs = QUICK if quick else [(a, b) for a in KINDS for b in KINDS]
    out = {f"{a}-{b}": (lambda tools, a=a, b=b: pair(tools, a, b)) for a, b in pairs}
    out["neighbour-port-port"] = lambda tools: by_neighbour(tools, "port", "port")
    out["v6-sym-port"] = lambda tools: over_v6(tools, "sym", "port")
    out["limit-peer"] = lambda tools: limited(tools, "--upload-limit-peer", 1)
    out["metered"] = metered
    out["same-home-alone"] = lambda tools: same_home(tools, "port", ())
    if not quick:
        for a, b, side in (("port", "port", "a"), ("port", "port", "b"), ("port", "full", "a"), ("port", "none", "a")):
            out[f"rebind-{a}-{b}-{side}"] = lambda tools, a=a, b=b, side=side: rebind(tools, a, b, side)
        out["playback-block"] = lambda tools: playback(tools, "block")
        out["playback-sym"] = lambda tools: playback(tools, "sym")
        out["limit-swarm"] = lambda tools: limited(tools, "--upload-limit-swarm", 2)
        for a, b in (("full", "port"), ("port", "port"), ("addr", "sym"), ("port", "sym")):
            out[f"quic-{a}-{b}"] = lambda tools, a=a, b=b: pair(tools, a, b, "quic")
            out[f"neighbour-{a}-{b}"] = lambda tools, a=a, b=b: by_neighbour(tools, a, b)
        out["neighbour-quic-port-port"] = lambda tools: by_neighbour(tools, "port", "port", "quic")
        for a, b in (("none", "port"), ("sym", "port")):
            out[f"v6-{a}-{b}"] = lambda tools, a=a, b=b: over_v6(tools, a, b)
        out["v6-quic-sym-port"] = lambda tools: over_v6(tools, "sym", "port", "quic")
        # Found and introduced by the tracker, or found in the home's own network.
        out["same-home"] = lambda tools: same_home(tools, "port", (*TRACKED, "--lan-discovery", "off"))
        out["same-home-sym"] = lambda tools: same_home(tools, "sym", (*TRACKED, "--lan-discovery", "off"))
        for a, b in (("none", "full"), ("addr", "port"), ("sym", "block")):
            out[f"doctor-{a}-{b}"] = lambda tools, a=a, b=b: doctor(tools, a, b)
        out["upnp"] = lambda tools: opened(tools, True)
        out["natpmp"] = lambda tools: opened(tools, False)
    return out


class Tools:
    def __init__(self, arguments: argparse.Namespace, directory: Path):
        self.pcdn, self.directory = str(Path(arguments.pcdn).resolve()), directory
        self._number, self._lock = 0, threading.Lock()

    def homes(self, title: str, kinds: tuple[str, str], **more) -> Homes:
        with self._lock:
            self._number += 1
            prefix = f"nat{os.getpid()}-{self._number}-"
        return Homes(prefix, self.directory / title, self.pcdn, kinds, **more)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pcdn", action="append", required=True)
    parser.add_argument("--quick", action="store_true", help="the most telling ones, a minute")
    parser.add_argument("--only", default="", help="names, with commas between")
    parser.add_argument("--jobs", type=int, default=3, help="scenarios at a time")
    parser.add_argument("--logs", type=Path, help="keep what the programs said there")
    arguments = parser.parse_args()
    arguments.pcdn = arguments.pcdn[-1]
    if not os.access(arguments.pcdn, os.X_OK):
        print(f"tests/e2e/nat/run: {arguments.pcdn} is not there: cargo build --release, or --pcdn PATH", file=sys.stderr)
        return 2
    wanted = scenarios(arguments.quick)
    if arguments.only:
        every = scenarios(False)
        unknown = [name for name in arguments.only.split(",") if name not in every]
        if unknown:
            print(f"no scenario {unknown[0]}; there are: {', '.join(every)}", file=sys.stderr)
            return 2
        wanted = {name: every[name] for name in arguments.only.split(",")}
    directory = Path(tempfile.mkdtemp(prefix="pcdn-nat-"))
    tools = Tools(arguments, directory)

    def run(named: tuple) -> bool:
        name, scenario = named
        begun = time.monotonic()
        try:
            result = scenario(tools)
        except (HomesError, OSError, KeyError) as error:
            result = {"ok": False, "error": str(error)}
        print(json.dumps({"scenario": name, **result, "took_s": round(time.monotonic() - begun, 1)}), flush=True)
        return result["ok"]

    try:
        with ThreadPoolExecutor(arguments.jobs) as pool:
            results = list(pool.map(run, wanted.items()))
    finally:
        if arguments.logs:
            shutil.copytree(directory, arguments.logs, dirs_exist_ok=True)
        shutil.rmtree(directory, ignore_errors=True)
    print(f"{sum(results)} of {len(results)} held", file=sys.stderr)
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
