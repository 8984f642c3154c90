"""hls.js, dash.js, mpegts.js and the browser's own player in a headless Chromium, through a gateway, on a page of another
origin: the CORS headers, the ranges and the rewritten playlists must suit them all."""

from __future__ import annotations

import json
import shutil
import subprocess
from contextlib import ExitStack

from media_assets import Assets
from media_live import Packager
from media_rig import CLEAN_ENVIRONMENT, HERE, Bars, RigError, World, poll_until
from media_servers import LiveServer

PLAYS = [("hls", "hls_ts"), ("hls", "hls_fmp4"), ("hls", "hls_byterange"), ("hls", "hls_aes128"), ("hls", "hls_multi"),
         ("dash", "dash_number"), ("dash", "dash_timeline"), ("dash", "dash_ondemand"), ("flv", "flv"), ("plain", "mp4")]
QUICK_PLAYS = [("hls", "hls_multi"), ("dash", "dash_ondemand"), ("flv", "flv"), ("plain", "mp4")]
# Back, inside the twelve seconds that the packager lists; a live FLV has nothing to go back to.
LIVE_SEEK = {"hls": "-3", "dash": "-3", "flv": "-"}
# The second viewer of everything has it from the first, less what it read before that was found.
SHARE = 0.25


def browser() -> str:
    for name in ("chromium", "google-chrome", "chromium-browser"):
        if found := shutil.which(name):
            return found
    raise RigError("no Chromium")


class Show:
    """Plays at viewers, and judges."""

    def __init__(self, session, bars: Bars, page: str):
        self._bars, self._page, self._seconds = bars, page, 4 if session.quick else 10

    def live(self, player: str, viewer, url: str) -> None:
        """Live, first without pcdn: what a player cannot do at the origin it cannot do at a gateway."""
        self.play(f"{player} live, at the origin", player, url, LIVE_SEEK[player], live=True)
        self.play(f"{player} live", player, viewer.through(url), LIVE_SEEK[player], live=True)

    def play(self, name: str, player: str, url: str, seek: str, live: bool = False) -> None:
        argv = ["node", HERE / "browser" / "play.mjs", browser(), self._page, player, url, str(self._seconds), seek]
        done = subprocess.run(argv + ["live"] * live, capture_output=True, text=True, timeout=180, check=False,
                              env=CLEAN_ENVIRONMENT, stdin=subprocess.DEVNULL)
        if done.returncode != 0:
            raise RigError(f"the browser: {done.stderr.strip()[-500:]}")
        got = self._bars.figures[name] = json.loads(done.stdout.splitlines()[-1])
        self._bars.bar(f"{name}: seconds played", got["played_s"], at_least=self._seconds)
        if seek != "-":
            self._bars.bar(f"{name}: seconds played after a seek", got["after_seek_s"], at_least=1)
        self._bars.bar(f"{name}: fatal errors", got["fatal"], equals=[])


def browsers(session, assets: Assets) -> Bars:
    bars = Bars("browsers")
    page_origin = f"http://127.0.0.1:{session.origin.port}"
    show, options = Show(session, bars, f"{page_origin}/page/page.html"), ["--gateway-cors", page_origin]
    with World(session, "browsers", 2, [*options, "--manifest", "sidecar"]) as world:
        for player, kind in QUICK_PLAYS if session.quick else PLAYS:
            path = assets.have(kind)
            session.sign((session.origin.www / path).parent)
            for number, viewer in enumerate(world.viewers[:1] if session.quick else world.viewers):
                url = viewer.through(session.origin.url(path))
                show.play(f"{player} {kind} viewer {number}", player, url, "12" if session.quick else "40")
        totals = bars.figures["totals"] = world.totals()
        if not session.quick:
            bars.bar("share from peers", totals["ratio"], at_least=SHARE)
        for player in ["hls"] if session.quick else ["hls", "dash"]:
            with Packager(session, assets, player, f"browsers_{player}", world.logs, signed=True, seconds=120) as packager:
                poll_until(packager.listed, 30, f"the packager lists six segments ({packager.words()})")
                show.live(player, world.viewers[0], packager.url)
    if not session.quick:
        live_flv(session, assets, show, options)
    return bars


def live_flv(session, assets: Assets, show: Show, options: list) -> None:
    logs = session.logs / "browsers_flv"
    logs.mkdir(exist_ok=True)
    with ExitStack() as stack:
        server = LiveServer(stack, session, "nms", assets.clip(seconds=120), logs)
        world = stack.enter_context(World(session, "browsers_flv", 1, options, origin=server.address))
        show.live("flv", world.viewers[0], server.url)
