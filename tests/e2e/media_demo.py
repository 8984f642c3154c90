"""The demo's films, as a stranger sees them: ffmpeg at the gateway of a demo that keeps running."""

from __future__ import annotations

import json
import re
import subprocess

from media_rig import Bars

KINDS = ("hls", "dash", "hls-live", "flv-live")
# Pictures that ffmpeg is to decode: four seconds of the film's 25 a second.
PICTURES, SECONDS = 100, 4
# A film is watched for half a minute; the rest is for starting eight nodes and four origins on a busy machine.
WITHIN = 90


def demo(session, assets) -> Bars:
    bars = Bars("demo")
    running = {kind: start(session, kind) for kind in KINDS}
    for kind, process in running.items():
        process.wait_ready(WITHIN)
        report = json.loads(process.stdout_path.read_text())
        bars.bar(f"{kind}: every byte right", report["all_bytes_correct"], equals=True)
        bars.figures[kind] = {key: report[key] for key in ("p2p_ratio", "origin_amplification")} | {
            key: [viewer[key] for viewer in report["viewers"]] for key in ("start_ms", "stalled_ms")}
        watch(session, bars, kind, process.stderr_path.read_text())
        process.stop()
    return bars


def start(session, kind: str):
    argv = [session.pcdn, "demo", "--media", kind, "--peers", 3, "--size", "4MiB", "--keep-running", "--json"]
    places = {"PCDN_GATEWAY__LISTEN": "127.0.0.1:0", "PCDN_ADMIN__LISTEN": "127.0.0.1:0"}
    return session.spawn(f"demo_{kind}", argv, "ready ", environment=places)


def watch(session, bars: Bars, kind: str, told: str) -> None:
    url, admin = (re.search(rf"^{what} +(http://\S+)$", told, re.M).group(1) for what in ("play", "dashboard"))
    decoded = subprocess.run(
        ["ffmpeg", "-nostdin", "-v", "error", "-t", str(SECONDS), "-i", url, "-f", "framemd5", "-"],
        capture_output=True, text=True, timeout=60, check=False)
    pictures = sum(not line.startswith("#") for line in decoded.stdout.splitlines())
    bars.bar(f"{kind}: pictures decoded", pictures, at_least=PICTURES)
    bars.bar(f"{kind}: errors of the decoder", decoded.stderr.strip(), equals="")
    top = session.run([session.pcdn, "top", "--admin", admin.removeprefix("http://").rstrip("/")])
    bars.bar(f"{kind}: the node in the terminal", "P2P ratio" in top and "/film." in top, equals=True)
