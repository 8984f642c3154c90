//! What a neighbour told, and how right it was.

use std::time::Duration;

use crate::peer::SignedRecord;
use crate::unit::Time;

/// Peers taken on a teller's word alone for each one that was there. Of 200 peers, a fifth of them hostile, the least knowing one
/// knows 67 to 72 % after a minute, with 3 to 4 % of fakes at worst; with three it was 68 to 76 %, with 5 to 7 % of fakes.
const EARNED: usize = 2;
/// One that was not there takes back so many that were; honest ones are seldom wrong.
const WRONG: u32 = 6;
/// Records waiting of one teller.
pub(super) const WAITING_MAX: usize = 50;
/// A teller is muted if most of its peers are not there, once so many were tried.
const TRIED: u32 = 10;
/// For how long.
const MUTED: Duration = Duration::from_secs(30 * 60);
/// Who was wrong as often as right is given another chance after this, doubling.
const ANOTHER_CHANCE: Duration = Duration::from_secs(60);

/// The books on one neighbour.
#[derive(Debug, Default)]
pub(super) struct Teller {
    /// Peers that are known by its word and not proven.
    pub(super) kept: usize,
    /// What it told beyond what it is believed.
    pub(super) waiting: Vec<SignedRecord>,
    right: u32,
    wrong: u32,
    muted: Option<Time>,
    chance: Time,
}

impl Teller {
    /// How many unproven peers are taken on its word.
    pub(super) fn believed(&self, now: Time) -> usize {
        if self.is_muted(now) {
            return 0;
        }
        EARNED * self.right.saturating_sub(WRONG * self.wrong) as usize
    }

    /// Whether its word counts together with another's.
    pub(super) fn is_sound(&self, now: Time) -> bool {
        self.right > 0 && self.wrong == 0 && !self.is_muted(now)
    }

    /// Whether one of its peers may be dialled to see what its word is worth.
    pub(super) fn may_be_tried(&self, now: Time) -> bool {
        let idle = self.kept == 0 && !self.waiting.is_empty();
        idle && self.believed(now) == 0 && now >= self.chance && !self.is_muted(now)
    }

    pub(super) fn wait(&mut self, now: Time, record: SignedRecord) {
        if self.is_muted(now) {
            return;
        }
        if let Some(old) = self.waiting.iter_mut().find(|old| old.id() == record.id()) {
            if old.facts().seq < record.facts().seq {
                *old = record;
            }
        } else if self.waiting.len() < WAITING_MAX {
            self.waiting.push(record);
        }
    }

    pub(super) fn was_right(&mut self) {
        self.right += 1;
    }

    pub(super) fn was_wrong(&mut self, now: Time) {
        self.wrong += 1;
        self.chance = now + ANOTHER_CHANCE * 2u32.pow(self.wrong.min(10) - 1);
        if self.right + self.wrong >= TRIED && self.wrong > self.right {
            self.mute(now);
        }
    }

    /// Nothing more is taken of it for half an hour; then it starts anew.
    pub(super) fn mute(&mut self, now: Time) {
        self.muted = Some(now + MUTED);
        self.waiting.clear();
        (self.right, self.wrong) = (0, 0);
    }

    pub(super) fn is_muted(&self, now: Time) -> bool {
        self.muted.is_some_and(|until| now < until)
    }

    pub(super) fn is_idle(&self, now: Time) -> bool {
        self.kept == 0 && !self.is_muted(now)
    }
}
