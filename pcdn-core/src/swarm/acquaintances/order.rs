//! Whom to dial next.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use super::known::{Known, State};
use super::teller::Mood;
use super::{Acquaintances, DIALS, DIALS_LOOKED_AT, Slots, TRIAL_EVERY, TRIAL_WARY};
use crate::id::PeerId;
use crate::peer::{PeerAddr, PeerRecord, Prefix, Reach, SignedRecord};
use crate::unit::Time;

/// Round trip assumed of a network in which nobody is linked: across a country.
const RTT_GUESS: Duration = Duration::from_millis(64);

/// Whether somebody's time to be dialled has come is looked for so often, and when something happens.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Links kept for peers that neighbours did not choose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::swarm) struct Reserve {
    /// For peers that discovery found: 4 of 30.
    found: usize,
    /// For peers drawn evenly from all that are known: 2 of 30.
    drawn: usize,
}

impl Reserve {
    fn of(wanted: usize) -> Self {
        Self { found: (wanted / 4).min(4), drawn: (wanted / 12).min(2) }
    }
}

/// For what a peer is dialled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::swarm) enum How {
    /// To be a neighbour.
    ToStay,
    /// The same, drawn evenly.
    Drawn,
    /// Only to see whether it is there: no place is free.
    InPassing,
}

/// Where this node is, as far as it knows, and how far other networks are from it.
#[derive(Clone, Debug, Default)]
pub(in crate::swarm) struct Here {
    /// Its addresses, as it or others see them.
    pub(in crate::swarm) ips: Vec<IpAddr>,
    /// Shortest round trip to a neighbour in each network.
    pub(in crate::swarm) rtts: BTreeMap<Prefix, Duration>,
}

/// How near a peer is taken to be, nearest first. What crosses no border costs nobody anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::swarm) enum Nearness {
    /// In the same local network: the address is private, or the public one is this node's own.
    Lan,
    /// In the same /16 or /32, log2 of the round trip there in milliseconds.
    Network(u32),
    /// Elsewhere, log2 of the round trip to its network in milliseconds.
    World(u32),
}

impl Here {
    /// Where `addr` is from here.
    pub(in crate::swarm) fn nearness(&self, addr: &PeerAddr) -> Nearness {
        let ip = addr.addr.ip();
        if addr.reach() != Reach::World || self.ips.contains(&ip) {
            return Nearness::Lan;
        }
        let network = Prefix::network(ip);
        let rtt = self.rtts.get(&network).copied().unwrap_or(RTT_GUESS);
        // In powers of two: peers a few milliseconds apart are equally near.
        let step = (rtt.as_millis() as u64).max(1).ilog2();
        match self.ips.iter().any(|own| Prefix::network(*own) == network) {
            true => Nearness::Network(step),
            false => Nearness::World(step),
        }
    }
}

/// A peer's place among equals.
pub(super) fn lot(secret: &[u8; 32], peer: &PeerId) -> u64 {
    let hash = blake3::keyed_hash(secret, &peer.0);
    let mut lot = [0; 8];
    lot.copy_from_slice(&hash.as_bytes()[..8]);
    u64::from_be_bytes(lot)
}

impl Acquaintances {
    /// Links that neighbours and strangers leave free, as long as there is somebody whom discovery found to take them.
    pub(in crate::swarm) fn reserved(&self, wanted: usize) -> usize {
        let found = Reserve::of(wanted).found;
        let (busy, idle) = self.peers.values().filter(|known| known.is_found() && known.tries == 0).fold(
            (0, 0),
            |(busy, idle), known| match known.state {
                State::Linked => (busy + 1, idle),
                _ => (busy, idle + 1),
            },
        );
        found.saturating_sub(busy).min(idle)
    }

    /// Whether there may be a place and somebody to dial.
    pub(in crate::swarm) fn may_dial(&mut self, now: Time, slots: Slots) -> bool {
        let may = now >= self.quiet_until && self.has_somebody(now, slots);
        if !may && now >= self.quiet_until {
            self.quiet_until = now + LOOK_EVERY;
        }
        may
    }

    fn has_somebody(&self, now: Time, slots: Slots) -> bool {
        let any =
            |of: &dyn Fn(&Known) -> bool| self.peers.values().any(|known| known.is_due(now) && of(known));
        let short = slots.linked < slots.wanted;
        let place = slots.linked < slots.most && (short || self.reserved(slots.wanted) > 0);
        let trial = now >= self.next_trial;
        place && any(&|_| true)
            || trial && any(&Known::is_untried)
            || (short || trial) && self.tellers.values().any(|of| of.may_be_tried(now, self.mood))
    }

    /// Dials up to so many that `slots` fill up: see the [module](super) for the order.
    pub(in crate::swarm) fn dial(&mut self, now: Time, slots: Slots, here: &Here) -> Vec<PeerRecord> {
        let dialling = self.peers.values().filter(|known| known.state == State::Dialling).count();
        let mut room = DIALS.saturating_sub(dialling);
        let mut places = self.places(now, slots);
        let mut ready = self.ready(now, here);
        let mut out = Vec::new();
        while room > 0
            && let Some((at, how)) = self.pick(&ready, &places)
        {
            let chosen = ready.swap_remove(at);
            places.take(chosen.found, how);
            if how == How::InPassing {
                self.next_trial = now + self.trial_every();
            }
            if let Some(record) = self.begin(now, chosen, how) {
                out.push(record);
                room -= 1;
            }
        }
        if out.is_empty() {
            self.quiet_until = now + LOOK_EVERY;
        }
        if places.trial && places.open <= places.found {
            // Nobody to try now: that is not looked for at every tick.
            self.next_trial = now + self.trial_every();
        }
        out
    }

    fn trial_every(&self) -> Duration {
        match self.mood {
            Mood::Trusting => TRIAL_EVERY,
            Mood::Wary => TRIAL_WARY,
        }
    }

    fn places(&self, now: Time, slots: Slots) -> Places {
        let reserve = Reserve::of(slots.wanted);
        let busy = |of: &dyn Fn(&Known) -> bool| self.peers.values().filter(|k| k.busy() && of(k)).count();
        let most = slots.most.saturating_sub(slots.linked);
        Places {
            open: slots.wanted.saturating_sub(slots.linked).min(most),
            found: reserve.found.saturating_sub(busy(&|known| known.is_found())).min(most),
            drawn: reserve.drawn.saturating_sub(busy(&|known| known.how == How::Drawn)),
            trial: now >= self.next_trial,
        }
    }

    /// The next of `ready`, and how it is dialled.
    fn pick(&mut self, ready: &[Candidate], places: &Places) -> Option<(usize, How)> {
        if ready.is_empty() {
            return None;
        }
        let free = places.open > places.found;
        if free && places.drawn > 0 {
            return Some((self.dice.below(ready.len() as u64) as usize, How::Drawn));
        }
        let best = |fits: &dyn Fn(&Candidate) -> bool| {
            let fitting = ready.iter().enumerate().filter(|(_, candidate)| fits(candidate));
            fitting.min_by_key(|(_, candidate)| self.rank(candidate)).map(|(at, _)| at)
        };
        // Whoever is only looked at need not be near.
        let doubtful = || {
            let fitting = ready.iter().enumerate().filter(|(_, candidate)| candidate.untried);
            let order = |of: &Candidate| (of.sample.is_none(), Reverse(of.weight), of.lot);
            fitting.min_by_key(|(_, candidate)| order(candidate)).map(|(at, _)| at)
        };
        // On the last places, and beyond what is wanted, only those that discovery found; others on trial take none.
        let kept = || best(&|of| free || of.found && places.found > 0).map(|at| (at, How::ToStay));
        kept().or_else(|| doubtful().filter(|_| places.trial).map(|at| (at, How::InPassing)))
    }

    fn begin(&mut self, now: Time, chosen: Candidate, how: How) -> Option<PeerRecord> {
        if let (Some(record), Some(teller)) = (chosen.sample, chosen.teller)
            && !self.draw_sample(now, teller, record)
        {
            return None;
        }
        let known = self.peers.get_mut(&chosen.id)?;
        (known.state, known.how) = (State::Dialling, how);
        let record = known.to_record(chosen.id);
        self.dials.push_back(chosen.teller);
        if self.dials.len() > DIALS_LOOKED_AT {
            self.dials.pop_front();
        }
        Some(record)
    }

    fn ready(&mut self, now: Time, here: &Here) -> Vec<Candidate> {
        let joint = self.joint();
        // How much hangs on a word, by how often it was right.
        let weight = |teller: PeerId| {
            let Some(ledger) = self.tellers.get(&teller) else { return 0 };
            let hangs = ledger.kept + joint.get(&teller).copied().unwrap_or(0);
            (16 * hangs as u32).checked_div(ledger.right() + 1).unwrap_or(0)
        };
        let candidate = |(id, known): (&PeerId, &Known)| {
            Some(Candidate {
                weight: known.tellers().map(weight).max().unwrap_or(0),
                id: *id,
                found: known.is_found(),
                teller: known.only_teller(),
                near: here.nearness(&known.home()?),
                lot: known.lot,
                untried: known.is_untried(),
                sample: None,
            })
        };
        let mut ready: Vec<Candidate> =
            self.peers.iter().filter(|(_, known)| known.is_due(now)).filter_map(candidate).collect();
        let secret = self.secret;
        ready.extend(self.samples(now).into_iter().map(|(teller, record)| Candidate {
            weight: 0,
            id: record.id(),
            found: false,
            teller: Some(teller),
            near: here.nearness(&record.facts().addrs[0]),
            lot: lot(&secret, &record.id()),
            untried: true,
            sample: Some(record),
        }));
        ready
    }

    /// Smallest first.
    fn rank(&self, of: &Candidate) -> (bool, bool, Nearness, u64) {
        let share = self.dials.iter().filter(|by| by.is_some() && **by == of.teller).count();
        let much = share * 3 > self.dials.len().max(3);
        (much, of.sample.is_none(), of.near, of.lot)
    }
}

/// Places to be filled by dialling.
struct Places {
    open: usize,
    found: usize,
    drawn: usize,
    trial: bool,
}

impl Places {
    fn take(&mut self, found: bool, how: How) {
        if how == How::InPassing {
            return self.trial = false;
        }
        self.open = self.open.saturating_sub(1);
        self.found = self.found.saturating_sub(usize::from(found));
        self.drawn = self.drawn.saturating_sub(usize::from(how == How::Drawn));
    }
}

struct Candidate {
    id: PeerId,
    found: bool,
    teller: Option<PeerId>,
    near: Nearness,
    lot: u64,
    /// How much hangs on the words it is known by.
    weight: u32,
    /// Nobody here has seen it yet.
    untried: bool,
    /// Not heard of yet but by this record, of a teller on trial.
    sample: Option<SignedRecord>,
}
