//! What announces showed of one peer: in which swarms it is, and where it can be dialled.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use pcdn_core::peer::PeerRecord;
use pcdn_core::receipt::{NetworkId, Subnet};
use pcdn_core::superpeer::{Region, Witness};
use pcdn_core::unit::Time;

use super::Announced;
use crate::tracker::wire::InfoHash;

/// Swarms of one peer that are remembered for what it could consume there.
const SWARMS_MAX: usize = 64;
/// Addresses of one peer: its own of each family, and some that others may have announced.
const PLACES_MAX: usize = 4;
/// What a sample of holders has lost comes back after this: as long as a candidate waits between two audits.
const ENTERED_EVERY: Duration = Duration::from_secs(300);

#[derive(Debug)]
pub(super) struct Seen {
    /// Where witnesses reached it; before anyone did, where it was heard from first.
    home: IpAddr,
    places: Vec<Place>,
    /// Since when it is in which swarm, or was.
    swarms: BTreeMap<InfoHash, Time>,
    /// Those of them that it has left.
    left: BTreeSet<InfoHash>,
    proven: bool,
    region: Region,
    /// When all its swarms were entered among the holders.
    entered: Time,
}

/// An address that it announced from.
#[derive(Debug)]
struct Place {
    from: IpAddr,
    record: PeerRecord,
    network: NetworkId,
    at: Time,
    /// When witnesses were sent there.
    tried: Time,
    /// Whether they reached it the last time.
    reached: bool,
}

impl Seen {
    pub(super) fn new(home: IpAddr) -> Self {
        let (places, swarms, left, region) = Default::default();
        Self { home, places, swarms, left, proven: false, region, entered: Time::ZERO }
    }

    pub(super) fn take(&mut self, now: Time, from: IpAddr, announced: &Announced<'_>) {
        let place = Place {
            from,
            record: announced.record.clone(),
            network: announced.network,
            at: now,
            tried: Time::ZERO,
            reached: false,
        };
        if let Some(known) = self.places.iter_mut().find(|place| place.from == from) {
            *known = Place { tried: known.tried, reached: known.reached, ..place };
        } else if self.places.len() < PLACES_MAX {
            self.places.push(place);
        } else {
            let home = self.home;
            let others = self.places.iter_mut().filter(|place| place.from != home && !place.reached);
            if let Some(oldest) = others.min_by_key(|place| place.at) {
                *oldest = place;
            }
        }
        if from == self.home {
            self.region = announced.region;
        }
        self.proven |= announced.proven;
        if from == self.home {
            self.left.extend(announced.left.iter().filter(|swarm| self.swarms.contains_key(swarm)));
            announced.swarms.iter().for_each(|swarm| _ = self.left.remove(swarm));
        }
        for swarm in announced.swarms {
            if self.swarms.len() < SWARMS_MAX || self.swarms.contains_key(swarm) {
                self.swarms.entry(*swarm).or_insert(now);
            }
        }
    }

    pub(super) fn home(&self) -> IpAddr {
        self.home
    }

    pub(super) fn region(&self) -> Region {
        self.region
    }

    pub(super) fn is_proven(&self) -> bool {
        self.proven
    }

    /// Since when it is in a swarm.
    pub(super) fn since(&self, swarm: &InfoHash) -> Option<Time> {
        self.swarms.get(swarm).copied()
    }

    /// Whether all its swarms are to be entered among the holders again.
    pub(super) fn is_entered_again(&mut self, now: Time) -> bool {
        let due = now.since(self.entered) >= ENTERED_EVERY;
        if due {
            self.entered = now;
        }
        due
    }

    /// Where it takes part.
    pub(super) fn swarms(&self) -> impl Iterator<Item = InfoHash> + '_ {
        self.swarms.keys().filter(|swarm| !self.left.contains(*swarm)).copied()
    }

    fn at_home(&self) -> Option<&Place> {
        self.places.iter().find(|place| place.from == self.home)
    }

    /// It as a witness or a candidate: at home, or where it was heard from first.
    pub(super) fn witness(&self) -> Option<Witness> {
        let place = self.at_home().or(self.places.first())?;
        Some(Witness { peer: place.record.id, subnet: Subnet::of(place.from), network: place.network })
    }

    /// Where to dial it next: at home, unless it was not reached there the last time; then elsewhere in turns.
    pub(super) fn dial(&self) -> Option<(IpAddr, &PeerRecord)> {
        let home = self.at_home().filter(|home| home.reached || home.tried == Time::ZERO);
        let place = home.or_else(|| self.places.iter().min_by_key(|place| place.tried))?;
        Some((place.from, &place.record))
    }

    /// Witnesses were sent to an address of it.
    pub(super) fn tried(&mut self, now: Time, at: IpAddr, reached: bool) {
        let Some(place) = self.places.iter_mut().find(|place| place.from == at) else { return };
        (place.tried, place.reached) = (now, reached);
        if reached {
            self.home = at;
        }
    }

    /// Forgets addresses that are not announced any more; false if none is left.
    pub(super) fn lives(&mut self, now: Time, seconds: u64) -> bool {
        self.places.retain(|place| now.since(place.at).as_secs() <= seconds);
        !self.places.is_empty()
    }
}
