//! One rendition being watched: its swarm, and where in it each segment lies.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use dashmap::DashMap;
use pcdn_core::fragment::{FragmentError, Listing};
use pcdn_core::id::Digest;
use pcdn_core::layout::SegmentId;
use pcdn_core::resource::ResourceHead;
use pcdn_core::swarm::Expected;
use pcdn_core::unit::Time;
use pcdn_core::verify::PieceList;
use tokio::sync::OnceCell;

use super::index::Place;
use super::lock;
use super::pace::{GONE, Pace};
use crate::node::driver::ToSwarm;
use crate::node::freshness::Confirmed;
use crate::node::shelf::Proof;
use crate::node::{Asset, OpenError};

/// Requests remembered, whose segments may still be under way to the player.
const ASKED_MAX: usize = 6;

/// The segments a swarm has been told of, by number; shared with its driver, which takes out what the engine drops.
pub(crate) type Cuts = DashMap<SegmentId, Arc<OnceCell<Cutting>>>;

/// Where a segment lies in its swarm, and what is known of the resource at its URL.
#[derive(Clone, Debug)]
pub(crate) struct Cutting {
    pub(crate) at: Range<u64>,
    pub(crate) told: Told,
    /// Held by all who use it.
    uses: Arc<Uses>,
}

#[derive(Debug, Default)]
struct Uses {
    /// A player was given it.
    given: AtomicBool,
}

impl Cutting {
    /// It is given to a player; true the first time.
    pub(super) fn give(&self) -> bool {
        !self.uses.given.swap(true, Ordering::Relaxed)
    }

    /// Whether others than the track itself have it: players whose body is under way.
    fn is_read(&self) -> bool {
        Arc::strong_count(&self.uses) > 1
    }
}

/// Whether a cut is the one that lies at `offset` in its swarm.
pub(crate) fn is_at(cut: &OnceCell<Cutting>, offset: u64) -> bool {
    cut.get().is_some_and(|cutting| cutting.at.start == offset)
}

/// What is known of the resource at a segment's URL.
#[derive(Clone, Debug)]
pub(crate) enum Told {
    /// What the origin said of it.
    Head(Arc<Confirmed>),
    /// What the publisher signed; the origin was not asked.
    Signed {
        head: Arc<ResourceHead>,
        root: Digest,
        /// What each piece must be, if that was signed, too.
        list: Option<Arc<PieceList>>,
    },
}

impl Told {
    pub(crate) fn head(&self) -> &ResourceHead {
        match self {
            Self::Head(confirmed) => confirmed.head(),
            Self::Signed { head, .. } => head,
        }
    }

    /// Its standing at the origin, if that was asked.
    pub(crate) fn confirmed(&self) -> Option<&Arc<Confirmed>> {
        match self {
            Self::Head(confirmed) => Some(confirmed),
            Self::Signed { .. } => None,
        }
    }

    /// What says of which generation a kept piece is.
    pub(crate) fn proof(&self) -> Proof<'_> {
        match self {
            Self::Head(confirmed) if confirmed.head().has_version() => Proof::Version(confirmed.head()),
            Self::Signed { list: Some(list), .. } => Proof::Signed(list),
            Self::Head(_) | Self::Signed { .. } => Proof::Nothing,
        }
    }
}

/// A segment's length, and what is known of the resource at its URL.
pub(crate) type Length = (u64, Told);

/// A rendition's swarm.
#[derive(Debug)]
pub(crate) struct Track {
    pub(crate) asset: Asset,
    pub(crate) cuts: Arc<Cuts>,
    /// Where the next segment is laid: one after another, in the order in which they are cut.
    end: tokio::sync::Mutex<u64>,
    play: Mutex<Play>,
    /// Segments being cut before a player asks for them.
    ahead: Mutex<BTreeSet<SegmentId>>,
}

/// What its player asked for lately.
#[derive(Debug, Default)]
struct Play {
    pace: Pace,
    /// When it asked last.
    last: Time,
    asked: Vec<(Place, Expected)>,
}

impl Track {
    pub(crate) fn new(asset: Asset, cuts: Arc<Cuts>) -> Self {
        Self {
            asset,
            cuts,
            end: tokio::sync::Mutex::default(),
            play: Mutex::default(),
            ahead: Mutex::default(),
        }
    }

    /// Tells the swarm of a segment whose length `size` finds out; once, however many ask.
    pub(crate) async fn cut<F>(&self, listing: &Listing, size: F) -> Result<Cutting, OpenError>
    where
        F: Future<Output = Result<Length, OpenError>>,
    {
        let cell = self.cuts.entry(listing.id).or_default().clone();
        let cutting = cell.get_or_try_init(|| async {
            let (len, told) = size.await?;
            // Segments are told in the order of where they lie.
            let mut end = self.end.lock().await;
            let segment = listing.sized(len, *end).map_err(FragmentError::from)?;
            let at = *end..*end + len;
            self.asset.tell(ToSwarm::Cut(segment, told.clone())).await?;
            *end = at.end;
            Ok(Cutting { at, told, uses: Arc::default() })
        });
        cutting.await.cloned()
    }

    /// A segment is about to be cut ahead; false if it is already.
    pub(crate) fn begin_ahead(&self, id: SegmentId) -> bool {
        lock(&self.ahead).insert(id)
    }

    /// It is, or cannot be now.
    pub(crate) fn end_ahead(&self, id: SegmentId) {
        lock(&self.ahead).remove(&id);
    }

    /// Where a segment lies, if its length is known.
    pub(crate) fn known(&self, id: SegmentId) -> Option<Cutting> {
        self.cuts.get(&id)?.get().cloned()
    }

    /// Has the swarm forget what `is_over` of the segments that are cut, unless somebody reads it.
    pub(crate) async fn forget(&self, is_over: impl Fn(SegmentId, &Told) -> bool) {
        let mut over = Vec::new();
        self.cuts.retain(|id, cell| {
            let gone = cell.get().filter(|cut| is_over(*id, &cut.told) && !cut.is_read());
            over.extend(gone.map(|cut| (*id, cut.at.start)));
            gone.is_none()
        });
        for (id, offset) in over {
            // A swarm that is closed has forgotten it.
            let _ = self.asset.tell(ToSwarm::Outdated(id, offset)).await;
        }
    }

    /// A player asks for the segment at `place`.
    pub(crate) fn asked(&self, now: Time, place: Place, listing: &Listing, live: bool) {
        let mut play = lock(&self.play);
        play.last = now;
        let start = listing.start.unwrap_or_default();
        let duration = listing.duration.unwrap_or_default();
        let from = if listing.init { now } else { play.pace.request(now, start, start + duration, live) };
        // The first bytes are wanted first, and a player begins to play what it has of a segment.
        let until = from + (duration / 2).min(std::time::Duration::from_secs(1));
        play.asked.retain(|(other, _)| *other != place);
        play.asked.push((place, Expected { segment: listing.id, from, until }));
        let over = play.asked.len().saturating_sub(ASKED_MAX);
        play.asked.drain(..over);
    }

    /// What was asked for, the newest last; nothing once the player is gone.
    pub(crate) fn playing(&self, now: Time) -> (Pace, Vec<(Place, Expected)>) {
        let mut play = lock(&self.play);
        if now.since(play.last) > GONE {
            play.asked.clear();
        }
        (play.pace, play.asked.clone())
    }
}
