"""Where players of live HTTP-FLV begin: delay and ratio over --live-start, signed at the ingest.

A player begins so many slices behind what its node has, and the first at a node with what the origin gives. So the first player of
each node is only there for the node to have something; the second is looked at.
"""

from __future__ import annotations

import time
from contextlib import ExitStack

from media_flv import Samples, join_all, sign
from media_players import VIDEO, FlvPlayer
from media_rig import Bars, RigError, World
from media_servers import LiveServer

# By --live-start: slices behind the newest. Each is watched for so long.
LIVE_STARTS, WATCH_SECONDS = [1, 2, 3, 4, 5], 45
JOINS = [0.3, 3, 7, 10]


def live_start(session, assets) -> Bars:
    bars, curve = Bars("live_flv_start"), {}
    seconds = WATCH_SECONDS / 3 if session.quick else WATCH_SECONDS
    for start in LIVE_STARTS[::2] if session.quick else LIVE_STARTS:
        name = f"live_flv_start{start}"
        logs = session.logs / name
        logs.mkdir(parents=True, exist_ok=True)
        with ExitStack() as stack:
            ingest = LiveServer(stack, session, "nms", assets.clip(seconds=WATCH_SECONDS + 60), logs)
            origin = sign(stack, session, ingest, logs)
            options = [*origin.options, "--live-start", start]
            world = stack.enter_context(World(session, name, len(JOINS), options, origin=origin.address))
            truth = FlvPlayer(ingest.url, "truth", "/dev/null").start()
            stack.callback(truth.stop)
            join_all(stack, world, origin.url, JOINS, logs)
            time.sleep(start * 2 + 4)
            later = [FlvPlayer(viewer.through(origin.url), "later", "/dev/null").start() for viewer in world.viewers]
            samples = Samples(world).start()
            time.sleep(seconds)
            samples.stop()
            for player in later:
                player.stop()
            if errors := [player.error for player in later if player.error or not player.tags[VIDEO]]:
                raise RigError(f"--live-start {start}: {errors}")
            curve[start] = {"delay_s": [delay(player, truth) for player in later], "ratio": samples.ratio_since(0),
                            "stalls": sum(player.result()["stalls"] for player in later)}
    bars.figures["live_start_curve"] = curve
    middle = [sorted(one["delay_s"])[len(one["delay_s"]) // 2] for one in curve.values()]
    bars.bar("delay rises with --live-start", middle == sorted(middle), equals=True)
    bars.bar("stalls", sum(one["stalls"] for one in curve.values()), at_most=0)
    return bars


def delay(player: FlvPlayer, truth: FlvPlayer) -> float:
    """How long after the server gave it a player shows its last picture, in seconds."""
    last = player.tags[VIDEO][-1][1]
    given = next(came for _, payload, came in reversed(truth.tags[VIDEO]) if payload == last)
    return round(player.playback.head - given, 2)
