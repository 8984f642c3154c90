"""Low-latency HLS: reloads that wait, and parts, which are files of their own or ranges of the segment that grows. Players at
gateways get each part as soon as players at the origin, but for the way through the gateway."""

from __future__ import annotations

import re
import threading
import time
from urllib.parse import urljoin

from media_odd import attributes, fetch
from media_odd_lists import M3U8
from media_odd_origin import OddOrigin, Thing, noise
from media_rig import Bars, World

PART_SECONDS, PARTS, LISTED, WITH_PARTS = 0.5, 4, 6, 2
WATCH_SECONDS = {True: 10, False: 30}
# Of the middle one: two hops on loopback, on a busy machine.
LATER_SECONDS = 0.1


class Stream:
    """A stream by the clock, whose parts are files or `ranges`."""

    def __init__(self, origin: OddOrigin, ranges: bool):
        self.name, self._ranges, self._begun = "ranges" if ranges else "files", ranges, time.monotonic() - 30
        origin.makers[f"/{self.name}/"] = self.answer
        self.url = origin.url(f"/{self.name}/index.m3u8")

    def late(self, segment: int, part: int) -> float:
        """Seconds since that part was whole."""
        return time.monotonic() - self._begun - (segment * PARTS + part + 1) * PART_SECONDS

    def bytes(self, segment: int, part: int) -> bytes:
        return noise(f"{self.name} {segment} {part}", 20_000 + 100 * part)

    def place(self, segment: int, part: int) -> int:
        return sum(len(self.bytes(segment, before)) for before in range(part))

    def answer(self, path: str, query: str, headers) -> Thing:
        name = path.rpartition("/")[2]
        if name == "index.m3u8":
            asked = dict(pair.partition("=")[::2] for pair in query.split("&"))
            if "_HLS_msn" in asked:
                self._wait(int(asked["_HLS_msn"]), int(asked["_HLS_part"]))
            return Thing(self._list().encode(), M3U8, headers={"Cache-Control": "no-cache"}, etag=False)
        if name.startswith("p"):
            segment, part = map(int, name[1:-4].split("."))
            self._wait(segment, part)
            return Thing(self.bytes(segment, part), "video/mp4")
        segment, asked = int(name[1:-4]), re.match(r"bytes=(\d+)", headers.get("Range", ""))
        if asked and self.late(segment, PARTS - 1) < 0:
            self._wait(segment, next((p for p in range(PARTS) if int(asked[1]) < self.place(segment, p + 1)), PARTS - 1))
        here = [part for part in range(PARTS) if self.late(segment, part) >= 0]
        return Thing(b"".join(self.bytes(segment, part) for part in here), "video/mp4", etag=False) if here else Thing(b"", status=404)

    def _wait(self, segment: int, part: int) -> None:
        while (late := self.late(segment, part)) < 0:
            time.sleep(-late)

    def _list(self) -> str:
        edge, parts = divmod(int((time.monotonic() - self._begun) / PART_SECONDS), PARTS)
        first = max(0, edge - LISTED)
        lines = ["#EXTM3U", "#EXT-X-VERSION:9", "#EXT-X-TARGETDURATION:2", f"#EXT-X-PART-INF:PART-TARGET={PART_SECONDS}",
                 "#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,PART-HOLD-BACK=1.5", f"#EXT-X-MEDIA-SEQUENCE:{first}"]
        for segment in range(first, edge + 1):
            if segment >= edge - WITH_PARTS:
                lines += [self._part(segment, part) for part in range(PARTS if segment < edge else parts)]
            if segment < edge:
                lines += [f"#EXTINF:{PARTS * PART_SECONDS},", f"s{segment}.mp4"]
        hint = f'URI="s{edge}.mp4",BYTERANGE-START={self.place(edge, parts)}' if self._ranges else f'URI="p{edge}.{parts}.mp4"'
        return "\n".join([*lines, f"#EXT-X-PRELOAD-HINT:TYPE=PART,{hint}", ""])

    def _part(self, segment: int, part: int) -> str:
        if not self._ranges:
            return f'#EXT-X-PART:DURATION={PART_SECONDS},URI="p{segment}.{part}.mp4"'
        length, start = len(self.bytes(segment, part)), self.place(segment, part)
        return f'#EXT-X-PART:DURATION={PART_SECONDS},URI="s{segment}.mp4",BYTERANGE="{length}@{start}"'


class Player(threading.Thread):
    """Takes each part as soon as it is listed."""

    def __init__(self, stream: Stream, url: str, seconds: float):
        super().__init__(daemon=True)
        self._stream, self._url, self._seconds = stream, url, seconds
        self.late: list[float] = []
        self.faults: list[str] = []

    def run(self) -> None:
        end, seen, url = time.monotonic() + self._seconds, set(), self._url
        while time.monotonic() < end:
            status, _, text, _ = fetch(url)
            if status != 200:
                self.faults.append(f"{url}: {status}")
                return
            segment, part = self._parts(text.decode(), seen)
            url = f"{self._url}?_HLS_msn={segment}&_HLS_part={part}"

    def _parts(self, text: str, seen: set) -> tuple[int, int]:
        """Takes what is new; gives what comes next."""
        segment, part = int(re.search(r"MEDIA-SEQUENCE:(\d+)", text)[1]), 0
        for line in text.splitlines():
            if line.startswith("#EXTINF"):
                segment, part = segment + 1, 0
            elif line.startswith("#EXT-X-PART:"):
                if (segment, part) not in seen:
                    self._take(segment, part, attributes(line), not seen)
                seen.add((segment, part))
                part += 1
        return segment, part

    def _take(self, segment: int, part: int, said: dict, first: bool) -> None:
        headers = None
        if "BYTERANGE" in said:
            length, _, start = said["BYTERANGE"].partition("@")
            headers = {"Range": f"bytes={start}-{int(start) + int(length) - 1}"}
        status, _, body, _ = fetch(urljoin(self._url, said["URI"]), headers)
        # What was listed before it joined is late for everybody.
        if self._stream.late(segment, part) < PARTS * PART_SECONDS:
            self.late.append(self._stream.late(segment, part))
        if body != self._stream.bytes(segment, part):
            self.faults.append(f"part {segment}.{part}: status {status}, {len(body)} bytes")


def low_latency(session, _assets) -> Bars:
    bars = Bars("low_latency")
    seconds = WATCH_SECONDS[session.quick]
    with OddOrigin() as origin, World(session, "low_latency", 3, origin=origin.name) as world:
        for stream in (Stream(origin, False), Stream(origin, True)):
            urls = [stream.url, *[viewer.through(stream.url) for viewer in world.viewers]]
            players = [Player(stream, url, seconds) for url in urls]
            for player in players:
                player.start()
            for player in players:
                player.join(seconds + 30)
            middle = [sorted(player.late)[len(player.late) // 2] if player.late else None for player in players]
            faults = sum((player.faults for player in players), [])
            bars.figures[stream.name] = {"late_s": [m and round(m, 3) for m in middle], "parts": [len(p.late) for p in players], "faults": faults[:10]}
            bars.bar(f"{stream.name}: parts that are not the origin's", len(faults), at_most=0)
            bars.bar(f"{stream.name}: parts at a player, least", min(len(p.late) for p in players), at_least=seconds / PART_SECONDS - 4)
            later = round(max((m or 99) - middle[0] for m in middle[1:]), 3)
            bars.bar(f"{stream.name}: seconds later than without pcdn, of the middle part", later, at_most=LATER_SECONDS)
        bars.bar("swarms of a viewer", max(len(viewer.swarms()) for viewer in world.viewers), at_most=2)
    return bars
