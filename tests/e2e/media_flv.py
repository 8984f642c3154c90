"""Live HTTP-FLV: a publisher, a server, viewers that join at different times, and what comes out of their gateways.

Every output is recorded and looked at in two ways: ffmpeg must find nothing wrong in it, and its frames must be those of a
recording made beside without pcdn, in order and without a gap.
"""

from __future__ import annotations

import json
import re
import subprocess
import threading
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from media_players import AUDIO, VIDEO, FlvPlayer, compare
from media_rig import Bars, Process, Viewer, World, wait_until
from media_servers import Edge, LiveServer

# Two of them read the origin and vouch for it to the others: 0.5 with four viewers is the best there is, less the start.
RATIO = 0.45
# One is enough where slices are signed: of four viewers 0.75 is the best, of the six of a short run 0.83.
SIGNED_RATIO, QUICK_SIGNED_RATIO = 0.65, 0.72
# A player that keeps no more than a second has these hiccups while a viewer changes from the origin to its peers.
LONGEST_STALL_MS = 500
# A viewer's player starts so much later than one without pcdn that joins with it: it waits for the end of a part of 0.4 s.
LATER_START_MS = 300
# Of two that join at nearly the same moment one may see a keyframe more: it begins with it, and has to gather what a player begins
# with anew, or to wait for it where a server begins with the next keyframe. That is nobody's fault, so those are held to less.
WAITS_FOR_KEYFRAMES = "nginx_rtmp"
# The slice that a killed feeder was about to vouch for may be lost: two seconds of 25 frames or of 47 sounds.
LOST_WITH_FEEDER, STALL_WITH_FEEDER_MS = 100, 4000
JOINS = [0.3, 3, 7, 30]
# More viewers and no late one where the run is short, so that the start does not hide what comes after it.
QUICK_JOINS = [0.3, 1, 3, 4, 7, 8]
# With a feeder lost on the way.
KILL_JOINS = [0.3, 3, 7, 30, 31, 32]
FOLLOW_SECONDS = 20


@dataclass
class Seen:
    """What came of a run."""

    truth: FlvPlayer  # beside, at the server
    players: dict  # by the number of their viewer; without the one that was killed
    direct: list  # players without pcdn, who joined with them
    samples: "Samples"
    sums: dict
    rungs: list  # by what each viewer's bytes from peers were proven
    same_slices: dict
    killed: int | None


def live_flv(session, assets, name: str, server: str = "nms", gop: float = 2, kill: bool = False, signed: bool = False) -> Bars:
    bars = Bars(name)
    seconds = 45 if session.quick else 300
    logs = session.logs / name
    logs.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        ingest = LiveServer(stack, session, server, assets.clip(gop=gop, seconds=seconds + 40), logs)
        origin = sign(stack, session, ingest, logs) if signed else ingest
        seen = watch(stack, session, name, ingest, origin, seconds, kill)
    results = {number: player.result() for number, player in seen.players.items()}
    keys = ("ratio", "ratio_each", "from_peers", "from_origin", "wasted", "rejected_pieces")
    plain = [player.result() for player in seen.direct]
    bars.figures |= {key: seen.sums[key] for key in keys} | {
        "ratio_last_half": seen.samples.ratio_since(0.5), "killed": seen.killed, "integrity": seen.rungs,
        "stalls": sum(r["stalls"] for r in results.values()), "stalls_cdn_only": sum(r["stalls"] for r in plain),
        "start_ms_cdn_only": [r["start_ms"] for r in plain], "players": results, "same_slices": seen.same_slices,
    }
    judge_output(bars, seen, results, logs, kill)
    later = {n: r["start_ms"] - plain[n]["start_ms"] for n, r in results.items() if r["start_ms"] and plain[n]["start_ms"]}
    bars.figures["start_ms_later"] = later
    bars.bar("players that started", len(later), at_least=len(results))
    alike = {n for n, player in seen.players.items() if player.first_picture() == seen.direct[n].first_picture()}
    bars.bar("players that began with the same picture as without pcdn", len(alike), at_least=len(results) / 2)
    bars.bar("start later than without pcdn, ms, at most", max((later[n] for n in later.keys() & alike), default=0),
             at_most=LATER_START_MS)
    unlike_ms = 1000 * max(FlvPlayer.START_SECONDS, gop if server == WAITS_FOR_KEYFRAMES else 0)
    bars.bar("start later than who began with an earlier picture, ms, at most",
             max((later[n] for n in later.keys() - alike), default=0), at_most=LATER_START_MS + unlike_ms)
    bars.bar("slices compared between joiners", seen.same_slices["compared"], at_least=5)
    bars.bar("slices that differ between joiners", seen.same_slices["different"], at_most=0)
    # A short run is mostly start; its second half shows what lasts.
    which = "ratio_last_half" if session.quick or kill else "ratio"
    signed_ratio = QUICK_SIGNED_RATIO if session.quick else SIGNED_RATIO
    bars.bar(which, bars.figures[which], at_least=signed_ratio if signed else RATIO)
    if signed:
        bars.figures["manifest_bytes"] = origin.manifest_bytes()
        unproven = sum(rung not in ("signed", "origin") for rung in seen.rungs)
        bars.bar("viewers whose bytes from peers were not all signed for", unproven, at_most=0)
    return bars


def watch(stack, session, name: str, ingest: LiveServer, origin: "LiveServer | Edge", seconds: float, kill: bool) -> Seen:
    """Viewers join at `origin` one after another, and watch until so many seconds are over."""
    joins = QUICK_JOINS if session.quick else KILL_JOINS if kill else JOINS
    logs = session.logs / name
    world = stack.enter_context(World(session, name, len(joins), origin.options, origin=origin.address))
    truth = FlvPlayer(ingest.url, "truth", logs / "truth.flv").start()
    stack.callback(truth.stop)
    followers = follow(session, ingest, joins[:4], logs)
    players, direct = join_all(stack, world, origin.url, joins, logs)
    samples = Samples(world).start()
    killed = kill_feeder(world, samples, seconds * 0.4 - joins[-1]) if kill else None
    time.sleep(seconds * 0.6 if kill else seconds - joins[-1])
    ingest.check()
    samples.stop()
    sums, rungs = world.totals(), [swarm["report"]["integrity"] for viewer in world.viewers for swarm in viewer.swarms()]
    for player in [*players, *direct]:
        player.stop()
    alive = {number: player for number, player in enumerate(players) if number != killed}
    # Frames on their way to the truth when the last viewer stopped are no gap.
    wait_until(lambda: all(has_ends(truth, player) for player in alive.values()), 5)
    truth.stop()
    return Seen(truth, alive, direct, samples, sums, rungs, agreement(followers), killed)


def sign(stack: ExitStack, session, ingest: LiveServer, logs: Path) -> Edge:
    """`pcdn sign --follow` beside the ingest; viewers find its manifest beside the stream, at an edge that they all read."""
    edge = Edge(stack, ingest.url, logs)
    signer = Process("signer", [
        session.pcdn, "sign", ingest.url, "--follow", "--key", session.directory / "publisher.key",
        "--out", edge.beside, "--origin", ingest.address], logs, "ready")
    stack.callback(signer.stop)
    words = dict(word.split("=", 1) for word in signer.wait_ready().split()[1:])
    edge.options = ["--manifest", "sidecar", "--trust", words["key"]]
    return edge


def kill_feeder(world: World, samples: "Samples", after: float) -> int:
    time.sleep(max(0.0, after))
    feeder = samples.feeder()
    world.viewers[feeder].process.kill()
    return feeder


def has_ends(truth: FlvPlayer, player: FlvPlayer) -> bool:
    """Whether the last frames of a player that stopped are in the truth's recording, too."""
    return all(not tags or any(tags[-1][1] == tag[1] for tag in reversed(truth.tags[kind])) for kind, tags in player.tags.items())


def join_all(stack, world: World, url: str, joins: list, logs: Path) -> tuple[list, list]:
    begun, players, direct = time.monotonic(), [], []
    for number, (viewer, at) in enumerate(zip(world.viewers, joins)):
        time.sleep(max(0.0, begun + at - time.monotonic()))
        players.append(FlvPlayer(viewer.through(url), "player", logs / f"viewer{number}.flv").start())
        direct.append(FlvPlayer(url, "direct", "/dev/null").start())
    for player in [*players, *direct]:
        stack.callback(player.stop)
    return players, direct


def judge_output(bars: Bars, seen: Seen, results: dict, logs: Path, kill: bool) -> None:
    """What came out of the gateways, by itself and beside what the server gave."""
    errors, lost, foreign = [], {}, 0
    servers_own = {kind_of_complaint(line) for line in complaints(logs / "truth.flv")}
    for number, player in seen.players.items():
        if player.error:
            errors.append(f"viewer {number}: {player.error}")
        said = [line for line in complaints(logs / f"viewer{number}.flv") if kind_of_complaint(line) not in servers_own]
        errors += [f"viewer {number}: {line}" for line in said[:4]]
        for kind, word in ((VIDEO, "video"), (AUDIO, "audio")):
            missing, others = compare(player.tags[kind], seen.truth.tags[kind])
            lost |= {f"{word} of viewer {number}": missing} if missing else {}
            foreign += others
    bars.figures["lost_frames"] = lost
    bars.bar("errors that the server's own stream has not", errors, equals=[])
    bars.bar("time stamps that go back", sum(r["backward_steps"] for r in results.values()), at_most=0)
    bars.bar("frames that the server did not send", foreign, at_most=0)
    bars.bar("frames lost by a viewer, at most", max(lost.values(), default=0), at_most=LOST_WITH_FEEDER if kill else 0)
    bars.bar("longest stall, ms", max(r["longest_stall_ms"] for r in results.values()),
             at_most=STALL_WITH_FEEDER_MS if kill else LONGEST_STALL_MS)


def complaints(record: Path) -> list[str]:
    """What ffmpeg says of a recording when it decodes it, but for its end, which is anywhere."""
    done = subprocess.run(
        ["ffmpeg", "-hide_banner", "-nostdin", "-v", "error", "-threads", "1", "-i", str(record), "-f", "null", "-"],
        capture_output=True, text=True, timeout=300, check=False)
    return [line for line in done.stderr.splitlines() if "Packet mismatch" not in line and "partial file" not in line]


def kind_of_complaint(line: str) -> str:
    """Of a server whose time stamps are rounded ffmpeg says at times that two sounds are at the same moment."""
    return re.sub(r"0x[0-9a-f]+|\d+", "N", line)


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


def follow(session, server: LiveServer, joins: list, logs: Path) -> list:
    """`pcdn inspect --follow` of readers that join at those times; they run beside. What to wait for, and the files they write."""
    def one(number: int, at: float) -> None:
        time.sleep(at)
        process = Process(f"inspect{number}", [
            session.pcdn, "inspect", server.url, "--follow", f"{FOLLOW_SECONDS}s", "--hash", "--json",
            "--origin", server.address], logs)
        process.wait(2 * FOLLOW_SECONDS)

    followers = []
    for number, at in enumerate(min(at, 10) for at in joins):
        thread = threading.Thread(target=one, args=(number, at), daemon=True)
        thread.start()
        followers.append((thread, logs / f"inspect{number}.stdout"))
    return followers


def agreement(followers: list) -> dict:
    """Slices that several readers cut, compared by number and hash in the order of the stream; the first ones of a reader
    are not yet those of others."""
    cuts = []
    for thread, file in followers:
        thread.join(3 * FOLLOW_SECONDS)
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
