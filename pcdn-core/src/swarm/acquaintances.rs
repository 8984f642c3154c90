//! The peers a swarm knows: who told of them, what became of them, whom to dial next. Pure bookkeeping.
//!
//! A peer is *proven* once a handshake with it was finished, and only *heard* of before. Everything here is about keeping
//! what was heard from doing harm: an id and its signature cost nothing to make, so a neighbour can tell of any number of
//! peers that are not there. Therefore
//!
//! * a teller is believed as far as it was right. What it tells waits in its own short line, neither passed on nor counted;
//!   one of it is dialled, and each that turns out to be there earns the teller two more that are taken on its word alone.
//!   It is only right about what it answers for, that is what nobody else had told before: a liar that repeats what all say,
//!   to be believed the rest, gains nothing by that,
//! * what two tellers say that were right once and never wrong is taken, too; with the first lie of one it is in line again,
//! * of what is heard, one teller has a fifth at most, one /24 or /48 two, one /16 or /32 a quarter. Addresses in private
//!   networks and on this machine are exempt: whoever may tell of them is in there too,
//! * one teller gets a third of the dials while others have someone to offer, and every new teller is tried first; with all
//!   places taken it is tried in passing, by a handshake and a goodbye, and so in time is everybody who is only heard of,
//! * links are kept for peers that discovery found ([`order::Reserve`]) and for some drawn evenly, whatever neighbours say.
//!
//! So who surrounds a node has to answer for it with peers that are there, and never decides alone whom it meets.

mod fate;
mod hearsay;
mod known;
pub(super) mod order;
mod teller;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use crate::dice::Dice;
use crate::id::PeerId;
use crate::peer::{Prefix, Reach};
use crate::unit::Time;

use known::{Known, Source, State};
use order::How;
use teller::Teller;

/// Who knows so many wants to hear of no more: several times what is ever linked, for those that have left meanwhile.
pub(super) const ENOUGH: usize = 300;
/// Dials at once (reliability notes: half-open 32 a node; a swarm takes a part).
pub(super) const DIALS: usize = 8;
/// Dials over which a teller's share is measured.
const DIALS_LOOKED_AT: usize = 30;
/// With as many links as are wanted, somebody is tried in passing so often: the tellers of a crowd of 50 within two minutes and a
/// half, 300 that were heard of within a quarter of an hour (Heilman et al. 2015 found two minutes enough to spoil an eclipse of
/// Bitcoin). Every 5 s the least knowing of 200 peers knew a sixth less after a minute.
const TRIAL_EVERY: Duration = Duration::from_secs(3);
/// How many links there are and may be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slots {
    pub(super) linked: usize,
    pub(super) wanted: usize,
    pub(super) most: usize,
}

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Acquaintances {
    me: PeerId,
    heard_max: usize,
    dice: Dice,
    secret: [u8; 32],
    peers: BTreeMap<PeerId, Known>,
    heard: usize,
    tellers: BTreeMap<PeerId, Teller>,
    /// Heard of, by where they are in the world.
    subnets: BTreeMap<Prefix, usize>,
    networks: BTreeMap<Prefix, usize>,
    /// Who alone told of those dialled last.
    dials: VecDeque<Option<PeerId>>,
    next_trial: Time,
    /// Until then nobody is to be dialled unless something happens.
    quiet_until: Time,
}

impl Acquaintances {
    /// Of nobody; `heard_max` bounds those never reached.
    pub(super) fn new(me: PeerId, heard_max: usize, mut dice: Dice) -> Self {
        let mut secret = [0; 32];
        secret.chunks_mut(8).for_each(|part| part.copy_from_slice(&dice.next_u64().to_be_bytes()));
        Self {
            me,
            heard_max,
            dice,
            secret,
            peers: BTreeMap::new(),
            heard: 0,
            tellers: BTreeMap::new(),
            subnets: BTreeMap::new(),
            networks: BTreeMap::new(),
            dials: VecDeque::new(),
            next_trial: Time::ZERO,
            quiet_until: Time::ZERO,
        }
    }

    /// Who is known, proven or heard of: not what waits in a teller's line, nor what of it is being tried.
    pub(super) fn ids(&self) -> impl Iterator<Item = &PeerId> {
        self.peers.iter().filter(|(_, known)| !known.sample).map(|(id, _)| id)
    }

    pub(super) fn len(&self) -> usize {
        self.ids().count()
    }

    /// Whether somebody is being dialled for the first time, to be a neighbour.
    pub(super) fn dials(&self) -> bool {
        self.peers.values().any(|known| known.is_to_stay() && known.is_first_dial())
    }

    pub(super) fn get(&self, peer: &PeerId) -> Option<&Known> {
        self.peers.get(peer)
    }
}

/// Books are kept where peers come and go, and nowhere else.
impl Acquaintances {
    fn stranger(&self, now: Time, id: &PeerId, source: Source) -> Known {
        Known {
            addrs: Vec::new(),
            record: None,
            sources: vec![source],
            state: State::Idle(now),
            tries: 0,
            proven: false,
            seed: false,
            charged: None,
            sample: false,
            how: How::ToStay,
            lot: order::lot(&self.secret, id),
            seen: now,
        }
    }

    fn insert(&mut self, id: PeerId, known: Known) {
        self.book(&known, true);
        self.peers.insert(id, known);
    }

    fn take(&mut self, id: &PeerId) -> Option<Known> {
        let known = self.peers.remove(id)?;
        self.book(&known, false);
        Some(known)
    }

    fn remove(&mut self, id: &PeerId) -> bool {
        self.take(id).is_some()
    }

    fn book(&mut self, known: &Known, comes: bool) {
        self.quiet_until = Time::ZERO;
        let count = |n: &mut usize| *n = if comes { *n + 1 } else { n.saturating_sub(1) };
        if let Some(ledger) = known.charged.and_then(|teller| self.tellers.get_mut(&teller)) {
            count(&mut ledger.kept);
        }
        if known.proven {
            return;
        }
        count(&mut self.heard);
        let Some(home) = known.home().filter(|home| home.reach() == Reach::World) else { return };
        let ip = home.addr.ip();
        for (map, prefix) in
            [(&mut self.subnets, Prefix::subnet(ip)), (&mut self.networks, Prefix::network(ip))]
        {
            let n = map.entry(prefix).or_default();
            count(n);
            if *n == 0 {
                map.remove(&prefix);
            }
        }
    }
}
