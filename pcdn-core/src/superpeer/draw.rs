//! Who dials a candidate: witnesses drawn by the tracker, never chosen by the candidate and never near it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::evidence::{Evidence, Round};
use super::sighting::Sighting;
use crate::dice::Dice;
use crate::id::PeerId;
use crate::receipt::{NetworkId, Subnet};
use crate::unit::Time;

/// Witnesses of one round, and how many of them must agree (notes on roles, section 5: 3 of 5).
pub(super) const WITNESSES: usize = 5;
pub(super) const AGREED_MIN: usize = 3;
/// A witness has so long to dial and to report.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

/// A peer that could be drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Witness {
    /// Who.
    pub peer: PeerId,
    /// Where its announces come from.
    pub subnet: Subnet,
    /// Whose network that is.
    pub network: NetworkId,
}

/// Five of `pool` at most, by the dice: none of them the candidate, its subnet or its network, no two of one subnet, and of one
/// network that is known `per_network` at most.
pub(super) fn seats(dice: &mut Dice, about: &Witness, pool: &[Witness], per_network: usize) -> Vec<PeerId> {
    let mut order: Vec<&Witness> = pool.iter().collect();
    dice.shuffle(&mut order);
    let mut subnets = BTreeSet::from([about.subnet]);
    let mut networks: BTreeMap<NetworkId, usize> = BTreeMap::new();
    let known = |network: NetworkId| network != NetworkId::default();
    let mut drawn = Vec::with_capacity(WITNESSES);
    for witness in order {
        let near = known(about.network) && witness.network == about.network;
        let of_network = networks.entry(witness.network).or_default();
        let crowded = known(witness.network) && *of_network >= per_network;
        if witness.peer == about.peer || near || crowded || !subnets.insert(witness.subnet) {
            continue;
        }
        *of_network += 1;
        drawn.push(witness.peer);
        if drawn.len() == WITNESSES {
            break;
        }
    }
    drawn
}

pub(super) fn nonce(dice: &mut Dice) -> [u8; 16] {
    let mut nonce = [0; 16];
    nonce[..8].copy_from_slice(&dice.next_u64().to_be_bytes());
    nonce[8..].copy_from_slice(&dice.next_u64().to_be_bytes());
    nonce
}

/// A round of witnesses on its way.
#[derive(Clone, Debug)]
pub struct Draw {
    nonce: [u8; 16],
    about: PeerId,
    until: Time,
    seats: Vec<(PeerId, Option<Sighting>)>,
}

impl Draw {
    /// Draws witnesses for a candidate from `pool`: none of them the candidate, its subnet or its network, and no two of one
    /// subnet. `None` if fewer than three are left.
    pub fn among(now: Time, dice: &mut Dice, about: &Witness, pool: &[Witness]) -> Option<Self> {
        let drawn = seats(dice, about, pool, WITNESSES);
        (drawn.len() >= AGREED_MIN).then(|| Self {
            nonce: nonce(dice),
            about: about.peer,
            until: now + PATIENCE,
            seats: drawn.into_iter().map(|witness| (witness, None)).collect(),
        })
    }

    /// Names this draw; a witness signs it.
    pub fn nonce(&self) -> [u8; 16] {
        self.nonce
    }

    /// Who is to be dialled.
    pub fn about(&self) -> PeerId {
        self.about
    }

    /// Who was drawn and has not reported yet.
    pub fn open(&self) -> impl Iterator<Item = PeerId> + '_ {
        self.seats.iter().filter(|(_, sighting)| sighting.is_none()).map(|(witness, _)| *witness)
    }

    /// A witness reports; false if it was not drawn, reported already, or did not sign this.
    pub fn report(&mut self, sighting: Sighting) -> bool {
        let fits = sighting.draw == self.nonce && sighting.about == self.about;
        let seat = self.seats.iter_mut().find(|(witness, _)| fits && *witness == sighting.witness);
        let Some((_, seat @ None)) = seat else { return false };
        if !sighting.is_signed() {
            return false;
        }
        *seat = Some(sighting);
        true
    }

    /// Whether it can be [closed](Self::close): everyone has reported, or the time is over.
    pub fn is_over(&self, now: Time) -> bool {
        now >= self.until || self.open().next().is_none()
    }

    /// Whether at least three of those that reported reached the candidate.
    pub fn reached(&self) -> bool {
        let reports = self.seats.iter().filter_map(|(_, sighting)| sighting.as_ref());
        reports.filter(|sighting| sighting.reached).count() >= AGREED_MIN
    }

    /// What the round shows: medians of those that reached the candidate. `None` if too few reported either way: a witness
    /// that is gone says nothing of the candidate.
    pub fn close(&self) -> Option<Evidence> {
        let reports = || self.seats.iter().filter_map(|(_, sighting)| sighting.as_ref());
        let reached: Vec<&Sighting> = reports().filter(|sighting| sighting.reached).collect();
        let missed = reports().count() - reached.len();
        if reached.len() < AGREED_MIN && missed < AGREED_MIN {
            return None;
        }
        let median = |of: fn(&Sighting) -> u16| {
            let mut values: Vec<u16> = reached.iter().map(|sighting| of(sighting)).collect();
            values.sort_unstable();
            values.get(values.len() / 2).copied().unwrap_or_default()
        };
        Some(Evidence::round(Round {
            about: self.about,
            reached: self.reached(),
            latency_ms: median(|sighting| sighting.latency_ms),
            lost_permille: median(|sighting| sighting.lost_permille),
        }))
    }

    /// Witnesses whom most others contradict. Not to be drawn again soon.
    pub fn outvoted(&self) -> Vec<PeerId> {
        let reports = || self.seats.iter().filter_map(|(_, sighting)| sighting.as_ref());
        let reached = reports().filter(|sighting| sighting.reached).count();
        let missed = reports().count() - reached;
        let wrong = |sighting: &Sighting| match sighting.reached {
            true => missed >= AGREED_MIN,
            false => reached >= AGREED_MIN,
        };
        reports().filter(|sighting| wrong(sighting)).map(|sighting| sighting.witness).collect()
    }
}
