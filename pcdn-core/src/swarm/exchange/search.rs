//! Looking for more peers: dials, and questions to discovery.

use std::time::Duration;

use crate::peer::{Prefix, Reach};
use crate::swarm::acquaintances::Slots;
use crate::swarm::acquaintances::order::Here;
use crate::swarm::{Output, Swarm};
use crate::unit::Time;

/// Discovery is asked again after this while more neighbours are wanted.
const FIND_EVERY: Duration = Duration::from_secs(10);
/// Sooner while there are none: whoever started at the same moment was not yet announced.
const FIND_LONELY: Duration = Duration::from_secs(1);

impl Swarm {
    pub(in crate::swarm) fn look_for_peers(&mut self, now: Time) {
        if !self.setup.take && !self.setup.give {
            return;
        }
        let limits = self.setup.limits;
        let slots =
            Slots { linked: self.links.len(), wanted: limits.neighbours_wanted, most: limits.neighbours };
        if self.exchange.known.may_dial(now, slots) {
            let here = self.here();
            let dials = self.exchange.known.dial(now, slots, &here);
            for record in dials {
                self.dial_began(now, record.id);
                self.out.push_back(Output::Connect(record));
            }
        }
        let wanted = slots.wanted.saturating_sub(slots.linked);
        // Who is complete waits to be found.
        let lonely = slots.linked == 0 && self.board.missing() > 0;
        if wanted > 0 && now >= self.exchange.next_find {
            self.exchange.next_find = now + if lonely { FIND_LONELY } else { FIND_EVERY };
            self.out.push_back(Output::Find { want: wanted.min(30) });
        }
    }

    fn here(&self) -> Here {
        let mut here = Here {
            ips: self.exchange.whereabouts.addrs(Reach::Site).iter().map(|addr| addr.addr.ip()).collect(),
            ..Here::default()
        };
        for (neighbour, side) in self.links.sides() {
            let Some(remote) = side.remote.filter(|remote| remote.reach() == Reach::World) else { continue };
            let rtt = here.rtts.entry(Prefix::network(remote.addr.ip())).or_insert(neighbour.rtt);
            *rtt = neighbour.rtt.min(*rtt);
        }
        here
    }
}
