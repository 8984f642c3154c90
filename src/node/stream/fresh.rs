//! Whether a listed segment is still what the origin has, or the publisher signed.
//!
//! A segment is asked for ahead of its player (its HEAD, or a check of what is here), so that the player waits for nothing; when it
//! comes, what was heard lately is good enough. In a live stream that is all there is: each segment is named, asked for and given once.

use std::sync::Arc;
use std::time::Duration;

use pcdn_core::fragment::Listing;
use pcdn_core::layout::SegmentId;
use pcdn_core::origin::OriginError;

use super::track::{Cutting, Told, Track};
use super::{AHEAD, Stream};
use crate::node::{OpenError, Shared};

/// What the origin said within this counts as said for the player who comes now: segments are asked for up to [`AHEAD`] before.
const LATELY: Duration = Duration::from_secs(30);
/// The same in a live stream, whose newest segments are asked for as soon as they are listed: three of 10 s may lie before the
/// player, and the players of one household follow each other.
const LATELY_LIVE: Duration = Duration::from_secs(60);
const _: () = assert!(AHEAD.as_secs() < LATELY.as_secs());

impl Stream {
    /// The segment for a player who comes now: if the origin has another by now, that one.
    ///
    /// # Errors
    /// What the origin answers; [`OriginError::Changed`] if others still read the segment as it was: both cannot be in one swarm.
    pub(super) async fn fresh(
        &self,
        shared: &Arc<Shared>,
        track: &Track,
        listing: &Listing,
        live: bool,
    ) -> Result<Cutting, OpenError> {
        let cutting = self.cut(track, listing).await?;
        settle(shared, &cutting, listing, live).await?;
        if !self.is_over(listing.id, &cutting.told) {
            return Ok(cutting);
        }
        drop(cutting);
        track.forget(|id, told| self.is_over(id, told)).await;
        let cutting = self.cut(track, listing).await?;
        if self.is_over(listing.id, &cutting.told) {
            let what = "others still read the segment as it was".to_owned();
            return Err(OriginError::Changed { what }.into());
        }
        cutting.give();
        Ok(cutting)
    }

    /// Sees to it that what lies before a player is confirmed by the time it comes.
    pub(super) async fn look_ahead(
        &self,
        shared: &Arc<Shared>,
        track: &Track,
        ahead: &[Listing],
        live: bool,
    ) {
        let mut over = false;
        for listing in ahead {
            let Some(Cutting { told, .. }) = track.known(listing.id) else { continue };
            told.confirmed().into_iter().for_each(|confirmed| confirmed.look_ahead(shared, lately(live)));
            over |= self.is_over(listing.id, &told);
        }
        if over {
            track.forget(|id, told| self.is_over(id, told)).await;
        }
    }

    fn is_over(&self, id: SegmentId, told: &Told) -> bool {
        match told {
            Told::Head(confirmed) => confirmed.is_changed(),
            Told::Signed { root, .. } => self.inner.manifest.root_of(id).is_some_and(|now| now != *root),
        }
    }
}

/// Sees to it that the segment may be given now, as far as that is known without what the publisher signs.
async fn settle(
    shared: &Arc<Shared>,
    cutting: &Cutting,
    listing: &Listing,
    live: bool,
) -> Result<(), OpenError> {
    let first = cutting.give();
    let Some(confirmed) = cutting.told.confirmed() else { return Ok(()) };
    let strict = confirmed.is_strict();
    if first && listing.range.is_some() && !strict {
        // Heard of long ago, perhaps, with the file's first part: it is one file while it is played, and its own bytes say more.
        confirmed.look_ahead(shared, lately(live));
        return Ok(());
    }
    // What must be asked for before every use was asked for before the first one.
    let enough = if strict && !live && !first { Duration::ZERO } else { lately(live) };
    confirmed.settle_for(shared, enough).await
}

fn lately(live: bool) -> Duration {
    if live { LATELY_LIVE } else { LATELY }
}
