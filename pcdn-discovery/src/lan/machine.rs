//! Who is where in the local network: what to send, and what to make of what comes. Pure.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use pcdn_core::dice::Dice;
use pcdn_core::id::{PeerId, SwarmKey};
use pcdn_core::peer::{PeerAddr, PeerRecord, Scheme};
use pcdn_core::unit::Time;

use super::family::{Family, Places, Ports};
use super::wire::{self, Kind, PORTS_MAX, Salt, TAGS_MAX, Word, tag};

/// Announcements are repeated so often, ± 20 %: who came while one was lost is known after that. BEP 14 allows one a minute.
const EVERY: Duration = Duration::from_secs(60);
/// What is heard holds for two and a half of those.
const HOLDS: Duration = Duration::from_secs(150);
/// A new swarm is asked for at once, and again after these: nobody repeats a lost multicast on Wi-Fi.
const ASK_AGAIN: [Duration; 2] = [Duration::from_millis(300), Duration::from_secs(1)];
/// And for whoever looks for peers, so often at most.
const ASK_EVERY: Duration = Duration::from_secs(5);
/// A swarm that somebody looked for without being in it is listened for so long.
const INTEREST: Duration = Duration::from_secs(60);
/// Swarms at most: as many as discoveries remember. Each costs a hash for every datagram that comes.
pub(super) const SWARMS_MAX: usize = 1_024;
/// Peers remembered of each, about 200 bytes each; what is wanted at once is 30.
const PEERS_MAX: usize = 64;
/// Addresses of one peer: a host has a cable and Wi-Fi, and both versions of IP on each.
const ADDRS_MAX: usize = 8;
/// Who asks wants so many answers; with more of them around, each answers by lot.
const ANSWERS_WANTED: f64 = 30.0;
/// Datagrams looked at in a second, and in a burst: 0.1 ms each with all swarms taken.
const HEARD_PER_SECOND: f64 = 100.0;
const HEARD_BURST: f64 = 200.0;

/// What a node says and knows of its local network.
///
/// Contract: one input ([`handle`](Self::handle), [`announce`](Self::announce), [`ask`](Self::ask), …), then
/// [`wake`](Self::wake), whose datagrams go to everybody; then again at [`next_wake`](Self::next_wake).
#[derive(Debug)]
pub(super) struct Machine {
    me: PeerId,
    places: Places,
    swarms: BTreeMap<SwarmKey, Swarm>,
    repeat_at: Time,
    budget: (f64, Time),
}

#[derive(Debug, Default)]
struct Swarm {
    /// Where this node is reached, if it takes part.
    ports: Option<Ports>,
    /// If it does not: until when it listens.
    until: Time,
    /// When to ask next, and how often that was done for this call.
    ask_at: Option<(Time, usize)>,
    asked: Option<Time>,
    goodbye: bool,
    peers: BTreeMap<PeerId, Peer>,
}

#[derive(Debug)]
struct Peer {
    addrs: Vec<PeerAddr>,
    until: Time,
}

impl Machine {
    pub(super) fn new(me: PeerId) -> Self {
        let (swarms, places) = (BTreeMap::new(), Places::default());
        Self { me, places, swarms, repeat_at: Time::NEVER, budget: (HEARD_BURST, Time::ZERO) }
    }

    /// Where this node is now. In a new network all that it announces is asked for again.
    pub(super) fn set_places(&mut self, now: Time, places: Places) {
        if std::mem::replace(&mut self.places, places.clone()) != places {
            let announced = self.swarms.values_mut().filter(|swarm| swarm.ports.is_some() && !swarm.goodbye);
            announced.for_each(|swarm| swarm.ask_at = Some((now, 0)));
        }
    }

    /// This node takes part, and is reached at `ports`. `false` if it takes part in too many swarms.
    pub(super) fn announce(&mut self, now: Time, key: &SwarmKey, mut ports: Ports) -> bool {
        ports.v4.truncate(PORTS_MAX);
        ports.v6.truncate(PORTS_MAX);
        let Some(swarm) = self.swarm(now, key) else { return false };
        if swarm.ports.as_ref() != Some(&ports) {
            (swarm.ports, swarm.goodbye) = (Some(ports), false);
            swarm.ask_at = Some((now, 0));
        }
        self.repeat_at = self.repeat_at.min(now + EVERY);
        true
    }

    /// It does not any more.
    pub(super) fn withdraw(&mut self, now: Time, key: &SwarmKey) {
        if let Some(swarm) = self.swarms.get_mut(key) {
            (swarm.goodbye, swarm.ask_at, swarm.until) = (swarm.ports.is_some(), None, now);
        }
    }

    /// Somebody looks for peers of a swarm.
    pub(super) fn ask(&mut self, now: Time, key: &SwarmKey) {
        let Some(swarm) = self.swarm(now, key) else { return };
        swarm.until = now + INTEREST;
        let lately = swarm.asked.is_some_and(|at| now.since(at) < ASK_EVERY);
        if swarm.ask_at.is_none() && !lately {
            swarm.ask_at = Some((now, ASK_AGAIN.len()));
        }
    }

    /// Who is known to be in it, at most `want`.
    pub(super) fn found(&self, now: Time, key: &SwarmKey, want: usize) -> Vec<PeerRecord> {
        let peers = self.swarms.get(key).into_iter().flat_map(|swarm| &swarm.peers);
        let record =
            |(id, peer): (&PeerId, &Peer)| PeerRecord { id: *id, addrs: peer.addrs.clone(), seed: false };
        peers.filter(|(_, peer)| peer.until > now).take(want).map(record).collect()
    }

    /// Takes a datagram; what is returned goes to its sender.
    pub(super) fn handle(
        &mut self,
        now: Time,
        dice: &mut Dice,
        from: SocketAddr,
        datagram: &[u8],
    ) -> Option<Vec<u8>> {
        let (near, family) = (self.places.hold(from.ip()), Family::of(from.ip()));
        let word = wire::decode(datagram).filter(|word| near && word.id != self.me)?;
        if !self.may_hear(now) {
            return None;
        }
        let addrs: Vec<PeerAddr> = word
            .ports
            .iter()
            .map(|(scheme, port)| PeerAddr {
                scheme: *scheme,
                addr: SocketAddr::new(from.ip().to_canonical(), *port),
            })
            .filter(PeerAddr::is_dialable)
            .collect();
        let (mut ports, mut both) = (Vec::new(), Vec::new());
        let named = |key: &SwarmKey| word.tags.contains(&tag(&word.salt, key));
        for (key, swarm) in self.swarms.iter_mut().filter(|(key, _)| named(key)) {
            match word.kind {
                Kind::Gone => _ = swarm.peers.remove(&word.id),
                Kind::Ask | Kind::Here => swarm.heard(now, word.id, &addrs),
            }
            // Each of a crowd answers seldom enough that all together are not too many.
            let crowd = swarm.peers.len() as f64;
            if let Some(own) = swarm.ports.as_ref().filter(|_| !swarm.goodbye)
                && word.kind == Kind::Ask
                && dice.chance((ANSWERS_WANTED / crowd.max(1.0)).min(1.0))
            {
                ports = own.of(family).to_vec();
                both.push(*key);
            }
        }
        (!both.is_empty()).then(|| self.word(Kind::Here, dice, ports, &both))
    }

    /// When [`wake`](Self::wake) has something to do.
    pub(super) fn next_wake(&self) -> Time {
        let due = |swarm: &Swarm| match (swarm.goodbye, swarm.ask_at) {
            (true, _) => Time::ZERO,
            (_, at) => at.map_or(Time::NEVER, |(at, _)| at),
        };
        self.swarms.values().map(due).min().unwrap_or(Time::NEVER).min(self.repeat_at)
    }

    /// What to tell everybody now, and in which version of IP.
    pub(super) fn wake(&mut self, now: Time, dice: &mut Dice) -> Vec<(Family, Vec<u8>)> {
        let (mut gone, mut asks, mut here) = (Groups::new(), Groups::new(), Groups::new());
        let repeat = now >= self.repeat_at;
        self.swarms.retain(|key, swarm| {
            swarm.peers.retain(|_, peer| peer.until > now);
            if std::mem::take(&mut swarm.goodbye) {
                gone.entry(swarm.ports.take().unwrap_or_default()).or_default().push(*key);
            }
            let ports = swarm.ports.clone().unwrap_or_default();
            if let Some((_, times)) = swarm.ask_at.filter(|(at, _)| *at <= now) {
                swarm.asked = Some(now);
                swarm.ask_at = ASK_AGAIN.get(times).map(|pause| (now + *pause, times + 1));
                asks.entry(ports).or_default().push(*key);
            } else if repeat && swarm.ports.is_some() {
                here.entry(ports).or_default().push(*key);
            }
            swarm.ports.is_some() || swarm.until > now
        });
        if repeat {
            let any = self.swarms.values().any(|swarm| swarm.ports.is_some());
            let pause = EVERY.mul_f64(0.8 + 0.4 * dice.unit());
            self.repeat_at = if any { now + pause } else { Time::NEVER };
        }
        let mut out = Vec::new();
        for (kind, groups) in [(Kind::Gone, gone), (Kind::Ask, asks), (Kind::Here, here)] {
            for (ports, keys) in groups {
                for (family, keys) in
                    self.places.families().flat_map(|f| keys.chunks(TAGS_MAX).map(move |k| (f, k)))
                {
                    out.push((family, self.word(kind, dice, ports.of(family).to_vec(), keys)));
                }
            }
        }
        out
    }

    fn word(&self, kind: Kind, dice: &mut Dice, ports: Vec<(Scheme, u16)>, keys: &[SwarmKey]) -> Vec<u8> {
        let salt: Salt = dice.next_u64().to_be_bytes();
        let tags = keys.iter().take(TAGS_MAX).map(|key| tag(&salt, key)).collect();
        wire::encode(&Word { kind, salt, id: self.me, ports, tags })
    }

    fn swarm(&mut self, now: Time, key: &SwarmKey) -> Option<&mut Swarm> {
        let full = self.swarms.len() >= SWARMS_MAX && !self.swarms.contains_key(key);
        let fresh = || Swarm { until: now + INTEREST, ..Swarm::default() };
        (!full).then(|| self.swarms.entry(*key).or_insert_with(fresh))
    }

    fn may_hear(&mut self, now: Time) -> bool {
        let (left, at) = self.budget;
        let left = (left + now.since(at).as_secs_f64() * HEARD_PER_SECOND).min(HEARD_BURST);
        let may = left >= 1.0;
        self.budget = (if may { left - 1.0 } else { left }, now);
        may
    }
}

/// Swarms by the ports this node is reached at in them: mostly one group.
type Groups = BTreeMap<Ports, Vec<SwarmKey>>;

impl Swarm {
    fn heard(&mut self, now: Time, id: PeerId, addrs: &[PeerAddr]) {
        if addrs.is_empty() {
            return;
        }
        if self.peers.len() >= PEERS_MAX && !self.peers.contains_key(&id) {
            // Whoever was not heard for longest is the likeliest to be gone.
            let oldest = self.peers.iter().min_by_key(|(_, peer)| peer.until).map(|(id, _)| *id);
            oldest.map(|oldest| self.peers.remove(&oldest));
        }
        let peer = self.peers.entry(id).or_insert_with(|| Peer { addrs: Vec::new(), until: now });
        // The newest first: a peer that comes back has other ports.
        peer.addrs.retain(|addr| !addrs.contains(addr));
        peer.addrs.splice(0..0, addrs.iter().copied());
        peer.addrs.truncate(ADDRS_MAX);
        peer.until = now + HOLDS;
    }
}

#[cfg(test)]
mod tests;
