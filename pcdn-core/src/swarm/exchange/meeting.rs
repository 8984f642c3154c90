//! Peers behind NATs, called together by a neighbour of both.
//!
//! A tracker does that where there is one (see [`crate::wire::meet`]); this is for swarms without, and for those whose tracker
//! has died. A dial that has not succeeded after half a second is told to a neighbour that told of the peer, or else to any. If
//! that one is linked to both, it tells each where it sees the other, and both punch at the same moment.
//!
//! Nobody can say where anybody is: the neighbour tells the addresses at which it has links. So a hostile one alone can aim
//! others at a stranger, at the cost of a message for 30 datagrams of 16 bytes, and it is heard once a second.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{near, reach_of};
use crate::id::PeerId;
use crate::schedule::Handle;
use crate::swarm::{Introduction, Output, Swarm};
use crate::unit::Time;
use crate::wire::Message;
use crate::wire::meet::Token;

/// A dial is left alone so long: a tracker that can help has done so by then.
const PATIENCE: Duration = Duration::from_millis(500);
/// The next neighbour is asked after this: two round trips to the one before, and one between the two that meet.
const AGAIN: Duration = Duration::from_millis(800);
/// Neighbours asked for one dial.
const ASKED_MAX: usize = 3;
/// How long one side may have to wait for the other: half of the longest round trip there is on land.
const WAIT_MAX: Duration = Duration::from_millis(300);

/// Dials under way: as many as there may be at once, see [`DIALS`](super::super::acquaintances::DIALS).
#[derive(Debug, Default)]
pub(super) struct Dials(BTreeMap<PeerId, Dial>);

#[derive(Debug)]
struct Dial {
    next: Time,
    asked: Vec<Handle>,
}

/// Who wants to meet.
impl Swarm {
    pub(super) fn dial_began(&mut self, now: Time, peer: PeerId) {
        let next = now + PATIENCE;
        self.exchange.dials.0.insert(peer, Dial { next, asked: Vec::new() });
        self.next_tick = self.next_tick.min(next);
    }

    /// Asks neighbours for help with dials that take long. Called every tick.
    pub(in crate::swarm) fn call_by_neighbours(&mut self, now: Time) {
        let known = &self.exchange.known;
        self.exchange.dials.0.retain(|peer, _| known.get(peer).is_some_and(|known| known.is_dialled()));
        let due = |(peer, dial): (&PeerId, &Dial)| {
            (dial.next <= now && dial.asked.len() < ASKED_MAX).then_some(*peer)
        };
        let due: Vec<PeerId> = self.exchange.dials.0.iter().filter_map(due).collect();
        for peer in due {
            let by = self.go_between(&peer);
            let Some(dial) = self.exchange.dials.0.get_mut(&peer) else { continue };
            dial.next = now + AGAIN;
            if let Some(link) = by {
                dial.asked.push(link);
                self.tell(link, Message::Call { wanted: peer });
            }
        }
        let waiting = self.exchange.dials.0.values().filter(|dial| dial.asked.len() < ASKED_MAX);
        if let Some(next) = waiting.map(|dial| dial.next).min() {
            self.next_tick = self.next_tick.min(next);
        }
    }

    /// A neighbour not asked yet: one that told of the peer has a link to it, of the others any.
    fn go_between(&mut self, peer: &PeerId) -> Option<Handle> {
        let asked = &self.exchange.dials.0.get(peer)?.asked;
        let known = self.exchange.known.get(peer)?;
        let told = known.tellers().filter_map(|teller| self.links.link_of(&teller));
        if let Some(link) = told.into_iter().find(|link| !asked.contains(link)) {
            return Some(link);
        }
        let others: Vec<Handle> =
            self.links.handles().iter().copied().filter(|link| !asked.contains(link)).collect();
        self.exchange.dice.pick(&others).copied()
    }
}

/// Who is between them, and who is told.
impl Swarm {
    /// A neighbour wants to meet another one.
    pub(in crate::swarm) fn call_came(&mut self, now: Time, link: Handle, wanted: PeerId) {
        let Some(caller) = self.links.peer_of(link) else { return };
        let Some(partner) = self.exchange.partners.get_mut(&link) else { return };
        if !partner.may_call(now) || caller == wanted {
            return;
        }
        let Some(other) = self.links.link_of(&wanted) else { return };
        let seen = |link: Handle| {
            let side = self.links.side(link).filter(|side| side.greeted)?;
            side.remote
        };
        let (Some(from), Some(to)) = (seen(link), seen(other)) else { return };
        // Where it is seen from here is of use to who is as far away.
        let alike = from.reach() == to.reach() && from.addr.is_ipv4() == to.addr.is_ipv4();
        let called = self.exchange.partners.get_mut(&other);
        if !alike || !called.is_some_and(|partner| partner.may_be_called(now)) {
            return;
        }
        let token: Token = self.exchange.dice.next_u64().to_be_bytes();
        let rtts = [link, other].map(|link| self.links.rtt_of(link));
        let latest = rtts[0].max(rtts[1]);
        for (link, rtt, peer, at) in [(other, rtts[1], caller, from), (link, rtts[0], wanted, to)] {
            let begin_in = ((latest - rtt) / 2).min(WAIT_MAX);
            let in_ms = begin_in.as_millis() as u16;
            self.tell(link, Message::Meet { peer, token, in_ms, at });
        }
    }

    /// A neighbour says that a peer wants to meet this node, or that one this node called does so.
    pub(in crate::swarm) fn meet_came(&mut self, now: Time, link: Handle, meeting: Introduction) {
        let Some(side) = self.links.side(link) else { return };
        let (near, over) = (near(side), side.remote.map(|remote| remote.scheme));
        let Some(partner) = self.exchange.partners.get_mut(&link) else { return };
        let Introduction { peer, at, .. } = meeting;
        if !partner.may_introduce(now)
            || peer == self.me
            || self.proof.is_banned(&peer)
            || !at.is_dialable()
            || reach_of(Some(at)) != near
            || self.links.link_of(&peer).is_some()
            || !(self.setup.take || self.setup.give)
            || (self.is_too_many(&peer) && !self.exchange.dials.0.contains_key(&peer))
        {
            return;
        }
        let begin_in = meeting.begin_in.min(WAIT_MAX);
        // The neighbour has seen the socket that carries its own link: that is the one to punch from.
        let over = over.unwrap_or(at.scheme);
        self.out.push_back(Output::Meet(Introduction { over, begin_in, ..meeting }));
    }
}
