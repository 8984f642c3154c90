//! What a playlist says, as data. All URLs are absolute, all variables substituted.

use std::sync::Arc;
use std::time::Duration;

use pcdn_core::fragment::FragmentError;
use pcdn_core::range::ByteRange;
use pcdn_core::resource::Url;

use super::{Variables, parse};

/// A playlist of either kind.
#[derive(Clone, Debug, PartialEq)]
pub enum Playlist {
    /// Lists renditions ("multivariant" in the second edition).
    Master(Master),
    /// Lists segments.
    Media(Media),
}

impl Playlist {
    /// Reads a playlist found at `base` (after redirects).
    ///
    /// ```
    /// use pcdn_media::hls::Playlist;
    /// let base = "http://cdn.example/live/index.m3u8".parse()?;
    /// let text = b"#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXTINF:3.5,\n../a.ts\n";
    /// let Playlist::Media(media) = Playlist::parse(text, &base)? else { unreachable!() };
    /// assert_eq!(media.segments[0].url.as_str(), "http://cdn.example/a.ts");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// If it is no playlist, a URI, a byte range or a variable cannot be resolved, or a bound of [`hls`](super) is met.
    pub fn parse(text: &[u8], base: &Url) -> Result<Self, FragmentError> {
        parse::parse(text, base, &Variables::default())
    }

    /// As [`parse`](Self::parse), for a playlist that may import variables of the master playlist it was found in.
    ///
    /// # Errors
    /// As there.
    pub fn parse_with(text: &[u8], base: &Url, imports: &Variables) -> Result<Self, FragmentError> {
        parse::parse(text, base, imports)
    }
}

/// A playlist of renditions.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Master {
    /// `EXT-X-VERSION`; 1 if not told.
    pub version: u32,
    /// The variants, in order.
    pub variants: Vec<Variant>,
    /// Variants of keyframes only, for fast forward.
    pub i_frames: Vec<Variant>,
    /// Audio, video, subtitles and captions that variants refer to by group.
    pub alternatives: Vec<Alternative>,
    /// Keys a player may fetch ahead.
    pub session_keys: Vec<Key>,
    /// `EXT-X-SESSION-DATA`.
    pub session_data: Vec<SessionData>,
    /// Where players ask which pathway to take.
    pub steering: Option<Steering>,
    /// What media playlists may import.
    pub variables: Variables,
}

impl Master {
    /// The playlists it names: of variants, keyframes and alternatives.
    pub fn playlists(&self) -> impl Iterator<Item = &Url> {
        let variants = self.variants.iter().chain(&self.i_frames).map(|variant| &variant.url);
        variants.chain(self.alternatives.iter().filter_map(|one| one.url.as_ref()))
    }
}

/// `EXT-X-STREAM-INF` or `EXT-X-I-FRAME-STREAM-INF`.
#[derive(Clone, Debug, PartialEq)]
pub struct Variant {
    /// Its playlist.
    pub url: Url,
    /// Peak bits per second; 0 if not told.
    pub bandwidth: u64,
    /// Average bits per second.
    pub average_bandwidth: Option<u64>,
    /// Codecs, in the form of RFC 6381.
    pub codecs: Option<String>,
    /// Width and height in pixels.
    pub resolution: Option<(u32, u32)>,
    /// Frames per second.
    pub frame_rate: Option<f64>,
    /// Group of [`Alternative`]s that carries its audio.
    pub audio: Option<String>,
    /// Group of alternatives for its video.
    pub video: Option<String>,
    /// Group of its subtitles.
    pub subtitles: Option<String>,
    /// Content steering: variants of different pathways are copies of each other.
    pub pathway: Option<String>,
    /// `STABLE-VARIANT-ID`, else the `NAME` some packagers write.
    pub name: Option<String>,
}

/// `EXT-X-MEDIA`: one rendition of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alternative {
    /// `AUDIO`, `VIDEO`, `SUBTITLES` or `CLOSED-CAPTIONS`.
    pub kind: String,
    /// Its group.
    pub group: String,
    /// Its name, for people.
    pub name: String,
    /// Its language (RFC 5646).
    pub language: Option<String>,
    /// Its own playlist; without one it is inside the variants.
    pub url: Option<Url>,
    /// Played if nobody chose.
    pub default: bool,
}

/// `EXT-X-KEY` or `EXT-X-SESSION-KEY`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// `AES-128`, `SAMPLE-AES`, …; never `NONE`.
    pub method: String,
    /// Where the key is, if that is a URL at all. Not for peers.
    pub url: Option<Url>,
    /// Key system; `identity` if not told.
    pub format: String,
    /// Initialisation vector, as written.
    pub iv: Option<String>,
}

/// `EXT-X-SESSION-DATA`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionData {
    /// Reverse-DNS name.
    pub id: String,
    /// The value itself.
    pub value: Option<String>,
    /// Where it is.
    pub url: Option<Url>,
}

/// `EXT-X-CONTENT-STEERING`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Steering {
    /// The steering server.
    pub url: Url,
    /// The pathway to start on.
    pub pathway: Option<String>,
}

/// A playlist of segments.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Media {
    /// Path of its own URL: what its segments' names count from.
    pub path: String,
    /// `EXT-X-VERSION`; 1 if not told.
    pub version: u32,
    /// No segment is longer, rounded to the second; zero if not told.
    pub target_duration: Duration,
    /// Number of the first segment.
    pub media_sequence: u64,
    /// Number of the first segment's continuous run.
    pub discontinuity_sequence: u64,
    /// `EXT-X-PLAYLIST-TYPE`.
    pub kind: Option<MediaKind>,
    /// No segment will be added.
    pub end_list: bool,
    /// Its segments are single keyframes.
    pub i_frames_only: bool,
    /// What the server offers for low latency.
    pub server_control: Option<ServerControl>,
    /// Longest part; a low-latency playlist has one.
    pub part_target: Option<Duration>,
    /// The segments, in order.
    pub segments: Vec<Segment>,
    /// Parts of the segment that is not yet listed.
    pub parts: Vec<Part>,
    /// What to ask for before it exists.
    pub preload_hints: Vec<PreloadHint>,
    /// Where other renditions are.
    pub rendition_reports: Vec<Report>,
    /// Segments left out of a delta update; 0 in a whole playlist.
    pub skipped: u64,
    /// Every segment has its own `EXT-X-PROGRAM-DATE-TIME`, and there is one.
    pub dated: bool,
}

impl Media {
    /// Whether segments may still come: no `EXT-X-ENDLIST`, and not declared immutable.
    pub fn is_growing(&self) -> bool {
        !self.end_list && self.kind != Some(MediaKind::Vod)
    }

    /// Where parts are and what will be asked for ahead: resources that may still grow, or do not exist yet. Some are segments, too,
    /// which are whole once they are listed.
    pub fn unfinished(&self) -> impl Iterator<Item = &Url> {
        let of_segments = self.segments.iter().flat_map(|segment| &segment.parts);
        let parts = of_segments.chain(&self.parts).map(|part| &part.url);
        parts.chain(self.preload_hints.iter().map(|hint| &hint.url))
    }

    /// Number of the segment at `index` of [`segments`](Self::segments).
    pub fn sequence(&self, index: usize) -> u64 {
        self.media_sequence.saturating_add(self.skipped).saturating_add(index as u64)
    }
}

/// `EXT-X-PLAYLIST-TYPE`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MediaKind {
    /// Never changes.
    Vod,
    /// Only grows.
    Event,
}

/// `EXT-X-SERVER-CONTROL`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct ServerControl {
    /// A request for a future playlist waits until it exists.
    pub can_block_reload: bool,
    /// How far behind the edge to play parts.
    pub part_hold_back: Option<Duration>,
    /// How far behind the edge to play segments.
    pub hold_back: Option<Duration>,
    /// Delta updates leave out what is older.
    pub can_skip_until: Option<Duration>,
}

/// A segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Where it is.
    pub url: Url,
    /// Which bytes of that; `None` is all of them.
    pub range: Option<ByteRange>,
    /// How long it plays.
    pub duration: Duration,
    /// What people call it; often empty.
    pub title: String,
    /// What a decoder needs before it.
    pub map: Option<Arc<Map>>,
    /// Timestamps or codecs break before it.
    pub discontinuity: bool,
    /// When it was shot: its own tag, not inferred from one before. Milliseconds since 1970.
    pub program_date_time: Option<i64>,
    /// It is missing and must not be asked for.
    pub gap: bool,
    /// Keys in force, one per key system; empty if it is clear.
    pub keys: Arc<[Key]>,
    /// Bits per second, roughly.
    pub bitrate: Option<u64>,
    /// Its parts, if they are still listed.
    pub parts: Vec<Part>,
}

/// `EXT-X-MAP`: an initialisation segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Map {
    /// Where it is.
    pub url: Url,
    /// Which bytes of that.
    pub range: Option<ByteRange>,
}

/// `EXT-X-PART`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Where it is.
    pub url: Url,
    /// Which bytes of that.
    pub range: Option<ByteRange>,
    /// How long it plays.
    pub duration: Duration,
    /// Starts with a keyframe.
    pub independent: bool,
    /// It is missing.
    pub gap: bool,
}

/// `EXT-X-PRELOAD-HINT`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PreloadHint {
    /// An initialisation segment, not a part.
    pub map: bool,
    /// Where it will be.
    pub url: Url,
    /// Its first byte there.
    pub start: u64,
    /// Its length, if known.
    pub len: Option<u64>,
}

/// `EXT-X-RENDITION-REPORT`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The playlist of the other rendition.
    pub url: Url,
    /// Number of its newest segment.
    pub last_sequence: Option<u64>,
    /// Number of its newest part.
    pub last_part: Option<u64>,
}
