//! Witnesses: who is drawn to dial whom, and what they report.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use pcdn_core::dice::Dice;
use pcdn_core::id::PeerId;
use pcdn_core::peer::PeerRecord;
use pcdn_core::superpeer::{Draw, Evidence, Sighting, Witness};
use pcdn_core::unit::Time;

use super::seen::Seen;
use crate::tracker::wire::InfoHash;

/// Rounds begun at one tick, and open at once: five dials each.
pub(super) const ROUNDS_AT_ONCE: usize = 64;
pub(super) const ROUNDS_MAX: usize = 4_096;
/// Peers a round's witnesses are drawn from: enough that five of other networks are among them.
const POOL: usize = 64;
/// Dials one witness is asked for at a time.
pub(super) const PROBES_OF_WITNESS: usize = 8;
/// Witnesses that most others contradicted are not drawn for so long.
const OUTVOTED: Duration = Duration::from_secs(6 * 3_600);
const OUTVOTED_MAX: usize = 10_000;

/// A dial that witnesses are asked for, or an audit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    /// The draw, to be signed.
    pub draw: [u8; 16],
    /// Whom to dial, from a port it never saw.
    pub about: PeerRecord,
    /// The swarm of which it shall show a piece that the witness holds itself; `None` if it is only to be reached.
    pub audit: Option<InfoHash>,
    /// The address that this is about.
    pub(super) at: IpAddr,
}

#[derive(Debug)]
pub(super) struct Probes {
    every: Duration,
    rounds: BTreeMap<[u8; 16], (Draw, Probe)>,
    last: BTreeMap<PeerId, Time>,
    outvoted: BTreeMap<PeerId, Time>,
    /// Where in the order of peers the next round begins.
    next: usize,
}

impl Probes {
    /// A candidate is probed `every` so often.
    pub(super) fn new(every: Duration) -> Self {
        let (rounds, last, outvoted) = Default::default();
        Self { every, rounds, last, outvoted, next: 0 }
    }

    pub(super) fn of(&self, now: Time, witness: &PeerId) -> Vec<Probe> {
        let asked = |draw: &Draw| !draw.is_over(now) && draw.open().any(|peer| peer == *witness);
        let open = self.rounds.values().filter(|(draw, _)| asked(draw));
        open.map(|(_, probe)| probe.clone()).take(PROBES_OF_WITNESS).collect()
    }

    pub(super) fn report(&mut self, sighting: Sighting) -> bool {
        self.rounds.get_mut(&sighting.draw).is_some_and(|(draw, _)| draw.report(sighting))
    }

    pub(super) fn is_over(&self, now: Time, nonce: &[u8; 16]) -> bool {
        self.rounds.get(nonce).is_some_and(|(draw, _)| draw.is_over(now))
    }

    /// Rounds that are to be closed.
    pub(super) fn over(&self, now: Time) -> Vec<[u8; 16]> {
        self.rounds.iter().filter(|(_, (draw, _))| draw.is_over(now)).map(|(nonce, _)| *nonce).collect()
    }

    /// Ends a round: what it was about, whether it reached the candidate, and the evidence, if enough witnesses reported.
    pub(super) fn close(&mut self, now: Time, nonce: &[u8; 16]) -> Option<(Probe, Option<(bool, Evidence)>)> {
        let (draw, probe) = self.rounds.remove(nonce)?;
        self.outvote(now, draw.outvoted());
        Some((probe, draw.close().map(|evidence| (draw.reached(), evidence))))
    }

    /// Whom most others contradicted.
    pub(super) fn outvote(&mut self, now: Time, witnesses: Vec<PeerId>) {
        if self.outvoted.len() < OUTVOTED_MAX {
            witnesses.into_iter().for_each(|witness| _ = self.outvoted.insert(witness, now));
        }
    }

    pub(super) fn is_outvoted(&self, witness: &PeerId) -> bool {
        self.outvoted.contains_key(witness)
    }

    /// Begins rounds about those whose last one is long enough ago.
    pub(super) fn draw<'s>(
        &mut self,
        now: Time,
        dice: &mut Dice,
        order: &[PeerId],
        seen: impl Fn(&PeerId) -> Option<&'s Seen>,
    ) {
        self.last.retain(|_, at| now.since(*at) < self.every);
        self.outvoted.retain(|_, at| now.since(*at) < OUTVOTED);
        let mut begun = 0;
        for _ in 0..order.len() {
            if begun >= ROUNDS_AT_ONCE || self.rounds.len() >= ROUNDS_MAX {
                return;
            }
            self.next = (self.next + 1) % order.len();
            if self.last.contains_key(&order[self.next]) {
                continue;
            }
            let Some(candidate) = seen(&order[self.next]) else { continue };
            let (Some(about), Some((at, record))) = (candidate.witness(), candidate.dial()) else { continue };
            let pool: Vec<Witness> = (0..POOL.min(order.len() * 4))
                .filter_map(|_| seen(&order[dice.below(order.len() as u64) as usize])?.witness())
                .filter(|witness| !self.outvoted.contains_key(&witness.peer))
                .collect();
            if let Some(draw) = Draw::among(now, dice, &about, &pool) {
                self.last.insert(about.peer, now);
                let probe = Probe { draw: draw.nonce(), about: record.clone(), audit: None, at };
                self.rounds.insert(draw.nonce(), (draw, probe));
                begun += 1;
            }
        }
    }
}
