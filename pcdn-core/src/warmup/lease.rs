//! One peer's promise to hold one content.

use std::time::Duration;

use super::choose::Place;
use super::{AUDIT_AGAIN, Offer, Progress, Sample};
use crate::audit::{Audit, Audited, Challenge};
use crate::dice::Dice;
use crate::id::PeerId;
use crate::unit::Time;

/// Names a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LeaseId(pub u64);

/// How far a lease has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Given back, silent, or caught without the bytes.
    Lost,
    /// The peer is fetching.
    Granted,
    /// The peer says it holds everything.
    Placed,
    /// An audit showed it.
    Proven,
}

#[derive(Clone, Debug)]
pub(super) struct Lease {
    pub(super) peer: PeerId,
    pub(super) share: usize,
    pub(super) place: Place,
    pub(super) stage: Stage,
    pub(super) held: u64,
    pub(super) from_cdn: u64,
    pub(super) from_peers: u64,
    pub(super) cdn_bytes: u64,
    pub(super) until: Time,
    heard: Time,
    audited: Option<Time>,
    open: Option<(Audit, Time)>,
}

impl Lease {
    pub(super) fn new(now: Time, offer: &Offer, share: usize, cdn_bytes: u64, until: Time) -> Self {
        Self {
            peer: offer.peer,
            share,
            place: Place::of(offer.network, offer.subnet),
            stage: Stage::Granted,
            held: 0,
            from_cdn: 0,
            from_peers: 0,
            cdn_bytes,
            until,
            heard: now,
            audited: None,
            open: None,
        }
    }

    pub(super) fn is_alive(&self) -> bool {
        self.stage != Stage::Lost
    }

    pub(super) fn is_silent(&self, now: Time, silent: Duration) -> bool {
        now.since(self.heard) > silent
    }

    /// Takes a report; gives how an audit ended, if one did.
    pub(super) fn report(&mut self, now: Time, progress: &Progress, len: u64) -> Option<Audited> {
        self.heard = now;
        self.held = progress.held.min(len);
        self.from_cdn = self.from_cdn.max(progress.from_cdn);
        self.from_peers = self.from_peers.max(progress.from_peers);
        if progress.given_up {
            self.stage = Stage::Lost;
            return None;
        }
        match self.stage {
            Stage::Granted if self.held >= len => self.stage = Stage::Placed,
            Stage::Placed | Stage::Proven if self.held < len => self.stage = Stage::Granted,
            _ => {}
        }
        let (audit, _) = self.open.take_if(|(_, until)| progress.answer.is_some() || now > *until)?;
        let verdict = audit.judge(progress.answer.as_ref());
        self.audited = Some(now);
        match verdict.passed() {
            true if self.stage == Stage::Placed => self.stage = Stage::Proven,
            true => {}
            false => self.stage = Stage::Lost,
        }
        Some(verdict)
    }

    /// Whether the copy should be looked at.
    pub(super) fn is_due(&self, now: Time) -> bool {
        let again = self.audited.is_none_or(|at| now.since(at) >= AUDIT_AGAIN);
        self.stage >= Stage::Placed && again && self.open.is_none()
    }

    /// The question to ask now: a new one if the copy is due and there is a sample taken since it was last asked, or the one
    /// that is still open, as an answer may have been lost.
    pub(super) fn challenge(
        &mut self,
        now: Time,
        sample: Option<&(Sample, Time)>,
        patience: Duration,
        dice: &mut Dice,
    ) -> Option<Challenge> {
        if self.is_due(now)
            && let Some((sample, _)) = sample.filter(|(_, taken)| self.audited.is_none_or(|at| *taken > at))
        {
            let mut nonce = [0; 16];
            nonce[..8].copy_from_slice(&dice.next_u64().to_be_bytes());
            nonce[8..].copy_from_slice(&dice.next_u64().to_be_bytes());
            let challenge = Challenge { nonce, range: sample.range };
            let audit = Audit::of(self.peer, sample.swarm, self.held, challenge, &sample.bytes);
            self.open = Some((audit, now + patience));
        }
        self.open.as_ref().map(|(audit, _)| *audit.challenge())
    }
}
