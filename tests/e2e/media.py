"""Runs the media scenarios; see `media` beside this for how, and media.md for what they show."""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import sys
import traceback
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from media_assets import Assets
from media_browser import browsers
from media_demo import demo
from media_flv import live_flv
from media_flv_start import live_start
from media_habits import habits
from media_identity import identity
from media_live import live
from media_low_latency import low_latency
from media_odd import odd
from media_rig import Bars, RigError, Session
from media_vod import KINDS, vod


# What a quick run leaves out unless it is asked for by name: others show nearly the same.
NOT_QUICK = {"live_flv_short_gop", "live_flv_rebased", "live_flv_start"}


def scenarios() -> dict:
    """Name -> function of (session, assets) that gives its Bars; the long ones first, so that they overlap the others."""
    table = {
        "live_flv": partial(live_flv, name="live_flv"),
        "live_flv_short_gop": partial(live_flv, name="live_flv_short_gop", gop=0.5),
        "live_flv_xiu": partial(live_flv, name="live_flv_xiu", server="xiu"),
        "live_flv_nginx_rtmp": partial(live_flv, name="live_flv_nginx_rtmp", server="nginx_rtmp"),
        "live_flv_rebased": partial(live_flv, name="live_flv_rebased", server="rebased"),
        "live_flv_signed": partial(live_flv, name="live_flv_signed", signed=True),
        "live_flv_feeder_killed": partial(live_flv, name="live_flv_feeder_killed", kill=True),
    }
    table["live_flv_start"] = live_start
    table |= {f"live_{kind}": partial(live, kind=kind) for kind in ("hls", "dash")}
    table |= {"browsers": browsers, "identity": identity, "demo": demo, "odd": odd, "low_latency": low_latency, "flv_habits": habits}
    return table | {f"vod_{kind}": partial(vod, kind=kind) for kind in KINDS}


def run_one(name: str, scenario, session, assets) -> bool:
    try:
        line = scenario(session, assets).line()
    except (RigError, OSError, ValueError, KeyError, subprocess.SubprocessError) as error:
        traceback.print_exc()
        line = Bars(name).line(f"{type(error).__name__}: {error}")
    print(json.dumps(line), flush=True)
    failed = [f"{bar['what']}: {bar['value']}, want {bar['bar']}" for bar in line["bars"] if not bar["pass"]]
    failed += [line["error"]] if "error" in line else []
    print(f"{'ok  ' if line['pass'] else 'FAIL'} {name} {line['took_s']} s {'; '.join(failed)}", file=sys.stderr, flush=True)
    return line["pass"]


def arguments() -> argparse.Namespace:
    text = "Scenarios:\n  " + "\n  ".join(scenarios())
    options = argparse.ArgumentParser(
        prog="tests/e2e/media", description="End-to-end tests of media.", epilog=text,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--only", metavar="NAME[,NAME]", help="only these scenarios; a * at the end stands for the rest of a name")
    options.add_argument("--quick", action="store_true", help="short clips and few variants: what CI runs, under four minutes")
    options.add_argument("--pcdn", default="target/release/pcdn", help="the binary")
    options.add_argument("--logs", metavar="DIR", help="keep the logs of all processes here")
    options.add_argument("--jobs", type=int, default=0, help="scenarios at a time (4 if quick, else 1)")
    options.add_argument("--log-level", default="info", help="of the nodes")
    options.add_argument("--flv-server", help=argparse.SUPPRESS)
    options.add_argument("--directory", help=argparse.SUPPRESS)
    return options.parse_args()


def chosen(only: str | None, quick: bool) -> dict:
    table = scenarios()
    if not only:
        return {name: scenario for name, scenario in table.items() if not (quick and name in NOT_QUICK)}
    found = {}
    for word in only.split(","):
        match = [n for n in table if n == word or (word.endswith("*") and n.startswith(word[:-1]))]
        if not match:
            sys.exit(f"no scenario {word}; there are {', '.join(table)}")
        found |= {name: table[name] for name in match}
    return found


def main() -> int:
    given = arguments()
    wanted = chosen(given.only, given.quick)
    if not Path(given.pcdn).is_file():
        print(f"no {given.pcdn}: cargo build --release", file=sys.stderr)
        return 2
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(130))
    with Session(given, Path(given.directory)) as session:
        assets = Assets(session)
        with ThreadPoolExecutor(given.jobs or (4 if given.quick else 1)) as pool:
            done = list(pool.map(lambda item: run_one(*item, session, assets), wanted.items()))
    print(f"{sum(done)} of {len(done)} scenarios hold", file=sys.stderr)
    return 0 if all(done) else 1


if __name__ == "__main__":
    sys.exit(main())
