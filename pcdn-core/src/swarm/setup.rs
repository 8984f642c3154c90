//! How a swarm is set up, and its bounds.

use std::time::Duration;

use crate::id::{Identity, PeerId, SwarmKey};
use crate::peer::PeerAddr;
use crate::schedule::Policy;
use crate::verify::Integrity;

/// How a swarm is set up.
#[derive(Clone, Debug)]
pub struct SwarmSetup {
    /// Where peers meet.
    pub key: SwarmKey,
    /// This node's key: signs what it witnesses.
    pub identity: Identity,
    /// The weakest proof a peer's bytes may have.
    pub integrity: Integrity,
    /// How many must have fetched a piece from the origin before it is taken from others on the witnessed rung. The share of
    /// the origin is at least `witnesses ÷ nodes`; what k liars together can pass is bounded by audits. Default 2.
    pub witnesses: u8,
    /// How much the origin may be used.
    pub policy: Policy,
    /// Whether pieces are taken from peers.
    pub take: bool,
    /// Whether pieces are given to peers.
    pub give: bool,
    /// Where this node listens; an unspecified IP means everywhere.
    pub addrs: Vec<PeerAddr>,
    /// A pinned signer: manifests from peers are taken if it signed them.
    pub trust: Option<PeerId>,
    /// Its segments are resources of their own, as of a playlist: one that the origin refuses is lost, the others are not.
    pub stream: bool,
    /// The origin can only be followed, not asked for parts: segments come as slices of this node's own connection to it, or
    /// from peers.
    pub follow: bool,
    /// Seconds since 1970 at [`Time::ZERO`](crate::unit::Time::ZERO), for the minute that receipts bear and the end of signed records.
    pub epoch_s: u64,
    /// Bounds.
    pub limits: Limits,
}

impl SwarmSetup {
    /// The usual setup: witnessed by two, balanced, takes and gives.
    pub fn new(key: SwarmKey, identity: Identity) -> Self {
        Self {
            key,
            identity,
            integrity: Integrity::Witnessed,
            witnesses: 2,
            policy: Policy::Balanced,
            take: true,
            give: true,
            addrs: Vec::new(),
            trust: None,
            stream: false,
            follow: false,
            epoch_s: 0,
            limits: Limits::default(),
        }
    }
}

/// Bounds of one swarm. Memory is about `cache_bytes` + 1 piece × (requests under way) + 100 bytes × pieces +
/// `neighbours` × pieces ÷ 8.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Links kept. 40: enough for the rarest piece to be near (libtorrent's default per torrent is 50).
    pub neighbours: usize,
    /// Below this many the engine looks for more.
    pub neighbours_wanted: usize,
    /// Peers remembered that were only heard of, for later dialling.
    pub known_peers: usize,
    /// Requests of one peer waiting here.
    pub asks_per_peer: usize,
    /// Pieces being uploaded at once.
    pub uploads: usize,
    /// Bytes of verified pieces kept in memory beside the store.
    pub cache_bytes: u64,
    /// Readers at once.
    pub readers: usize,
    /// How far ahead of a player pieces are due at all; the rest is not wanted yet. Two minutes: whoever leaves has taken no more for
    /// nothing.
    pub read_ahead: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            neighbours: 50,
            neighbours_wanted: 30,
            known_peers: 1_000,
            asks_per_peer: 128,
            uploads: 64,
            cache_bytes: 32 << 20,
            readers: 256,
            read_ahead: Duration::from_secs(120),
        }
    }
}
