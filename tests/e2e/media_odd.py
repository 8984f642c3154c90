"""Odd but legal playlists and manifests: whatever a player opens by them lies inside the gateway, and is what the origin gives it.

What a player opens is worked out here from the texts of both, the origin's and the gateway's, independently of pcdn.
"""

from __future__ import annotations

import gzip
import re
import urllib.error
import urllib.request
import xml.etree.ElementTree as ET
from urllib.parse import quote, urljoin, urlsplit

from media_odd_lists import DASH_CASES, HLS_CASES
from media_odd_origin import OddOrigin
from media_rig import Bars, Viewer, World

ATTRIBUTE = re.compile(r'([A-Z0-9-]+)=("[^"]*"|[^",]*)')
HREF = "{http://www.w3.org/1999/xlink}href"
SAFE = ":/?&=%;,()!*'@+$~[]"


class NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_):
        return None


OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}), NoRedirect)


def fetch(url: str, headers: dict | None = None) -> tuple:
    """Status, headers, body, and where it was found after redirects."""
    for _ in range(5):
        try:
            with OPENER.open(urllib.request.Request(url, headers=headers or {}), timeout=20) as answer:
                found = answer.status, answer.headers, answer.read()
        except urllib.error.HTTPError as error:
            found = error.code, error.headers, error.read()
        if found[0] not in (301, 302, 303, 307, 308):
            break
        url = urljoin(url, found[1]["Location"])
    status, told, body = found
    if told.get("Content-Encoding") == "gzip" and body[:2] == b"\x1f\x8b":
        body = gzip.decompress(body)
    return status, told, body, url


def attributes(text: str) -> dict:
    return {name: value.strip('"') for name, value in ATTRIBUTE.findall(text)}


def hls_opens(text: bytes, url: str, imports: dict) -> tuple[list, dict]:
    """(tag, URL, range) of all that a player may open, and the variables."""
    variables: dict = {}
    query = dict(pair.partition("=")[::2] for pair in urlsplit(url).query.split("&"))
    opens, part, ends = [], None, {}

    def plain(words: str) -> str:
        return re.sub(r"\{\$([\w-]+)\}", lambda found: variables[found[1]], words)

    for line in map(str.strip, text.decode("utf-8-sig", "replace").splitlines()):
        tag, _, rest = line.partition(":")
        if tag == "#EXT-X-DEFINE":
            said = attributes(rest)
            values = {"NAME": said.get("VALUE"), "IMPORT": imports.get(said.get("IMPORT")), "QUERYPARAM": query.get(said.get("QUERYPARAM"))}
            kind = next(kind for kind in values if kind in said)
            variables[said[kind]] = values[kind]
        elif tag == "#EXT-X-BYTERANGE":
            length, _, start = rest.partition("@")
            part = int(length), int(start) if start else None
        elif line.startswith("#EXT") and tag != "#EXTINF":
            said = attributes(plain(rest))
            for name in ("URI", "X-ASSET-URI", "X-ASSET-LIST", "SERVER-URI"):
                if name in said:
                    length, _, start = said.get("BYTERANGE", "").partition("@")
                    opens.append((tag, urljoin(url, said[name]), (int(start or 0), int(length)) if length else None))
        elif line and not line.startswith("#"):
            at, place = urljoin(url, plain(line)), None
            if part:
                start = ends.get(at, 0) if part[1] is None else part[1]
                ends[at], place, part = start + part[0], (start, part[0]), None
            opens.append(("", at, place))
    return opens, variables


def kids(element, name: str) -> list:
    return [child for child in element if child.tag.rpartition("}")[2] == name]


def filled(template: str, fixed: dict) -> str:
    def value(found) -> str:
        if found[0] == "$$":
            return "$"
        return str(fixed[found[1]]) if found[1] == "RepresentationID" else f"{fixed[found[1]]:0{int(found[3] or 1)}d}"
    return re.sub(r"\$(RepresentationID|Bandwidth|Number|Time)(%0(\d+)d)?\$|\$\$", value, template)


def dash_opens(text: bytes, url: str) -> list:
    """The same of a manifest, with what it has elsewhere; of templates the first segments."""
    root, opens = ET.fromstring(text), []
    opens += [("elsewhere", urljoin(url, found.text.strip()), None) for name in ("Location", "ContentSteering") for found in kids(root, name)]

    def here(element):
        """The element itself, or what it stands for."""
        if not element.get(HREF):
            return element
        at = urljoin(url, element.get(HREF))
        opens.append(("elsewhere", at, None))
        return None if at.startswith("urn:") else ET.fromstring(fetch(at)[2])

    def bases(element, outer: list) -> list:
        return [urljoin(base, (found.text or "").strip()) for base in outer for found in kids(element, "BaseURL")] or outer

    def walk(element, outer: list, levels: list) -> None:
        element = here(element)
        if element is None:
            return
        inner, levels = bases(element, outer), [*levels, element]
        for name in ("Period", "AdaptationSet", "Representation"):
            for child in kids(element, name):
                walk(child, inner, levels)
        if element.tag.endswith("Representation"):
            for base in inner:
                opens.extend(segments(base, levels))

    walk(root, [url], [])
    return opens


def segments(base: str, levels: list) -> list:
    found: dict = {}
    for level in levels:
        for name in ("SegmentTemplate", "SegmentList", "SegmentBase"):
            for element in kids(level, name):
                found.setdefault(name, []).append(element)
    if templates := found.get("SegmentTemplate"):
        return templated(base, levels[-1], templates)
    places = [("init", it.get("sourceURL", ""), it.get("range")) for of in found.values() for e in of for it in kids(e, "Initialization")]
    places += [("segment", it.get("media", ""), it.get("mediaRange")) for e in found.get("SegmentList", []) for it in kids(e, "SegmentURL")]
    places += [("index", "", e.get("indexRange")) for e in found.get("SegmentBase", [])]
    return [(what, urljoin(base, uri), span(words)) for what, uri, words in places] or [("whole", base, None)]


def templated(base: str, representation, templates: list) -> list:
    said = {name: value for template in templates for name, value in template.attrib.items()}
    entries = [entry for template in templates for line in kids(template, "SegmentTimeline") for entry in kids(line, "S")]
    times, at = [number * int(said.get("duration", 1)) for number in range(3)], 0
    if entries:
        times = []
    for number, entry in enumerate(entries):
        at, each, repeats = int(entry.get("t", at)), int(entry.get("d")), int(entry.get("r", 0))
        if repeats < 0:
            end = int(entries[number + 1].get("t")) if number + 1 < len(entries) else at + 3 * each
            repeats = (end - at) // each - 1
        times += [at + each * step for step in range(repeats + 1)]
        at += each * (repeats + 1)
    fixed = {"RepresentationID": representation.get("id"), "Bandwidth": int(representation.get("bandwidth")), "Number": 0, "Time": 0}
    opens = [("init", urljoin(base, filled(said["initialization"], fixed)), None)] if "initialization" in said else []
    first = int(said.get("startNumber", 1))
    for step, time in enumerate(times):
        opens.append(("segment", urljoin(base, filled(said["media"], fixed | {"Number": first + step, "Time": time})), None))
    return opens


def span(words: str | None) -> tuple | None:
    if not words:
        return None
    first, _, last = words.partition("-")
    return int(first), int(last) + 1 - int(first)


class Judge:
    """Opens at the origin and at a gateway what a case says, and notes what differs."""

    def __init__(self, origin: OddOrigin, viewer: Viewer):
        self._origin, self._viewer = origin, viewer
        self.faults: list[str] = []
        self.opened = 0

    def case(self, name: str, url: str, imports: dict | None = None) -> None:
        (status, _, text, at), (given, _, own, own_at) = fetch(url), fetch(self._viewer.through(url))
        if status != given:
            return self._fault(name, f"status {given} for {status}")
        if text.lstrip(b"\xef\xbb\xbf").startswith(b"#EXTM3U"):
            (want, variables), (got, _) = hls_opens(text, at, imports or {}), hls_opens(own, own_at, imports or {})
        else:
            want, got, variables = dash_opens(text, at), dash_opens(own, own_at), {}
        if len(want) != len(got):
            self._fault(name, f"{len(got)} URLs for {len(want)}")
        for (what, url, part), (_, own, own_part) in zip(want, got):
            self._one(name, (what, url, part), own, own_part, variables)

    def _one(self, name: str, open_: tuple, own: str, own_part, variables: dict) -> None:
        what, url, part = open_
        if not url.startswith("http"):
            return None if own == url else self._fault(name, f"{url} became {own}")
        if not own.startswith(f"http://{self._viewer.gateway}/http/") or part != own_part:
            return self._fault(name, f"{what} {url} {part} became {own} {own_part}")
        if what == "elsewhere":
            return None
        self.opened += 1
        headers = {"Range": f"bytes={part[0]}-{part[0] + part[1] - 1}"} if part else None
        url, own = (quote(address.partition("#")[0], safe=SAFE) for address in (url, own))
        want, got = fetch(url, headers), fetch(own, headers)
        if want[2].lstrip(b"\xef\xbb\xbf").startswith(b"#EXTM3U"):
            return None if what == "#EXT-X-RENDITION-REPORT" else self.case(f"{name}, {url}", url, variables)
        told = [(status, body, told.get("Content-Range")) for status, told, body, _ in (want, got)]
        if told[0] != told[1]:
            self._fault(name, f"{url} {headers}: {got[0]} with {len(got[2])} bytes for {want[0]} with {len(want[2])}")
        # A gateway says "bytes" where an origin says nothing.
        if want[1]["Content-Type"] and want[1]["Content-Type"] != got[1]["Content-Type"]:
            self._fault(name, f"{url}: type {got[1]['Content-Type']} for {want[1]['Content-Type']}")
        return None

    def _fault(self, name: str, what: str) -> None:
        self.faults.append(f"{name}: {what}")


def odd(session, _assets) -> Bars:
    """Each case twice at each of two viewers: what is new, and what is known."""
    bars = Bars("odd")
    with OddOrigin() as origin, World(session, "odd", 2, ["--origin", origin.twin], origin=origin.name) as world:
        judges = [Judge(origin, viewer) for viewer in world.viewers]
        cases = {name: case(origin) for name, case in [*HLS_CASES.items(), *DASH_CASES.items()]}
        for judge in [*judges, *judges]:
            for name, path in cases.items():
                judge.case(name, origin.url(path))
        bars.figures |= {"cases": len(cases), "opened": [judge.opened for judge in judges], "faults": [j.faults[:40] for j in judges]}
        bars.bar("URLs opened at each viewer", min(judge.opened for judge in judges), at_least=400)
        bars.bar("URLs that lead away, or give something else", sum(len(judge.faults) for judge in judges), at_most=0)
    return bars
