#!/usr/bin/env python3
"""Makes the seeds that are made and not written: what packagers and encoders give, and bytes that no text editor shows.

usage: tests/fuzz/make-corpus.py   (needs ffmpeg; writes into tests/fuzz/corpus, which is under version control)
"""

from __future__ import annotations

import struct
import subprocess
import tempfile
from pathlib import Path

CORPUS = Path(__file__).parent / "corpus"
FFMPEG = ["ffmpeg", "-hide_banner", "-nostdin", "-v", "error", "-y", "-bitexact"]
# Tiny pictures: a seed is looked at a million times.
PICTURES = ["-f", "lavfi", "-i", "testsrc2=size=32x32:rate=5:duration=9"]
SOUND = ["-f", "lavfi", "-i", "sine=frequency=440:sample_rate=8000:duration=9"]
H264 = ["-c:v", "libx264", "-preset", "ultrafast", "-crf", "51", "-g", "5", "-x264-params", "info=0:scenecut=0"]
AAC = ["-c:a", "aac", "-b:a", "8k", "-ac", "1"]


def run(into: Path, *arguments: str) -> None:
    subprocess.run([*FFMPEG, *arguments], cwd=into, check=True)


def keep(kind: str, name: str, data: bytes) -> None:
    (CORPUS / kind).mkdir(parents=True, exist_ok=True)
    (CORPUS / kind / name).write_bytes(data)
    print(f"{kind}/{name}: {len(data)} bytes")


def playlists(tmp: Path) -> None:
    media = [*PICTURES, *SOUND, *H264, *AAC, "-f", "hls", "-hls_time", "2", "-hls_list_size", "0"]
    (tmp / "key").write_bytes(bytes(range(16)))
    (tmp / "key.info").write_text("https://keys.test/1?id=7\nkey\n000102030405060708090a0b0c0d0e0f\n")
    made = {
        "ffmpeg-ts.m3u8": [],
        "ffmpeg-fmp4.m3u8": ["-hls_segment_type", "fmp4"],
        "ffmpeg-ranges.m3u8": ["-hls_segment_type", "fmp4", "-hls_flags", "single_file"],
        "ffmpeg-aes.m3u8": ["-hls_key_info_file", "key.info"],
        "ffmpeg-event-dates.m3u8": ["-hls_playlist_type", "event", "-hls_flags", "program_date_time"],
    }
    for name, options in made.items():
        run(tmp, *media, *options, name)
        text = (tmp / name).read_text()
        # The date of making would be another at every making.
        lines = [f"#EXT-X-PROGRAM-DATE-TIME:2026-03-01T12:00:{n % 60:02}.000+0000" if "DATE-TIME" in line else line
                 for n, line in enumerate(text.splitlines())]
        keep("hls", name, "\n".join([*lines, ""]).encode())


def manifests(tmp: Path) -> None:
    media = [*PICTURES, *SOUND, "-map", "0", "-map", "1", *H264, *AAC, "-f", "dash", "-seg_duration", "2"]
    made = {
        "ffmpeg-timeline.mpd": [],
        "ffmpeg-number.mpd": ["-use_timeline", "0"],
        "ffmpeg-list.mpd": ["-use_template", "0"],
        "ffmpeg-single-file.mpd": ["-single_file", "1"],
    }
    for name, options in made.items():
        run(tmp, *media, *options, name)
        keep("dash", name, (tmp / name).read_bytes())
    single = next(tmp.glob("ffmpeg-single-file-stream0.*"))
    keep("isobmff", "ffmpeg-fragments.mp4", single.read_bytes()[:6000])


def files(tmp: Path) -> None:
    run(tmp, *PICTURES, *H264, "-f", "mp4", "-movflags", "+dash+global_sidx+frag_keyframe", "sidx.mp4")
    whole = (tmp / "sidx.mp4").read_bytes()
    keep("isobmff", "ffmpeg-sidx.mp4", whole[:whole.index(b"moof") + 200])
    one, two = sidx([(False, 10, 1000)]), sidx([(False, 20, 1000), (False, 5, 500)], version=0)
    top = sidx([(True, len(one) + 10, 1000), (True, len(two) + 25, 1500), (False, 5, 1000)], first=0)
    head = box(b"ftyp", b"iso6") + box(b"moov", bytes(60))
    keep("isobmff", "nested-sidx.mp4", head + top + one + bytes(10) + two + bytes(30))
    keep("isobmff", "large-box.mp4", struct.pack(">I4sQ", 1, b"mdat", 24) + bytes(8) + struct.pack(">I4s", 0, b"free"))
    keep("isobmff", "looping-sidx.mp4", sidx([(True, 2**31 - 1, 1), (True, 8, 1)]) * 8 + sidx([(False, 9, 9)]))


def box(name: bytes, payload: bytes) -> bytes:
    return struct.pack(">I4s", len(payload) + 8, name) + payload


def sidx(references: list[tuple[bool, int, int]], first: int = 0, version: int = 1) -> bytes:
    start = struct.pack(">QQ" if version else ">II", 0, first)
    entries = b"".join(struct.pack(">III", index << 31 | size, ticks, 0x90000000) for index, size, ticks in references)
    return box(b"sidx", struct.pack(">IIII", version << 24, 1, 1000, 0)[:12] + start + struct.pack(">HH", 0, len(references)) + entries)


def streams(tmp: Path) -> None:
    run(tmp, *PICTURES, *SOUND, *H264, *AAC, "-f", "flv", "classic.flv")
    run(tmp, *SOUND, *AAC, "-f", "flv", "sound.flv")
    run(tmp, *PICTURES, *H264, "-f", "flv", "pictures.flv")
    classic = (tmp / "classic.flv").read_bytes()
    keep("flv", "classic.flv", classic)
    keep("flv", "truncated.flv", classic[:3_001])
    keep("flv", "audio-only.flv", (tmp / "sound.flv").read_bytes()[:5_000])
    pictures = tags((tmp / "pictures.flv").read_bytes())
    keep("flv", "enhanced-hevc.flv", stream(enhanced(tag, b"hvc1") for tag in pictures))
    keep("flv", "enhanced-av1.flv", stream(enhanced(tag, b"av01") for tag in pictures))
    wrap = 2**32 - 4_000
    keep("flv", "wrapping.flv", stream((kind, (at + wrap) % 2**32, body) for kind, at, body in pictures))
    half = len(pictures) // 2
    keep("flv", "restarted.flv", stream([*pictures[:half], (9, 0, b"\x17\x02\0\0\0"), *pictures]))
    multitrack = [(9, at, b"\x96" + bytes([body[1] & 15]) + b"hvc1" + bytes([n % 2]) + body[5:])
                  for n, (_, at, body) in enumerate(pictures) if len(body) > 5]
    keep("flv", "multitrack.flv", stream(multitrack))


def tags(data: bytes) -> list[tuple[int, int, bytes]]:
    """Kind, time and body of each tag."""
    at, found = 13, []
    while at + 11 <= len(data):
        size = int.from_bytes(data[at + 1:at + 4], "big")
        time = int.from_bytes(data[at + 4:at + 7], "big") | data[at + 7] << 24
        found.append((data[at], time, data[at + 11:at + 11 + size]))
        at += 15 + size
    return found


def stream(found) -> bytes:
    out = b"FLV\x01\x05\0\0\0\x09\0\0\0\0"
    for kind, time, body in found:
        head = bytes([kind]) + len(body).to_bytes(3, "big") + (time & 0xFFFFFF).to_bytes(3, "big") + bytes([time >> 24, 0, 0, 0])
        out += head + body + (11 + len(body)).to_bytes(4, "big")
    return out


def enhanced(tag: tuple[int, int, bytes], codec: bytes) -> tuple[int, int, bytes]:
    """A picture of classic form in the extended one: the codec's four letters, and what kind of packet it is."""
    kind, time, body = tag
    if kind != 9 or len(body) < 5:
        return tag
    packet = {0: 0, 1: 1, 2: 2}[body[1]]
    rest = body[2:] if packet == 1 and codec == b"hvc1" else body[5:]
    return kind, time, bytes([0x80 | body[0] & 0x70 | packet]) + codec + rest


def main() -> None:
    for make in (playlists, manifests, files, streams):
        with tempfile.TemporaryDirectory() as tmp:
            make(Path(tmp))


if __name__ == "__main__":
    main()
