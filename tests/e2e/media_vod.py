"""On demand: what viewers decode through their gateways is what the origin gives, and most of it comes from each other."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

from media_assets import FFMPEG
from media_rig import Bars, RigError, World

# With N viewers the best is 1 - 1/N: each byte is read once. A tenth of that is left for starts and for timing.
SIGNED_RATIO = {2: 0.45, 4: 0.65}
# A short clip is mostly start: the first MiB is read before anybody is found.
QUICK_RATIO = {2: 0.2, 4: 0.4}
KINDS = ["hls_ts", "hls_fmp4", "hls_byterange", "hls_aes128", "hls_multi", "dash_number", "dash_timeline",
         "dash_ondemand", "mp4", "flv"]


def framemd5(session, url: str, paced: bool) -> str:
    """A hash of every decoded frame; `paced` reads as a player does, a second of media each second."""
    pace = ["-re"] if paced else []
    text = session.run([
        *FFMPEG, *pace, "-i", url, "-map", "0:v:0", "-map", "0:a:0?", "-threads", 1, "-f", "framemd5", "-"])
    if (frames := text.count("\n")) < 100:
        raise RigError(f"{url}: only {frames} lines of frames")
    return text


def watch(session, world: World, url: str, want: str, stagger: float, paced: bool) -> dict:
    """All viewers of a world watch; how many saw other frames than the origin's, and the sums."""
    def one(number: int) -> str:
        time.sleep(number * stagger)
        try:
            got = framemd5(session, world.viewers[number].through(url), paced)
        except RigError as error:
            return str(error)
        return "" if got == want else "other frames"

    with ThreadPoolExecutor(len(world.viewers)) as pool:
        wrong = [text for text in pool.map(one, range(len(world.viewers))) if text]
    sums = world.totals()
    origin = session.origin.bytes(world.name)
    return {"wrong": wrong, "ratio": sums["ratio"], "ratio_by_log": ratio_by_log(sums, origin), "ratio_each": sums["ratio_each"], "from_peers": sums["from_peers"],
            "from_origin": sums["from_origin"], "wasted": sums["wasted"], "origin": origin}


def ratio_by_log(sums: dict, origin: dict) -> float:
    """The share that did not come from the origin, by what its log says it sent. Lower than the nodes' own figure by what
    was on its way when a node broke off."""
    return round(1 - origin.get("media", 0) / max(1, sums["from_peers"] + sums["from_origin"]), 3)


def vod(session, assets, kind: str) -> Bars:
    bars = Bars(f"vod_{kind}")
    path = assets.have(kind)
    session.sign((session.origin.www / path).parent)
    url = session.origin.url(path)
    want = framemd5(session, url, paced=False)
    stagger = 2 if session.quick else 5

    def run(name: str, viewers: int, signed: bool, paced: bool = True) -> dict:
        options = ["--manifest", "sidecar"] if signed else []
        with World(session, f"vod_{kind}.{name}", viewers, options) as world:
            return watch(session, world, url, want, stagger if paced else 0.2, paced)

    paced = [("signed2", 2, True), ("signed4", 4, True)]
    if not session.quick:
        paced += [("witnessed2", 2, False), ("witnessed4", 4, False)]
    with ThreadPoolExecutor(2) as pool:
        results = dict(zip([name for name, *_ in paced], pool.map(lambda given: run(*given), paced)))
    results["greedy4"] = run("greedy4", 4, False, paced=False)
    bars.figures = results | {"media_bytes": media_bytes(session, path)}
    wrong = [f"{name}: {text}" for name, result in results.items() for text in result["wrong"]]
    bars.bar("viewers that saw other frames", wrong, equals=[])
    for viewers, ratio in (QUICK_RATIO if session.quick else SIGNED_RATIO).items():
        bars.bar(f"ratio of {viewers}, signed", results[f"signed{viewers}"]["ratio"], at_least=ratio)
    return bars


def media_bytes(session, path: str) -> int:
    files = (session.origin.www / path).parent.iterdir()
    return sum(f.stat().st_size for f in files if f.suffix not in (".pcdn", ".m3u8", ".mpd", ".key"))
