//! FLV over HTTP: live streams at content-derived boundaries, files on the grid of [`File`].
//!
//! A resource whose length is told and whose bytes can be had by range is a file. Anything else is live: an endless
//! response that every viewer sees from another moment on, mostly with times that begin at 0 for each. Its boundaries and
//! names must follow from the coded pictures and sounds alone:
//!
//! * Slices begin at keyframes. Which ones, is decided by their content: [`MIN_MS`] apart at least, and at every keyframe if
//!   they are farther apart than that; if not, twice that and one keyframe distance apart at most. A node that joins agrees with
//!   all others from its first boundary on: from its second keyframe if keyframes are [`MIN_MS`] apart, else after 2.6 s in the
//!   mean.
//! * Streams without keyframes for [`KEYFRAMES_MAX_MS`] (intra refresh) are cut at any picture by the same rule, streams
//!   without pictures at any sound, [`AUDIO_MIN_MS`] apart.
//! * A slice is a run of whole FLV tags with times counted from its first, stream number 0 and true `PreviousTagSize`.
//! * It is handed on in parts of about [`PART_MS`], for a viewer who plays at the live edge cannot wait until it is whole. A part
//!   is what is told, proven and fetched: a [`Slice`](pcdn_core::fragment::Slice) that says how long after the beginning of its
//!   slice it begins. Its setup is the configuration its tags need, as tags at time 0; its number is [`id_of`] these and its
//!   bytes. The parts' bytes together are the slice's: [`put_together`].
//! * A break (a step in time, an end of sequence) drops the slice that was open and starts the rule afresh.
//!
//! **Provisional slices.** What comes before the first boundary is cut too, at keyframes [`MIN_MS`] apart, so that a viewer can
//! start at once. Such a slice is marked by [`Segment::discontinuity`](pcdn_core::fragment::Segment::discontinuity) and ask
//! [`provisional`]; nothing else of this kind sets that flag. It has no slice before it and none names it as the one before.
//! Its number follows from its content as any other's, so offering it harms nobody and mostly helps nobody.
//!
//! [`join`] turns slices, of whatever connections, into the one stream a player is given; [`order`] finds which comes next
//! from what several sources tell.

pub mod class;
mod clock;
pub mod join;
mod live;
mod mark;
pub mod order;
pub mod seam;
mod setup;
pub mod slicer;
pub mod tag;

use pcdn_core::fragment::{Cut, Fit, FragmentError, Fragmenter, Need, Part, Seek, Slicing};
use pcdn_core::id::RuleId;
use pcdn_core::layout::SegmentId;
use pcdn_core::resource::{Resource, ResourceHead, ResourceHint};
use pcdn_core::unit::Time;

use crate::file::File;
use crate::probe::{self, Kind};

pub use live::{Gather, id_of, provisional, put_together};
pub use setup::Kinds;

/// Least duration of a slice that begins with a picture. Half the latency a viewer of live television notices, and at
/// 2 Mbit/s still 250 kB, 15 pieces to spread over neighbours.
pub const MIN_MS: i64 = 1_000;
/// Least duration of a slice of sound alone: 64 kB at 128 kbit/s.
pub const AUDIO_MIN_MS: i64 = 4_000;
/// Without a keyframe for this long, slices begin with any picture; without a picture, with any sound. No encoder's usual
/// keyframe distance (up to 10 s) reaches it.
pub const KEYFRAMES_MAX_MS: i64 = 20_000;
/// Longest slice in time. Only what has no marks for so long, and what repeats exactly before a joiner's first boundary, reaches it.
pub const SLICE_MAX_MS: i64 = 60_000;
/// Longest slice in bytes: 13 s at 20 Mbit/s, two of the longest tags.
pub const SLICE_BYTES_MAX: usize = 32 << 20;
/// A part of a slice ends before the first picture so long after it began: a viewer of television does not notice it, and at
/// 2 Mbit/s it is six pieces.
pub const PART_MS: i64 = 400;
/// log2 of the length of a live slice's pieces: 16 KiB are 131 ms of a 1 Mbit/s uplink.
pub const PIECE_LOG2: u8 = 14;

/// Changes whenever equal parameters would cut differently.
const VERSION: u32 = 3;
const NAME: &str = "flv";

/// Cuts FLV.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flv {
    vod: File,
}

impl Flv {
    /// With files cut as `vod` does. Live streams have no parameters: viewers that differ in one would never meet.
    pub fn with(vod: File) -> Self {
        Self { vod }
    }

    fn slicing(&self, resource: &Resource, head: &ResourceHead) -> Result<Box<dyn Slicing>, FragmentError> {
        if head.len.is_some() && head.ranges {
            let resource = Resource { head: Some(head.clone()), ..resource.clone() };
            return self.vod.open(&resource);
        }
        Ok(Box::new(live::Live::new(resource.url.clone())))
    }
}

impl Fragmenter for Flv {
    fn name(&self) -> &'static str {
        NAME
    }

    /// One rule for both kinds: a swarm is of one resource, and that is live or not for all.
    fn rule(&self) -> RuleId {
        let (min, audio, keyframes) = (MIN_MS, AUDIO_MIN_MS, KEYFRAMES_MAX_MS);
        let live = format!("live={min}ms,{audio}ms,{keyframes}ms,{PART_MS}ms;piece={PIECE_LOG2}");
        RuleId::of(NAME, VERSION, &format!("{live};vod={}", self.vod.rule()))
    }

    fn fit(&self, hint: &ResourceHint) -> Fit {
        match probe::kind(hint) {
            Kind::Flv => Fit::Sure,
            _ => Fit::No,
        }
    }

    fn open(&self, resource: &Resource) -> Result<Box<dyn Slicing>, FragmentError> {
        match &resource.head {
            Some(head) => self.slicing(resource, head),
            None => Ok(Box::new(Undecided { flv: *self, resource: resource.clone(), decided: None })),
        }
    }
}

/// A resource whose head must tell first whether it is live.
#[derive(Debug)]
struct Undecided {
    flv: Flv,
    resource: Resource,
    decided: Option<Box<dyn Slicing>>,
}

impl Slicing for Undecided {
    fn need(&self) -> Need {
        match &self.decided {
            Some(slicing) => slicing.need(),
            None => Need::Head(self.resource.url.clone()),
        }
    }

    fn supply(&mut self, now: Time, part: Part) -> Result<(), FragmentError> {
        match (&mut self.decided, part) {
            (Some(slicing), part) => slicing.supply(now, part),
            (None, Part::Head(_, head)) => {
                self.decided = Some(self.flv.slicing(&self.resource, &head)?);
                Ok(())
            }
            (None, _) => Ok(()),
        }
    }

    fn cut(&mut self) -> Option<Cut> {
        self.decided.as_mut()?.cut()
    }

    fn locate(&self, seek: &Seek) -> Option<SegmentId> {
        self.decided.as_ref()?.locate(seek)
    }
}

#[cfg(test)]
mod tests;
