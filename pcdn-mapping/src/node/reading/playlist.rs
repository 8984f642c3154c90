//! Reading what a playlist lists, once: one manifest for all of it.

use std::collections::BTreeSet;

use pcdn_core::fragment::Listing;
use pcdn_core::layout::{Layout, PIECE_LOG2_MIN, SegmentId};
use pcdn_core::origin::{OriginError, OriginGet};
use pcdn_core::resource::{ResourceHead, Url};
use pcdn_core::verify::PieceList;
use pcdn_core::verify::manifest::{Draft, MANIFEST_BYTES_MAX};
use tokio::time::Instant;

use super::{Body, Read, ReadError};
use crate::node::entry::{Entry, Generation};
use crate::node::{NodeConfig, Parts};

/// Reads every segment that the playlist at `url` lists. What is listed and not there, or at a host that this node may not read, is
/// left out: viewers prove that as they would without a manifest.
pub(super) async fn read(
    parts: &Parts,
    config: &NodeConfig,
    entry: &Entry,
    url: &Url,
    head: &ResourceHead,
    now_ms: u64,
) -> Result<Read, ReadError> {
    let (rule, listings) = (parts.list)(url.clone()).await?;
    let (mut seen, mut names, mut lists) = (BTreeSet::new(), Vec::new(), Vec::new());
    let (mut room, mut paid) = (config.size_max.0, Instant::now());
    for listing in listings {
        if !seen.insert(listing.id) {
            continue;
        }
        match segment(parts, config, &listing, room, &mut paid).await {
            Ok(Some(list)) => {
                room -= list.layout().len();
                names.push(listing.id);
                lists.push(list);
            }
            Ok(None) => {}
            Err(OriginError::Status { status: 403 | 404 | 410, .. } | OriginError::Forbidden { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    if lists.is_empty() {
        return Err(ReadError::Never("none of what it lists can be read".to_owned()));
    }
    let roots: Vec<u8> = lists.iter().flat_map(|list: &PieceList| list.root().0).collect();
    let generation = Generation::new(&entry.rid, head, rule, &roots);
    let draft = Draft {
        rule,
        rid: Some(entry.rid),
        // Rises with every generation: a viewer keeps the newest.
        seq: now_ms,
        first: SegmentId(0),
        issued_ms: now_ms,
        ttl_s: 0,
        piece_log2: PIECE_LOG2_MIN,
        lists,
        names,
    };
    let manifest = draft.sign(&parts.key);
    if manifest.len() > MANIFEST_BYTES_MAX {
        return Err(ReadError::Never(format!("its manifest would have {} bytes", manifest.len())));
    }
    Ok(Read { generation, manifest })
}

/// What a segment hashes to; `None` if it has no length, is longer than a segment may be, or than there is `room` for.
async fn segment(
    parts: &Parts,
    config: &NodeConfig,
    listing: &Listing,
    room: u64,
    paid: &mut Instant,
) -> Result<Option<PieceList>, OriginError> {
    let want = OriginGet { range: listing.range, ..OriginGet::whole(listing.url.clone()) };
    let body = parts.origin.get(&want).await?;
    let len = listing.range.map(|range| range.len()).or(body.head.len).filter(|len| *len <= room);
    let Some(layout) = len.and_then(|len| Layout::of_stream(len).ok()) else { return Ok(None) };
    let mut body = Body::of(body, *paid, config.rate);
    let list = body.list(layout).await;
    *paid = body.paid;
    match body.is_over().await? {
        true => list.map(Some),
        false => Err(OriginError::Changed { what: "a segment goes on after its end".into() }),
    }
}
