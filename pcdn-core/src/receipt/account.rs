//! One uploader's week: what it was signed for, by whom, and what of that counts.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::book::Proof;
use super::{NetworkId, Subnet, Tally};
use crate::id::PeerId;

/// The window in which shares are measured, in minutes: a week has its quiet days and its busy ones.
pub(super) const WINDOW: u32 = 7 * 24 * 60;

/// Of an uploader's window, one downloader counts for no more than a fiftieth, one subnet for a tenth, one network for three
/// tenths (notes on roles, section 5): a friend, a rack and a provider cannot make a reputation.
const PAIR_DIVISOR: u64 = 50;
const SUBNET_DIVISOR: u64 = 10;
const NETWORK_TENTHS: u64 = 3;
/// A key that nobody vouches for costs nothing to make: for rank it counts a tenth, for money nothing.
const UNPROVEN_DIVISOR: u64 = 10;
/// Downloaders of one uploader in a window: fifty reach full credit; more only refine it, and 4,096 take 0.5 MB.
const PAIRS_MAX: usize = 4_096;

/// What an uploader has earned in one window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Earned {
    /// Bytes receipted and possible, before the bounds on shares.
    pub bytes: u64,
    /// Of them, those that count for money.
    pub money: u64,
    /// Those that count for rank.
    pub rank: u64,
    /// Pieces receipted.
    pub pieces: u64,
    /// Of them, the bad ones.
    pub bad: u64,
    /// Downloaders that signed.
    pub downloaders: u32,
}

/// More for a superpeer, in quarters: 1.25 (notes on roles, section 5).
const SUPERPEER_QUARTERS: u64 = 5;

impl Earned {
    /// Credit in bytes: `scarcity` per mille is the rate of the region (1,000 where peers abound), a superpeer gets a quarter
    /// more.
    pub fn credit(&self, scarcity_permille: u32, superpeer: bool) -> u64 {
        let quarters = if superpeer { SUPERPEER_QUARTERS } else { 4 };
        let credit = u128::from(self.money) * u128::from(scarcity_permille) * u128::from(quarters) / 4_000;
        u64::try_from(credit).unwrap_or(u64::MAX)
    }
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Account {
    week: u32,
    pairs: BTreeMap<PeerId, Pair>,
    /// What the week before came to.
    before: Option<(u32, Earned)>,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Pair {
    tally: Tally,
    subnet: Subnet,
    network: NetworkId,
    proof: Proof,
}

impl Account {
    /// Whether one more downloader may be entered.
    pub(super) fn takes(&self, week: u32, down: &PeerId) -> bool {
        week != self.week || self.pairs.contains_key(down) || self.pairs.len() < PAIRS_MAX
    }

    pub(super) fn add(
        &mut self,
        week: u32,
        down: PeerId,
        tally: Tally,
        place: (Subnet, NetworkId),
        proof: Proof,
    ) {
        self.turn(week);
        let (subnet, network) = place;
        let pair = self.pairs.entry(down).or_insert(Pair { tally: Tally::default(), subnet, network, proof });
        pair.tally.bytes = pair.tally.bytes.saturating_add(tally.bytes);
        pair.tally.pieces = pair.tally.pieces.saturating_add(tally.pieces);
        pair.tally.bad = pair.tally.bad.saturating_add(tally.bad);
        (pair.subnet, pair.network, pair.proof) = (subnet, network, proof);
    }

    /// A new week begins; the old one is closed and kept as a sum.
    fn turn(&mut self, week: u32) {
        if week <= self.week {
            return;
        }
        if !self.pairs.is_empty() {
            self.before = Some((self.week, self.sum()));
        }
        self.pairs.clear();
        self.week = week;
    }

    /// The last week anything was entered in.
    pub(super) fn week(&self) -> u32 {
        self.week
    }

    /// What was earned in `week`, if it is this one or the one before.
    pub(super) fn earned(&self, week: u32) -> Option<Earned> {
        match self.before {
            _ if week == self.week && !self.pairs.is_empty() => Some(self.sum()),
            Some((before, earned)) if before == week => Some(earned),
            _ => None,
        }
    }

    fn sum(&self) -> Earned {
        let all = self.pairs.values();
        let of = |proof: Option<Proof>| {
            all.clone().filter(|pair| proof.is_none_or(|proof| pair.proof == proof)).copied().collect()
        };
        let (proven, unproven): (Vec<Pair>, Vec<Pair>) = (of(Some(Proof::Token)), of(Some(Proof::Key)));
        let money = capped(&proven);
        Earned {
            bytes: all.clone().map(|pair| pair.tally.bytes).sum(),
            money,
            rank: money + capped(&unproven) / UNPROVEN_DIVISOR,
            pieces: all.clone().map(|pair| u64::from(pair.tally.pieces)).sum(),
            bad: all.clone().map(|pair| u64::from(pair.tally.bad)).sum(),
            downloaders: self.pairs.len() as u32,
        }
    }
}

/// What counts of `pairs` after the bounds on shares, measured against all of them.
fn capped(pairs: &[Pair]) -> u64 {
    let total: u64 = pairs.iter().map(|pair| pair.tally.bytes).sum();
    let mut subnets: BTreeMap<(NetworkId, Subnet), u64> = BTreeMap::new();
    for pair in pairs {
        *subnets.entry((pair.network, pair.subnet)).or_default() +=
            pair.tally.bytes.min(total / PAIR_DIVISOR);
    }
    let mut networks: BTreeMap<Option<NetworkId>, u64> = BTreeMap::new();
    for ((network, _), bytes) in subnets {
        // Unknown networks are one: who is in no table must not gain by it.
        *networks.entry(Some(network)).or_default() += bytes.min(total / SUBNET_DIVISOR);
    }
    networks.into_values().map(|bytes| bytes.min(total / 10 * NETWORK_TENTHS)).sum()
}
