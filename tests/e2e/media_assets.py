"""The assets: one clip, made once, packed in every form that players meet. Paths are below the origin's document root."""

from __future__ import annotations

import struct
import threading
from pathlib import Path

GOP_SECONDS = 2
RATE = 25
FFMPEG = ["ffmpeg", "-hide_banner", "-loglevel", "error", "-y"]


class Assets:
    """Packs on demand; the clips are encoded once."""

    def __init__(self, session):
        self._run, self._www, self._quick = session.run, session.origin.www, session.quick
        self.seconds = 30 if session.quick else 60
        self._made = session.directory / "clips"
        self._made.mkdir(exist_ok=True)
        self._lock, self._packed = threading.RLock(), {}

    def clip(self, gop: float = GOP_SECONDS, size: str = "640x360", rate_kbit: int = 2000, seconds: float = 0) -> Path:
        """H.264 of a moving test picture with some noise, which keeps the encoder at its rate, and AAC of a tone that sweeps.
        No two groups of pictures are alike: live streams are made of clips that are long enough, not of loops."""
        seconds = seconds or self.seconds
        path = self._made / f"{size}-{rate_kbit}-{gop}-{seconds}.mp4"
        with self._lock:
            if not path.exists():
                self._encode(path, gop, size, rate_kbit, seconds)
        return path

    def _encode(self, path: Path, gop: float, size: str, rate_kbit: int, seconds: float) -> None:
        frames, rate = round(gop * RATE), f"{rate_kbit}k"
        self._run([
            *FFMPEG, "-f", "lavfi", "-i", f"testsrc2=size={size}:rate={RATE},noise=alls=12:allf=t",
            "-f", "lavfi", "-i", "aevalsrc=0.3*sin(440*t*t/10):s=48000", "-t", seconds,
            "-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-g", frames, "-keyint_min", frames,
            "-sc_threshold", 0, "-b:v", rate, "-minrate", rate, "-maxrate", rate, "-bufsize", rate,
            "-c:a", "aac", "-b:a", "96k", "-threads", 2, path,
        ])

    def _folder(self, name: str) -> Path:
        folder = self._www / name
        folder.mkdir()
        return folder

    def have(self, kind: str) -> str:
        """The clip in that form, packed when it is first asked for; gives the path of what a player opens."""
        with self._lock:
            if kind not in self._packed:
                path = getattr(self, "_" + kind)(self._folder(kind))
                self._packed[kind] = path.relative_to(self._www).as_posix()
            return self._packed[kind]

    def _hls(self, folder: Path, *options) -> Path:
        playlist = folder / "index.m3u8"
        self._run([
            *FFMPEG, "-i", self.clip(), "-c", "copy", "-f", "hls", "-hls_time", GOP_SECONDS,
            "-hls_playlist_type", "vod", *options, playlist,
        ])
        return playlist

    def _hls_ts(self, folder: Path) -> Path:
        return self._hls(folder)

    def _hls_fmp4(self, folder: Path) -> Path:
        return self._hls(folder, "-hls_segment_type", "fmp4")

    def _hls_byterange(self, folder: Path) -> Path:
        return self._hls(folder, "-hls_flags", "single_file")

    def _hls_aes128(self, folder: Path) -> Path:
        (folder / "the.key").write_bytes(bytes(range(16)))
        info = self._made / "key.info"
        info.write_text(f"the.key\n{folder / 'the.key'}\n000102030405060708090a0b0c0d0e0f\n")
        return self._hls(folder, "-hls_key_info_file", info)

    def _hls_multi(self, folder: Path) -> Path:
        small = self.clip(size="320x180", rate_kbit=600)
        self._run([
            *FFMPEG, "-i", self.clip(), "-i", small, "-map", "0:v", "-map", "1:v", "-map", "0:a", "-c", "copy",
            "-f", "hls", "-hls_time", GOP_SECONDS, "-hls_playlist_type", "vod", "-hls_segment_type", "fmp4",
            "-var_stream_map", "v:0,agroup:sound,name:high v:1,agroup:sound,name:low a:0,agroup:sound,default:yes,name:sound",
            "-master_pl_name", "index.m3u8", "-hls_fmp4_init_filename", "init-%v.mp4", folder / "%v.m3u8",
        ])
        return folder / "index.m3u8"

    def _dash(self, folder: Path, timeline: int) -> Path:
        manifest = folder / "index.mpd"
        self._run([
            *FFMPEG, "-i", self.clip(), "-c", "copy", "-f", "dash", "-seg_duration", GOP_SECONDS,
            "-use_template", 1, "-use_timeline", timeline, manifest,
        ])
        return manifest

    def _dash_number(self, folder: Path) -> Path:
        return self._dash(folder, 0)

    def _dash_timeline(self, folder: Path) -> Path:
        return self._dash(folder, 1)

    def _dash_ondemand(self, folder: Path) -> Path:
        """One file per track with a segment index, as ISO on-demand profiles have it."""
        for track in "va":
            self._run([
                *FFMPEG, "-i", self.clip(), "-map", f"0:{track}", "-c", "copy", "-f", "mp4", "-movflags",
                "+frag_keyframe+empty_moov+default_base_moof+global_sidx", "-frag_duration", GOP_SECONDS * 1_000_000,
                folder / f"{track}.mp4",
            ])
        kinds = {
            "v": ('contentType="video" mimeType="video/mp4" codecs="avc1.42c01e"', 'bandwidth="2000000" width="640" height="360"'),
            "a": ('contentType="audio" mimeType="audio/mp4" codecs="mp4a.40.2"', 'bandwidth="96000" audioSamplingRate="48000"'),
        }
        sets = []
        for track, (set_words, words) in kinds.items():
            start, end = box_place(folder / f"{track}.mp4", b"sidx")
            sets.append(
                f'<AdaptationSet {set_words} segmentAlignment="true" startWithSAP="1"><Representation id="{track}" {words}>'
                f'<BaseURL>{track}.mp4</BaseURL><SegmentBase indexRange="{start}-{end - 1}">'
                f'<Initialization range="0-{start - 1}"/></SegmentBase></Representation></AdaptationSet>')
        manifest = folder / "index.mpd"
        manifest.write_text(
            '<?xml version="1.0" encoding="UTF-8"?>\n<MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" '
            'profiles="urn:mpeg:dash:profile:isoff-on-demand:2011" minBufferTime="PT2S" '
            f'mediaPresentationDuration="PT{self.seconds}S"><Period>{"".join(sets)}</Period></MPD>\n')
        return manifest

    def _mp4(self, folder: Path) -> Path:
        self._run([*FFMPEG, "-i", self.clip(), "-c", "copy", "-movflags", "+faststart", folder / "film.mp4"])
        return folder / "film.mp4"

    def _flv(self, folder: Path) -> Path:
        self._run([*FFMPEG, "-i", self.clip(), "-c", "copy", "-flvflags", "add_keyframe_index", folder / "film.flv"])
        return folder / "film.flv"


def box_place(path: Path, wanted: bytes) -> tuple[int, int]:
    """Where the first top-level box of that kind begins and ends."""
    data, at = path.read_bytes(), 0
    while at + 8 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        if kind == wanted:
            return at, at + length
        at += max(length, 8)
    raise ValueError(f"no {wanted!r} in {path}")
