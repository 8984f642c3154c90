"""Live HLS and DASH: a packager writes, nginx serves, viewers join one after another, and modelled players note stalls.

Players that read the origin directly run beside: stalls that they have too are not the viewers' fault.
"""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

from media_assets import FFMPEG, GOP_SECONDS
from media_players import DashPlayer, HlsPlayer
from media_rig import PROMPT, Bars, Process, World, poll_until
from media_vod import ratio_by_log

VIEWERS, APART_SECONDS = 4, 3
SIGNED_RATIO, WITNESSED_RATIO = 0.6, 0.4
LIVE_STARTS, DEFAULT_LIVE_START = [1, 2, 3, 4, 5], 3
# The window fills for 12 s before anybody joins.
CLIP_SECONDS = {True: 90, False: 150}
# By whether it is quick. Every viewer reads some 7 s from the origin before it has peers and proofs: of half a minute that was
# so much that the bar of witnesses, who leave half of the bytes at best, could not be met.
WATCH_SECONDS = {True: 55, False: 120}
PLAYERS = {"hls": HlsPlayer, "dash": DashPlayer}


class Packager:
    """ffmpeg beside the origin: 2 s segments, the newest six listed, older ones deleted a little later; and the signer."""

    def __init__(self, session, assets, kind: str, name: str, logs, signed: bool, seconds: float):
        self.folder = session.origin.www / name
        self.folder.mkdir()
        self.playlist = self.folder / ("index.m3u8" if kind == "hls" else "index.mpd")
        packing = {
            "hls": ["-f", "hls", "-hls_time", GOP_SECONDS, "-hls_list_size", 6, "-hls_delete_threshold", 4,
                    "-hls_flags", "delete_segments+temp_file"],
            "dash": ["-f", "dash", "-seg_duration", GOP_SECONDS, "-window_size", 6, "-extra_window_size", 4,
                     "-use_template", 1, "-use_timeline", 1],
        }[kind]
        clip = assets.clip(seconds=seconds)
        self._processes = []
        if signed:
            key = session.directory / "publisher.key"
            self._processes.append(Process("signer", [
                session.pcdn, "sign", self.folder, "--follow", "--key", key, "--log-level", "debug"], logs))
        self._processes.append(Process("packager", [
            *PROMPT, *FFMPEG, "-re", "-i", clip, "-c", "copy", *packing, self.playlist], logs))
        self.url = session.origin.url(self.playlist.relative_to(session.origin.www).as_posix())

    def __enter__(self) -> "Packager":
        return self

    def listed(self) -> bool:
        """Whether the window is full, which is when a live channel is in its normal state."""
        return len(list(self.folder.glob("*.ts"))) > 5 or len(list(self.folder.glob("chunk-stream0-*.m4s"))) > 5

    def words(self) -> str:
        return " || ".join(f"{p.name}: {p.last_words()}" for p in self._processes if not p.running)

    def __exit__(self, *_) -> None:
        for process in self._processes:
            process.stop()


def watch(session, assets, kind: str, name: str, seconds: float, signed: bool, live_start: int) -> dict:
    options = ["--manifest", "sidecar"] if signed else []
    if live_start != DEFAULT_LIVE_START:
        options += ["--live-start", live_start]
    with World(session, name, VIEWERS, options) as world, \
            Packager(session, assets, kind, name, world.logs, signed, CLIP_SECONDS[session.quick]) as packager:
        poll_until(packager.listed, 30, f"the packager lists six segments ({packager.words()})")
        new, players, direct = PLAYERS[kind], [], []
        for number, viewer in enumerate(world.viewers):
            left = seconds - number * APART_SECONDS
            players.append(new(viewer.through(packager.url), "player", left).start())
            # One without pcdn joins with each, and begins as far behind the edge.
            direct.append(new(packager.url, f"direct.{name}", left, own_start=live_start).start())
            time.sleep(APART_SECONDS)
        results, plain = [p.result() for p in players], [p.result() for p in direct]
        sums = world.totals()
        truth = {key: value for player in direct for key, value in player.hashes.items()}
        wrong = sum(truth.get(key, value) != value for player in players for key, value in player.hashes.items())
        origin = session.origin.bytes(name)
        return {
            "ratio": sums["ratio"], "ratio_by_log": ratio_by_log(sums, origin), "ratio_each": sums["ratio_each"],
            "from_peers": sums["from_peers"],
            "from_origin": sums["from_origin"], "wasted": sums["wasted"], "origin": origin,
            # Behind the newest segment of the origin's list; gateways may hold back some of it.
            "behind_s": players[0].behind_edge(direct[0]),
            "stalls": sum(r["stalls"] for r in results), "stalls_cdn_only": sum(r["stalls"] for r in plain),
            "errors": sum((r["errors"] for r in results), []), "errors_cdn_only": sum((r["errors"] for r in plain), []),
            "wrong_segments": wrong, "players": results, "players_cdn_only": plain, "ended": packager.words(),
        }


def live(session, assets, kind: str) -> Bars:
    bars = Bars(f"live_{kind}")
    seconds = WATCH_SECONDS[session.quick]
    name = f"live_{kind}"

    def one(rung: str) -> dict:
        return watch(session, assets, kind, f"{name}.{rung}", seconds, rung == "signed", DEFAULT_LIVE_START)

    # A short run has no time for one after the other.
    with ThreadPoolExecutor(2 if session.quick else 1) as pool:
        signed, witnessed = pool.map(one, ("signed", "witnessed"))
    bars.figures |= {"signed": signed, "witnessed": witnessed}
    for rung, result, ratio in (("signed", signed, SIGNED_RATIO), ("witnessed", witnessed, WITNESSED_RATIO)):
        bars.bar(f"ratio, {rung}", result["ratio"], at_least=ratio)
        bars.bar(f"stalls beyond CDN only, {rung}", max(0, result["stalls"] - result["stalls_cdn_only"]), at_most=0)
        bars.bar(f"segments with other bytes, {rung}", result["wrong_segments"], at_most=0)
        bars.bar(f"errors, {rung}", result["errors"], equals=[])
    if not session.quick:
        curve = {}
        for start in LIVE_STARTS:
            known = start == DEFAULT_LIVE_START
            result = signed if known else watch(session, assets, kind, f"{name}.start{start}", seconds, True, start)
            curve[start] = {key: result[key] for key in ("ratio", "stalls", "stalls_cdn_only", "behind_s")}
        bars.figures["live_start_curve"] = curve
        beyond = {start: result["stalls"] - result["stalls_cdn_only"] for start, result in curve.items()}
        bars.bar("stalls beyond CDN only, most of all starts", max(beyond.values()), at_most=0)
    return bars
