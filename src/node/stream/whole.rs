//! A rendition as one content: all that a playlist lists of it, for whoever holds it for others.
//!
//! Its bytes are those of its segments, one after another in the order of listing. Where they lie in the rendition's swarm at
//! this node is another order: that in which they were cut.

use std::collections::HashSet;
use std::ops::Range;
use std::sync::Arc;

use bytes::BytesMut;
use futures_util::{StreamExt as _, TryStreamExt as _};
use pcdn_core::fragment::{FragmentError, Listing};
use pcdn_core::id::SwarmKey;
use pcdn_core::origin::OriginGet;
use pcdn_core::resource::Url;

use super::track::Track;
use super::{Stream, lock};
use crate::http::packed;
use crate::node::{Asset, Node, OpenError};

/// Segments of one rendition at most: 24 hours in segments of four seconds.
const SEGMENTS_MAX: usize = 21_600;
/// Lengths asked for at once.
const LENGTHS_AT_ONCE: usize = 8;

impl Node {
    /// Fetches the playlist at `url` from the origin and opens it. A playlist that redirects must be named by where it is: what it
    /// lists is found beside `url`.
    pub(crate) async fn playlist(&self, url: &Url) -> Result<Stream, OpenError> {
        let mut body = self.origin().get(&OriginGet::whole(url.clone())).await?;
        let mut text = BytesMut::new();
        while let Some(chunk) = body.bytes.next().await {
            text.extend_from_slice(&chunk?);
            if text.len() > packed::DOCUMENT_BYTES_MAX {
                return Err(packed::too_long().into());
            }
        }
        let (text, _) = packed::unpacked(&body.head.headers, text.freeze())?;
        let stream = self.stream(url, body.head.content_type.as_deref(), &text).await?;
        stream.supply(url, text).await?;
        Ok(stream)
    }
}

/// A rendition that is being held whole.
#[derive(Debug)]
pub(crate) struct Whole {
    stream: Stream,
    rendition: u32,
    track: Arc<Track>,
}

impl Stream {
    /// Whether nothing more will be listed.
    pub(crate) fn is_ended(&self) -> bool {
        lock(&self.inner.index).is_ended()
    }

    /// Where the peers of a rendition meet.
    pub(crate) fn swarm_of(&self, rendition: u32) -> SwarmKey {
        SwarmKey::of(&self.rid_of(rendition), &self.inner.rule)
    }

    /// The segments of a rendition in the order of listing, each once.
    ///
    /// # Errors
    /// If there are none, or too many.
    pub(crate) fn listed(&self, rendition: u32) -> Result<Vec<Listing>, OpenError> {
        let index = lock(&self.inner.index);
        let mut seen = HashSet::new();
        let listed: Vec<Listing> =
            index.of(rendition).filter(|listing| seen.insert(listing.id)).cloned().collect();
        match listed.len() {
            0 => Err(FragmentError::LengthUnknown.into()),
            1..=SEGMENTS_MAX => Ok(listed),
            _ => Err(OpenError::Url(format!("it lists more than {SEGMENTS_MAX} segments"))),
        }
    }

    /// How long each of `listings` is.
    ///
    /// # Errors
    /// If the origin does not give one of them.
    pub(crate) async fn lengths(&self, listings: &[Listing]) -> Result<Vec<u64>, OpenError> {
        let size = |listing: Listing| async move { self.size(&listing).await };
        let asked = futures_util::stream::iter(listings.to_vec()).map(size);
        asked.buffered(LENGTHS_AT_ONCE).map_ok(|(len, _)| len).try_collect().await
    }

    /// Joins a rendition's swarm to hold all of it.
    ///
    /// # Errors
    /// If the node ends.
    pub(crate) async fn whole(&self, rendition: u32) -> Result<Whole, OpenError> {
        let shared = self.inner.node.upgrade().ok_or(OpenError::Closed)?;
        let track = self.track(&shared, rendition).await?;
        Ok(Whole { stream: self.clone(), rendition, track })
    }
}

impl Whole {
    /// The rendition's swarm.
    pub(crate) fn asset(&self) -> &Asset {
        &self.track.asset
    }

    /// Tells the swarm of all segments; gives where each lies in it, in the order of listing.
    ///
    /// # Errors
    /// If the origin does not give one of them.
    pub(crate) async fn cut(&self) -> Result<Vec<Range<u64>>, OpenError> {
        let listed = self.stream.listed(self.rendition)?;
        let cut = |listing: Listing| async move {
            let cutting = self.stream.cut(&self.track, &listing).await?;
            Ok::<_, OpenError>(cutting.at)
        };
        let cuts = futures_util::stream::iter(listed).map(cut);
        cuts.buffered(LENGTHS_AT_ONCE).try_collect().await
    }

    /// Whether a player asked for some of it lately.
    pub(crate) fn is_played(&self) -> bool {
        let now = self.stream.inner.node.upgrade().map(|shared| shared.clock.now());
        now.is_some_and(|now| !self.track.playing(now).1.is_empty())
    }
}
