//! Tags in, slices out, part by part: the canonical stream and its boundaries.
//!
//! What is kept of a connection is its *canonical stream*: coded audio and video tags in order of arrival. Script tags, end
//! of sequence, commands, unknown and empty tags are dropped. Configuration goes to the setup of the slices it is needed
//! by; it stays in the stream only where it changes between coded tags of its track inside one slice. So the bytes of a
//! slice and its setup follow from the coded tags inside it and what configures them, not from when a node joined.

use std::collections::VecDeque;

use bytes::Bytes;

use super::class::{Class, Track, classify};
use super::clock::Clock;
use super::mark::{Content, Rule};
use super::setup::{CONFIG_BYTES_MAX, Config, Configs};
use super::tag::{self, Kind, OVERHEAD, Tag};
use super::{AUDIO_MIN_MS, KEYFRAMES_MAX_MS, MIN_MS, PART_MS, SLICE_BYTES_MAX, SLICE_MAX_MS};

/// A stream that showed no picture for this long starts as sound alone. If pictures come after all, slicing starts afresh.
pub(super) const AUDIO_ONLY_MS: i64 = 3_000;
/// The same where nothing announces pictures, neither the header nor a configuration. From the server a player would have its sound at
/// once, but some write the header before they know.
pub(super) const UNANNOUNCED_MS: i64 = 500;
/// How long the last picture before a break is shown: 25 a second are usual, and times must go on behind it.
const LAST_MS: i64 = 40;
/// Room made for a part before it is filled, at most; it follows the length of the one before.
const ROOM_MAX: usize = 8 << 20;

/// A part of a slice, itself whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finished {
    /// Its tags, times counted from the first of its slice.
    pub bytes: Bytes,
    /// The configuration its tags need, as tags at time 0.
    pub setup: Bytes,
    /// When it begins, in milliseconds since the first slice of this connection.
    pub start_ms: u64,
    /// How long it is: the next part begins then.
    pub duration_ms: u64,
    /// How long after its slice it begins; with 0 a slice begins.
    pub offset_ms: u64,
    /// Cut before the first boundary that everyone shares: play it, do not offer it.
    pub provisional: bool,
    /// It begins a slice, with a keyframe or without pictures.
    pub key: bool,
}

/// Cuts a stream of tags. Feed [`tag`](Self::tag), then drain [`next`](Self::next).
#[derive(Debug, Default)]
pub struct Slicer {
    clock: Clock,
    configs: Configs,
    run: Run,
    /// The time of the first slice.
    origin: Option<i64>,
    finished: VecDeque<Finished>,
    /// Length of the part before.
    room: usize,
    /// The connection's header announces no pictures.
    sound_only: bool,
}

/// What was seen since the last break.
#[derive(Debug, Default)]
struct Run {
    rule: Rule,
    open: Option<Open>,
    /// A boundary was met: what follows is not provisional.
    settled: bool,
    first: Option<i64>,
    /// The last keyframe; before the first, the first picture.
    keyframe: Option<i64>,
    picture: Option<i64>,
}

/// The slice that grows.
#[derive(Debug)]
struct Open {
    start: i64,
    key: bool,
    /// Tracks with coded tags in it.
    tracks: Vec<Track>,
    /// Length of its parts that are whole.
    len: usize,
    part: Part,
}

/// The part of it that grows.
#[derive(Debug)]
struct Part {
    bytes: Vec<u8>,
    start: i64,
    /// Tracks with coded tags in it, and their configuration.
    tracks: Vec<Track>,
    setup: Configs,
}

impl Slicer {
    /// Takes the next tag of the connection.
    pub fn tag(&mut self, tag: &Tag) {
        match classify(tag.kind, &tag.body) {
            Class::Coded { track, key } => self.coded(tag, track, key),
            Class::Config { track, slot } => self.config(track, slot, &tag.body),
            Class::End => {
                self.break_off(self.clock.now());
                self.clock.interrupt();
            }
            Class::Other => {}
        }
    }

    /// What the connection's header says: whether there are pictures. By default it says so.
    pub fn announce(&mut self, pictures: bool) {
        self.sound_only = !pictures;
    }

    /// The next whole part.
    #[allow(clippy::should_implement_trait)] // not an iterator: more may come after `None`
    pub fn next(&mut self) -> Option<Finished> {
        self.finished.pop_front()
    }

    fn config(&mut self, track: Track, slot: u8, body: &Bytes) {
        if body.len() > CONFIG_BYTES_MAX {
            return;
        }
        let changed = self.configs.set(Config { track, slot, body: Bytes::copy_from_slice(body) });
        let now = self.clock.now();
        if let Some(open) = self.run.open.as_mut().filter(|open| changed && open.tracks.contains(&track)) {
            open.put(track.kind, now, body);
        }
    }

    fn coded(&mut self, tag: &Tag, track: Track, key: bool) {
        let before = self.clock.now();
        let tick = self.clock.tick(tag.kind, tag.timestamp);
        let at = tick.at;
        if tick.broken {
            self.break_off(before);
        }
        let first = *self.run.first.get_or_insert(at);
        if tag.kind == Kind::Video && self.run.picture.is_none() && at - first < KEYFRAMES_MAX_MS {
            self.run = Run { first: Some(first), ..Run::default() };
        }
        let sound_alone = self.run.picture.is_none_or(|picture| at - picture >= KEYFRAMES_MAX_MS);
        let key = key && (tag.kind == Kind::Video || sound_alone);
        let marks = self.is_mark(tag.kind, track, key, at);
        if marks && self.begins_slice(tag, track, at) {
            self.close(at);
            self.run.settled = true;
        }
        self.split(at, tag.body.len(), marks, key);
        self.part(tag.kind, at);
        if self.run.open.is_none() && (marks || self.run.picture.is_none()) {
            self.open(at, key);
        }
        if let Some(open) = &mut self.run.open {
            open.coded(tag, track, at, &self.configs);
        }
    }

    /// The stream breaks behind what came at `last`. That is everybody's end of the part, who reads the same stream.
    fn break_off(&mut self, last: i64) {
        let sound_waits = self.run.picture.is_none()
            && self.run.first.is_none_or(|first| last - first < self.audio_only_ms());
        if !sound_waits {
            self.close(last + LAST_MS);
        }
        self.run = Run::default();
    }

    /// How long sound waits for pictures.
    fn audio_only_ms(&self) -> i64 {
        let configured = self.configs.iter().any(|config| config.track.kind == Kind::Video);
        if self.sound_only && !configured { UNANNOUNCED_MS } else { AUDIO_ONLY_MS }
    }

    /// Whether a slice may begin with this tag: a keyframe; without any for long, every picture; without pictures, sound.
    fn is_mark(&mut self, kind: Kind, track: Track, key: bool, at: i64) -> bool {
        let waits = self.audio_only_ms();
        let run = &mut self.run;
        match kind {
            Kind::Audio => match run.picture {
                Some(_) => key,
                None => run.first.is_some_and(|first| at - first >= waits),
            },
            Kind::Video => {
                run.picture = Some(at);
                // Further tracks have their keyframes beside the first's.
                if ![Track::MAIN, Track::MANY].contains(&track.number) {
                    return false;
                }
                let since = *run.keyframe.get_or_insert(at);
                if key {
                    run.keyframe = Some(at);
                }
                key || at - since >= KEYFRAMES_MAX_MS
            }
        }
    }

    fn begins_slice(&mut self, tag: &Tag, track: Track, at: i64) -> bool {
        let least = if tag.kind == Kind::Video { MIN_MS } else { AUDIO_MIN_MS };
        let content = Content { config: self.configs.codec(track), body: tag.body.clone() };
        self.run.rule.mark(at, least, content).is_some()
    }

    /// Boundaries that are not the rule's: of slices too long, and of provisional ones.
    fn split(&mut self, at: i64, body_len: usize, marks: bool, key: bool) {
        let Some(open) = &self.run.open else { return };
        let age = at - open.start;
        let len = open.len + open.part.bytes.len();
        let full = len + OVERHEAD + body_len > SLICE_BYTES_MAX || age >= SLICE_MAX_MS;
        // As all others cut if their slice began with this one, more often than not.
        let early = !self.run.settled && marks && age >= MIN_MS;
        if full || early {
            self.close(at);
            self.open(at, key);
        }
    }

    /// Ends the part that grows if it is long enough: before a picture, whose times rise; where none come, before any tag.
    fn part(&mut self, kind: Kind, at: i64) {
        let Some(open) = &self.run.open else { return };
        let first = self.run.first.unwrap_or(at);
        if self.run.picture.is_none() && at - first < self.audio_only_ms() {
            // Pictures may come, and then what came before them is dropped.
            return;
        }
        let pictures = self.run.picture.is_some_and(|picture| at - picture < PART_MS);
        if at - open.part.start >= PART_MS && (kind == Kind::Video || !pictures) {
            self.close_part(at);
        }
    }

    fn open(&mut self, at: i64, key: bool) {
        self.origin.get_or_insert(at);
        let part = Part::new(at, self.room);
        self.run.open = Some(Open { start: at, key, tracks: Vec::new(), len: 0, part });
    }

    fn close(&mut self, at: i64) {
        self.close_part(at);
        self.run.open = None;
    }

    fn close_part(&mut self, at: i64) {
        let Some(open) = &mut self.run.open else { return };
        let len = open.part.bytes.len();
        self.room = (len + len / 8).min(ROOM_MAX);
        open.len += len;
        let part = std::mem::replace(&mut open.part, Part::new(at, self.room));
        let origin = self.origin.unwrap_or(open.start);
        let span = |from: i64, to: i64| u64::try_from(to - from).unwrap_or(0);
        self.finished.push_back(Finished {
            bytes: part.bytes.into(),
            setup: part.setup.to_tags(),
            start_ms: span(origin, part.start),
            duration_ms: span(part.start, at),
            offset_ms: span(open.start, part.start),
            provisional: !self.run.settled,
            key: open.key && part.start == open.start,
        });
    }
}

impl Part {
    fn new(start: i64, room: usize) -> Self {
        Self { bytes: Vec::with_capacity(room), start, tracks: Vec::new(), setup: Configs::default() }
    }
}

impl Open {
    fn coded(&mut self, tag: &Tag, track: Track, at: i64, configs: &Configs) {
        if !self.tracks.contains(&track) {
            self.tracks.push(track);
        }
        if !self.part.tracks.contains(&track) {
            self.part.tracks.push(track);
            for config in configs.of(track) {
                self.part.setup.set(config.clone());
            }
        }
        self.put(tag.kind, at, &tag.body);
    }

    fn put(&mut self, kind: Kind, at: i64, body: &[u8]) {
        // A slice lasts a minute at most, and a step back a second: the difference fits, as the signed number it is.
        tag::write(&mut self.part.bytes, kind, (at - self.start) as u32, body);
    }
}
