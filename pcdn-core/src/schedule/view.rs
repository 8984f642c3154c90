//! What a scheduler sees: the engine's knowledge of one swarm at one moment.

use std::time::Duration;

use super::{Handle, Policy, Slot, SlotSet};
use crate::id::PeerId;
use crate::layout::{PieceIndex, PieceKey, SegmentId};
use crate::unit::{Rate, Time};

/// What the engine knows, as a scheduler may see it.
#[derive(Debug)]
pub struct View<'v> {
    /// Now.
    pub now: Time,
    /// This node.
    pub me: PeerId,
    /// How much the origin may be used.
    pub policy: Policy,
    /// All pieces in the order of the resource.
    pub pieces: &'v [Piece],
    /// Everyone this node has a link to, in the order of their handles.
    pub neighbours: &'v [Neighbour],
    /// Requests to neighbours under way.
    pub flights: &'v [Flight],
    /// The origin.
    pub origin: &'v OriginView,
    /// The first piece that is not here.
    pub first_missing: Slot,
    /// Whether all of the resource is wanted, in any order (a download).
    pub whole: bool,
    /// Whether every piece that is wanted says when ([`Piece::due`]), as segments of a stream do: to have it sooner gains nothing.
    pub paced: bool,
    /// Whether company may be here in a moment: discovery has not answered yet, or somebody it named, or who dialled this node,
    /// has not said yet what it holds. At most [`COMPANY_WAIT`](crate::swarm::COMPANY_WAIT) after the swarm began.
    pub awaits_company: bool,
    /// How many nodes must fetch each piece from the origin before the others can take it from peers: 1 with a manifest,
    /// k for witnesses.
    pub copies: u8,
    /// Bytes of all pieces.
    pub len: u64,
    /// Bytes of the pieces still missing.
    pub missing_bytes: u64,
    /// Bytes per second from peers, lately.
    pub peer_rate: u64,
    /// What the node's own bound lets through for this swarm, from neighbours and the origin together.
    pub limit: Rate,
    /// What the node's line carries: its own bound, or what a thin line has been seen to carry. Unlimited where nothing says that
    /// the line is thin.
    pub line: Rate,
    /// How long what is on its way now takes through the node's own line where that is full, whoever brings it; else zero.
    pub queued: Duration,
    /// Bytes that may be asked for now so that no more is under way than `limit` lets through soon; `u64::MAX` without one. The
    /// engine carries out the steps of a plan in order as far as it reaches, and the last one beyond.
    pub budget: u64,
}

/// One piece.
#[derive(Clone, Debug)]
pub struct Piece {
    /// Which.
    pub key: PieceKey,
    /// Length in bytes.
    pub len: u32,
    /// Byte offset in the resource.
    pub at: u64,
    /// When a player needs it; [`Time::NEVER`] if none has said so.
    pub due: Time,
    /// Neighbours that hold it.
    pub holders: u16,
    /// Requests to neighbours under way.
    pub flights: u8,
    /// Whether this node is fetching it from the origin.
    pub fetching: bool,
    /// Neighbours that said they are fetching it from the origin now.
    pub claims: u8,
    /// Nodes known to have fetched it from the origin, this one included.
    pub copies: u8,
    /// Whether a copy from a peer could be checked.
    pub provable: bool,
    /// Whether it is here.
    pub held: bool,
}

impl Piece {
    /// Nothing is known of it.
    pub(crate) fn empty() -> Self {
        let key = PieceKey { segment: SegmentId(0), piece: PieceIndex::FIRST };
        Self {
            key,
            len: 0,
            at: 0,
            due: Time::NEVER,
            holders: 0,
            flights: 0,
            fetching: false,
            claims: 0,
            copies: 0,
            provable: false,
            held: false,
        }
    }

    /// Whether somebody has been asked for it.
    pub fn under_way(&self) -> bool {
        self.flights > 0 || self.fetching
    }

    /// Whether a neighbour could give it.
    pub fn offered(&self) -> bool {
        self.provable && self.holders > 0
    }
}

/// One neighbour.
#[derive(Clone, Debug)]
pub struct Neighbour {
    /// Its handle.
    pub handle: Handle,
    /// Who.
    pub peer: PeerId,
    /// What it holds, one bit a slot.
    pub holds: SlotSet,
    /// Round trip.
    pub rtt: Duration,
    /// Bytes per second it delivers; an estimate, a modest guess before the first piece.
    pub rate: u64,
    /// Mean and mean deviation of the time from asking to having a piece.
    pub service: (Duration, Duration),
    /// Bytes asked of it and not yet here.
    pub pending: u64,
    /// Requests under way.
    pub flights: u16,
    /// Time-outs and refusals in a row.
    pub failures: u16,
    /// Not to be asked before this.
    pub quiet_until: Time,
    /// Whether it has everything it wants and so takes nothing from the origin.
    pub complete: bool,
    /// Bytes per second it says it takes from the origin.
    pub origin_rate: u64,
    /// Whether trackers have made it a superpeer: asked first among those that would be as fast.
    pub superpeer: bool,
}

impl Neighbour {
    /// Whether it holds `slot`.
    pub fn gives(&self, slot: Slot) -> bool {
        self.holds.get(slot.0)
    }

    /// Whether it has given something.
    pub fn is_proven(&self) -> bool {
        !self.service.0.is_zero()
    }

    /// When `len` more bytes asked now would be here.
    pub fn arrival(&self, now: Time, len: u32) -> Time {
        let queued = (self.pending + u64::from(len)) as f64 / self.rate.max(1) as f64;
        now + self.rtt + Duration::from_secs_f64(queued.min(3_600.0))
    }
}

/// A request to a neighbour under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flight {
    /// Its number.
    pub id: u64,
    /// Of what.
    pub slot: Slot,
    /// To whom.
    pub from: Handle,
    /// When it was asked.
    pub asked: Time,
    /// When it was then expected.
    pub expected: Time,
}

/// The origin as a scheduler sees it.
#[derive(Clone, Debug, Default)]
pub struct OriginView {
    /// Whether it may be asked at all.
    pub allowed: bool,
    /// Not before this (it failed, or sent Retry-After).
    pub quiet_until: Time,
    /// Time to the first byte, high side of what was measured.
    pub first_byte: Duration,
    /// Bytes per second of recent transfers, low side; a guess before the first.
    pub rate: u64,
    /// Bytes per second the origin has been seen to give to this node and its neighbours together, within half a minute.
    pub capacity: u64,
    /// Runs under way: first slot, slots, slots already here.
    pub runs: Vec<OriginRun>,
    /// Useful bytes this node has taken from it.
    pub used: u64,
}

/// A run of pieces being fetched from the origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OriginRun {
    /// Its number.
    pub id: u64,
    /// First piece.
    pub first: Slot,
    /// Pieces in all.
    pub count: u32,
    /// Bytes still to come.
    pub left: u64,
    /// When it was asked.
    pub asked: Time,
    /// When it last brought something, or was asked.
    pub moved: Time,
}

impl View<'_> {
    /// The piece at `slot`.
    pub fn piece(&self, slot: Slot) -> &Piece {
        &self.pieces[slot.0 as usize]
    }

    /// Length of a piece, as a measure: of the first that is not gone, and at least 1.
    pub fn piece_len(&self) -> u32 {
        self.pieces.iter().map(|piece| piece.len).find(|len| *len > 0).unwrap_or(1)
    }

    /// Pieces that are not here, in order.
    pub fn missing(&self) -> impl Iterator<Item = Slot> + '_ {
        (0..self.pieces.len() as u32).map(Slot).filter(|slot| !self.piece(*slot).held)
    }

    /// The neighbour with `handle`, if the link is up.
    pub fn neighbour(&self, handle: Handle) -> Option<&Neighbour> {
        let at = self.neighbours.binary_search_by_key(&handle, |n| n.handle).ok()?;
        Some(&self.neighbours[at])
    }

    /// Whether the origin may be asked now. The engine drops what is planned against it.
    pub fn may_fetch(&self) -> bool {
        self.origin.allowed && self.now >= self.origin.quiet_until
    }

    /// Whether all but what a player is about to miss waits until it is known what neighbours hold. A download does not: it can
    /// use any piece, and those it begins with are others than its neighbours'.
    pub fn waits(&self) -> bool {
        self.awaits_company && !self.whole
    }

    /// Nodes that compete for the origin: this one, and neighbours still downloading.
    pub fn downloaders(&self) -> u64 {
        1 + self.neighbours.iter().filter(|n| !n.complete).count() as u64
    }

    /// What the origin would give this node if nobody had peers: its capacity shared by all downloaders, as far as the node's own
    /// bound lets it through.
    pub fn fair_share(&self) -> u64 {
        (self.origin.capacity / self.downloaders()).min(self.limit.0)
    }

    /// Whether the node bounds what it takes in.
    pub fn is_limited(&self) -> bool {
        !self.limit.is_unlimited()
    }
}
