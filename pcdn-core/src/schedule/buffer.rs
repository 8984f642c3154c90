//! Buffer management: in which order pieces are worth having.
//!
//! Files: rarest first. Streams: three zones from the play head. *Urgent* and *near* go by the time they are due, *far* goes
//! rarest first so that viewers at different places have something to give, and beyond the horizon nothing is fetched:
//! a viewer may leave (scheduling notes: 120 s caps the waste).

use std::fmt::Debug;
use std::time::Duration;

use super::{Slot, View, mix};

/// Ranks pieces. Lower is sooner; `None` is not wanted now.
pub trait Buffer: Send + Debug {
    /// The rank of a missing piece.
    fn rank(&self, view: &View<'_>, slot: Slot) -> Option<u64>;
}

/// The default: zones for what is due, rarest first for the rest.
#[derive(Debug, Clone, Copy)]
pub struct Zones {
    /// Breaks ties, so that two nodes do not fetch the same piece first. Any number.
    pub salt: u64,
    /// Up to here a piece is near: by due time.
    pub near: Duration,
    /// Up to here a piece is far: rarest first. Beyond, it is left alone.
    pub horizon: Duration,
}

impl Zones {
    /// Near 30 s, horizon 120 s.
    pub fn new(salt: u64) -> Self {
        Self { salt, near: Duration::from_secs(30), horizon: Duration::from_secs(120) }
    }
}

/// Ranks below this are due times (a century in microseconds is below 2⁵²).
const FAR: u64 = 1 << 62;
/// Pieces from the first missing one on that a download prefers in order: 8 MiB of 64 KiB pieces.
const AHEAD: u32 = 128;
const WHOLE: u64 = FAR | 1 << 61;

impl Buffer for Zones {
    fn rank(&self, view: &View<'_>, slot: Slot) -> Option<u64> {
        let piece = view.piece(slot);
        let rarity = || (u64::from(piece.holders) << 32) | mix(self.salt, u64::from(slot.0)) >> 32;
        if piece.due <= view.now + self.near {
            return Some(piece.due.0.min(FAR - 1));
        }
        if piece.due <= view.now + self.horizon {
            return Some(FAR | rarity());
        }
        // What is next in order and common enough goes with the rare: whoever reads along (a checksum, a file being written)
        // then has little left to do at the end. Not in the first half, where everybody's being at another place is what there
        // is to trade (simulator, `staggered8`: 34 % from the origin in order from the start, 29 % from the half on).
        let late = view.missing_bytes * 2 < view.len;
        let ahead = late && slot.0.wrapping_sub(view.first_missing.0) < AHEAD && piece.holders >= 2;
        let rank = if ahead { 1 << 32 | u64::from(slot.0) } else { rarity() };
        view.whole.then_some(WHOLE | rank)
    }
}
