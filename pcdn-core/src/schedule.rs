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
mod plan;
pub mod rescue;
pub mod sequential;
mod slots;
mod view;

use std::fmt::Debug;

use serde::{Deserialize, Serialize};

use crate::dice::Dice;
use crate::id::PeerId;

pub use hybrid::Hybrid;
pub use origin_only::OriginOnly;
pub use plan::{Plan, Step};
pub use sequential::Sequential;
pub use slots::SlotSet;
pub use view::{Flight, Neighbour, OriginRun, OriginView, Piece, View};

/// Decides what to fetch from whom.
#[cfg_attr(any(test, feature = "mock"), mockall::automock)]
pub trait Scheduler: Send + Debug {
    /// Looks at `view` and adds to `plan` what shall begin or end now. What is under way goes on by itself.
    fn plan<'v>(&mut self, view: &View<'v>, dice: &mut Dice, plan: &mut Plan);
}

/// A piece's position in [`View::pieces`]: dense, in the order in which segments were cut. Stable while the swarm is open, but
/// for live streams: there all slots move down when old segments leave in front, so a scheduler that remembers pieces from
/// plan to plan remembers their [`PieceKey`](crate::layout::PieceKey).
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
