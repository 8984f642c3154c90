//! Word of witnesses for those who cannot hear it: a relay of statements, and of nothing else.
//!
//! Two peers whose NATs no punch joins (port-restricted and symmetric) have no link, and on the witnessed rung each then lacks
//! what the other has proven: it fetches from the origin what a statement would have let it take from a third. Whoever has
//! links to both passes statements on. They are signed by their witnesses, so nobody need trust who passes them.
//!
//! `pcdn sim nats` (20 homes, 18 of them behind NATs, nobody signed): the origin gives 37 % without this, 29 % with it, at
//! the cost of a megabit a second at the two homes that everybody reaches. Claims and holdings are not relayed: who waits for what
//! it has no way to waits in vain (with claims relayed and such peers counted for the duty, a signed film took 22 % from the origin instead of 20 %). Pieces through a
//! relay would cost a home's uplink what the CDN has to spare.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Swarm;
use crate::id::PeerId;
use crate::layout::SegmentId;
use crate::peer::Nat;
use crate::schedule::Handle;
use crate::unit::Time;
use crate::verify::witness::Statement;
use crate::wire::Message;

/// Statements wait for so long: a witness says more of a segment several times a second, and the last word is enough.
const EVERY: Duration = Duration::from_secs(1);
/// Statements waiting at most, of 2 KiB each with segments of 64 pieces: each neighbour's on a few segments.
const WAITING_MAX: usize = 128;
/// Bytes a second passed on, and at once: 1 Mbit/s, a thirtieth of a usual uplink. What is beyond is asked for by who misses it.
/// With a quarter of it the simulated homes take 33 % from the origin, with thirty times as much 29 %.
const BYTES_PER_SECOND: u64 = 128 * 1_024;
/// Of all who could pass a statement on, about so many do.
const COPIES: f64 = 2.0;

#[derive(Debug, Default)]
pub(super) struct Relay {
    waiting: BTreeMap<(PeerId, SegmentId), Statement>,
    next: Time,
    budget: u64,
}

impl Swarm {
    /// A neighbour said this itself, and it is new.
    pub(super) fn relay_later(&mut self, statement: &Statement) {
        let of = (statement.witness, statement.segment);
        if !self.setup.give {
            return;
        }
        let room = self.relay.waiting.len() < WAITING_MAX || self.relay.waiting.contains_key(&of);
        let nat = self.nat_of(&statement.witness);
        if room && self.links.all().iter().any(|neighbour| !nat.meets(self.nat_of(&neighbour.peer))) {
            self.relay.waiting.insert(of, statement.clone());
        }
    }

    /// Passes on what waits, to those who have no link to its witness. Called every tick.
    pub(super) fn relay_statements(&mut self, now: Time) {
        if now < self.relay.next {
            return;
        }
        self.relay.next = now + EVERY;
        self.relay.budget = BYTES_PER_SECOND * EVERY.as_secs();
        let nats: Vec<(Handle, Nat)> = self
            .links
            .all()
            .iter()
            .map(|neighbour| (neighbour.handle, self.nat_of(&neighbour.peer)))
            .collect();
        // Those that everybody reaches are the ones that have links to both.
        let open = nats.iter().filter(|(_, nat)| matches!(nat, Nat::Open | Nat::Restricted)).count();
        let chance = (COPIES / (open + 1) as f64).min(1.0);
        for ((witness, _), statement) in std::mem::take(&mut self.relay.waiting) {
            let nat = self.nat_of(&witness);
            let bytes = bytes_of(&statement);
            for (link, _) in nats.iter().filter(|(_, other)| !nat.meets(*other)) {
                let own = self.links.peer_of(*link) == Some(witness);
                if own || self.relay.budget < bytes || !self.dice.chance(chance) {
                    continue;
                }
                self.relay.budget -= bytes;
                self.tell(*link, Message::Witness(statement.clone()));
            }
        }
    }

    /// What stands before a neighbour, as it says in its signed record.
    fn nat_of(&self, peer: &PeerId) -> Nat {
        let record = self.exchange.known.get(peer).and_then(|known| known.record.as_ref());
        record.map_or(Nat::Unknown, |record| Nat::of(record.facts().nat))
    }
}

/// On the wire, in its message.
fn bytes_of(statement: &Statement) -> u64 {
    (147 + statement.pieces.as_bytes().len() + 32 * statement.digests.len()) as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bitmap::Bitmap;
    use crate::dice::Dice;
    use crate::fragment::{Cut, Segment};
    use crate::id::{Digest, Identity, SwarmKey};
    use crate::peer::Facts;
    use crate::resource::Url;
    use crate::schedule::Hybrid;
    use crate::swarm::{Input, Output, SwarmSetup};

    const KEY: SwarmKey = SwarmKey([1; 32]);
    const SEGMENTS: u64 = 300;

    fn key(n: u32) -> Identity {
        Identity::from_secret([n as u8 + 10; 32])
    }

    /// A node with a link to a peer behind each of `nats`.
    fn between(nats: &[Nat]) -> Swarm {
        let setup = SwarmSetup::new(KEY, key(99));
        let mut node = Swarm::new(setup, Box::new(Hybrid::default()), Dice::new(1), Time::ZERO);
        for id in 0..SEGMENTS {
            let url = Url::parse("http://origin.example/film").unwrap();
            let range = id * 65_536..(id + 1) * 65_536;
            let segment = Segment::of_file(SegmentId(id), url, range, 16).unwrap();
            node.handle(Time::ZERO, Input::Cut(Cut::Segment(segment)));
        }
        for (n, nat) in (0u32..).zip(nats) {
            let addr = format!("udp://198.51.{n}.1:4000").parse().unwrap();
            let (link, peer, remote) = (Handle(n), key(n).peer_id(), Some(addr));
            node.handle(Time::ZERO, Input::LinkUp { link, peer, remote, rtt: Duration::from_millis(20) });
            let lifetime_s = Facts::LIFETIME_S_MAX;
            let (id, nat) = (peer, nat.code());
            let facts = Facts { id, seq: 1, lifetime_s, flags: 0, nat, up: 0, addrs: vec![addr] };
            let record = facts.sign(&key(n), &KEY).unwrap();
            node.handle(Time::ZERO, Input::Message { link, message: Message::Record(record) });
        }
        node
    }

    fn says(node: &mut Swarm, witness: u32, segment: u64, over: u32) {
        let layout = node.board.segment(SegmentId(segment)).unwrap().layout;
        let mut pieces = Bitmap::new(layout.pieces());
        pieces.set(0);
        let (id, digests) = (SegmentId(segment), vec![Digest([7; 32])]);
        let statement = Statement::sign(&key(witness), KEY, id, layout, pieces, digests);
        let message = Message::Witness(statement);
        node.handle(Time::ZERO, Input::Message { link: Handle(over), message });
    }

    /// Over which links statements of `witness` go out until then, each as often as it does.
    fn told(node: &mut Swarm, witness: u32, until: Time) -> Vec<u32> {
        let mut links = Vec::new();
        loop {
            while let Some(output) = node.poll() {
                if let Output::Send { link, message: Message::Witness(statement) } = output
                    && statement.witness == key(witness).peer_id()
                {
                    links.push(link.0);
                }
            }
            let next = node.next_wake();
            if next > until {
                return links;
            }
            node.handle(next, Input::Wake);
        }
    }

    #[test]
    fn only_who_has_no_way_to_the_witness_is_told() {
        let mut node = between(&[Nat::Symmetric, Nat::Cone, Nat::Open, Nat::Unknown]);
        says(&mut node, 0, 5, 0);
        assert_eq!(told(&mut node, 0, Time::from_secs(5)), [1]);
        // Nor is what another one tells of it passed on: it would go round.
        says(&mut node, 0, 6, 2);
        assert_eq!(told(&mut node, 0, Time::from_secs(10)), [] as [u32; 0]);
    }

    #[test]
    fn what_waits_and_what_a_second_carries_is_bounded() {
        let cones = [Nat::Cone; 40];
        let mut node = between(&[&[Nat::Symmetric][..], &cones].concat());
        (0..SEGMENTS).for_each(|segment| says(&mut node, 0, segment, 0));
        assert_eq!(node.relay.waiting.len(), WAITING_MAX);
        let sent = told(&mut node, 0, Time::from_secs(5)).len() as u64;
        let most = BYTES_PER_SECOND / (147 + 1 + 32);
        assert!((most / 2..=most).contains(&sent), "{sent} of {most}");
    }
}
