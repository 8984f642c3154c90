//! DASH: manifests (MPD, ISO/IEC 23009-1) and the segments they list.
//!
//! A [`Dash`] slicing is given the manifest and lists its segments: one [`Rendition`](pcdn_core::fragment::Rendition) per
//! representation id, one [`Listing`](pcdn_core::fragment::Listing) per segment. Nothing but the manifest's own URLs names a
//! segment ([`name_of`]), so two viewers with other hosts, tokens or join times mean the same bytes by the same number. The
//! three ways to address segments are read (template, list, index in the file), with their inheritance; what only a player
//! can know (the choice of a representation, low-latency parts, remote periods) is left to it: any segment a player asks for
//! has a name whether it was listed or not.
//!
//! | part | subject |
//! |---|---|
//! | [`Mpd`], [`mpd`] | the model, and [`Mpd::parse`] |
//! | [`name_of`], [`Names`] | what segments are called |
//! | [`Dash`], [`WallClock`] | the fragmenter |
//! | [`rewrite()`] | the manifest a gateway hands to a player |
//!
//! ```
//! use pcdn_core::fragment::*;
//! use pcdn_core::{Bytes, id::Rid, resource::Resource, unit::Time};
//! use pcdn_media::dash::{Dash, name_of};
//!
//! let url: pcdn_core::resource::Url = "https://cdn.test/film/all.mpd".parse()?;
//! let text = r#"<MPD mediaPresentationDuration="PT8S"><Period><AdaptationSet>
//!     <SegmentTemplate duration="4" media="$RepresentationID$-$Number$.m4s"/>
//!     <Representation id="v1"/>
//! </AdaptationSet></Period></MPD>"#;
//! let mut film = Dash::default().open(&Resource { url: url.clone(), rid: Rid([0; 32]), head: None })?;
//! film.supply(Time::ZERO, Part::Document(url, Bytes::from(text)))?;
//! let cuts: Vec<Cut> = std::iter::from_fn(|| film.cut()).collect();
//! let Cut::Listed(second) = &cuts[2] else { panic!("a rendition, two segments, the end") };
//! assert_eq!(second.url.as_str(), "https://cdn.test/film/v1-2.m4s");
//! let mirror = "http://mirror.test/moved/all.mpd".parse()?;
//! assert_eq!(second.id, name_of(&"http://mirror.test/moved/v1-2.m4s?token=x".parse()?, &mirror, None));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod mpd;

mod index;
mod moments;
mod names;
mod parse;
mod rewrite;
mod slicing;
mod tag;
mod template;
mod track;
mod value;
mod walk;
mod xml;

use pcdn_core::fragment::{Fit, FragmentError, Fragmenter, Slicing};
use pcdn_core::id::RuleId;
use pcdn_core::resource::{Resource, ResourceHint};
use pcdn_core::unit::Time;

use crate::probe::{self, Kind};

pub use index::{INDEX_BYTES_MAX, INDEX_DEPTH_MAX, INDICES_MAX, PROBE_BYTES};
pub use moments::WINDOW_MAX;
pub use mpd::Mpd;
pub use names::{KEPT_MAX, Names, name_of};
pub use rewrite::{Remotes, RewriteOptions, remotes, rewrite, rewrite_remote};
pub use template::WIDTH_MAX;
pub use xml::{DEPTH_MAX, DOCUMENT_BYTES_MAX, VALUE_BYTES_MAX};

/// log2 of the length of a piece: 16 KiB, 131 ms of a 1 Mbit/s uplink, so that even a short live segment has several.
pub const PIECE_LOG2: u8 = 14;
/// Periods of a manifest at most: an advertisement every 90 s for a day are 960.
pub const PERIODS_MAX: usize = 1_000;
/// Adaptation sets and representations of a manifest at most, over all periods: ten for each of the most periods.
pub const REPRESENTATIONS_MAX: usize = 10_000;
/// Segments of a manifest at most, over all representations: 24 hours of 2 s segments in eleven of them. Also bounds the
/// lines of timelines and lists.
pub const ENTRIES_MAX: usize = 500_000;

/// Changes whenever equal parameters would cut or name differently.
const VERSION: u32 = 1;
const KIND: &str = "dash";

/// Cuts DASH presentations by their manifests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dash {
    clock: Option<WallClock>,
}

impl Dash {
    /// With a clock: some live manifests say only how long segments are and when the first began, so that what exists now
    /// follows from the time of day alone. Without one such manifests list nothing and each segment is named when a player
    /// asks for it. All other manifests say by themselves what exists. The clock has no part in names or in the rule.
    pub fn with_clock(clock: WallClock) -> Self {
        Self { clock: Some(clock) }
    }
}

/// What time it was at a moment of the node's own clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WallClock {
    /// The moment.
    pub at: Time,
    /// The time of day then, in milliseconds since 1970 (UTC).
    pub unix_ms: i64,
}

impl WallClock {
    /// The time of day at `now`, in milliseconds since 1970.
    pub fn unix_ms(&self, now: Time) -> i64 {
        let millis = |span: std::time::Duration| i64::try_from(span.as_millis()).unwrap_or(i64::MAX);
        self.unix_ms.saturating_add(millis(now.since(self.at))).saturating_sub(millis(self.at.since(now)))
    }
}

impl Fragmenter for Dash {
    fn name(&self) -> &'static str {
        KIND
    }

    fn rule(&self) -> RuleId {
        RuleId::of(KIND, VERSION, &format!("piece={PIECE_LOG2}"))
    }

    fn fit(&self, hint: &ResourceHint) -> Fit {
        if probe::kind(hint) == Kind::Dash { Fit::Sure } else { Fit::No }
    }

    fn open(&self, resource: &Resource) -> Result<Box<dyn Slicing>, FragmentError> {
        Ok(Box::new(slicing::DashSlicing::new(resource.url.clone(), self.clock)))
    }
}

fn malformed(what: impl ToString, at: usize) -> FragmentError {
    FragmentError::Malformed { kind: KIND, what: what.to_string(), at: at as u64 }
}

fn too_much(limit: usize, what: &'static str) -> FragmentError {
    FragmentError::TooMuch { kind: KIND, limit: limit as u64, what }
}

#[cfg(test)]
mod tests;
