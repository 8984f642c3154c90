//! What a player is given: parts of slices, of any connections and neighbours, as one FLV stream.
//!
//! A part's times count from the first tag of its slice, so it can be put anywhere: a tag's time is where its slice lies plus its
//! own. [`Output`] lays parts end to end, keeps gaps of up to [`GAP_MAX`], repeats no configuration and lets no track's time
//! fall. Two viewers that are given the same parts get the same bytes but for the position of the first.

use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};

use super::setup::{Config, Configs, Kinds};
use super::tag::{self, Kind};

/// Longest gap kept in a player's timeline: most players wait out a gap of some seconds, and skip or stall at longer ones.
pub const GAP_MAX: Duration = Duration::from_secs(10);

/// A part to be given to a player.
#[derive(Clone, Copy, Debug)]
pub struct SliceView<'a> {
    /// Its tags, times counted from the first of its slice.
    pub bytes: &'a [u8],
    /// Its configuration, as tags.
    pub setup: &'a [u8],
    /// How long after its slice it begins.
    pub offset: Duration,
    /// Where it begins on a timeline it shares with the part given before; `None` if there is no such timeline, and it
    /// follows at once.
    pub start: Option<Duration>,
    /// How long it is. `None` if unknown: then up to its last tag.
    pub duration: Option<Duration>,
}

/// The stream of one player. Give [`head`](Self::head) first, then every [`push`](Self::push) in order.
#[derive(Debug)]
pub struct Output {
    kinds: Kinds,
    /// Configurations the player has.
    configs: Configs,
    /// Where the next slice begins in the player's time, in milliseconds. 64 bits; tags get the lower 32.
    next: i64,
    /// Where the slice given last ends on its own timeline.
    end: Option<Duration>,
    /// The last time of video and audio.
    video: i64,
    audio: i64,
}

impl Output {
    /// A stream with these kinds of media in its header. Ask [`Kinds::of`] the first slice: players may wait for a kind that
    /// was announced.
    pub fn new(kinds: Kinds) -> Self {
        Self::beginning_at(kinds, Duration::ZERO)
    }

    /// The same with times from `base` on, for an output that continues another.
    pub fn beginning_at(kinds: Kinds, base: Duration) -> Self {
        let next = millis(base);
        Self { kinds, configs: Configs::default(), next, end: None, video: next, audio: next }
    }

    /// The stream's header, without script data, and the configuration of its first slice.
    pub fn head(&mut self, first_setup: &[u8]) -> Bytes {
        let mut out = BytesMut::from(&tag::stream_header(self.kinds.audio, self.kinds.video)[..]);
        self.configure(&mut out, first_setup);
        out.freeze()
    }

    /// The next bytes: the slice's tags at their place, behind the configuration that changed. If the slice is damaged, as
    /// much of it as is whole.
    pub fn push(&mut self, slice: &SliceView<'_>) -> Bytes {
        self.next += self.gap(slice.start);
        // Where its slice begins.
        let base = self.next.saturating_sub(millis(slice.offset));
        let mut out = BytesMut::with_capacity(slice.setup.len() + slice.bytes.len());
        self.configure(&mut out, slice.setup);
        let mut last = millis(slice.offset);
        for tag in tag::tags(slice.bytes) {
            let field = i64::from(tag.timestamp as i32);
            last = last.max(field);
            if let Some(config) = Config::from_tag(&tag) {
                self.configs.set(config);
            }
            let at = self.rise(tag.kind, base.saturating_add(field));
            tag::write(&mut out, tag.kind, at, tag.body);
        }
        let end = slice.duration.map_or(last, |duration| millis(slice.offset.saturating_add(duration)));
        self.next = base.saturating_add(end);
        self.end = slice.start.zip(slice.duration).map(|(start, duration)| start.saturating_add(duration));
        out.freeze()
    }

    /// Where the next slice will begin in the player's time.
    pub fn position(&self) -> Duration {
        Duration::from_millis(u64::try_from(self.next).unwrap_or(0))
    }

    /// Milliseconds lost between the slice given before and one that begins at `start`.
    fn gap(&self, start: Option<Duration>) -> i64 {
        let lost = start.zip(self.end).map(|(start, end)| start.saturating_sub(end));
        millis(lost.unwrap_or(Duration::ZERO).min(GAP_MAX))
    }

    fn configure(&mut self, out: &mut impl BufMut, setup: &[u8]) {
        for config in Configs::from_tags(setup).iter() {
            if self.configs.set(config.clone()) {
                let at = self.rise(config.track.kind, self.next);
                tag::write(out, config.track.kind, at, &config.body);
            }
        }
    }

    /// The time field for `at`, or for the last time of this kind if that is later.
    fn rise(&mut self, kind: Kind, at: i64) -> u32 {
        let last = match kind {
            Kind::Video => &mut self.video,
            Kind::Audio => &mut self.audio,
        };
        *last = at.max(*last);
        // FLV's 32 bits wrap; players unwrap them as we do.
        *last as u32
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX).min(1 << 53)
}
