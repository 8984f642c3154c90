//! What was exchanged with one neighbour.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{ACTIVE, PEERS_MAX};
use crate::id::PeerId;
use crate::peer::SignedRecord;
use crate::unit::Time;

/// Messages that may come at once: one is due when the link is up, and the network may delay another until the next.
const BURST: u32 = 3;
/// A neighbour's own records may change so often: when it learns its addresses, and when it has everything.
const OWN_EVERY: Duration = Duration::from_secs(10);
const OWN_BURST: u32 = 6;
/// Meetings that a neighbour asks for, is asked to and calls this node to, each: as many at once as there are dials, and one a
/// second. It costs everybody involved a few hundred bytes.
const MEET_EVERY: Duration = Duration::from_secs(1);
const MEET_BURST: u32 = 8;
/// Told of one neighbour at most; more links than this nobody has.
const TOLD_MAX: usize = 512;
/// A peer is told of anew once its record holds so much longer than the one told, in milliseconds: half of its life.
const LONGER_MS: u64 = 15 * 60 * 1_000;

#[derive(Debug)]
pub(super) struct Partner {
    /// When it is told of peers next.
    pub(super) next: Time,
    /// It wants to know more.
    pub(super) hungry: bool,
    /// What it was told of this node's own hunger.
    pub(super) told_hungry: bool,
    /// Told of, and when that record ends.
    told: BTreeMap<PeerId, u64>,
    own_seq: Option<u64>,
    tells: Bucket,
    renews: Bucket,
    calls: Bucket,
    called: Bucket,
    introduces: Bucket,
    bytes: u64,
    active: Option<Time>,
    every: Duration,
}

impl Partner {
    pub(super) fn new(now: Time, first: Time, every: Duration) -> Self {
        Self {
            next: first,
            hungry: true,
            told_hungry: true,
            told: BTreeMap::new(),
            own_seq: None,
            tells: Bucket::full(now, BURST),
            renews: Bucket::full(now, OWN_BURST),
            calls: Bucket::full(now, MEET_BURST),
            called: Bucket::full(now, MEET_BURST),
            introduces: Bucket::full(now, MEET_BURST),
            bytes: 0,
            active: None,
            every,
        }
    }

    /// Whether it may send one more message of peers: no more often than the rules make an honest one.
    pub(super) fn may_tell(&mut self, now: Time) -> bool {
        self.tells.take(now, self.every.mul_f64(0.8), BURST)
    }

    pub(super) fn may_renew(&mut self, now: Time) -> bool {
        self.renews.take(now, OWN_EVERY, OWN_BURST)
    }

    /// Whether one more of its calls for others is heard.
    pub(super) fn may_call(&mut self, now: Time) -> bool {
        self.calls.take(now, MEET_EVERY, MEET_BURST)
    }

    /// Whether it may be called by one more.
    pub(super) fn may_be_called(&mut self, now: Time) -> bool {
        self.called.take(now, MEET_EVERY, MEET_BURST)
    }

    /// Whether one more of its introductions is believed.
    pub(super) fn may_introduce(&mut self, now: Time) -> bool {
        self.introduces.take(now, MEET_EVERY, MEET_BURST)
    }

    /// Whether this node's own record is news to it, which it then is not any more.
    pub(super) fn own_told(&mut self, record: &SignedRecord) -> bool {
        let seq = Some(record.facts().seq);
        std::mem::replace(&mut self.own_seq, seq) != seq
    }

    /// So many bytes have been moved over its link in all.
    pub(super) fn moved(&mut self, now: Time, bytes: u64) {
        if bytes > self.bytes {
            (self.bytes, self.active) = (bytes, Some(now));
        }
    }

    pub(super) fn is_active(&self, now: Time) -> bool {
        self.active.is_some_and(|at| now.since(at) < ACTIVE)
    }

    /// What it does not know yet of `offer`, and what it was told that is true no more.
    pub(super) fn difference(
        &mut self,
        offer: Vec<SignedRecord>,
        linked: impl Fn(&PeerId) -> bool,
    ) -> (Vec<SignedRecord>, Vec<PeerId>) {
        let dropped: Vec<PeerId> =
            self.told.keys().filter(|id| !linked(id)).take(PEERS_MAX).copied().collect();
        dropped.iter().for_each(|id| _ = self.told.remove(id));
        let room = PEERS_MAX.min(TOLD_MAX.saturating_sub(self.told.len()));
        let news = |record: &SignedRecord| {
            let told = self.told.get(&record.id());
            told.is_none_or(|ends| record.ends_ms() >= ends.saturating_add(LONGER_MS))
        };
        let added: Vec<SignedRecord> = offer.into_iter().filter(news).take(room).collect();
        self.told.extend(added.iter().map(|record| (record.id(), record.ends_ms())));
        (added, dropped)
    }
}

/// Some at once, then one for each span.
#[derive(Debug)]
struct Bucket {
    left: u32,
    since: Time,
}

impl Bucket {
    fn full(now: Time, burst: u32) -> Self {
        Self { left: burst, since: now }
    }

    fn take(&mut self, now: Time, span: Duration, burst: u32) -> bool {
        let come =
            (now.since(self.since).as_micros() / span.as_micros().max(1)).min(u128::from(burst)) as u32;
        if come > 0 {
            self.since = if self.left + come >= burst { now } else { self.since + span * come };
            self.left = (self.left + come).min(burst);
        }
        let some = self.left > 0;
        self.left = self.left.saturating_sub(1);
        some
    }
}
