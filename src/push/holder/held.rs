//! What a lease holds: a resource, or a rendition of a playlist. To the push node both are so many bytes in a row.

use std::ops::Range;
use std::sync::{Arc, OnceLock};

use pcdn_core::resource::Url;
use pcdn_core::warmup::Content;

use crate::node::{Asset, Node, OpenError, SwarmReport, Whole};

/// Something being held, of the length that the push node says.
#[derive(Clone, Debug)]
pub(super) struct Held {
    len: u64,
    what: What,
    /// Its owner was in this swarm before.
    owned: bool,
}

#[derive(Clone, Debug)]
enum What {
    Resource(Asset),
    Rendition {
        whole: Arc<Whole>,
        /// Where each segment lies in the swarm, in the order of the content; empty until all of them are cut.
        laid: Arc<OnceLock<Vec<Range<u64>>>>,
    },
}

impl Held {
    /// Opens `content` at `node`. Nothing is fetched yet.
    pub(super) async fn open(node: &Node, content: &Content) -> Result<Self, OpenError> {
        let swarms = node.swarms().await;
        let (what, owned) = match content.rendition {
            None => {
                let owned = swarms.iter().any(|swarm| swarm.url == without_query(&content.url));
                (What::Resource(node.open(&content.url).await?), owned)
            }
            Some(rendition) => {
                let stream = node.playlist(&content.url).await?;
                let key = stream.swarm_of(rendition);
                let owned = swarms.iter().any(|swarm| swarm.swarm == key);
                let whole = Arc::new(stream.whole(rendition).await?);
                (What::Rendition { whole, laid: Arc::default() }, owned)
            }
        };
        let held = Self { len: content.len, what, owned };
        match &held.what {
            What::Resource(asset) if asset.len() != content.len => Err(other_length(asset.len())),
            _ => Ok(held),
        }
    }

    /// Its swarm.
    pub(super) fn asset(&self) -> &Asset {
        match &self.what {
            What::Resource(asset) => asset,
            What::Rendition { whole, .. } => whole.asset(),
        }
    }

    /// Wants all of it; returns once that is known to be on its way, of a resource once it is there.
    pub(super) async fn fetch(&self) -> Result<(), OpenError> {
        match &self.what {
            What::Resource(asset) => asset.complete().await,
            What::Rendition { whole, laid } => {
                whole.asset().want_whole(true).await?;
                let cut = whole.cut().await?;
                let len: u64 = cut.iter().map(|range| range.end - range.start).sum();
                if len != self.len {
                    return Err(other_length(len));
                }
                laid.get_or_init(|| cut);
                Ok(())
            }
        }
    }

    /// Bytes held, by what the swarm says.
    pub(super) fn bytes(&self, report: &SwarmReport) -> u64 {
        let (here, all) = report.pieces;
        let of = match &self.what {
            What::Resource(_) => self.len,
            What::Rendition { laid, .. } if laid.get().is_some() => self.len,
            // Those that are not cut yet are missing, however many of the others are here.
            What::Rendition { .. } => report.bytes.min(self.len.saturating_sub(1)),
        };
        if here == all && all > 0 {
            return of;
        }
        (u128::from(of) * u128::from(here) / u128::from(all.max(1))) as u64
    }

    /// The bytes of `range`; `None` if it has no such bytes, or they are not here.
    pub(super) async fn read(&self, range: Range<u64>) -> Option<Vec<u8>> {
        let places = match &self.what {
            What::Resource(_) if range.end <= self.len => vec![range],
            What::Resource(_) => return None,
            What::Rendition { laid, .. } => placed(laid.get()?, range)?,
        };
        let mut bytes = Vec::new();
        for place in places {
            let mut reader = self.asset().follow(place);
            while let Some(chunk) = reader.next().await {
                bytes.extend_from_slice(&chunk.ok()?);
            }
        }
        Some(bytes)
    }

    /// Whether its owner wants it, too: it was in the swarm before, or somebody reads.
    pub(super) async fn is_wanted(&self) -> bool {
        let played = match &self.what {
            What::Resource(_) => false,
            What::Rendition { whole, .. } => whole.is_played(),
        };
        self.owned || played || self.asset().status().await.is_some_and(|status| status.readers > 0)
    }

    /// Whether its owner had it before.
    pub(super) fn is_owned(&self) -> bool {
        self.owned
    }
}

fn other_length(len: u64) -> OpenError {
    OpenError::Integrity(format!("it is {len} bytes long now"))
}

/// As a swarm's status has it.
fn without_query(url: &Url) -> String {
    let mut url = url.clone();
    url.set_query(None);
    url.to_string()
}

/// Where the bytes of `range` lie, if the content's parts lie at `laid`.
fn placed(laid: &[Range<u64>], range: Range<u64>) -> Option<Vec<Range<u64>>> {
    let mut places = Vec::new();
    let (mut start, mut at) = (0, range.start);
    for part in laid {
        let end = start + (part.end - part.start);
        if at < end && at < range.end {
            let upto = range.end.min(end);
            places.push(part.start + at - start..part.start + upto - start);
            at = upto;
        }
        start = end;
    }
    (at >= range.end).then_some(places)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_of_a_rendition_are_found_where_they_were_cut() {
        // The second segment was cut first.
        let laid = [100..150, 0..100, 150..160];
        let one = |range: Range<u64>| Some(Vec::from([range]));
        assert_eq!(placed(&laid, 0..50), one(100..150));
        assert_eq!(placed(&laid, 40..60), Some(vec![140..150, 0..10]));
        assert_eq!(placed(&laid, 0..160), Some(vec![100..150, 0..100, 150..160]));
        assert_eq!(placed(&laid, 150..151), one(150..151));
        assert_eq!(placed(&laid, 159..161), None);
        assert_eq!(placed(&[], 0..1), None);
    }
}
