//! What a document lists: a slicing driven by whoever can read what it needs.

use std::sync::Arc;

use pcdn_core::fragment::{Cut, FragmentError, Fragmenter, Listing, Need, Part, Rendition, Segment, Slicing};
use pcdn_core::id::RuleId;
use pcdn_core::range::ByteRange;
use pcdn_core::resource::{Resource, ResourceHint, Url};
use pcdn_core::unit::Time;
use pcdn_media::dash::WallClock;
use pcdn_media::probe::{self, Kind};

use super::PublishError;

/// Indexes inside media files that one document may lead to.
pub(super) const INDEXES_MAX: usize = 256;

/// A document being listed: give it the document, and then what [`need`](Self::need) says.
#[derive(Debug)]
pub(super) struct Outline {
    slicing: Box<dyn Slicing>,
    pub(super) renditions: Vec<Rendition>,
    /// What was listed by the last [`supply`](Self::supply) or since the last [`take`](Self::take).
    listings: Vec<Listing>,
    pub(super) ended: bool,
}

impl Outline {
    pub(super) fn open(fragmenter: &dyn Fragmenter, resource: &Resource) -> Result<Self, FragmentError> {
        let slicing = fragmenter.open(resource)?;
        Ok(Self { slicing, renditions: Vec::new(), listings: Vec::new(), ended: false })
    }

    /// Supplies what it needs; gives the part of a file it needs before it can go on.
    pub(super) fn supply(
        &mut self,
        now: Time,
        part: Part,
    ) -> Result<Option<(Url, ByteRange)>, FragmentError> {
        self.slicing.supply(now, part)?;
        while let Some(cut) = self.slicing.cut() {
            match cut {
                Cut::Rendition(rendition) => self.renditions.push(rendition),
                Cut::Listed(listing) => self.listings.push(listing),
                Cut::End => self.ended = true,
                // What leaves is no news here; the others are of kinds that are no documents.
                Cut::Retired(_) | Cut::Segment(_) | Cut::Sliced(_) => {}
            }
        }
        Ok(match self.slicing.need() {
            Need::Range { url, range } => Some((url, range)),
            _ => None,
        })
    }

    /// What was listed since it was taken last.
    pub(super) fn take(&mut self) -> Vec<Listing> {
        std::mem::take(&mut self.listings)
    }

    /// Where the document is wanted from again, and when; `None` after the end.
    pub(super) fn reload(&self) -> Option<(Url, Time)> {
        match self.slicing.need() {
            Need::Document { url, at } => Some((url, at)),
            _ => None,
        }
    }
}

/// Who cuts it: the first of the surest, as at a node.
pub(super) fn surest(kinds: &[Arc<dyn Fragmenter>], hint: &ResourceHint) -> Arc<dyn Fragmenter> {
    let best = kinds.iter().rev().max_by_key(|kind| kind.fit(hint));
    best.cloned().unwrap_or_else(|| Arc::new(pcdn_media::File::default()))
}

/// Whether a content that begins with `first_bytes` is a playlist or manifest: by its words, not by its name.
pub fn is_document(url: &Url, first_bytes: &[u8]) -> bool {
    let hint = ResourceHint { url: url.clone(), content_type: None, first_bytes: first_bytes.to_vec() };
    !first_bytes.is_empty() && matches!(probe::kind(&hint), Kind::Hls | Kind::Dash)
}

/// Every segment of a resource whose head tells all.
pub(super) fn cut_all<F: Fragmenter + ?Sized>(
    fragmenter: &F,
    resource: &Resource,
) -> Result<Vec<Segment>, PublishError> {
    let mut slicing = fragmenter.open(resource)?;
    let mut segments = Vec::new();
    while let Some(cut) = slicing.cut() {
        match cut {
            Cut::Segment(segment) => segments.push(segment),
            Cut::Listed(_) | Cut::Sliced(_) | Cut::Rendition(_) | Cut::Retired(_) => {}
            Cut::End => return Ok(segments),
        }
    }
    match slicing.need() {
        Need::Nothing => Ok(segments),
        _ => Err(PublishError::NeedsMore(fragmenter.name())),
    }
}

/// What viewers who know the head cut: the rule, and every segment.
pub(crate) fn cut_as_viewers_do(
    kinds: &[Arc<dyn Fragmenter>],
    resource: &Resource,
) -> Result<(RuleId, Vec<Segment>), FragmentError> {
    let content_type = resource.head.as_ref().and_then(|head| head.content_type.clone());
    let hint = ResourceHint { url: resource.url.clone(), content_type, first_bytes: Vec::new() };
    let fragmenter = surest(kinds, &hint);
    match cut_all(fragmenter.as_ref(), resource) {
        Ok(segments) => Ok((fragmenter.rule(), segments)),
        Err(PublishError::Fragment(error)) => Err(error),
        // It wants its own document: a playlist, whose segments are contents of their own.
        Err(_) => Err(FragmentError::Playlist),
    }
}

/// A clock that says `unix_ms` at [`Time::ZERO`].
pub(super) fn clock_at(unix_ms: u64) -> WallClock {
    WallClock { at: Time::ZERO, unix_ms: i64::try_from(unix_ms).unwrap_or(i64::MAX) }
}
