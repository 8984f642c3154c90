//! Seam 1: how a resource is cut.
//!
//! A [`Fragmenter`] recognises a kind of resource and opens a [`Slicing`] on it. Both are pure: a slicing never fetches, it
//! says what it [needs](Slicing::need) and is [supplied](Slicing::supply). What it must promise is in one sentence: *two
//! nodes that never talked, that joined at different moments and were handed the bytes in different chunks, cut the same
//! segments with the same ids and lengths.*
//!
//! The smallest one, a whole resource as one segment:
//!
//! ```
//! use pcdn_core::fragment::*;
//! use pcdn_core::{id::RuleId, layout::{Layout, SegmentId}, resource::*, unit::Time};
//!
//! #[derive(Debug)]
//! struct Whole;
//! impl Fragmenter for Whole {
//!     fn name(&self) -> &'static str { "whole" }
//!     fn rule(&self) -> RuleId { RuleId::of("whole", 1, "") }
//!     fn fit(&self, _: &ResourceHint) -> Fit { Fit::Maybe }
//!     fn open(&self, resource: &Resource) -> Result<Box<dyn Slicing>, FragmentError> {
//!         let len = resource.head.as_ref().and_then(|h| h.len).ok_or(FragmentError::LengthUnknown)?;
//!         let cut = Segment::of_file(SegmentId(0), resource.url.clone(), 0..len, 16)?;
//!         Ok(Box::new(Cut1(Some(cut))))
//!     }
//! }
//! #[derive(Debug)]
//! struct Cut1(Option<Segment>);
//! impl Slicing for Cut1 {
//!     fn need(&self) -> Need { Need::Nothing }
//!     fn supply(&mut self, _: Time, _: Part) -> Result<(), FragmentError> { Ok(()) }
//!     fn cut(&mut self) -> Option<Cut> { self.0.take().map(Cut::Segment) }
//!     fn locate(&self, _: &Seek) -> Option<SegmentId> { Some(SegmentId(0)) }
//! }
//! ```

use std::fmt::Debug;
use std::ops::Range;
use std::time::Duration;

use bytes::Bytes;

use crate::error::{Blame, BoxError, Judged};
use crate::id::RuleId;
use crate::layout::{Layout, LayoutError, SegmentId};
use crate::range::ByteRange;
use crate::resource::{Resource, ResourceHead, ResourceHint, Url};
use crate::unit::Time;

/// Recognises a kind of resource and opens it.
#[cfg_attr(any(test, feature = "mock"), mockall::automock)]
pub trait Fragmenter: Send + Sync + Debug + 'static {
    /// `"file"`, `"hls"`, …: for people, for `inspect` and for `--as`.
    fn name(&self) -> &'static str;
    /// Name, version and parameters as one id; enters the swarm key.
    fn rule(&self) -> RuleId;
    /// Whether this resource is of its kind. The node takes the first `Sure`, else the first `Maybe`.
    fn fit(&self, hint: &ResourceHint) -> Fit;
    /// Opens the resource. Cheap: no bytes are read here.
    fn open(&self, resource: &Resource) -> Result<Box<dyn Slicing>, FragmentError>;
}

/// One open resource being cut. Contract: after each [`supply`](Self::supply), drain [`cut`](Self::cut) until `None`, then
/// ask [`need`](Self::need) again.
#[cfg_attr(any(test, feature = "mock"), mockall::automock)]
pub trait Slicing: Send + Debug {
    /// What it must be given next.
    fn need(&self) -> Need;
    /// Gives it what it needed. On an error the slicing is over; what was cut stays valid.
    fn supply(&mut self, now: Time, part: Part) -> Result<(), FragmentError>;
    /// The next cut, if one is ready.
    fn cut(&mut self) -> Option<Cut>;
    /// The segment at a position: the scrub bar, and the choice of a live start.
    fn locate(&self, seek: &Seek) -> Option<SegmentId>;
}

/// How sure a fragmenter is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fit {
    /// Not its kind.
    No,
    /// It could cut it, and somebody else may know better.
    Maybe,
    /// Its kind.
    Sure,
}

/// What a slicing must be given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Need {
    /// The response head of a URL.
    Head(Url),
    /// A whole document (a playlist), not before `at`.
    Document {
        /// Which.
        url: Url,
        /// Not earlier than this.
        at: Time,
    },
    /// Some bytes of a URL (an index inside a media file).
    Range {
        /// Which.
        url: Url,
        /// Which bytes of it; what lies beyond its end is left out.
        range: ByteRange,
    },
    /// The resource's bytes as they come.
    Stream(Url),
    /// Nothing more.
    Nothing,
}

/// What it is given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// The head asked for.
    Head(Url, ResourceHead),
    /// The document asked for.
    Document(Url, Bytes),
    /// The bytes asked for.
    Range(Url, ByteRange, Bytes),
    /// The next bytes of the stream.
    Bytes(Bytes),
    /// The stream ended.
    End,
}

/// What it cuts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cut {
    /// A segment is known.
    Segment(Segment),
    /// A playlist lists a segment. Its length is asked of the origin (or read in a manifest) once somebody wants it.
    Listed(Listing),
    /// A segment was cut out of the stream, so its bytes are here already.
    Sliced(Slice),
    /// The resource offers one of several renditions.
    Rendition(Rendition),
    /// A segment left the live window.
    Retired(SegmentId),
    /// No more will come.
    End,
}

/// A segment: where its bytes are and how long it is. [`Layout`] alone turns that into pieces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Its number.
    pub id: SegmentId,
    /// Where its bytes are.
    pub url: Url,
    /// Which bytes of that; `None` is all of them.
    pub range: Option<ByteRange>,
    /// Length and pieces.
    pub layout: Layout,
    /// Byte offset in the whole resource, where that has a meaning.
    pub offset: u64,
    /// Start in media time, for streams.
    pub start: Option<Duration>,
    /// Duration in media time, for streams.
    pub duration: Option<Duration>,
    /// An initialisation segment (headers every player needs).
    pub init: bool,
    /// Starts with a keyframe.
    pub key: bool,
    /// Timestamps or codecs break before it.
    pub discontinuity: bool,
}

impl Segment {
    /// A plain run of bytes of the resource at `url`, without media properties.
    ///
    /// # Errors
    /// If `bytes` cannot be laid out in pieces of `2^piece_log2` bytes.
    pub fn of_file(id: SegmentId, url: Url, bytes: Range<u64>, piece_log2: u8) -> Result<Self, LayoutError> {
        Ok(Self {
            id,
            url,
            range: ByteRange::new(bytes.start, bytes.end),
            layout: Layout::new(bytes.end.saturating_sub(bytes.start), piece_log2)?,
            offset: bytes.start,
            start: None,
            duration: None,
            init: false,
            key: false,
            discontinuity: false,
        })
    }
}

/// A segment as a playlist lists it: where it is, not yet how long it is in bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing {
    /// Its number. Not its place in the order: that is the order of listing.
    pub id: SegmentId,
    /// Of which rendition, as numbered by [`Cut::Rendition`]; 0 where there is but one.
    pub rendition: u32,
    /// Where its bytes are.
    pub url: Url,
    /// Which bytes of that; `None` is all of them.
    pub range: Option<ByteRange>,
    /// Start in media time.
    pub start: Option<Duration>,
    /// Duration in media time.
    pub duration: Option<Duration>,
    /// An initialisation segment (headers every player needs).
    pub init: bool,
    /// Timestamps or codecs break before it.
    pub discontinuity: bool,
}

impl Listing {
    /// The segment, its length being `len` bytes. `offset` is where it lies in the resource, as far as the node that cuts is
    /// concerned: the sum of the lengths of what it cut before.
    ///
    /// # Errors
    /// If `len` is more than a stream's segment may have.
    pub fn sized(&self, len: u64, offset: u64) -> Result<Segment, LayoutError> {
        Ok(Segment {
            id: self.id,
            url: self.url.clone(),
            range: self.range,
            layout: Layout::of_stream(len)?,
            offset,
            start: self.start,
            duration: self.duration,
            init: self.init,
            key: !self.init,
            discontinuity: self.discontinuity,
        })
    }
}

/// A segment cut out of a continuous stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slice {
    /// What it is. Its number follows from its bytes and its `setup`, so that two nodes never call different bytes alike.
    pub segment: Segment,
    /// Its bytes.
    pub bytes: Bytes,
    /// What a decoder needs before it (configuration records), in the form of the kind; mostly equal for all slices.
    pub setup: Bytes,
    /// How long after the beginning of what it is a part of it begins, for kinds that hand on parts of what is not whole yet.
    /// Players begin where this is zero.
    pub offset: Duration,
    /// The slice before it, if this node saw it and nothing was lost between.
    pub before: Option<SegmentId>,
}

/// One of several renditions of the same programme.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Rendition {
    /// Its number in this resource.
    pub index: u32,
    /// What the playlist calls it.
    pub name: String,
    /// Its own playlist, if it has one; else its segments are cut from this resource.
    pub url: Option<Url>,
    /// Peak bits per second.
    pub bandwidth: Option<u64>,
    /// Codecs, in the form of RFC 6381.
    pub codecs: Option<String>,
    /// Width and height in pixels.
    pub resolution: Option<(u32, u32)>,
}

/// A position a player may ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seek {
    /// A byte of the resource.
    Byte(u64),
    /// A moment of the media.
    Media(Duration),
    /// So many segments behind the live edge; 1 is the newest whole segment.
    Live {
        /// How many.
        behind: u32,
    },
}

/// Why a resource cannot be cut.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FragmentError {
    /// The resource has no known length and this kind needs one.
    #[error(
        "the origin does not tell the resource's length, so it cannot be cut; it is passed through without peers"
    )]
    LengthUnknown,
    /// It is a playlist: its segments are opened, not it.
    #[error("it is a playlist; play it through the gateway")]
    Playlist,
    /// It is a stream without end: it is followed, not opened.
    #[error("it is a live stream; play it through the gateway")]
    Stream,
    /// A length that cannot be laid out.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// The content is not what the kind promises.
    #[error("{kind}: {what} at byte {at}")]
    Malformed {
        /// Which kind of content.
        kind: &'static str,
        /// What is wrong.
        what: String,
        /// Where.
        at: u64,
    },
    /// A bound was met.
    #[error("{kind}: more than {limit} {what}")]
    TooMuch {
        /// Which kind of content.
        kind: &'static str,
        /// The bound.
        limit: u64,
        /// Of what.
        what: &'static str,
    },
    /// Of an implementation outside this framework.
    #[error("{by}: {source}")]
    Other {
        /// Who says so.
        by: &'static str,
        /// Its error.
        source: BoxError,
    },
}

impl Judged for FragmentError {
    fn blame(&self) -> Blame {
        Blame::Origin
    }
    fn transient(&self) -> bool {
        false
    }
}
