//! Peer exchange: neighbours tell one another whom they have links to, until everybody knows nearly everybody.
//!
//! A message is a difference to what that neighbour was told before: at most 20 added, 20 dropped. It is sent 5 s after the
//! link came up, then every 30 s (in a live stream 10 s), ± 20 %, and only while the other says that it is hungry, that is
//! knows fewer than 300. One round fills that in a large swarm; more would buy nothing.
//!
//! Told of are only peers with a link now, in the record that they signed themselves ([`SignedRecord`]), first those that
//! gave or took a piece in the last five minutes: half by what they seem to have to spare, half by how fast they serve this
//! node. Those that did not are told of after them and not left out: in a swarm at rest nobody moves a piece, and who comes
//! then must find the others, too.
//!
//! What comes in is counted: who sends more often than the rules allow, or one record that its peer did not sign, is
//! listened to no more ([`Acquaintances::mute`](super::acquaintances::Acquaintances::mute)). What is made of the rest is the
//! business of [`acquaintances`](super::acquaintances).

mod meeting;
mod partner;
mod search;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::Duration;

use super::acquaintances::{Acquaintances, ENOUGH};
use super::links::Side;
use super::whereabouts::{Whereabouts, is_where_seen};
use super::{Swarm, SwarmSetup};
use crate::dice::Dice;
use crate::id::PeerId;
use crate::peer::{Appearance, Facts, PeerAddr, PeerRecord, Reach, SignedRecord};
use crate::schedule::{Handle, Neighbour};
use crate::unit::Time;
use crate::wire::{Message, PEERS_MAX};

use partner::Partner;

/// First exchange on a new link, and the pause between two, each ± 20 %.
const FIRST: Duration = Duration::from_secs(5);
const EVERY: Duration = Duration::from_secs(30);
/// The same in a stream: what is watched together is short.
const EVERY_STREAM: Duration = Duration::from_secs(10);
/// A neighbour that moved a piece so lately is told of before others.
const ACTIVE: Duration = Duration::from_secs(300);
/// What has ended is looked for so often.
const SWEEP_EVERY: Duration = Duration::from_secs(30);

#[derive(Debug)]
pub(super) struct Exchange {
    dice: Dice,
    pub(super) known: Acquaintances,
    whereabouts: Whereabouts,
    partners: BTreeMap<Handle, Partner>,
    dials: meeting::Dials,
    every: Duration,
    /// Own records may have changed since neighbours were told.
    own_news: bool,
    next_find: Time,
    next_sweep: Time,
}

impl Exchange {
    pub(super) fn new(setup: &SwarmSetup, now: Time, mut dice: Dice) -> Self {
        let known = Acquaintances::new(
            setup.identity.peer_id(),
            setup.limits.known_peers,
            dice.fork("acquaintances"),
        );
        Self {
            known,
            whereabouts: Whereabouts::new(setup.addrs.clone()),
            partners: BTreeMap::new(),
            dials: meeting::Dials::default(),
            every: if setup.stream || setup.follow { EVERY_STREAM } else { EVERY },
            own_news: false,
            next_find: now,
            next_sweep: now + SWEEP_EVERY,
            dice,
        }
    }

    fn pause(&mut self, of: Duration) -> Duration {
        of.mul_f64(0.8 + 0.4 * self.dice.unit())
    }

    fn hungry(&self) -> bool {
        self.known.len() < ENOUGH
    }
}

/// From how near a neighbour is seen. Without an address it is taken to be far.
fn near(side: &Side) -> Reach {
    reach_of(side.remote)
}

fn reach_of(remote: Option<PeerAddr>) -> Reach {
    remote.map_or(Reach::World, |remote| remote.reach())
}

/// Links come and go.
impl Swarm {
    pub(super) fn exchange_with(&mut self, now: Time, link: Handle, peer: PeerId) {
        self.exchange.known.reached(now, &peer);
        let first = now + self.exchange.pause(FIRST);
        self.exchange.partners.insert(link, Partner::new(now, first, self.exchange.every));
        self.exchange.own_news = true;
    }

    pub(super) fn exchange_no_more(&mut self, now: Time, link: Handle, peer: &PeerId) {
        self.exchange.partners.remove(&link);
        self.exchange.whereabouts.forget(peer);
        self.exchange.known.left(now, peer);
    }

    /// Whether there is no place for a link to this peer: all are taken, or kept for others.
    pub(super) fn is_too_many(&self, peer: &PeerId) -> bool {
        let limits = self.setup.limits;
        let (asked_for, in_passing) = match self.exchange.known.get(peer) {
            Some(known) => (known.is_to_stay(), known.is_dialled() && !known.is_to_stay()),
            None => (false, false),
        };
        let kept = if asked_for { 0 } else { self.exchange.known.reserved(limits.neighbours_wanted) };
        in_passing || self.links.len() + kept >= limits.neighbours
    }

    /// A link is refused. If this node dialled, it has learned that the peer is there; if the peer did, it is told of others
    /// that may have a place: whoever knows only one node must not be lost because that one is full.
    pub(super) fn met_in_passing(
        &mut self,
        now: Time,
        link: Handle,
        peer: &PeerId,
        remote: Option<PeerAddr>,
    ) {
        if self.exchange.known.get(peer).is_some_and(|known| known.is_dialled()) {
            self.exchange.known.reached(now, peer);
            self.exchange.known.left(now, peer);
        } else if self.links.len() >= self.setup.limits.neighbours_wanted {
            let lot = self.exchange.dice.fork("refused");
            let mut added = self.offer(now, peer, reach_of(remote), lot);
            added.truncate(PEERS_MAX);
            let hungry = self.exchange.hungry();
            self.tell(link, Message::Peers { hungry, added, dropped: Vec::new() });
        }
    }
}

/// What comes in.
impl Swarm {
    pub(super) fn hello_came(
        &mut self,
        now: Time,
        link: Handle,
        ports: Vec<(crate::peer::Scheme, u16)>,
        appears: Option<PeerAddr>,
    ) {
        let Some(peer) = self.links.peer_of(link) else { return };
        let Some(side) = self.links.side_mut(link) else { return };
        side.greeted = true;
        side.ports = ports;
        let Some(remote) = side.remote else { return };
        let at = |(scheme, port): &(crate::peer::Scheme, u16)| PeerAddr {
            scheme: *scheme,
            addr: std::net::SocketAddr::new(remote.addr.ip(), *port),
        };
        let addrs: Vec<PeerAddr> = side.ports.iter().map(at).collect();
        self.exchange.known.met(now, peer, addrs);
        if let Some(addr) = appears {
            self.exchange.whereabouts.seen(peer, remote, addr);
            self.exchange.own_news = true;
        }
    }

    /// A neighbour's own record: it is kept to be passed on.
    pub(super) fn record_came(&mut self, now: Time, link: Handle, record: SignedRecord) {
        let Some((peer, near)) = self.heard_of(link) else { return };
        let Some(partner) = self.exchange.partners.get_mut(&link) else { return };
        if record.id() != peer || record.reach() < near || !partner.may_renew(now) {
            return;
        }
        match record.verified(&self.setup.key) {
            Some(record) => self.exchange.known.renew(record),
            None => self.exchange.known.mute(now, peer),
        }
    }

    pub(super) fn peers_came(
        &mut self,
        now: Time,
        link: Handle,
        hungry: bool,
        added: Vec<SignedRecord>,
        dropped: &[PeerId],
    ) {
        let Some((teller, near)) = self.heard_of(link) else { return };
        let Some(partner) = self.exchange.partners.get_mut(&link) else { return };
        partner.hungry = hungry;
        if self.exchange.known.is_muted(now, &teller) {
            return;
        }
        if !partner.may_tell(now) {
            return self.exchange.known.mute(now, teller);
        }
        self.exchange.known.untold(teller, dropped);
        let now_ms = self.unix_ms(now);
        for record in added {
            if record.id() == self.me || self.proof.is_banned(&record.id()) {
                continue;
            }
            let Some(record) = record.verified(&self.setup.key) else {
                return self.exchange.known.mute(now, teller);
            };
            self.exchange.known.told(now, now_ms, teller, near, record);
        }
        self.look_for_peers(now);
    }

    fn heard_of(&self, link: Handle) -> Option<(PeerId, Reach)> {
        Some((self.links.peer_of(link)?, near(self.links.side(link)?)))
    }

    pub(super) fn found(&mut self, now: Time, records: Vec<PeerRecord>) {
        for record in records {
            if !self.proof.is_banned(&record.id) {
                self.exchange.known.found(now, record);
            }
        }
        self.look_for_peers(now);
    }

    /// The transports found out how this node appears to others.
    pub(super) fn appears(&mut self, appearance: Appearance) {
        self.exchange.whereabouts.found(appearance);
        self.exchange.own_news = true;
    }

    /// The ports that a neighbour seen at `remote` can dial this node at.
    pub(super) fn ports_for(&self, remote: Option<PeerAddr>) -> Vec<(crate::peer::Scheme, u16)> {
        self.exchange.whereabouts.ports(reach_of(remote))
    }

    /// Unix milliseconds.
    fn unix_ms(&self, now: Time) -> u64 {
        self.setup.epoch_s * 1_000 + now.0 / 1_000
    }
}

/// What goes out. Called every tick.
impl Swarm {
    pub(super) fn exchange_peers(&mut self, now: Time) {
        if now >= self.exchange.next_sweep {
            self.exchange.next_sweep = now + SWEEP_EVERY;
            self.exchange.own_news = true;
            let now_ms = self.unix_ms(now);
            self.exchange.known.sweep(now, now_ms);
        }
        if std::mem::take(&mut self.exchange.own_news) {
            self.tell_own_record(now);
        }
        let due = |partner: &Partner| now >= partner.next;
        let due: Vec<Handle> = self
            .exchange
            .partners
            .iter()
            .filter(|(_, partner)| due(partner))
            .map(|(link, _)| *link)
            .collect();
        if due.is_empty() {
            return;
        }
        self.note_activity(now);
        for link in due {
            self.tell_peers(now, link);
        }
    }

    /// Every neighbour has the newest record of this node that is meant for it.
    fn tell_own_record(&mut self, now: Time) {
        let now_ms = self.unix_ms(now);
        let seed = self.is_complete() || !self.setup.take;
        let flags = if seed { Facts::SEED } else { 0 };
        let (key, swarm) = (&self.setup.identity, &self.setup.key);
        let whereabouts = &mut self.exchange.whereabouts;
        let records = [Reach::Machine, Reach::Site, Reach::World]
            .map(|near| whereabouts.record(now, now_ms, near, key, swarm, flags));
        let sides: Vec<(Handle, Reach)> =
            self.links.sides().map(|(neighbour, side)| (neighbour.handle, near(side))).collect();
        for (link, near) in sides {
            let (Some(record), Some(partner)) =
                (&records[near as usize], self.exchange.partners.get_mut(&link))
            else {
                continue;
            };
            if partner.own_told(record) {
                self.tell(link, Message::Record(record.clone()));
            }
        }
    }

    fn note_activity(&mut self, now: Time) {
        for (neighbour, side) in self.links.sides() {
            if let Some(partner) = self.exchange.partners.get_mut(&neighbour.handle) {
                partner.moved(now, side.from + side.to);
            }
        }
    }

    fn tell_peers(&mut self, now: Time, link: Handle) {
        let pause = self.exchange.every;
        let pause = self.exchange.pause(pause);
        let hungry = self.exchange.hungry();
        // Among equals the lot decides, anew for each listener: if all told of the same ones first, those would be overrun.
        let lot = self.exchange.dice.fork("offer");
        let Some((listener, near)) = self.heard_of(link) else { return };
        let offer = self.offer(now, &listener, near, lot);
        let linked = |peer: &PeerId| self.links.link_of(peer).is_some();
        let Some(partner) = self.exchange.partners.get_mut(&link) else { return };
        partner.next = now + pause;
        let (added, dropped) = match partner.hungry {
            true => partner.difference(offer, linked),
            false => Default::default(),
        };
        let news = partner.told_hungry != hungry;
        partner.told_hungry = hungry;
        if news || !added.is_empty() || !dropped.is_empty() {
            self.tell(link, Message::Peers { hungry, added, dropped });
        }
    }

    /// Neighbours that `listener`, seen from so near, may be told of, best first.
    fn offer(&self, now: Time, listener: &PeerId, from: Reach, mut lot: Dice) -> Vec<SignedRecord> {
        let now_ms = self.unix_ms(now);
        let offered = |(neighbour, side): (&Neighbour, &Side)| {
            let record = self.exchange.known.get(&neighbour.peer)?.record.as_ref()?;
            let seen = side.remote.is_none_or(|remote| is_where_seen(record, &remote));
            let told = side.greeted && neighbour.peer != *listener;
            let fit = told && seen && record.reach() >= from && record.holds_at(now_ms);
            let active = self.exchange.partners.get(&neighbour.handle)?.is_active(now);
            let busy = neighbour.quiet_until > now;
            fit.then(|| Offered {
                idle: !active,
                spare: (busy, !neighbour.complete, neighbour.pending),
                rate: neighbour.rate,
                record: record.clone(),
            })
        };
        let (mut by_spare, mut out) =
            (self.links.sides().filter_map(offered).collect::<Vec<_>>(), Vec::<SignedRecord>::new());
        lot.shuffle(&mut by_spare);
        let mut by_rate: Vec<usize> = (0..by_spare.len()).collect();
        by_spare.sort_by_key(|peer| (peer.idle, peer.spare));
        by_rate.sort_by_key(|at| (by_spare[*at].idle, std::cmp::Reverse(by_spare[*at].rate)));
        for (spare, fast) in by_spare.iter().zip(by_rate) {
            for peer in [spare, &by_spare[fast]] {
                if !out.iter().any(|other| other.id() == peer.record.id()) {
                    out.push(peer.record.clone());
                }
            }
        }
        out
    }
}

/// A neighbour as it is weighed against others to be told of.
struct Offered {
    idle: bool,
    /// Not busy, complete, nothing asked of it.
    spare: (bool, bool, u64),
    rate: u64,
    record: SignedRecord,
}
