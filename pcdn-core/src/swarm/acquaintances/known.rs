//! One peer, as far as it is known.

use super::order::How;
use crate::id::PeerId;
use crate::peer::{Facts, PeerAddr, PeerRecord, SignedRecord};
use crate::unit::Time;

/// Tellers remembered of one peer: enough to see who was right about it.
const SOURCES_MAX: usize = 4;

/// Whose word a peer is known by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::swarm) enum Source {
    /// A tracker, a DHT, a list: any discovery.
    Found,
    /// A neighbour.
    Told(PeerId),
    /// It came by itself.
    Met,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::swarm) enum State {
    Idle(Time),
    Dialling,
    Linked,
}

#[derive(Debug)]
pub(in crate::swarm) struct Known {
    /// From discovery, or where it was seen.
    pub(super) addrs: Vec<PeerAddr>,
    pub(in crate::swarm) record: Option<SignedRecord>,
    pub(super) sources: Vec<Source>,
    pub(super) state: State,
    pub(super) tries: u32,
    pub(super) proven: bool,
    pub(super) seed: bool,
    /// The teller that answers for it, while it is only heard of.
    pub(super) charged: Option<PeerId>,
    /// Nobody's word is taken for it: it is dialled to see what its teller's is worth, and is not known before it was there.
    pub(super) sample: bool,
    /// For what it was dialled last.
    pub(super) how: How,
    /// Its place among equals; who knows no secret of this node cannot choose an id to be first.
    pub(super) lot: u64,
    pub(super) seen: Time,
}

impl Known {
    pub(super) fn is_found(&self) -> bool {
        self.sources.contains(&Source::Found)
    }

    pub(super) fn sign(&mut self, record: SignedRecord) {
        self.seed = record.facts().flags & Facts::SEED != 0;
        self.record = Some(record);
    }

    pub(super) fn is_due(&self, now: Time) -> bool {
        matches!(self.state, State::Idle(at) if at <= now)
    }

    /// Whether nobody here has looked whether it is there.
    pub(super) fn is_untried(&self) -> bool {
        !self.proven && self.tries == 0
    }

    pub(super) fn busy(&self) -> bool {
        !matches!(self.state, State::Idle(_))
    }

    pub(in crate::swarm) fn is_dialled(&self) -> bool {
        self.state == State::Dialling
    }

    /// Whether it was dialled to become a neighbour.
    pub(in crate::swarm) fn is_to_stay(&self) -> bool {
        self.is_dialled() && self.how != How::InPassing
    }

    pub(super) fn is_first_dial(&self) -> bool {
        self.is_dialled() && self.tries == 0
    }

    /// The address that caps are counted by.
    pub(super) fn home(&self) -> Option<PeerAddr> {
        let signed = self.record.as_ref().and_then(|record| record.facts().addrs.first());
        signed.or(self.addrs.first()).copied()
    }

    /// Every address once: what it signed first, then what others say.
    pub(super) fn to_record(&self, id: PeerId) -> PeerRecord {
        let signed = self.record.iter().flat_map(|record| &record.facts().addrs);
        let mut addrs: Vec<PeerAddr> = Vec::new();
        for addr in signed.chain(&self.addrs) {
            if addrs.len() < PeerRecord::ADDRS_MAX && !addrs.contains(addr) {
                addrs.push(*addr);
            }
        }
        PeerRecord { id, addrs, seed: self.seed }
    }
}

impl Known {
    pub(in crate::swarm) fn tellers(&self) -> impl Iterator<Item = PeerId> + '_ {
        self.sources.iter().filter_map(|source| match source {
            Source::Told(teller) => Some(*teller),
            Source::Found | Source::Met => None,
        })
    }

    /// Who told of it as the only neighbour, though it may have come by itself; discovery did not.
    pub(super) fn alone(&self) -> Option<PeerId> {
        let mut tellers = self.tellers();
        tellers.next().filter(|_| tellers.next().is_none() && !self.is_found())
    }

    /// Whose word alone it is known by.
    pub(super) fn only_teller(&self) -> Option<PeerId> {
        match self.sources[..] {
            [Source::Told(teller)] => Some(teller),
            _ => None,
        }
    }
}

pub(super) fn add_source(sources: &mut Vec<Source>, source: Source) {
    if sources.contains(&source) {
        return;
    }
    if sources.len() < SOURCES_MAX {
        sources.push(source);
    } else if source == Source::Found {
        // Never crowded out: it is what no neighbour decides.
        sources[SOURCES_MAX - 1] = source;
    }
}
