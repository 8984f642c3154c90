"""The odd playlists and manifests of `media_odd.py`: each puts what it needs at the origin and gives the path a player opens."""

from __future__ import annotations

import gzip
from urllib.parse import quote, urljoin, urlsplit

from media_odd_origin import OddOrigin, Thing, noise

M3U8, MPD = "application/vnd.apple.mpegurl", "application/dash+xml"
HEAD, END = "#EXTM3U\n#EXT-X-VERSION:7\n#EXT-X-TARGETDURATION:4\n", "#EXT-X-ENDLIST\n"
MASTER = "#EXTM3U\n"
HLS_CASES, DASH_CASES = {}, {}
# Names below a playlist that need care in a URL or look as if they did.
NAMES = ["a b.ts", "ü.ts", "a%20c.ts", "x;y=1.ts", "Fragments(video=0,format=m3u8-aapl)", "p+q.ts", "a,b.ts", "it's.ts", "~t.ts",
         "a@b.ts", "a:b.ts", "[x].ts", "q?x=a/b/../c", "f.ts#frag", "%E2%82%AC.ts", "d.d/../dd.ts", "a%2Fb.ts", "_@%'().ts"]


def hls(case):
    HLS_CASES[f"hls {case.__name__}"] = case
    return case


def segments(*names: str) -> str:
    return "".join(f"#EXTINF:4,\n{name}\n" for name in names)


def simple(name: str, text: str | bytes, path: str = "", kind: str | None = M3U8, **more) -> None:
    """A case of one playlist; `{twin}` and `{own}` in it are the origin's names."""
    def case(o: OddOrigin) -> str:
        asked = path or f"/m/{name.replace(' ', '-')}.m3u8"
        body = text if isinstance(text, bytes) else text.replace("{twin}", o.twin).replace("{own}", o.name)
        o.put(asked.partition("?")[0], body, kind, **more)
        return asked
    HLS_CASES[f"hls {name}"] = case


LIST = HEAD + segments("m/0.ts", "/m/1.ts") + END
FAR = HEAD + segments("0.ts", "http://{twin}/m/1.ts") + END
simple("line ends and mark", ("\ufeff" + HEAD + '#EXT-X-ODD:URI="no.ts",A=1\n#EXT-ODD\n# http://x/y\n' + segments("0.ts?a=1&b=2", "1.ts?t=%2Fx")
                              + END).replace("\n", "\r\n"))
simple("absolute", HEAD + segments("http://{own}/m/0.ts", "http://{twin}/m/1.ts", "//{own}/m/2.ts", "/m/3.ts", "../../m/4.ts", "./../m/5.ts",
                                   "HTTP://{own}/m/6.ts") + END)
simple("query parameters", HEAD + '#EXT-X-DEFINE:NAME="h",VALUE="http://{twin}/m"\n#EXT-X-DEFINE:QUERYPARAM="q"\n'
       + segments("{$h}/0.ts", "1.ts?x={$q}", "{$q}.ts") + END, "/m/parameters.m3u8?q=s2")
simple("gap", HEAD + segments("0.ts") + "#EXT-X-GAP\n" + segments("missing.ts", "1.ts") + END)
simple("byte ranges without offset", HEAD + "#EXTINF:4,\n#EXT-X-BYTERANGE:7000\none.ts\n#EXT-X-BYTERANGE:8000\n#EXTINF:4,\none.ts\n"
       "#EXTINF:4,\n#EXT-X-BYTERANGE:5000@20000\none.ts\n#EXTINF:4,\n#EXT-X-BYTERANGE:5000\none.ts\n" + END)
simple("maps", HEAD + '#EXT-X-MAP:URI="i0.mp4"\n' + segments("0.ts") + '#EXT-X-DISCONTINUITY\n#EXT-X-MAP:URI="i1.mp4?v=2"\n' + segments("1.ts")
       + '#EXT-X-DISCONTINUITY\n#EXT-X-MAP:URI="packed.mp4",BYTERANGE="800"\n#EXTINF:4,\n#EXT-X-BYTERANGE:9000@800\npacked.mp4\n' + END)
simple("keys", HEAD + '#EXT-X-KEY:METHOD=SAMPLE-AES,URI="skd://abc",KEYFORMAT="com.apple.streamingkeydelivery"\n'
       '#EXT-X-KEY:METHOD=SAMPLE-AES-CTR,URI="data:text/plain;base64,AAAA,BBB",KEYFORMAT="urn:uuid:edef8ba9-79d6-4ace-a3c8-27dcd51d21ed"\n'
       + segments("0.ts") + '#EXT-X-KEY:METHOD=AES-128,URI="k.key",IV=0x0123\n' + segments("1.ts")
       + '#EXT-X-KEY:METHOD=AES-128,URI="http://{twin}/m/k.key?x=1,2"\n' + segments("2.ts") + "#EXT-X-KEY:METHOD=NONE\n" + segments("3.ts") + END)
simple("no name but a type", LIST, "/play-1?x", length=False, ranges=False, etag=False)
simple("no name, text", LIST, "/play-2?id=5", "text/plain; charset=utf-8")
simple("no name, no type", LIST, "/play-3?id=6", None, etag=False)
simple("no name, no length", LIST, "/play-4?x", "text/plain", length=False, ranges=False, etag=False)
simple("no name, no HEAD", LIST, "/play-5?x", "text/plain", head=False)
simple("name but no length", LIST, "/play.m3u8", length=False, ranges=False, etag=False)
simple("steering", MASTER + '#EXT-X-CONTENT-STEERING:SERVER-URI="/m/steer.json",PATHWAY-ID="a"\n'
       '#EXT-X-STREAM-INF:BANDWIDTH=1,PATHWAY-ID="a"\nhttp://{twin}/m/gap.m3u8\n')
simple("date ranges", HEAD + '#EXT-X-DATERANGE:ID="a",CLASS="com.apple.hls.interstitial",START-DATE="2026-01-01T00:00:00Z",'
       'X-ASSET-URI="http://{twin}/m/gap.m3u8"\n#EXT-X-DATERANGE:ID="b",X-ASSET-LIST="/m/list.json",SCTE35-OUT=0xFC\n' + segments("0.ts") + END)
simple("a loop", HEAD + segments("0.ts", "1.ts", "0.ts") + "#EXT-X-DISCONTINUITY\n" + segments("1.ts") + END)
simple("channels", MASTER + '#EXTINF:-1 tvg-id="x" tvg-logo="http://{twin}/logo.png",Ch 1, "q"\nhttp://{twin}/m/gap.m3u8\n#EXTINF:-1,Two\n'
       "/m/maps.m3u8\n", "/list.m3u", "audio/x-mpegurl")
simple("blank lines", "#EXTM3U\n\n\n#EXTINF:4\n\n0.ts\n\n#EXTINF:4.0 , t\n  1.ts  \n#EXT-X-ENDLIST")
simple("Latin-1", HEAD.encode() + b"#EXTINF:4,caf\xe9\n0.ts\n" + END.encode())
simple("low latency", MASTER + "#EXT-X-TARGETDURATION:4\n#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,PART-HOLD-BACK=1.0,CAN-SKIP-UNTIL=24\n"
       "#EXT-X-PART-INF:PART-TARGET=0.33\n" + segments("0.ts", "1.ts", "2.ts") + '#EXT-X-PART:DURATION=0.33,URI="p0.mp4",INDEPENDENT=YES\n'
       '#EXT-X-PART:DURATION=0.33,URI="9.mp4",BYTERANGE="2000@0"\n#EXT-X-PART:DURATION=0.33,URI="9.mp4",BYTERANGE="2000@2000"\n'
       '#EXT-X-PRELOAD-HINT:TYPE=PART,URI="9.mp4"\n#EXT-X-RENDITION-REPORT:URI="gap.m3u8",LAST-MSN=9\n')


@hls
def packed(o: OddOrigin) -> str:
    text = gzip.compress(FAR.replace("{twin}", o.twin).encode())
    for path in ("/m/packed", "/m/packed.m3u8"):
        o.put(path, text, M3U8, headers={"Content-Encoding": "gzip"})
    o.put("/m/both.m3u8", MASTER + "#EXT-X-STREAM-INF:BANDWIDTH=1\npacked\n#EXT-X-STREAM-INF:BANDWIDTH=2\npacked.m3u8\n", M3U8)
    return "/m/both.m3u8"


@hls
def imports(o: OddOrigin) -> str:
    o.put("/m/imports.m3u8", MASTER + f'#EXT-X-DEFINE:NAME="host",VALUE="http://{o.twin}"\n#EXT-X-DEFINE:NAME="dir",VALUE="m"\n'
          "#EXT-X-STREAM-INF:BANDWIDTH=100\n/{$dir}/imports-v.m3u8?a={$dir}\n", M3U8)
    o.put("/m/imports-v.m3u8", HEAD + '#EXT-X-DEFINE:IMPORT="host"\n#EXT-X-DEFINE:IMPORT="dir"\n'
          + segments("{$host}/{$dir}/0.ts", "1.ts?d={$dir}", "{$host}/m/2.ts") + END, M3U8)
    return "/m/imports.m3u8"


@hls
def keyframes_images_and_data(o: OddOrigin) -> str:
    o.put("/m/all.m3u8", MASTER + '#EXT-X-STREAM-INF:BANDWIDTH=100,SUBTITLES="s",CLOSED-CAPTIONS="c"\ngap.m3u8\n'
          '#EXT-X-I-FRAME-STREAM-INF:BANDWIDTH=10,URI="if.m3u8"\n#EXT-X-SESSION-DATA:DATA-ID="a",URI="d.json"\n'
          '#EXT-X-IMAGE-STREAM-INF:BANDWIDTH=1,URI="im.m3u8"\n#EXT-X-MEDIA:TYPE=SUBTITLES,GROUP-ID="s",NAME="Deutsch, \'x\'",URI="sub.m3u8"\n'
          '#EXT-X-MEDIA:TYPE=CLOSED-CAPTIONS,GROUP-ID="c",NAME="E",INSTREAM-ID="CC1"\n', M3U8)
    o.put("/m/im.m3u8", HEAD + "#EXT-X-IMAGES-ONLY\n" + segments("a.jpg") + END, M3U8)
    o.put("/m/if.m3u8", HEAD + "#EXT-X-I-FRAMES-ONLY\n#EXTINF:2,\n#EXT-X-BYTERANGE:1000@376\n0.ts\n#EXTINF:2,\n#EXT-X-BYTERANGE:2000@9000\n0.ts\n"
          + END, M3U8)
    o.put("/m/sub.m3u8", HEAD + segments("w0.vtt") + END, M3U8)
    o.put("/m/w0.vtt", "WEBVTT\nX-TIMESTAMP-MAP=LOCAL:00:00:00.000,MPEGTS:900000\n\n00:00.000 --> 00:01.000\nä\n", "text/vtt; charset=utf-8")
    return "/m/all.m3u8"


@hls
def names(o: OddOrigin) -> str:
    o.put("/m/names/list.m3u8", HEAD + segments(*[f"./{name}" for name in NAMES]) + END, M3U8)
    for name in NAMES:
        path = urlsplit(urljoin(o.url("/m/names/list.m3u8"), f"./{name}")).path
        o.media(quote(path, safe="/%;,()!*'@+$~[]:=-._"))
    return "/m/names/list.m3u8"


@hls
def redirects(o: OddOrigin) -> str:
    o.put("/r/start.m3u8", b"", None, status=302, headers={"Location": f"http://{o.twin}/m/deep/real.m3u8?sess=9"})
    o.put("/m/deep/real.m3u8", HEAD + segments("../0.ts", "r1.ts", "/m/2.ts") + END, M3U8)
    o.put("/m/deep/r1.ts", b"", None, status=307, headers={"Location": "/m/1.ts"})
    return "/r/start.m3u8"


@hls
def odd_segments(o: OddOrigin) -> str:
    for name, habit in (("chunked", {"length": False, "ranges": False}), ("rangeless", {"ranges": False}), ("headless", {"head": False}),
                        ("untyped", {"kind": None})):
        o.media(f"/m/{name}.bin", **habit)
    o.put("/m/packed.vtt", gzip.compress(b"WEBVTT\n"), "text/vtt", headers={"Content-Encoding": "gzip"})
    o.put("/m/empty.ts", b"")
    o.put("/m/denied.ts", b"go away", "text/plain", status=403)
    o.put("/m/gone.ts", b"was here", "text/plain", status=410)
    o.media("/m/disguise.png", kind="image/png")
    o.put("/m/film.flv", b"FLV\x01\x05\0\0\0\x09\0\0\0\0" + noise("film", 9_000), "video/x-flv")
    words = ["chunked.bin", "rangeless.bin", "headless.bin", "untyped.bin", "packed.vtt", "empty.ts", "denied.ts", "gone.ts", "disguise.png", "film.flv"]
    o.put("/m/odd.m3u8", HEAD + segments(*words) + END, M3U8)
    return "/m/odd.m3u8"


@hls
def told_apart_by_queries(o: OddOrigin) -> str:
    def make(query: str, _headers) -> Thing:
        if query.startswith("seg="):
            return Thing(noise(query.partition("&")[0], 40_000), "video/mp2t")
        return Thing((HEAD + segments("?seg=1&token=a", "app.php?seg=2&token=b", "/app.php?seg=3") + END).encode(), M3U8)
    o.things["/app.php"] = Thing(make=make)
    return "/app.php?list=1"


def dash(name: str, inside: str, attributes: str = 'type="static" mediaPresentationDuration="PT20S"', head: str = "", path: str = "", kind: str = MPD,
         beside: dict | None = None) -> None:
    """A case of one manifest; `beside` is what else is at the origin."""
    def case(o: OddOrigin) -> str:
        def named(words: str) -> str:
            return words.replace("{twin}", o.twin).replace("{own}", o.name)
        space = 'xmlns="urn:mpeg:dash:schema:mpd:2011" xmlns:xlink="http://www.w3.org/1999/xlink"'
        text = inside if inside.startswith("<mpd:") else f'<MPD {space} minBufferTime="PT2S" {attributes}>{inside}</MPD>'
        asked = path or f"/m/{name.replace(' ', '-')}.mpd"
        o.put(asked.partition("?")[0], head + named(text), kind)
        for other, words in (beside or {}).items():
            o.put(other, named(words).replace("<Period", f"<Period {space}", 1).replace("<AdaptationSet", f"<AdaptationSet {space}", 1), "text/xml")
        return asked
    DASH_CASES[f"dash {name}"] = case


def rep(id_: str = "v", inside: str = "") -> str:
    return f'<Representation id="{id_}" bandwidth="800000" codecs="avc1.42c01e">{inside}</Representation>'


def a_set(*inside: str) -> str:
    return f'<AdaptationSet mimeType="video/mp4">{"".join(inside)}</AdaptationSet>'


def template(media: str, init: str = "i.mp4", more: str = "") -> str:
    return f'<SegmentTemplate timescale="1000" duration="4000" initialization="{init}" media="{media}" {more}/>'


def period(*inside: str, more: str = "") -> str:
    return f"<Period {more}>{''.join(inside)}</Period>"


def timeline(media: str) -> str:
    return (f'<SegmentTemplate timescale="90000" startNumber="7" presentationTimeOffset="900000000" initialization="ti.mp4" media="{media}">'
            '<SegmentTimeline><S t="900000000" d="180000" r="2"/><S d="90000"/><S t="901000000" d="180000" r="-1"/>'
            '<S t="901540000" d="100000" r="1"/></SegmentTimeline></SegmentTemplate>')


PLAIN = a_set(template("$Number$.m4s"), rep())
LIVE = ('type="dynamic" availabilityStartTime="2020-01-01T00:00:00Z" minimumUpdatePeriod="PT2S" timeShiftBufferDepth="PT20S" '
        'suggestedPresentationDelay="PT6S" publishTime="2026-01-01T00:00:00Z"')
dash("templates", period(a_set(template("$RepresentationID$/c-$Number%05d$$$x.m4s?q=$Bandwidth$", "i-$RepresentationID$-$Bandwidth%08d$.mp4"),
                               rep("v 1/ä"), rep("v2")), a_set(template("/m/root-$RepresentationID$-$Number$"), rep("a1"))))
dash("timelines with gaps", period(a_set(timeline("t-$Time$.m4s"), rep()), a_set(timeline("http://{twin}/m/$RepresentationID$/n-$Number%03d$.m4s"), rep("a"))))
dash("lists", period(a_set(
    rep("v", '<BaseURL>one.mp4</BaseURL><SegmentList duration="4"><Initialization range="0-999"/><SegmentURL mediaRange="1000-9999"/>'
             '<SegmentURL mediaRange="10000-19999"/></SegmentList>'),
    rep("w", '<SegmentList duration="4"><Initialization sourceURL="http://{twin}/m/li.mp4"/><SegmentURL media="l1.m4s"/>'
             '<SegmentURL media="/m/l2.m4s"/><SegmentURL media="../m/../m/l3.m4s"/></SegmentList>'))))
dash("one file", period(a_set(rep("v", '<BaseURL>whole.mp4</BaseURL><SegmentBase indexRange="800-999"><Initialization range="0-799"/></SegmentBase>')),
                        '<AdaptationSet mimeType="text/vtt" lang="de">', rep("t", "<BaseURL>subs.vtt</BaseURL>"), "</AdaptationSet>"))
dash("many bases", "<BaseURL>http://{twin}/m/x/</BaseURL><BaseURL>http://{own}/m/y/</BaseURL>"
     + period("<BaseURL>p1/</BaseURL>", a_set(template("$Number$.m4s"), rep("v", "<BaseURL>v/</BaseURL>")), more='duration="PT4S"')
     + period("<BaseURL>/m/p2/</BaseURL>", a_set(template("$Number$.m4s"), rep("v", "<BaseURL>./</BaseURL>")), more='duration="PT4S"')
     + period("<BaseURL>//{twin}/m/p3/</BaseURL>", a_set(template("../../../../m/$Number$.m4s"), rep())))
dash("elsewhere", '<Period duration="PT4S"><AdaptationSet xlink:href="set.xml" xlink:actuate="onLoad"/></Period>'
     '<Period xlink:href="http://{twin}/m/period.xml" xlink:actuate="onLoad"/>'
     '<Period xlink:href="urn:mpeg:dash:resolve-to-zero:2013" xlink:actuate="onLoad"/>', beside={
         "/m/set.xml": '<AdaptationSet mimeType="video/mp4">' + template("http://{twin}/m/xs/$Number$.m4s") + rep("s") + "</AdaptationSet>",
         "/m/period.xml": '<?xml version="1.0"?>\n' + period(
             a_set(template("$Number$.m4s"), rep("v", "<BaseURL>http://{twin}/m/far/</BaseURL>")), a_set(template("/m/root/$Number$.m4s"), rep("a")),
             more='duration="PT4S"')})
dash("events", period('<EventStream schemeIdUri="urn:scte:scte35:2014:xml+bin" timescale="1"><Event presentationTime="0" duration="1" id="1">'
                      '<Signal xmlns="x"><BaseURL>http://elsewhere/</BaseURL></Signal></Event></EventStream>', PLAIN,
                      "<SupplementalProperty schemeIdUri='u' value='http://x/'/>"))
dash("a prefix", '<mpd:MPD xmlns:mpd="urn:mpeg:dash:schema:mpd:2011" type="static" mediaPresentationDuration="PT12S"><mpd:Period>'
     "<mpd:BaseURL><![CDATA[http://{twin}/m/a&b/]]></mpd:BaseURL><mpd:AdaptationSet mimeType=\"video/mp4\">"
     '<mpd:SegmentTemplate duration="4" media="$Number$.m4s?a=1&amp;b=2"/><mpd:Representation id="v" bandwidth="1"/></mpd:AdaptationSet>'
     "</mpd:Period></mpd:MPD>")
dash("a mark and blanks", "<!-- <BaseURL>http://no/</BaseURL> -->" + period("<BaseURL> \n http://{twin}/m/ws/ \n</BaseURL>", PLAIN),
     head='\ufeff<?xml version="1.0" encoding="UTF-8"?>\n', kind="text/xml")
dash("entities", period("<BaseURL>http&#58;//{twin}/m/e&#x6e;t/</BaseURL>", a_set(template("&#x2f;m/z$Number$.m4s"), rep())))
dash("no name", "<BaseURL>http://{twin}/m/ne/</BaseURL>" + period(PLAIN), path="/manifest?f=mpd", kind="application/octet-stream")
dash("steering", '<BaseURL serviceLocation="a">http://{twin}/m/sa/</BaseURL><BaseURL serviceLocation="b">http://{own}/m/sb/</BaseURL>'
     '<ContentSteering defaultServiceLocation="a">http://{twin}/m/steer.json</ContentSteering>' + period(PLAIN))
dash("live by the clock", '<Location>http://{twin}/m/live-by-the-clock.mpd?s=1</Location>'
     + period(a_set(template("$Number$.m4s", more='availabilityTimeOffset="1.5" availabilityTimeComplete="false" startNumber="0"'), rep()), more='start="PT0S"')
     + '<UTCTiming schemeIdUri="urn:mpeg:dash:utc:http-iso:2014" value="http://{twin}/time"/>', LIVE)
dash("inherited", period(template("$RepresentationID$-$Number$.m4s", "$RepresentationID$.init"),
                         a_set('<ContentProtection schemeIdUri="urn:uuid:x"><pssh>AAAA</pssh><Laurl>http://lic/</Laurl></ContentProtection>',
                               rep("v", '<SubRepresentation level="0" bandwidth="1"/>'))))


def moved(o: OddOrigin) -> str:
    o.put("/m/go.mpd", b"", None, status=302, headers={"Location": f"http://{o.twin}/m/inherited.mpd?t=1"})
    return "/m/go.mpd"


DASH_CASES["dash moved"] = moved
