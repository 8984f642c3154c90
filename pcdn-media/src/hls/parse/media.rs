//! The tags of a media playlist.

use std::sync::Arc;

use super::date::millis_since_1970;
use super::*;
use crate::hls::model::{Map, Media, MediaKind, Part, PreloadHint, Report, Segment, ServerControl};
use crate::hls::{SEGMENTS_MAX, at_most};

/// Key systems in force at once; players know about five.
const KEYS_MAX: usize = 16;
/// Hints and reports each; a server gives one or two per rendition.
const HINTS_MAX: usize = 1_000;

pub(super) fn read<'t>(
    lines: impl Iterator<Item = Result<Line<'t>, FragmentError>>,
    scope: &mut Scope<'_>,
) -> Result<Media, FragmentError> {
    let mut reader = Reader { media: Media { version: 1, ..Media::default() }, ..Reader::default() };
    for line in lines {
        let line = line?;
        match line.kind() {
            Kind::Idle => {}
            Kind::Uri(uri) => reader.segment(uri, &line, scope)?,
            Kind::Tag(name, value) => reader.tag(name, value, &line, scope)?,
        }
    }
    let mut media = reader.media;
    media.parts = reader.next.parts;
    let dated = |segment: &Segment| segment.program_date_time.is_some();
    media.dated = !media.segments.is_empty() && media.segments.iter().all(dated);
    Ok(media)
}

#[derive(Default)]
struct Reader {
    media: Media,
    next: Next,
    /// What holds for all segments from here on.
    map: Option<Arc<Map>>,
    keys: Arc<[Key]>,
    bitrate: Option<u64>,
    /// Segments and parts so far.
    count: usize,
}

/// What was said of the segment whose URI is still to come.
#[derive(Default)]
struct Next {
    duration: Option<Duration>,
    title: String,
    range: Option<RawRange>,
    discontinuity: bool,
    program_date_time: Option<i64>,
    gap: bool,
    parts: Vec<Part>,
}

impl Reader {
    /// A URI without a duration is no segment: players pass over it, and so do we.
    fn segment(&mut self, uri: &str, line: &Line<'_>, scope: &mut Scope<'_>) -> Result<(), FragmentError> {
        let Some(duration) = self.next.duration else { return Ok(()) };
        let next = std::mem::take(&mut self.next);
        let url = scope.url(uri, line.at)?;
        let end_before =
            self.media.segments.last().filter(|last| last.url == url).and_then(|last| last.range);
        let default = end_before.map_or(0, |range| range.end());
        let range = next.range.map(|range| range.resolve(default, line.at)).transpose()?;
        self.media.segments.push(Segment {
            url,
            range,
            duration,
            title: next.title,
            map: self.map.clone(),
            discontinuity: next.discontinuity,
            program_date_time: next.program_date_time,
            gap: next.gap,
            keys: self.keys.clone(),
            bitrate: self.bitrate.filter(|_| range.is_none()),
            parts: next.parts,
        });
        self.one_more()
    }

    fn one_more(&mut self) -> Result<(), FragmentError> {
        self.count += 1;
        at_most(SEGMENTS_MAX, self.count, "segments and parts")
    }

    fn tag(
        &mut self,
        name: &str,
        value: &str,
        line: &Line<'_>,
        scope: &mut Scope<'_>,
    ) -> Result<(), FragmentError> {
        let number = || value.trim().parse::<u64>();
        match name {
            // The order is by frequency.
            "EXTINF" => {
                let (duration, title) = extinf(value).unzip();
                (self.next.duration, self.next.title) = (duration, title.unwrap_or_default().to_owned());
            }
            "EXT-X-BYTERANGE" => self.next.range = Some(byte_range(value, line.at)?),
            "EXT-X-PROGRAM-DATE-TIME" => self.next.program_date_time = millis_since_1970(value),
            "EXT-X-DISCONTINUITY" => self.next.discontinuity = true,
            "EXT-X-GAP" => self.next.gap = true,
            "EXT-X-BITRATE" => self.bitrate = number().ok().map(|kbits| kbits.saturating_mul(1000)),
            "EXT-X-TARGETDURATION" => self.media.target_duration = seconds(value).unwrap_or_default(),
            // Only the order rests on it, no name, so a bad one is no harm.
            "EXT-X-MEDIA-SEQUENCE" => self.media.media_sequence = number().unwrap_or(0),
            "EXT-X-DISCONTINUITY-SEQUENCE" => self.media.discontinuity_sequence = number().unwrap_or(0),
            "EXT-X-VERSION" => self.media.version = value.trim().parse().unwrap_or(1),
            "EXT-X-ENDLIST" => self.media.end_list = true,
            "EXT-X-I-FRAMES-ONLY" => self.media.i_frames_only = true,
            "EXT-X-PLAYLIST-TYPE" => match value.trim() {
                "VOD" => self.media.kind = Some(MediaKind::Vod),
                "EVENT" => self.media.kind = Some(MediaKind::Event),
                _ => {}
            },
            "EXT-X-DEFINE" => {
                scope.define(value, line.at)?;
            }
            "EXT-X-PART"
            | "EXT-X-MAP"
            | "EXT-X-KEY"
            | "EXT-X-PRELOAD-HINT"
            | "EXT-X-RENDITION-REPORT"
            | "EXT-X-SERVER-CONTROL"
            | "EXT-X-PART-INF"
            | "EXT-X-SKIP" => {
                return with_tag(value, line, scope, |tag, scope| self.attributes(name, tag, scope));
            }
            _ => {}
        }
        Ok(())
    }

    fn attributes(&mut self, name: &str, tag: &Tag<'_>, scope: &mut Scope<'_>) -> Result<(), FragmentError> {
        match name {
            "EXT-X-PART" => return self.part(tag, scope),
            "EXT-X-MAP" => {
                let url = tag.url("URI", scope)?;
                let range = tag.range(0)?;
                self.map = url.map(|url| Arc::new(Map { url, range }));
            }
            "EXT-X-KEY" => self.key(tag, scope),
            "EXT-X-PRELOAD-HINT" => {
                let Some(url) = tag.url("URI", scope)? else { return Ok(()) };
                let start = tag.number("BYTERANGE-START").unwrap_or(0);
                let map = tag.get("TYPE") == Some("MAP");
                let hint = PreloadHint { map, url, start, len: tag.number("BYTERANGE-LENGTH") };
                self.media.preload_hints.push(hint);
                return at_most(HINTS_MAX, self.media.preload_hints.len(), "preload hints");
            }
            "EXT-X-RENDITION-REPORT" => {
                let Some(url) = tag.url("URI", scope)? else { return Ok(()) };
                let (last_sequence, last_part) = (tag.number("LAST-MSN"), tag.number("LAST-PART"));
                self.media.rendition_reports.push(Report { url, last_sequence, last_part });
                return at_most(HINTS_MAX, self.media.rendition_reports.len(), "rendition reports");
            }
            "EXT-X-SERVER-CONTROL" => {
                self.media.server_control = Some(ServerControl {
                    can_block_reload: tag.yes("CAN-BLOCK-RELOAD"),
                    part_hold_back: tag.seconds("PART-HOLD-BACK"),
                    hold_back: tag.seconds("HOLD-BACK"),
                    can_skip_until: tag.seconds("CAN-SKIP-UNTIL"),
                });
            }
            "EXT-X-PART-INF" => self.media.part_target = tag.seconds("PART-TARGET"),
            _ => self.media.skipped = tag.number("SKIPPED-SEGMENTS").unwrap_or(0),
        }
        Ok(())
    }

    fn part(&mut self, tag: &Tag<'_>, scope: &mut Scope<'_>) -> Result<(), FragmentError> {
        let Some(url) = tag.url("URI", scope)? else { return Ok(()) };
        let end_before = self.next.parts.last().filter(|last| last.url == url).and_then(|last| last.range);
        let range = tag.range(end_before.map_or(0, |range| range.end()))?;
        let duration = tag.seconds("DURATION").unwrap_or_default();
        let (independent, gap) = (tag.yes("INDEPENDENT"), tag.yes("GAP"));
        self.next.parts.push(Part { url, range, duration, independent, gap });
        self.one_more()
    }

    /// A key replaces the one of the same key system; `NONE` ends all.
    fn key(&mut self, tag: &Tag<'_>, scope: &mut Scope<'_>) {
        let Some(key) = tag.key(scope) else {
            self.keys = Arc::default();
            return;
        };
        let mut keys: Vec<_> = self.keys.iter().filter(|old| old.format != key.format).cloned().collect();
        keys.truncate(KEYS_MAX - 1);
        keys.push(key);
        self.keys = keys.into();
    }
}
