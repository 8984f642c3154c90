//! What the tests of several transports share.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use pcdn_core::id::{PeerId, SwarmKey};
use pcdn_core::layout::{Layout, PieceKey, SegmentId};
use pcdn_core::transport::{Class, Fetch, FetchError, Fetching, Grant, Provider, Refuse};
use pcdn_core::verify::Verified;
use tokio::sync::Notify;

pub(crate) const PIECE: u32 = 65_536;
/// The provider never answers for this segment.
pub(crate) const STUCK: u64 = 1000;
/// The provider refuses this one.
pub(crate) const REFUSED: u64 = 1001;

/// A provider that has every segment but two.
#[derive(Debug)]
pub(crate) struct Shelf {
    pub(crate) piece: Bytes,
    /// Told when a call for [`STUCK`] is dropped.
    pub(crate) given_up: Arc<Notify>,
}

impl Shelf {
    pub(crate) fn new() -> Arc<Self> {
        let piece = (0..PIECE).map(|i| ((i * 31) >> 3) as u8).collect();
        Arc::new(Self { piece, given_up: Arc::default() })
    }
}

struct Tell(Arc<Notify>);

impl Drop for Tell {
    fn drop(&mut self) {
        self.0.notify_one();
    }
}

#[async_trait]
impl Provider for Shelf {
    async fn open(&self, _: &PeerId, want: &Fetch) -> Result<Grant, Refuse> {
        match want.piece.segment.0 {
            STUCK => {
                let _tell = Tell(Arc::clone(&self.given_up));
                std::future::pending().await
            }
            REFUSED => Err(Refuse::NotHere),
            _ => Ok(Grant::new(Verified::for_test(self.piece.clone()), None)),
        }
    }
}

pub(crate) fn fetch(segment: u64) -> Fetch {
    let piece = Layout::new(PIECE.into(), 16).unwrap().piece(0).unwrap();
    Fetch {
        swarm: SwarmKey([3; 32]),
        piece: PieceKey { segment: SegmentId(segment), piece },
        len: PIECE,
        want: vec![],
        class: Class::Normal,
        within: Duration::from_secs(20),
    }
}

/// All bytes in the order of their offsets.
pub(crate) async fn collect(mut fetching: Fetching) -> Result<Vec<u8>, FetchError> {
    let mut chunks = Vec::new();
    while let Some(chunk) = fetching.next().await {
        chunks.push(chunk?);
    }
    chunks.sort_by_key(|chunk| chunk.offset);
    Ok(chunks.iter().flat_map(|chunk| chunk.bytes.to_vec()).collect())
}
