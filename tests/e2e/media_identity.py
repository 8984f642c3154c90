"""Identity: one content under several URLs is one swarm, and two contents never are."""

from __future__ import annotations

import time
from urllib.parse import urljoin

from media_rig import Bars, World, get, opener, totals_of

# By default a host and its port are part of a content's name. A publisher's rules make his hosts one.
RULES = """
[[rule]]
name = "our CDNs"
host = ["127.0.0.1:*", "localhost:*"]
key = "{path}"
"""


# The rest is what was read before the first was found: the film is short.
SHARE = 0.25
# Read at the pace of a player: whoever takes all at once from an origin that is this near needs no peers.
READ_BYTES, READ_EVERY = 32 * 1024, 0.04


def fetch(url: str) -> tuple[str, str]:
    """Swarm and source of what is at a gateway's `url`, which is read to its end."""
    with opener().open(url, timeout=60) as answer:
        while answer.read(READ_BYTES):
            time.sleep(READ_EVERY)
        return answer.headers["X-Pcdn-Swarm"], answer.headers["X-Pcdn-Source"]


def first_segment(playlist_url: str) -> str:
    lines = get(playlist_url).decode().splitlines()
    return urljoin(playlist_url, next(line for line in lines if line and not line.startswith("#")))


def identity(session, assets) -> Bars:
    bars = Bars("identity")
    origin = session.origin
    film, other, playlist = assets.have("mp4"), assets.have("flv"), assets.have("hls_ts")
    session.sign((origin.www / film).parent)
    one, twin = origin.url(film), f"http://localhost:{origin.twin}/{film}"
    rules = session.directory / "rules.toml"
    rules.write_text(RULES)
    signed = ["--manifest", "sidecar"]
    with World(session, "identity.tokens", 2, signed) as world:
        a, b = world.viewers
        first, second = fetch(a.through(one + "?token=aaaa&expires=1")), fetch(b.through(one + "?expires=2&token=bbbb"))
        bars.bar("tokens differ: the same swarm", first[0] == second[0], equals=True)
        bars.bar("tokens differ: share from peers of the second", totals_of(b.swarms())["ratio"], at_least=SHARE)
        bars.bar("another content: another swarm", fetch(b.through(origin.url(other)))[0] != first[0], equals=True)
        segments = [fetch(first_segment(v.through(origin.url(f"{playlist}?token={v.name}"))))[0] for v in (a, b)]
        bars.bar("tokens of a playlist differ: the same swarm", segments[0] == segments[1] is not None, equals=True)
        bars.bar("hosts differ, no rules: another swarm", fetch(b.through(twin))[0] != first[0], equals=True)
        bars.figures["tokens"] = {"swarm": first[0], "segments": segments[0], "totals": world.totals()}
    with World(session, "identity.hosts", 2, [*signed, "--mapper", f"template:{rules}"]) as world:
        a, b = world.viewers
        first, second = fetch(a.through(one)), fetch(b.through(twin + "?token=cccc"))
        bars.bar("hosts differ, rules: the same swarm", first[0] == second[0], equals=True)
        bars.bar("hosts differ, rules: share from peers of the second", totals_of(b.swarms())["ratio"], at_least=SHARE)
        bars.figures["hosts"] = {"swarm": first[0], "totals": world.totals()}
    return bars
