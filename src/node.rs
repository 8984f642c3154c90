//! A node: what a developer composes and an operator runs.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use pcdn_core::error::{Blame, Judged};
use pcdn_core::fragment::FragmentError;
use pcdn_core::id::{PeerId, Rid, SwarmKey};
use pcdn_core::origin::OriginError;
use pcdn_core::resource::{ResourceHead, Url};
use serde::Serialize;

/// A running node. Cheap to clone; all clones are one node.
#[derive(Clone, Debug)]
pub struct Node {
    shared: Arc<()>,
}

/// Whether this node takes from and gives to peers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum P2p {
    /// Takes and gives.
    On,
    /// Neither: everything comes from the origin.
    Off,
    /// Takes, gives nothing.
    DownloadOnly,
}

/// What one swarm has done: the figures of `get --json`, of `/api/v1/swarms` and of the simulator.
#[derive(Clone, Debug, Serialize, PartialEq, Default)]
pub struct SwarmReport {
    /// Bytes of the resource this node needed.
    pub bytes: u64,
    /// Useful bytes that came from the origin.
    pub from_origin: u64,
    /// Useful bytes that came from peers.
    pub from_peers: u64,
    /// Bytes that were in the store already.
    pub from_cache: u64,
    /// `from_peers ÷ (from_peers + from_origin)`.
    pub p2p_ratio: f64,
    /// Bytes that came twice or too late.
    pub wasted: u64,
    /// Bytes given to peers.
    pub uploaded: u64,
    /// Peers that gave at least one piece.
    pub peers_used: u32,
    /// Pieces that failed verification.
    pub rejected_pieces: u64,
    /// Peers banned for them.
    pub banned: Vec<PeerId>,
    /// The weakest rung any byte from a peer was proven by: signed, witnessed, sampled; origin if none came from peers.
    pub integrity: String,
    /// Times a reader had to wait after its start.
    pub stalls: u32,
    /// How long it waited in all, milliseconds.
    pub stalled_ms: u64,
    /// From opening to the first byte a reader got, milliseconds.
    pub start_ms: u64,
    /// Pieces held and pieces in all.
    pub pieces: (u32, u32),
    /// Neighbours now.
    pub neighbours: u32,
}

/// A swarm, as listed by the admin API.
#[derive(Clone, Debug, Serialize)]
pub struct SwarmStatus {
    /// Where peers meet.
    pub swarm: SwarmKey,
    /// The content.
    pub rid: Rid,
    /// Its URL without the query.
    pub url: String,
    /// Length in bytes.
    pub len: u64,
    /// Figures.
    pub report: SwarmReport,
    /// For each segment: number, pieces, bitmap in hex (bit 0 of byte 0 is piece 0).
    pub segments: Vec<(u64, u32, String)>,
    /// Its neighbours.
    pub peers: Vec<PeerStatus>,
}

/// A neighbour, as listed by the admin API.
#[derive(Clone, Debug, Serialize)]
pub struct PeerStatus {
    /// Who.
    pub peer: PeerId,
    /// Where.
    pub addr: Option<String>,
    /// Round trip, milliseconds.
    pub rtt_ms: f64,
    /// Bytes taken from it.
    pub from: u64,
    /// Bytes given to it.
    pub to: u64,
    /// Bytes a second it delivers.
    pub rate: u64,
    /// Pieces it holds.
    pub holds: u32,
    /// Whether it is banned.
    pub banned: bool,
}

impl Node {
    /// Who this node is.
    pub fn peer_id(&self) -> PeerId {
        todo!()
    }

    /// Opens a resource: asks the mapper and the origin, cuts it, joins its swarm. A resource open already is shared.
    pub async fn open(&self, url: &Url) -> Result<Asset, OpenError> {
        let _ = url;
        todo!()
    }

    /// Every swarm this node is in.
    pub async fn swarms(&self) -> Vec<SwarmStatus> {
        todo!()
    }

    /// Leaves a swarm and drops what is stored of it; false if it is not in it.
    pub async fn forget(&self, swarm: &SwarmKey) -> bool {
        let _ = swarm;
        todo!()
    }

    /// Whether peers are used.
    pub fn p2p(&self) -> P2p {
        todo!()
    }

    /// Turns peers on or off at once.
    pub fn set_p2p(&self, p2p: P2p) {
        let _ = p2p;
        todo!()
    }

    /// One line of JSON for everything worth telling (joined, neighbour, banned, complete…); lagging listeners lose lines.
    pub fn events(&self) -> tokio::sync::broadcast::Receiver<String> {
        todo!()
    }

    /// Says goodbye to trackers and peers, flushes the store and ends every task, within `grace`.
    pub async fn shutdown(&self, grace: Duration) {
        let _ = grace;
        todo!()
    }

    /// The origin it fetches from, for what is passed through without peers.
    pub fn origin(&self) -> Arc<dyn pcdn_core::origin::Origin> {
        todo!()
    }
}

/// An open resource. Cheap to clone; the swarm is left a while after the last clone is dropped.
#[derive(Clone, Debug)]
pub struct Asset {
    shared: Arc<()>,
}

impl Asset {
    /// Length in bytes.
    pub fn len(&self) -> u64 {
        todo!()
    }

    /// Whether it has no byte.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The content's name.
    pub fn rid(&self) -> Rid {
        todo!()
    }

    /// Where its peers meet.
    pub fn swarm(&self) -> SwarmKey {
        todo!()
    }

    /// What the origin said of it.
    pub fn head(&self) -> &ResourceHead {
        todo!()
    }

    /// Reads `range` in order, as a player does: what the reader needs next comes first. Dropping it ends the interest.
    pub fn read(&self, range: Range<u64>) -> Reader {
        let _ = range;
        todo!()
    }

    /// Wants all of it, in any order (a download); returns once it is whole and in the store, or failed for good.
    pub async fn complete(&self) -> Result<(), OpenError> {
        todo!()
    }

    /// Figures so far.
    pub async fn report(&self) -> SwarmReport {
        todo!()
    }
}

/// Bytes of a resource in order. Also an [`AsyncRead`](tokio::io::AsyncRead) and [`AsyncSeek`](tokio::io::AsyncSeek).
#[derive(Debug)]
pub struct Reader {
    asset: Asset,
}

impl Reader {
    /// The next bytes (up to one piece), `None` at the end of the range. Cancel-safe.
    pub async fn next(&mut self) -> Option<Result<Bytes, OpenError>> {
        todo!()
    }

    /// Where the bytes read so far came from: (cache, origin, peers), in bytes.
    pub fn sources(&self) -> (u64, u64, u64) {
        todo!()
    }
}

/// Why a resource cannot be opened or read on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The origin.
    #[error(transparent)]
    Origin(#[from] OriginError),
    /// It cannot be cut: pass it through from the origin.
    #[error(transparent)]
    Fragment(#[from] FragmentError),
    /// Not an http(s) URL.
    #[error("{0}")]
    Url(String),
    /// The bytes cannot be proven by what `--integrity` demands, nor had from the origin.
    #[error("integrity: {0}")]
    Integrity(String),
    /// The store.
    #[error(transparent)]
    Store(#[from] pcdn_core::store::StoreError),
    /// The node is shutting down.
    #[error("the node is shutting down")]
    Closed,
}

impl Judged for OpenError {
    fn blame(&self) -> Blame {
        match self {
            Self::Origin(e) => e.blame(),
            Self::Fragment(e) => e.blame(),
            Self::Store(e) => e.blame(),
            Self::Url(_) => Blame::Config,
            Self::Integrity(_) => Blame::Peer,
            Self::Closed => Blame::Local,
        }
    }
    fn transient(&self) -> bool {
        match self {
            Self::Origin(e) => e.transient(),
            Self::Store(e) => e.transient(),
            _ => false,
        }
    }
}
