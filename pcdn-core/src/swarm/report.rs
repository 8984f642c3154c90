//! Counters and events: facts leave the engine here, so the simulator counts what the logs print.

use std::time::Duration;

use super::board::Board;
use super::links::Links;
use super::proof::Proof;
use crate::id::PeerId;
use crate::layout::PieceKey;
use crate::receipt::Receipt;
use crate::unit::Time;
use crate::verify::Integrity;

/// Something worth telling.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A link is up.
    LinkUp {
        /// To whom.
        peer: PeerId,
    },
    /// A link is gone.
    LinkDown {
        /// To whom.
        peer: PeerId,
    },
    /// A neighbour did not answer a request in time.
    TimedOut {
        /// Who.
        peer: PeerId,
    },
    /// A piece failed verification.
    Rejected {
        /// Who gave it.
        peer: PeerId,
        /// Which.
        piece: PieceKey,
    },
    /// A peer was banned.
    Banned {
        /// Who.
        peer: PeerId,
        /// What it did.
        why: &'static str,
    },
    /// The origin failed.
    OriginFailed {
        /// Its words.
        why: String,
    },
    /// A reader waits for bytes.
    Stalled,
    /// A neighbour signed for what it got.
    Receipted(Box<Receipt>),
    /// Everything wanted is here.
    Complete,
}

/// Figures of one swarm. Bytes unless said otherwise.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// Of the resource, as far as it is cut.
    pub bytes: u64,
    /// Bytes from the origin, audits included, and what came from there as well as from a peer.
    pub from_origin: u64,
    /// Useful bytes from peers.
    pub from_peers: u64,
    /// Bytes that were in the store.
    pub from_cache: u64,
    /// Bytes that came twice or for nothing, from peers or from the origin.
    pub wasted: u64,
    /// Bytes given to peers.
    pub uploaded: u64,
    /// Bytes given that peers signed for.
    pub receipted: u64,
    /// Bytes that peers gave this node, of use or not: what it signs for.
    pub taken: u64,
    /// Of them, bytes that this node signed for.
    pub signed: u64,
    /// Peers that gave at least one piece.
    pub peers_used: u32,
    /// Pieces and statements that failed verification.
    pub rejected_pieces: u64,
    /// Requests that timed out.
    pub timeouts: u64,
    /// Who was banned.
    pub banned: Vec<PeerId>,
    /// The weakest rung a peer's bytes were proven by; `Origin` if there were none.
    pub integrity: Integrity,
    /// From opening to a reader's first byte.
    pub start: Option<Duration>,
    /// Times a reader had to wait after its start.
    pub stalls: u32,
    /// How long in all.
    pub stalled: Duration,
    /// Links now.
    pub neighbours: u32,
    /// Peers of the swarm known now, linked or not.
    pub known: u32,
    /// Pieces held and in all.
    pub pieces: (u32, u32),
    pub(super) opened: Time,
    pub(super) gone_givers: u32,
}

impl Report {
    pub(super) fn new(now: Time) -> Self {
        Self {
            bytes: 0,
            from_origin: 0,
            from_peers: 0,
            from_cache: 0,
            wasted: 0,
            uploaded: 0,
            receipted: 0,
            taken: 0,
            signed: 0,
            peers_used: 0,
            rejected_pieces: 0,
            timeouts: 0,
            banned: Vec::new(),
            integrity: Integrity::Origin,
            start: None,
            stalls: 0,
            stalled: Duration::ZERO,
            neighbours: 0,
            known: 0,
            pieces: (0, 0),
            opened: now,
            gone_givers: 0,
        }
    }

    /// Useful bytes from peers as a part of all useful bytes fetched; 0 if nothing was.
    pub fn p2p_ratio(&self) -> f64 {
        self.from_peers as f64 / ((self.from_peers + self.from_origin) as f64).max(1.0)
    }

    pub(super) fn accept_peer(&mut self, level: Integrity, len: u64) {
        self.from_peers += len;
        self.integrity = self.integrity.min(level);
    }

    pub(super) fn finish(&mut self, _now: Time, board: &Board, links: &Links, proof: &Proof) {
        self.bytes = board.len();
        self.neighbours = links.len() as u32;
        self.peers_used = self.gone_givers + links.iter().filter(|(_, from, _)| *from > 0).count() as u32;
        self.banned = proof.banned();
        let count = board.pieces().len() as u32;
        self.pieces = (count - board.missing(), count);
    }
}
