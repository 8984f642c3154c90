//! Panels: who is drawn to audit whom, about which content, and what they report.

use std::collections::BTreeMap;
use std::time::Duration;

use pcdn_core::audit::Verdict;
use pcdn_core::dice::Dice;
use pcdn_core::id::PeerId;
use pcdn_core::superpeer::{Evidence, Panel, Superpeers};
use pcdn_core::unit::Time;

use super::Inner;
use super::holders::Holders;
use super::probes::{PROBES_OF_WITNESS, Probe, ROUNDS_AT_ONCE, ROUNDS_MAX};
use super::seen::Seen;
use crate::tracker::wire::InfoHash;

/// Peers looked at in one tick: whether somebody is worth an audit takes 2 µs.
const LOOKS_AT_ONCE: usize = 2_048;

#[derive(Debug)]
pub(super) struct Audits {
    every: Duration,
    panels: BTreeMap<[u8; 16], (Panel, Probe)>,
    last: BTreeMap<PeerId, Time>,
    pub(super) holders: Holders,
    /// Where in the order of peers the next look begins.
    next: usize,
}

/// What panels are drawn from.
pub(super) struct Drawn<'s> {
    /// Every peer.
    pub(super) order: &'s [PeerId],
    pub(super) peers: &'s BTreeMap<PeerId, Seen>,
    pub(super) superpeers: &'s Superpeers,
    /// Whose word was worth little.
    pub(super) outvoted: &'s dyn Fn(&PeerId) -> bool,
}

impl Audits {
    /// A candidate is audited `every` so often.
    pub(super) fn new(every: Duration, secret: [u8; 32]) -> Self {
        let (panels, last) = Default::default();
        Self { every, panels, last, holders: Holders::new(secret), next: 0 }
    }

    pub(super) fn of(&self, now: Time, member: &PeerId) -> Vec<Probe> {
        let asked = |panel: &Panel| !panel.is_over(now) && panel.open().any(|peer| peer == *member);
        let open = self.panels.values().filter(|(panel, _)| asked(panel));
        open.map(|(_, probe)| probe.clone()).take(PROBES_OF_WITNESS).collect()
    }

    /// A member of a panel tells; false if it was not drawn for this.
    fn report(&mut self, verdict: &Verdict) -> bool {
        self.panels.get_mut(&verdict.nonce).is_some_and(|(panel, probe)| {
            probe.audit == Some(InfoHash::of(&verdict.swarm)) && panel.report(verdict)
        })
    }

    fn is_over(&self, now: Time, nonce: &[u8; 16]) -> bool {
        self.panels.get(nonce).is_some_and(|(panel, _)| panel.is_over(now))
    }

    fn over(&self, now: Time) -> Vec<[u8; 16]> {
        self.panels.iter().filter(|(_, (panel, _))| panel.is_over(now)).map(|(nonce, _)| *nonce).collect()
    }

    /// Ends a panel: what it showed, and whom of it nobody should ask again soon.
    fn close(&mut self, nonce: &[u8; 16]) -> Option<(Option<Evidence>, Vec<PeerId>)> {
        let (panel, _) = self.panels.remove(nonce)?;
        Some((panel.close(), panel.outvoted()))
    }

    /// Draws panels about those who are worth it and whose last one is long enough ago, each about one content of theirs.
    pub(super) fn draw(&mut self, now: Time, dice: &mut Dice, from: &Drawn<'_>) {
        self.last.retain(|_, at| now.since(*at) < self.every);
        let mut begun = 0;
        for _ in 0..from.order.len().min(LOOKS_AT_ONCE) {
            if begun >= ROUNDS_AT_ONCE || self.panels.len() >= ROUNDS_MAX {
                return;
            }
            self.next = (self.next + 1) % from.order.len();
            let peer = &from.order[self.next];
            if self.last.contains_key(peer) || !from.superpeers.is_worth_auditing(now, peer) {
                continue;
            }
            let Some(seen) = from.peers.get(peer) else { continue };
            begun += usize::from(self.begin(now, dice, from, seen).is_some());
        }
    }

    fn begin(&mut self, now: Time, dice: &mut Dice, from: &Drawn<'_>, candidate: &Seen) -> Option<()> {
        let (about, (at, record)) = (candidate.witness()?, candidate.dial()?);
        let swarms: Vec<InfoHash> = candidate.swarms().collect();
        let swarm = *dice.pick(&swarms)?;
        let holder = |peer: &PeerId| from.peers.get(peer)?.witness();
        let holders: Vec<_> = self.holders.of(&swarm, holder);
        let panel = Panel::among(now, dice, &about, &holders, |peer| !(from.outvoted)(peer))?;
        self.last.insert(about.peer, now);
        let probe = Probe { draw: panel.nonce(), about: record.clone(), audit: Some(swarm), at };
        self.panels.insert(panel.nonce(), (panel, probe));
        Some(())
    }
}

impl Inner {
    /// A member of a panel tells what came of its question; false if it was not drawn for it.
    pub(super) fn vote(&mut self, now: Time, verdict: &Verdict) -> bool {
        let taken = self.audits.report(verdict);
        if taken && self.audits.is_over(now, &verdict.nonce) {
            self.close_panel(now, &verdict.nonce);
        }
        taken
    }

    /// What a panel agreed on is evidence.
    fn close_panel(&mut self, now: Time, nonce: &[u8; 16]) {
        let Some((evidence, outvoted)) = self.audits.close(nonce) else { return };
        self.probes.outvote(now, outvoted);
        if let Some(evidence) = evidence {
            self.handle(now, &evidence);
        }
    }

    pub(super) fn close_panels(&mut self, now: Time) {
        self.audits.over(now).iter().for_each(|nonce| self.close_panel(now, nonce));
    }

    pub(super) fn draw_panels(&mut self, now: Time, dice: &mut Dice) {
        let Self { audits, probes, peers, order, superpeers, .. } = self;
        let outvoted = |peer: &PeerId| probes.is_outvoted(peer);
        audits.draw(now, dice, &Drawn { order, peers, superpeers, outvoted: &outvoted });
    }
}
