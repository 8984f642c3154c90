//! What a node tells about itself: to reports, to the admin API, to people.

use pcdn_core::id::{PeerId, Rid, SwarmKey};
use pcdn_core::swarm::Report;
use serde::Serialize;

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
    /// Bytes that came from the origin.
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
    /// Of them, bytes that peers signed for.
    pub receipted: u64,
    /// Bytes that peers gave this node, of use or not.
    pub taken: u64,
    /// Of them, bytes that this node signed for.
    pub signed: u64,
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
    /// From opening to the first byte a reader got, milliseconds: at least 1, and 0 before it.
    pub start_ms: u64,
    /// Pieces held and pieces in all.
    pub pieces: (u32, u32),
    /// Neighbours now.
    pub neighbours: u32,
    /// Peers of the swarm known now, linked or not.
    pub known: u32,
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
    /// Who reads it here now.
    pub readers: u32,
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
    /// Whether it still lacks something it wants.
    pub downloading: bool,
    /// Whether it is banned.
    pub banned: bool,
}

impl P2p {
    /// Whether pieces are taken from, and given to, peers.
    pub(crate) fn take_give(self) -> (bool, bool) {
        match self {
            P2p::On => (true, true),
            P2p::Off => (false, false),
            P2p::DownloadOnly => (true, false),
        }
    }
}

impl SwarmReport {
    /// The engine's figures in the form of the command line.
    pub(crate) fn of(report: &Report) -> Self {
        Self {
            bytes: report.bytes,
            from_origin: report.from_origin,
            from_peers: report.from_peers,
            from_cache: report.from_cache,
            p2p_ratio: report.p2p_ratio(),
            wasted: report.wasted,
            uploaded: report.uploaded,
            receipted: report.receipted,
            taken: report.taken,
            signed: report.signed,
            peers_used: report.peers_used,
            rejected_pieces: report.rejected_pieces,
            banned: report.banned.clone(),
            integrity: report.integrity.as_str().to_owned(),
            stalls: report.stalls,
            stalled_ms: report.stalled.as_millis() as u64,
            start_ms: report.start.map_or(0, |start| start.as_millis().max(1) as u64),
            pieces: report.pieces,
            neighbours: report.neighbours,
            known: report.known,
        }
    }
}
