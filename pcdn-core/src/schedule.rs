//! Seam 5: which piece, from whom, when.
//!
//! A [`Scheduler`] is called after every material change and on every tick (200 ms). It looks at a [`View`] and fills a
//! [`Plan`]. It is pure: the time and the dice are given, it keeps no handle to anything, and the engine checks what it
//! plans, so a bad scheduler can be slow and never wrong. One scheduler serves one swarm.
//!
//! [`Hybrid`] is the default, built of three replaceable modules ([`buffer`], [`phase`], [`assign`]). [`Sequential`] and
//! [`OriginOnly`] are for reading and as baselines.
//!
//! The smallest one that uses peers:
//!
//! ```
//! use pcdn_core::dice::Dice;
//! use pcdn_core::schedule::*;
//!
//! /// Asks whoever has a piece for it, one piece at a time; the origin gives what nobody has.
//! #[derive(Debug)]
//! struct Lazy;
//! impl Scheduler for Lazy {
//!     fn plan<'v>(&mut self, view: &View<'v>, _: &mut Dice, plan: &mut Plan) {
//!         let Some(slot) = view.missing().find(|slot| !view.piece(*slot).under_way()) else { return };
//!         let ready = |n: &&Neighbour| n.flights == 0 && n.failures < 3 && n.quiet_until <= view.now;
//!         match view.neighbours.iter().filter(ready).find(|n| view.piece(slot).provable && n.gives(slot)) {
//!             Some(neighbour) => plan.ask(slot, neighbour.handle, pcdn_core::transport::Class::Normal),
//!             None if view.may_fetch() => plan.fetch(slot, 1),
//!             None => {}
//!         }
//!     }
//! }
//! ```

pub mod assign;
pub mod buffer;
pub mod duty;
pub mod hybrid;
pub mod origin_only;
pub mod phase;
pub mod rescue;
pub mod sequential;

use std::fmt::Debug;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::dice::Dice;
use crate::id::PeerId;
use crate::layout::{PieceIndex, PieceKey, SegmentId};
use crate::transport::Class;
use crate::unit::{Rate, Time};

pub use hybrid::Hybrid;
pub use origin_only::OriginOnly;
pub use sequential::Sequential;

/// Decides what to fetch from whom.
#[cfg_attr(any(test, feature = "mock"), mockall::automock)]
pub trait Scheduler: Send + Debug {
    /// Looks at `view` and adds to `plan` what shall begin or end now. What is under way goes on by itself.
    fn plan<'v>(&mut self, view: &View<'v>, dice: &mut Dice, plan: &mut Plan);
}

/// A piece's position in [`View::pieces`]: dense, in the order in which segments were cut. Stable while the swarm is open, but
/// for live streams: there all slots move down when old segments leave in front, so a scheduler that remembers pieces from
/// plan to plan remembers their [`PieceKey`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot(pub u32);

impl Slot {
    /// The same piece after `count` slots in front are gone.
    pub(crate) fn down(self, count: u32) -> Self {
        Self(self.0.saturating_sub(count))
    }
}

/// A neighbour's position in the engine's table; stable while the link is up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Handle(pub u32);

/// How much the origin may be used beyond what the swarm needs from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Policy {
    /// As little as playback allows.
    Cost,
    /// Some, where it shortens the end.
    #[default]
    Balanced,
    /// All it gives.
    Speed,
}

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

/// What shall begin or end now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// In the order the scheduler gave them.
    pub steps: Vec<Step>,
    /// When the scheduler wants to be called again at the latest.
    pub wake: Option<Time>,
}

/// One step of a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Ask a neighbour for a piece.
    Ask {
        /// Which.
        slot: Slot,
        /// Whom.
        from: Handle,
        /// How pressing.
        class: Class,
    },
    /// Fetch a run of pieces from the origin.
    Fetch {
        /// First piece.
        first: Slot,
        /// Pieces.
        count: u32,
    },
    /// Give up a request to a neighbour.
    Drop {
        /// Its number.
        flight: u64,
    },
    /// Cut an origin run short after the pieces already begun.
    Cut {
        /// Its number.
        run: u64,
    },
}

impl Plan {
    /// Asks `from` for `slot`.
    pub fn ask(&mut self, slot: Slot, from: Handle, class: Class) {
        self.steps.push(Step::Ask { slot, from, class });
    }

    /// Fetches `count` pieces from `first` on from the origin. The run ends with its segment, or before the first piece that
    /// is held or being fetched.
    pub fn fetch(&mut self, first: Slot, count: u32) {
        self.steps.push(Step::Fetch { first, count });
    }

    /// Gives up a request.
    pub fn drop_flight(&mut self, flight: u64) {
        self.steps.push(Step::Drop { flight });
    }

    /// Stops an origin run.
    pub fn cut(&mut self, run: u64) {
        self.steps.push(Step::Cut { run });
    }

    /// Wants to be called at `at`.
    pub fn wake_at(&mut self, at: Time) {
        self.wake = Some(self.wake.map_or(at, |wake| wake.min(at)));
    }
}

/// A set of slots, one bit each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SlotSet {
    words: Vec<u64>,
    count: u32,
}

impl SlotSet {
    /// Whether `slot` is in.
    pub fn get(&self, slot: u32) -> bool {
        self.words.get((slot / 64) as usize).is_some_and(|word| word >> (slot % 64) & 1 == 1)
    }

    /// Whether some slot is in both.
    pub fn meets(&self, other: &SlotSet) -> bool {
        self.words.iter().zip(&other.words).any(|(mine, theirs)| mine & theirs != 0)
    }

    /// Adds to `all` what is in both this and `other`.
    pub(crate) fn add_common(&self, other: &SlotSet, all: &mut SlotSet) {
        let common = self.words.iter().zip(&other.words).map(|(mine, theirs)| mine & theirs);
        for (at, word) in common.enumerate().filter(|(_, word)| *word != 0) {
            if all.words.len() <= at {
                all.words.resize(at + 1, 0);
            }
            all.words[at] |= word;
        }
        all.count = all.words.iter().map(|word| word.count_ones()).sum();
    }

    /// What is in, in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        let bits = |(at, word): (usize, &u64)| {
            let mut left = *word;
            std::iter::from_fn(move || {
                let bit = (left != 0).then(|| left.trailing_zeros())?;
                left &= left - 1;
                Some(at as u32 * 64 + bit)
            })
        };
        self.words.iter().enumerate().flat_map(bits)
    }

    /// Puts `slot` in or takes it out; says whether that was news.
    pub fn set(&mut self, slot: u32, held: bool) -> bool {
        if self.get(slot) == held {
            return false;
        }
        let word = (slot / 64) as usize;
        if word >= self.words.len() {
            self.words.resize(word + 1, 0);
        }
        self.words[word] ^= 1 << (slot % 64);
        self.count = if held { self.count + 1 } else { self.count - 1 };
        true
    }

    /// Makes `count` slots from `first` on, at most 64, what `bits` say, the lowest bit first. Returns those that changed.
    pub(crate) fn replace(&mut self, first: u32, count: u32, bits: u64) -> u64 {
        debug_assert!((1..=64).contains(&count));
        let (word, shift) = ((first / 64) as usize, first % 64);
        let words = (first + count).div_ceil(64) as usize;
        if self.words.len() < words {
            self.words.resize(words, 0);
        }
        // Where the slots lie across two words, the second has the upper ones.
        let upper = (shift + count > 64).then_some(word + 1);
        let before = self.words[word] >> shift | upper.map_or(0, |at| self.words[at] << (64 - shift));
        let changed = (before ^ bits) & (u64::MAX >> (64 - count));
        self.words[word] ^= changed << shift;
        if let Some(at) = upper {
            self.words[at] ^= changed >> (64 - shift);
        }
        self.count = self.count + (changed & bits).count_ones() - (changed & !bits).count_ones();
        changed
    }

    /// Drops the first `count` slots, a multiple of 64; all others move down by as many.
    pub(crate) fn drop_front(&mut self, count: u32) {
        debug_assert_eq!(count % 64, 0);
        let words = self.words.len().min(count as usize / 64);
        let gone: u32 = self.words.drain(..words).map(u64::count_ones).sum();
        self.count -= gone;
    }

    /// How many are in.
    pub fn count(&self) -> u32 {
        self.count
    }
}

/// A fixed pseudo-random number for (seed, n): the same on every run, different for every node's seed.
pub(crate) fn mix(seed: u64, n: u64) -> u64 {
    let mut z = seed ^ n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ z >> 31
}

/// The first eight bytes of a peer's id, to seed [`mix`].
pub(crate) fn seed_of(peer: &PeerId) -> u64 {
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&peer.0[..8]);
    u64::from_be_bytes(bytes)
}
