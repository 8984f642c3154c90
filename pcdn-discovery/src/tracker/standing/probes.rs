//! Witnesses: who is drawn to dial whom, and what they report.

use std::collections::BTreeMap;
use std::time::Duration;

use pcdn_core::dice::Dice;
use pcdn_core::id::PeerId;
use pcdn_core::peer::PeerRecord;
use pcdn_core::superpeer::{Draw, Sighting, Superpeers, Witness};
use pcdn_core::unit::Time;

/// A candidate is probed so often: availability is counted in slots of five minutes.
const PROBE_EVERY: Duration = Duration::from_secs(300);
/// Rounds begun at one tick, and open at once: five dials each.
const ROUNDS_AT_ONCE: usize = 64;
const ROUNDS_MAX: usize = 4_096;
/// Peers a round's witnesses are drawn from: enough that five of other networks are among them.
const POOL: usize = 64;
/// Dials one witness is asked for at a time.
const PROBES_OF_WITNESS: usize = 8;
/// Witnesses that most others contradicted are not drawn for so long.
const OUTVOTED: Duration = Duration::from_secs(6 * 3_600);
const OUTVOTED_MAX: usize = 10_000;

/// A dial that a witness is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    /// The draw, to be signed.
    pub draw: [u8; 16],
    /// Whom to dial, from a port it never saw.
    pub about: PeerRecord,
}

#[derive(Debug, Default)]
pub(super) struct Probes {
    rounds: BTreeMap<[u8; 16], Draw>,
    last: BTreeMap<PeerId, Time>,
    outvoted: BTreeMap<PeerId, Time>,
    /// Where in the order of peers the next round begins.
    next: usize,
}

impl Probes {
    pub(super) fn of(
        &self,
        now: Time,
        witness: &PeerId,
        record: impl Fn(&PeerId) -> Option<PeerRecord>,
    ) -> Vec<Probe> {
        let asked = |draw: &&Draw| !draw.is_over(now) && draw.open().any(|peer| peer == *witness);
        let probe = |draw: &Draw| Some(Probe { draw: draw.nonce(), about: record(&draw.about())? });
        self.rounds.values().filter(asked).filter_map(probe).take(PROBES_OF_WITNESS).collect()
    }

    pub(super) fn report(&mut self, now: Time, sighting: Sighting, superpeers: &mut Superpeers) -> bool {
        let nonce = sighting.draw;
        let Some(draw) = self.rounds.get_mut(&nonce) else { return false };
        let taken = draw.report(sighting);
        if draw.is_over(now) {
            self.close(now, &nonce, superpeers);
        }
        taken
    }

    fn close(&mut self, now: Time, nonce: &[u8; 16], superpeers: &mut Superpeers) {
        let Some(draw) = self.rounds.remove(nonce) else { return };
        if self.outvoted.len() < OUTVOTED_MAX {
            draw.outvoted().into_iter().for_each(|witness| _ = self.outvoted.insert(witness, now));
        }
        if let Some(change) = draw.close().and_then(|evidence| superpeers.handle(now, &evidence)) {
            tracing::info!(peer = %change.peer.short(), to = ?change.to, "standing changed");
        }
    }

    pub(super) fn tick(
        &mut self,
        now: Time,
        dice: &mut Dice,
        order: &[PeerId],
        witness: impl Fn(&PeerId) -> Option<Witness>,
        superpeers: &mut Superpeers,
    ) {
        let over: Vec<[u8; 16]> =
            self.rounds.iter().filter(|(_, draw)| draw.is_over(now)).map(|(nonce, _)| *nonce).collect();
        over.iter().for_each(|nonce| self.close(now, nonce, superpeers));
        self.last.retain(|_, at| now.since(*at) < PROBE_EVERY);
        self.outvoted.retain(|_, at| now.since(*at) < OUTVOTED);
        let mut begun = 0;
        for _ in 0..order.len() {
            if begun >= ROUNDS_AT_ONCE || self.rounds.len() >= ROUNDS_MAX {
                return;
            }
            self.next = (self.next + 1) % order.len();
            let Some(about) = witness(&order[self.next]) else { continue };
            if self.last.contains_key(&about.peer) {
                continue;
            }
            let pool: Vec<Witness> = (0..POOL.min(order.len() * 4))
                .filter_map(|_| witness(&order[dice.below(order.len() as u64) as usize]))
                .filter(|witness| !self.outvoted.contains_key(&witness.peer))
                .collect();
            if let Some(draw) = Draw::among(now, dice, &about, &pool) {
                self.last.insert(about.peer, now);
                self.rounds.insert(draw.nonce(), draw);
                begun += 1;
            }
        }
    }
}
