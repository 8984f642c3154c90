"""Models of live players. They fetch as players do, decode nothing, and compute from arrival times when they would have had
to wait: a player that begins plays a second of media each second, and stalls when what it plays next is not there."""

from __future__ import annotations

import hashlib
import http.client
import re
import threading
import time
import xml.etree.ElementTree as ElementTree
from bisect import bisect_left
from urllib.parse import urljoin, urlsplit

from media_rig import get

# Where a player begins that is told nothing else: RFC 8216 6.3.3 wants three target durations from the end.
BEHIND = 3
# A segment that is this late is given up.
SEGMENT_SECONDS = 30


class Playback:
    """The play head. Times are of the monotonic clock."""

    def __init__(self):
        self.begun = time.monotonic()
        self.started = None
        self.head = 0.0  # when what comes next is to be played
        self.stalls, self.stalled, self.longest, self.least_margin = 0, 0.0, 0.0, None

    def arrive(self, duration: float) -> None:
        """The next piece of media is there, all of it."""
        now = time.monotonic()
        if self.started is None:
            self.started = self.head = now
        else:
            margin = self.head - now
            self.least_margin = margin if self.least_margin is None else min(margin, self.least_margin)
            if margin < 0:
                self.stalls += 1
                self.stalled -= margin
                self.longest = max(self.longest, -margin)
                self.head = now
        self.head += duration

    def report(self) -> dict:
        return {
            "start_ms": None if self.started is None else round((self.started - self.begun) * 1000),
            "stalls": self.stalls, "stalled_ms": round(self.stalled * 1000), "longest_stall_ms": round(self.longest * 1000),
            "least_margin_ms": None if self.least_margin is None else round(self.least_margin * 1000),
        }


class SegmentPlayer:
    """Follows a live playlist: reloads it in its rhythm, and beside that fetches the segments in order."""

    def __init__(self, url: str, who: str, seconds: float, own_start: int | None = None):
        """`own_start`: begins so many segments before the end whatever the list says."""
        self.url, self.headers, self.seconds, self.own_start = url, {"X-Viewer": who}, seconds, own_start
        self.playback, self.hashes, self.errors, self.behind, self.first = Playback(), {}, [], None, None
        self._listed, self._durations, self._next = {}, {}, None
        self._news = threading.Condition()
        self._over = False
        self._thread = threading.Thread(target=self._play, daemon=True)

    def start(self) -> "SegmentPlayer":
        self._thread.start()
        return self

    def result(self) -> dict:
        self._thread.join(self.seconds + 2 * SEGMENT_SECONDS)
        return self.playback.report() | {"segments": len(self.hashes), "behind_s": self.behind, "errors": self.errors[:5]}

    def behind_edge(self, other: "SegmentPlayer") -> float:
        """Where this one began, in seconds before the end of what `other` was given, who began at the same time."""
        between = range(min(self.first, other.first), max(self.first, other.first))
        seconds = sum(self._durations.get(number) or other._durations[number] for number in between)
        return round(other.behind + (seconds if self.first < other.first else -seconds), 2)

    def load(self) -> tuple[float, list, float | None]:
        """The list now: pause until the next load if this one is news, [(number, URLs, seconds)], start in seconds before the end."""
        raise NotImplementedError

    def _play(self) -> None:
        self.playback = Playback()
        threading.Thread(target=self._reload, daemon=True).start()
        end = time.monotonic() + self.seconds
        while time.monotonic() < end:
            with self._news:
                if self._next not in self._listed:
                    # What was skipped by the server is skipped.
                    later = [number for number in self._listed if self._next is not None and number > self._next]
                    if later and min(self._listed) > self._next:
                        self.errors.append(f"segment {self._next} left the playlist unread")
                        self._next = min(later)
                    else:
                        self._news.wait(0.2)
                    continue
                number, urls = self._next, self._listed[self._next]
                self._next += 1
            if self._fetch(urls):
                self.playback.arrive(self._durations[number])
        self._over = True

    def _fetch(self, urls: list) -> bool:
        def one(url):
            try:
                body = get(url, SEGMENT_SECONDS, self.headers)
                self.hashes[urlsplit(url).path.rsplit("/", 1)[1]] = hashlib.sha256(body).hexdigest()
            except (OSError, http.client.HTTPException) as error:
                self.errors.append(f"{urlsplit(url).path.rsplit('/', 1)[1]}: {error}")
        threads = [threading.Thread(target=one, args=(url,)) for url in urls]
        [thread.start() for thread in threads]
        [thread.join() for thread in threads]
        return True

    def _reload(self) -> None:
        newest = None
        while not self._over:
            loaded = time.monotonic()
            try:
                pause, segments, start = self.load()
            except (OSError, http.client.HTTPException, ElementTree.ParseError) as error:
                self.errors.append(f"playlist: {error}")
                time.sleep(0.5)
                continue
            if not segments:
                time.sleep(0.3)
                continue
            with self._news:
                self._listed |= {number: urls for number, urls, _ in segments}
                self._durations |= {number: duration for number, _, duration in segments}
                if self._next is None:
                    first = max(0, len(segments) - self.own_start) if self.own_start else place(segments, start)
                    self.first = self._next = segments[first][0]
                    self.behind = round(sum(duration for _, _, duration in segments[first:]), 2)
                self._news.notify_all()
            # RFC 8216 6.3.4: a list that did not change is loaded again after half the time.
            changed, newest = segments[-1][0] != newest, segments[-1][0]
            time.sleep(max(0.0, loaded + (pause if changed else pause / 2) - time.monotonic()))


def place(segments: list, start: float | None) -> int:
    """The index to begin at, `start` seconds before the end."""
    if start is None:
        return max(0, len(segments) - BEHIND)
    left = 0.0
    for index in reversed(range(len(segments))):
        left += segments[index][2]
        if left >= start - 0.01:
            return index
    return 0


class HlsPlayer(SegmentPlayer):
    def load(self):
        text = get(self.url, 10, self.headers).decode()
        lines = text.splitlines()
        number, target, start, segments, duration, init = 0, 2.0, None, [], 0.0, None
        for line in lines:
            if line.startswith("#EXT-X-TARGETDURATION:"):
                target = float(line.split(":")[1])
            elif line.startswith("#EXT-X-MEDIA-SEQUENCE:"):
                number = int(line.split(":")[1])
            elif line.startswith("#EXT-X-START:"):
                offset = float(re.search(r"TIME-OFFSET=(-?[\d.]+)", line)[1])
                start = -offset if offset < 0 else None
            elif line.startswith("#EXT-X-MAP:"):
                init = re.search(r'URI="([^"]+)"', line)[1]
            elif line.startswith("#EXTINF:"):
                duration = float(line[8:].split(",")[0])
            elif line and not line.startswith("#"):
                segments.append((number, [urljoin(self.url, line)], duration))
                number += 1
        if init and self._next is None and segments:
            get(urljoin(self.url, init), 10, self.headers)
        return target, segments, start


class DashPlayer(SegmentPlayer):
    """Manifests with a SegmentTimeline; video and audio of the first representation each."""

    SPACE = "{urn:mpeg:dash:schema:mpd:2011}"

    def load(self):
        mpd = ElementTree.fromstring(get(self.url, 10, self.headers))
        base = self._base(self.url, mpd)
        period = mpd.findall(f"{self.SPACE}Period")[-1]
        base, tracks = self._base(base, period), []
        for adaptation in period.findall(f"{self.SPACE}AdaptationSet"):
            representation = adaptation.find(f"{self.SPACE}Representation")
            where = self._base(self._base(base, adaptation), representation)
            template = representation.find(f"{self.SPACE}SegmentTemplate")
            template = adaptation.find(f"{self.SPACE}SegmentTemplate") if template is None else template
            tracks.append(self._track(where, representation.get("id"), template))
        common = set.intersection(*({number for number, *_ in track} for track in tracks))
        by_number = [{number: rest for number, *rest in track} for track in tracks]
        segments = [(n, [track[n][0] for track in by_number], by_number[0][n][1]) for n in sorted(common)]
        delay = mpd.get("suggestedPresentationDelay")
        return seconds_of(mpd.get("minimumUpdatePeriod") or "PT2S"), segments, seconds_of(delay) if delay else None

    def _base(self, base: str, element) -> str:
        found = element.find(f"{self.SPACE}BaseURL")
        return base if found is None else urljoin(base, found.text.strip())

    def _track(self, base: str, name: str, template) -> list:
        scale, number = int(template.get("timescale", 1)), int(template.get("startNumber", 1))
        at, listed = 0, []
        for entry in template.find(f"{self.SPACE}SegmentTimeline"):
            at = int(entry.get("t", at))
            for _ in range(int(entry.get("r", 0)) + 1):
                length = int(entry.get("d"))
                uri = template.get("media").replace("$RepresentationID$", name).replace("$Time$", str(at))
                uri = re.sub(r"\$Number(?:%0(\d+)d)?\$", lambda m: str(number).zfill(int(m[1] or 1)), uri)
                listed.append((number, urljoin(base, uri), length / scale))
                at, number = at + length, number + 1
        return listed


def seconds_of(duration: str) -> float:
    hours, minutes, seconds = re.fullmatch(r"PT(?:(\d+)H)?(?:(\d+)M)?(?:([\d.]+)S)?", duration).groups()
    return int(hours or 0) * 3600 + int(minutes or 0) * 60 + float(seconds or 0)


class FlvParser:
    """Tags out of bytes as they come: (kind, timestamp in ms, payload)."""

    def __init__(self):
        self._bytes, self._begun = bytearray(), False

    def feed(self, data: bytes):
        self._bytes += data
        buffer = self._bytes
        if not self._begun:
            if len(buffer) < 13:
                return
            if buffer[:3] != b"FLV":
                raise ValueError(f"no FLV: {bytes(buffer[:16])!r}")
            del buffer[:13]
            self._begun = True
        at = 0
        while len(buffer) - at >= 11:
            length = int.from_bytes(buffer[at + 1:at + 4], "big")
            if len(buffer) - at < 15 + length:
                break
            stamp = int.from_bytes(buffer[at + 4:at + 7], "big") | buffer[at + 7] << 24
            yield buffer[at], stamp, bytes(buffer[at + 11:at + 11 + length])
            at += 15 + length
        del buffer[:at]


    def left(self) -> int:
        """Bytes of a tag that is not whole."""
        return len(self._bytes)


AUDIO, VIDEO, SCRIPT = 8, 9, 18


def is_coded(kind: int, payload: bytes) -> bool:
    """Frames: no headers, no end of sequence, no script data. Of H.264 and AAC."""
    return kind in (AUDIO, VIDEO) and len(payload) > 2 and payload[1] == 1


class FlvPlayer:
    """Reads a live FLV until told to stop, records it, and plays it once START_SECONDS are there."""

    START_SECONDS = 1.0

    def __init__(self, url: str, who: str, record):
        self.url, self.who, self.record, self.error = url, who, record, None
        self.playback = Playback()
        self.tags = {AUDIO: [], VIDEO: []}  # (timestamp, hash of the payload, arrival)
        self._stop = False
        self._waiting: list[int] = []
        self._thread = threading.Thread(target=self._read, daemon=True)

    def start(self) -> "FlvPlayer":
        self._thread.start()
        return self

    def stop(self) -> None:
        self._stop = True
        self._thread.join(10)

    def first_picture(self) -> bytes | None:
        return self.tags[VIDEO][0][1] if self.tags[VIDEO] else None

    def result(self) -> dict:
        return self.playback.report() | {
            "frames": len(self.tags[VIDEO]), "sounds": len(self.tags[AUDIO]), "error": self.error,
            "largest_step_ms": {"video": largest_step(self.tags[VIDEO]), "audio": largest_step(self.tags[AUDIO])},
            "backward_steps": sum(backward_steps(tags) for tags in self.tags.values()),
        }

    def _read(self) -> None:
        self.playback = Playback()
        parts, parser = urlsplit(self.url), FlvParser()
        try:
            connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=30)
            connection.request("GET", parts.path, headers={"X-Viewer": self.who})
            answer = connection.getresponse()
            if answer.status != 200:
                raise OSError(f"status {answer.status}: {answer.read(200)!r}")
            with open(self.record, "wb") as record:
                while not self._stop:
                    data = answer.read1(64 * 1024)
                    if not data:
                        raise OSError("the stream ended")
                    record.write(data)
                    for kind, stamp, payload in parser.feed(data):
                        if is_coded(kind, payload):
                            self._came(kind, stamp, payload)
                # Where it stopped in the middle of a tag, that is none of the stream's fault.
                if record.seekable() and record.tell():
                    record.truncate(record.tell() - parser.left())
            connection.close()
        except (OSError, ValueError, http.client.HTTPException) as error:
            if not self._stop:
                self.error = f"{type(error).__name__}: {error}"

    def _came(self, kind: int, stamp: int, payload: bytes) -> None:
        self.tags[kind].append((stamp, hashlib.md5(payload).digest()[:8], time.monotonic()))
        if kind != VIDEO:
            return
        if self.playback.started is None:
            self._waiting.append(stamp)
            if stamp - self._waiting[0] >= self.START_SECONDS * 1000:
                self.playback.arrive((stamp - self._waiting[0]) / 1000)
        else:
            self.playback.arrive((stamp - self.tags[VIDEO][-2][0]) / 1000)


def largest_step(tags: list) -> int:
    return max((b[0] - a[0] for a, b in zip(tags, tags[1:])), default=0)


def backward_steps(tags: list) -> int:
    return sum(b[0] < a[0] for a, b in zip(tags, tags[1:]))


def compare(tags: list, truth: list) -> tuple[int, int]:
    """Payloads of `truth` that are left out in the stretch that `tags` cover, and payloads that `truth` does not have there.
    What `truth` was not recording any more, or not yet, is neither."""
    places: dict = {}
    for at, (_, payload, _) in enumerate(truth):
        places.setdefault(payload, []).append(at)
    known = [n for n, tag in enumerate(tags) if tag[1] in places]
    if not known:
        return len(truth), len(tags)
    lost, at, foreign = 0, None, 0
    for _, payload, _ in tags[known[0]:known[-1] + 1]:
        after = places.get(payload, [])
        found = after[bisect_left(after, -1 if at is None else at):][:1]
        if not found:
            foreign += 1
            continue
        lost += 0 if at is None else found[0] - at
        at = found[0] + 1
    return lost, foreign
