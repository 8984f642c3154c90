//! A segment that a player asks for before it is known how long it is: the first after a start or a seek.
//!
//! Lengths are asked for ahead of the player ([`pacer`](super::pacer)), so that it never waits for one, but for the first. There the
//! origin is asked for its first bytes, which tells the length as well: a start costs one round trip, as without a node.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use pcdn_core::fragment::{FragmentError, Listing};

use super::Stream;
use super::track::{Cutting, Told, Track};
use crate::node::driver::ToSwarm;
use crate::node::open::First;
use crate::node::{OpenError, Shared};

/// A segment that the swarm was told of.
pub(super) struct Ready {
    pub(super) cutting: Cutting,
    /// Its first bytes, if the origin sent them just now.
    pub(super) here: Bytes,
}

impl Stream {
    /// Sees to it that the swarm knows the segment. It is begun, if its length is unknown and `begins` says so.
    ///
    /// # Errors
    /// If the origin does not give it.
    pub(super) async fn ready(
        &self,
        shared: &Arc<Shared>,
        track: &Track,
        listing: &Listing,
        live: bool,
        begins: bool,
    ) -> Result<Ready, OpenError> {
        let unranged = self.inner.unranged.load(Ordering::Relaxed);
        if !begins || unranged || listing.range.is_some() || self.is_sized(track, listing) {
            return self.as_known(shared, track, listing, live).await;
        }
        // Two players of one segment begin it once.
        let _turn = shared.opening.take(&listing.url).await;
        if track.known(listing.id).is_some() {
            return self.as_known(shared, track, listing, live).await;
        }
        let (head, first) = First::ask(self.inner.origin.as_ref(), &listing.url).await?;
        let Some(len) = head.len.filter(|_| head.ranges) else {
            self.inner.unranged.store(true, Ordering::Relaxed);
            return Err(FragmentError::LengthUnknown.into());
        };
        let version = head.validator.clone();
        let told = Told::Head(self.heard(shared, &listing.url, head));
        let cutting = track.cut(listing, async { Ok((len, told)) }).await?;
        cutting.give();
        let same = cutting.told.head().validator == version && cutting.at.end - cutting.at.start == len;
        let Some(first) = first.filter(|_| same) else { return Ok(Ready { cutting, here: Bytes::new() }) };
        let here = first.here().unwrap_or_default();
        self.inner.origin.add(first);
        let (segment, url, begun) = (listing.id, listing.url.clone(), self.inner.origin.clone());
        track.asset.tell(ToSwarm::Begun { segment, url, begun }).await?;
        Ok(Ready { cutting, here })
    }

    /// A segment whose length is known or asked for, as the origin has it now.
    async fn as_known(
        &self,
        shared: &Arc<Shared>,
        track: &Track,
        listing: &Listing,
        live: bool,
    ) -> Result<Ready, OpenError> {
        let cutting = self.fresh(shared, track, listing, live).await?;
        Ok(Ready { cutting, here: Bytes::new() })
    }

    /// Whether nobody needs to ask how long a segment is.
    fn is_sized(&self, track: &Track, listing: &Listing) -> bool {
        let signed = |manifest: &pcdn_core::verify::Manifest| manifest.segment(listing.id).is_some();
        track.known(listing.id).is_some()
            || self.inner.manifest.newest().is_some_and(|(manifest, _)| signed(&manifest))
    }
}
