//! What becomes of peers, and what that says of those who told of them.

use std::time::Duration;

use super::Acquaintances;
use super::known::{Known, Source, State, add_source};
use super::order::How;
use super::teller::Teller;
use crate::id::PeerId;
use crate::unit::Time;

/// Peers remembered that were reached once: who knows so many finds somebody of them again.
const PROVEN_MAX: usize = 300;
/// A peer that could not be reached is tried again after this, doubling, at most five times.
pub(super) const REDIAL: Duration = Duration::from_secs(5);
pub(super) const REDIALS: u32 = 5;

impl Acquaintances {
    /// A handshake with it is done: those who told of it were right.
    pub(in crate::swarm) fn reached(&mut self, now: Time, peer: &PeerId) {
        let mut known = self.take(peer).unwrap_or_else(|| self.stranger(now, peer, Source::Met));
        if !known.proven {
            // It came by itself: whoever told of it before was right all the same.
            let told = |ledger: &Teller| ledger.waiting.iter().any(|record| record.id() == *peer);
            let tellers = self.tellers.iter().filter(|(_, ledger)| told(ledger)).map(|(id, _)| *id);
            tellers.for_each(|id| add_source(&mut known.sources, Source::Told(id)));
        }
        let first = !std::mem::replace(&mut known.proven, true);
        // What others told of as well says nothing of a teller: a liar repeats what all say, to be believed the rest.
        let answers = known.charged.or(known.alone()).filter(|_| first);
        (known.state, known.tries, known.seen, known.charged) = (State::Linked, 0, now, None);
        known.sample = false;
        self.insert(*peer, known);
        if let Some(teller) = answers {
            if let Some(ledger) = self.tellers.get_mut(&teller) {
                ledger.was_right();
            }
            self.admit(now, teller);
            self.corroborate(now, teller);
        }
        self.forget_oldest();
    }

    /// Its link is gone.
    pub(in crate::swarm) fn left(&mut self, now: Time, peer: &PeerId) {
        self.quiet_until = Time::ZERO;
        let Some(known) = self.peers.get_mut(peer) else { return };
        (known.state, known.how, known.seen) = (State::Idle(now + REDIAL), How::ToStay, now);
        known.tries += 1;
        if known.home().is_none() {
            self.remove(peer);
        }
    }

    /// A dial failed.
    pub(in crate::swarm) fn not_reached(&mut self, now: Time, peer: &PeerId) {
        let Some(known) = self.peers.get_mut(peer).filter(|known| known.state != State::Linked) else {
            return;
        };
        self.quiet_until = Time::ZERO;
        known.tries += 1;
        known.how = How::ToStay;
        known.state = State::Idle(now + REDIAL * 2u32.pow(known.tries.min(6)));
        let blamed: Vec<PeerId> = known.tellers().filter(|_| !known.proven && known.tries == 1).collect();
        if known.tries > REDIALS || !(known.proven || known.is_found()) {
            self.remove(peer);
        }
        for teller in blamed {
            let Some(ledger) = self.tellers.get_mut(&teller) else { continue };
            ledger.was_wrong(now);
            if ledger.is_muted(now) {
                self.disown(teller);
            } else {
                self.withhold(now, teller);
            }
            self.doubt(now, teller);
        }
    }

    /// A neighbour that could not be learned from any more need not be remembered, but what it did is.
    pub(in crate::swarm) fn sweep(&mut self, now: Time, now_ms: u64) {
        let over = |known: &Known| {
            !known.proven
                && !known.busy()
                && !known.is_found()
                && known.record.as_ref().is_none_or(|record| !record.holds_at(now_ms))
        };
        let gone: Vec<PeerId> =
            self.peers.iter().filter(|(_, known)| over(known)).map(|(id, _)| *id).collect();
        gone.iter().for_each(|id| _ = self.remove(id));
        let tellers: Vec<PeerId> = self.tellers.keys().copied().collect();
        for teller in tellers {
            if let Some(ledger) = self.tellers.get_mut(&teller) {
                ledger.waiting.retain(|record| record.holds_at(now_ms));
            }
            self.admit(now, teller);
        }
    }

    /// Nothing of what only this teller told of is kept.
    pub(super) fn disown(&mut self, teller: PeerId) {
        let of = |known: &Known| known.charged == Some(teller) && !known.busy() && known.sources.len() == 1;
        let ids: Vec<PeerId> = self.peers.iter().filter(|(_, known)| of(known)).map(|(id, _)| *id).collect();
        ids.iter().for_each(|id| _ = self.remove(id));
    }

    /// What this teller is believed no more goes back to its line.
    pub(super) fn withhold(&mut self, now: Time, teller: PeerId) {
        let of = |known: &Known| known.charged == Some(teller) && !known.busy() && known.sources.len() == 1;
        let mut ids: Vec<PeerId> =
            self.peers.iter().filter(|(_, known)| of(known)).map(|(id, _)| *id).collect();
        while self.tellers.get(&teller).is_some_and(|ledger| ledger.kept > ledger.believed(now)) {
            let Some(known) = ids.pop().and_then(|id| self.take(&id)) else { return };
            if let (Some(record), Some(ledger)) = (known.record, self.tellers.get_mut(&teller)) {
                ledger.wait(now, record);
            }
        }
    }

    /// What was taken because this teller and another agreed goes back to its line, unless two others still do.
    fn doubt(&mut self, now: Time, teller: PeerId) {
        let agreed = |known: &Known| {
            let told = known.sources.contains(&Source::Told(teller));
            told && known.charged.is_none() && known.is_untried() && !known.busy() && !known.is_found()
        };
        let stands = |known: &Known| known.tellers().filter(|other| self.is_sound(now, other)).count() > 1;
        let ids = self.peers.iter().filter(|(_, known)| agreed(known) && !stands(known)).map(|(id, _)| *id);
        for id in ids.collect::<Vec<_>>() {
            let Some(known) = self.take(&id) else { continue };
            let Some(record) = &known.record else { continue };
            for other in known.tellers() {
                if let Some(ledger) = self.tellers.get_mut(&other) {
                    ledger.wait(now, record.clone());
                }
            }
        }
    }

    fn forget_oldest(&mut self) {
        if self.peers.len() - self.heard <= PROVEN_MAX {
            return;
        }
        let idle = self.peers.iter().filter(|(_, known)| known.proven && !known.busy());
        if let Some(id) = idle.min_by_key(|(_, known)| known.seen).map(|(id, _)| *id) {
            self.remove(&id);
        }
    }
}
