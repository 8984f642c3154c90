"""Live HTTP-FLV: a publisher, a server, viewers that join at different times, and what comes out of their gateways.

Every output is recorded and looked at in two ways: ffmpeg must find nothing wrong in it, and its frames must be those of a
recording made beside without pcdn, in order and without a gap.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
import time
from contextlib import ExitStack
from pathlib import Path

from media_assets import FFMPEG
from media_players import AUDIO, VIDEO, FlvPlayer, compare
from media_rig import HERE, Bars, Process, Viewer, World, free_port, poll_until

# Two of them read the origin and vouch for it to the others: 0.5 with four viewers is the best there is, less the start.
RATIO = 0.45
# A player that keeps no more than a second has these hiccups while a viewer changes from the origin to its peers.
LONGEST_STALL_MS = 500
# The slice that a killed feeder was about to vouch for may be lost: two seconds of 25 frames or of 47 sounds.
LOST_WITH_FEEDER, STALL_WITH_FEEDER_MS = 100, 4000
JOINS = [0.3, 3, 7, 30]
# More viewers and no late one where the run is short, so that the start does not hide what comes after it.
QUICK_JOINS = [0.3, 1, 3, 4, 7, 8]
# With a feeder lost on the way.
KILL_JOINS = [0.3, 3, 7, 30, 31, 32]


class Server:
    """node-media-server with a publisher; `rebased` puts the emulation of another server's habits before it."""

    def __init__(self, stack: ExitStack, session, clip: Path, logs: Path, rebased: bool):
        rtmp, http = free_port(), free_port()
        self._start(stack, Process(
            "server", ["node", HERE / "browser" / "flv-server.mjs", rtmp, http, logs / "server.data"], logs))
        poll_until(lambda: self._opens(rtmp), 20, "node-media-server listens")
        self._start(stack, Process("publisher", [
            *FFMPEG, "-re", "-i", clip, "-c", "copy", "-f", "flv", f"rtmp://127.0.0.1:{rtmp}/live/one"],
            logs))
        self.url = f"http://127.0.0.1:{http}/live/one.flv"
        if rebased:
            relay = free_port()
            # A server answers for a stream only once it is there.
            self.wait_for_frames()
            process = Process("rebaser", [sys.executable, HERE / "media_rebase.py", relay, self.url], logs, "ready")
            self._start(stack, process)
            process.wait_ready()
            self.url = f"http://127.0.0.1:{relay}/live/one.flv"
        self.address = self.url.split("/")[2]

    @staticmethod
    def _start(stack: ExitStack, process: Process) -> None:
        stack.callback(process.stop)

    @staticmethod
    def _opens(port: int) -> bool:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return True
        except OSError:
            return False

    def wait_for_frames(self) -> None:
        probe = FlvPlayer(self.url, "probe", "/dev/null").start()
        poll_until(lambda: len(probe.tags[VIDEO]) > 25, 20, f"the server gives frames ({probe.error})")
        probe.stop()


def live_flv(session, assets, name: str, gop: float = 2, rebased: bool = False, kill: bool = False) -> Bars:
    bars = Bars(name)
    seconds = 45 if session.quick else 300
    joins = QUICK_JOINS if session.quick else KILL_JOINS if kill else JOINS
    logs = session.logs / name
    logs.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        server = Server(stack, session, assets.clip(gop=gop, seconds=seconds + 40), logs, rebased)
        server.wait_for_frames()
        world = stack.enter_context(World(session, name, len(joins), origin=server.address))
        truth = FlvPlayer(server.url, "truth", logs / "truth.flv").start()
        stack.callback(truth.stop)
        players, direct = join_all(stack, session, world, server, joins, logs)
        followers = follow(session, server, joins[:4], logs)
        samples = Samples(world).start()
        killed = None
        if kill:
            time.sleep(max(0.0, seconds * 0.4 - joins[-1]))
            killed = samples.feeder()
            world.viewers[killed].process.kill()
            time.sleep(seconds * 0.6)
        else:
            time.sleep(seconds - joins[-1])
        samples.stop()
        sums = world.totals()
        figures = bars.figures
        figures |= {key: sums[key] for key in ("ratio", "ratio_each", "from_peers", "from_origin", "wasted", "rejected_pieces")}
        figures["ratio_last_half"] = samples.ratio_since(0.5)
        figures["killed"] = killed
        for player in [*players, *direct]:
            player.stop()
        # Frames on their way to the truth when the last viewer stopped are no gap.
        time.sleep(1)
        truth.stop()
        figures["stalls_cdn_only"] = sum(p.result()["stalls"] for p in direct)
        alive = {number: player for number, player in enumerate(players) if number != killed}
        figures["players"] = {number: player.result() for number, player in alive.items()}
        figures["same_slices"] = agreement(followers)
    results = figures["players"].values()
    judge(bars, alive, truth, logs, kill)
    figures["stalls"] = sum(r["stalls"] for r in results)
    bars.bar("longest stall, ms", max((r["longest_stall_ms"] for r in results), default=0), 
             at_most=STALL_WITH_FEEDER_MS if kill else LONGEST_STALL_MS)
    bars.bar("slices compared between joiners", figures["same_slices"]["compared"], at_least=5)
    bars.bar("slices that differ between joiners", figures["same_slices"]["different"], at_most=0)
    # A short run is mostly start; its second half shows what lasts.
    which = "ratio_last_half" if session.quick or kill else "ratio"
    bars.bar(which, figures[which], at_least=RATIO)
    return bars


def join_all(stack, session, world: World, server: Server, joins: list, logs: Path) -> tuple[list, list]:
    begun, players, direct = time.monotonic(), [], []
    for number, (viewer, at) in enumerate(zip(world.viewers, joins)):
        time.sleep(max(0.0, begun + at - time.monotonic()))
        players.append(FlvPlayer(viewer.through(server.url), "player", logs / f"viewer{number}.flv").start())
        direct.append(FlvPlayer(server.url, "direct", "/dev/null").start())
    for player in [*players, *direct]:
        stack.callback(player.stop)
    return players, direct


def judge(bars: Bars, players: dict, truth: FlvPlayer, logs: Path, kill: bool) -> None:
    errors, backward, lost, foreign = [], 0, {}, 0
    for number, player in players.items():
        result = player.result()
        backward += result["backward_steps"]
        if result["error"]:
            errors.append(f"viewer {number}: {result['error']}")
        if complaint := complaints(logs / f"viewer{number}.flv"):
            errors.append(f"viewer {number}: {complaint}")
        for kind, word in ((VIDEO, "video"), (AUDIO, "audio")):
            missing, others = compare(player.tags[kind], truth.tags[kind])
            lost |= {f"{word} of viewer {number}": missing} if missing else {}
            foreign += others
    bars.figures["lost_frames"] = lost
    bars.bar("errors", errors, equals=[])
    bars.bar("time stamps that go back", backward, at_most=0)
    bars.bar("frames that the server did not send", foreign, at_most=0)
    bars.bar("frames lost by a viewer, at most", max(lost.values(), default=0), at_most=LOST_WITH_FEEDER if kill else 0)


def complaints(record: Path) -> str:
    """What ffmpeg says of a recording when it decodes it, but for its end, which is anywhere."""
    done = subprocess.run(
        ["ffmpeg", "-hide_banner", "-nostdin", "-v", "error", "-threads", "1", "-i", str(record), "-f", "null", "-"],
        capture_output=True, text=True, timeout=300, check=False)
    lines = [line for line in done.stderr.splitlines() if "Packet mismatch" not in line and "partial file" not in line]
    return " | ".join(lines[:4])


class Samples:
    """Looks at what every viewer got from where, once a second; samples.txt has it, as peers/origin for each."""

    def __init__(self, world: World):
        self._world, self._stopped = world, threading.Event()
        self._rows: list[list[tuple[int, int]]] = []
        self._thread = threading.Thread(target=self._sample, daemon=True)

    def start(self) -> "Samples":
        self._thread.start()
        return self

    def stop(self) -> None:
        self._stopped.set()
        self._thread.join(10)
        rows = [" ".join(f"{peers}/{origin}" for peers, origin in row) for row in self._rows]
        (self._world.logs / "samples.txt").write_text("\n".join(rows) + "\n")

    def _sample(self) -> None:
        while not self._stopped.wait(1):
            self._rows.append([self._sums(viewer) for viewer in self._world.viewers])

    @staticmethod
    def _sums(viewer: Viewer) -> tuple[int, int]:
        swarms = viewer.swarms()
        return tuple(sum(s["report"][key] for s in swarms) for key in ("from_peers", "from_origin"))

    def feeder(self) -> int:
        """Who read most from the origin lately."""
        now, before = self._rows[-1], self._rows[max(0, len(self._rows) - 6)]
        return max(range(len(now)), key=lambda n: now[n][1] - before[n][1])

    def ratio_since(self, part: float) -> float:
        if len(self._rows) < 4:
            return 0.0
        before, now = self._rows[int(len(self._rows) * part)], self._rows[-1]
        peers = sum(n[0] - b[0] for n, b in zip(now, before))
        origin = sum(n[1] - b[1] for n, b in zip(now, before))
        return round(peers / (peers + origin), 3) if peers + origin else 0.0


def follow(session, server: Server, joins: list, logs: Path) -> list[Path]:
    """`pcdn inspect --follow` of readers that join at those times; they run beside, and write to these files."""
    files = []

    def one(number: int, at: float) -> None:
        time.sleep(at)
        process = Process(f"inspect{number}", [
            session.pcdn, "inspect", server.url, "--follow", "20s", "--hash", "--json", "--origin", server.address], logs)
        process.wait(40)

    for number, at in enumerate(min(at, 10) for at in joins):
        files.append(logs / f"inspect{number}.stdout")
        threading.Thread(target=one, args=(number, at), daemon=True).start()
    return files


def agreement(files: list[Path]) -> dict:
    """Slices that several readers cut, compared by number and hash in the order of the stream; the first ones of a reader
    are not yet those of others."""
    cuts = []
    for file in files:
        lines = [json.loads(line) for line in file.read_text().splitlines() if line.startswith("{")]
        cuts.append([(line["id"], line["blake3"]) for line in lines if "id" in line and not line.get("provisional")])
    compared = different = 0
    for first, second in zip(cuts, cuts[1:]):
        shared = [n for n, cut in enumerate(second) if cut in first]
        if not shared:
            different += len(second)
            continue
        # From the first common one on, both are the same list.
        a, b = first[first.index(second[shared[0]]):], second[shared[0]:]
        for x, y in zip(a, b):
            compared += 1
            different += x != y
    return {"cut": [len(cut) for cut in cuts], "compared": compared, "different": different}
