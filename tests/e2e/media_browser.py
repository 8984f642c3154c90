"""hls.js, dash.js, mpegts.js and the browser's own player in a headless Chromium, through a gateway, on a page of another
origin: the CORS headers, the ranges and the rewritten playlists must suit them all."""

from __future__ import annotations

import json
import shutil
import subprocess

from media_assets import Assets
from media_rig import CLEAN_ENVIRONMENT, HERE, Bars, RigError, World

PLAYS = [("hls", "hls_ts"), ("hls", "hls_fmp4"), ("hls", "hls_byterange"), ("hls", "hls_aes128"), ("hls", "hls_multi"),
         ("dash", "dash_number"), ("dash", "dash_timeline"), ("dash", "dash_ondemand"), ("flv", "flv"), ("plain", "mp4")]
QUICK_PLAYS = [("hls", "hls_multi"), ("dash", "dash_ondemand"), ("flv", "flv"), ("plain", "mp4")]


def browser() -> str:
    for name in ("chromium", "google-chrome", "chromium-browser"):
        if found := shutil.which(name):
            return found
    raise RigError("no Chromium")


def play(session, viewer, page: str, player: str, url: str, seconds: float, seek: str) -> dict:
    done = subprocess.run(
        ["node", HERE / "browser" / "play.mjs", browser(), page, player, viewer.through(url), str(seconds), seek],
        capture_output=True, text=True, timeout=180, check=False, env=CLEAN_ENVIRONMENT, stdin=subprocess.DEVNULL)
    if done.returncode != 0:
        raise RigError(f"the browser: {done.stderr.strip()[-500:]}")
    return json.loads(done.stdout.splitlines()[-1])


def browsers(session, assets: Assets) -> Bars:
    bars = Bars("browsers")
    page_origin = f"http://127.0.0.1:{session.origin.port}"
    seconds = 4 if session.quick else 10
    seek = "12" if session.quick else "40"
    with World(session, "browsers", 2, ["--gateway-cors", page_origin]) as world:
        for player, kind in QUICK_PLAYS if session.quick else PLAYS:
            url = session.origin.url(assets.have(kind))
            for number, viewer in enumerate(world.viewers[:1] if session.quick else world.viewers):
                got = play(session, viewer, f"{page_origin}/page/page.html", player, url, seconds, seek)
                name = f"{player} {kind} viewer {number}"
                bars.figures[name] = got
                bars.bar(f"{name}: seconds played", got["played_s"], at_least=seconds)
                bars.bar(f"{name}: seconds played after a seek", got["after_seek_s"], at_least=1)
                bars.bar(f"{name}: fatal errors", got["fatal"], equals=[])
        bars.figures["totals"] = world.totals()
    return bars
