//! Who reads the origin.
//!
//! The nodes of a swarm are ordered by a hash of their keys and the content; the first ones are its feeders: as many as witnesses
//! are wanted, or one where a publisher signs the slices. Everybody computes that from the neighbours it has. A node that is no
//! feeder leaves the origin once enough of those before it vouch for what it reads itself and there is room for one more follower
//! ([`Crowd`]), and comes back whenever slices stop to come or to be proven, or a player has hardly anything left.

use std::collections::VecDeque;
use std::time::Duration;

use pcdn_core::id::{PeerId, Rid};
use pcdn_core::layout::SegmentId;
use tokio::time::Instant;

use super::crowd::Crowd;
use crate::node::driver::Backing;

/// The last slices of its own connection that all feeders must vouch for before a node leaves it: so many that whoever follows
/// meanwhile has vetted a new feeder, too, before an old one goes.
const VOUCHED: usize = 3;
/// From so many neighbours on, one more feeds than is needed: it costs a sixteenth of a copy, and when one goes nobody else has to
/// turn to the origin. With fewer all of them do.
const SPARE_FROM: usize = 15;
/// Nothing for so long, beyond what a part lasts: the origin is read again. A follower has a part up to 0.4 s later than a feeder,
/// and a player that keeps a second runs dry 0.2 s after this.
const STARVING: Duration = Duration::from_millis(600);
/// A connection is kept at least so long, and up to two thirds longer, by lot: every one costs the origin a burst, and who leaves
/// together falls short together.
const STAY: Duration = Duration::from_secs(6);
/// So long if a player nearly ran dry: neighbours cannot give this node enough soon enough. Twice as long each time that happens
/// within [`STEADY`] after the last, up to [`STAY_MAX`].
const STAY_LOW: Duration = Duration::from_secs(24);
const STAY_MAX: Duration = Duration::from_secs(480);
const STEADY: Duration = Duration::from_secs(60);
/// Pause before a connection that failed is tried again, doubling up to [`PAUSE_MAX`].
const PAUSE: Duration = Duration::from_millis(250);
const PAUSE_MAX: Duration = Duration::from_secs(8);
/// What to do about the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Connect,
    Disconnect,
    Stay,
}

/// How urgently something is wanted.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Want {
    /// How long the next part has been missed, beyond what it may last.
    pub(super) overdue: Duration,
    /// A player has little left, and neighbours do not bring what there is.
    pub(super) low: bool,
}

/// What decides it.
#[derive(Clone, Debug)]
pub(super) struct Role {
    me: PeerId,
    rid: Rid,
    witnesses: usize,
    /// The first parts of the newest slices: of the own connection while there is one, else from neighbours.
    recent: VecDeque<SegmentId>,
    /// The newest part.
    newest: Option<SegmentId>,
    /// How long the stream's slices are: the longest time between two of them lately.
    rhythm: Duration,
    last: Option<Instant>,
    connected: Instant,
    /// How long the connection is kept at least, and when the last was left.
    stay: Duration,
    left: Instant,
    failures: u32,
    quiet_until: Instant,
    /// How often this node connected: the lot's number.
    connects: u64,
    crowd: Crowd,
}

impl Role {
    pub(super) fn new(me: PeerId, rid: Rid, witnesses: usize) -> Self {
        let now = Instant::now();
        Self {
            me,
            rid,
            witnesses: witnesses.max(1),
            recent: VecDeque::new(),
            newest: None,
            rhythm: Duration::from_secs(1),
            last: None,
            connected: now,
            stay: STAY,
            left: now,
            failures: 0,
            quiet_until: now,
            connects: 0,
            crowd: Crowd::new(),
        }
    }

    /// The own connection cut a part; whether a slice begins with it, and what the player with least has left.
    pub(super) fn cut(&mut self, id: SegmentId, begins: bool, provisional: bool, left: Option<Duration>) {
        self.failures = 0;
        self.beat();
        if !provisional {
            self.crowd.cut(id, left);
            self.remember(id, begins);
        }
    }

    /// A part of the own connection turned out to be one that others cut, too.
    pub(super) fn adopted(&mut self, id: SegmentId, begins: bool) {
        self.remember(id, begins);
    }

    /// A part came from neighbours.
    pub(super) fn came(&mut self, id: SegmentId, begins: bool, on: bool) {
        self.beat();
        if !on {
            self.remember(id, begins);
        }
    }

    fn remember(&mut self, id: SegmentId, begins: bool) {
        self.newest = Some(id);
        if begins {
            self.recent.push_back(id);
        }
        if self.recent.len() > VOUCHED {
            self.recent.pop_front();
        }
    }

    fn forget(&mut self) {
        self.recent.clear();
        self.newest = None;
    }

    fn beat(&mut self) {
        if let Some(last) = self.last {
            let gap = last.elapsed().min(Duration::from_secs(20));
            self.rhythm = gap.max(self.rhythm * 7 / 8);
        }
        self.last = Some(Instant::now());
    }

    pub(super) fn feed_ended(&mut self, why: String) {
        tracing::debug!(why, "the origin's stream ended");
        let pause = (PAUSE * 2u32.saturating_pow(self.failures.min(8))).min(PAUSE_MAX);
        self.failures += 1;
        self.quiet_until = Instant::now() + pause;
        self.forget();
    }

    /// How long it lasts from slice to slice.
    pub(super) fn rhythm(&self) -> Duration {
        self.rhythm
    }

    /// The beginnings of the newest slices and the newest part, whose backing decides.
    pub(super) fn recent(&self) -> Vec<SegmentId> {
        self.recent.iter().copied().chain(self.newest).collect()
    }

    /// Parts whose reach decides, too, if there is anything new to see.
    pub(super) fn asks(&mut self, low: Duration) -> Option<(SegmentId, SegmentId)> {
        self.crowd.asks(low)
    }

    /// `backing` is of [`recent`](Self::recent) and [`asks`](Self::asks).
    pub(super) fn decide(&mut self, backing: &Backing, want: Want, signed: bool, on: bool) -> Step {
        let needed = if signed { 1 } else { self.witnesses };
        let spare = usize::from(backing.peers.len() >= SPARE_FROM);
        if let Some((all, late)) = backing.reach {
            self.crowd.reached(all, late);
        }
        if on {
            // Those that are there but feed nothing do not count.
            let backs = |peer: &&PeerId| backing.of.iter().all(|backers| backers.contains(peer));
            let stays = self.stay + (self.stay * 2 / 3).mul_f64(self.lot());
            let settled = self.recent.len() >= VOUCHED && self.connected.elapsed() >= stays;
            if !settled
                || !self.crowd.has_room()
                || self.rank(backing.peers.iter().filter(backs)) < needed + spare
            {
                return Step::Stay;
            }
            self.forget();
            self.left = Instant::now();
            return Step::Disconnect;
        }
        let feeder = self.rank(&backing.peers) < needed + spare;
        // Whoever connects before the slice under way ends has all of it: the origin gives it from its beginning.
        let left = backing.of.last().is_some_and(|backers| backers.len() < needed);
        let starving = want.overdue > STARVING || backing.unproven > 0 || want.low;
        let now = Instant::now();
        if (feeder || left || starving) && now >= self.quiet_until {
            let again = self.left.elapsed() < STEADY;
            // What lacks a witness no line brings: a feeder is gone.
            self.stay = match want.low && backing.unwitnessed == 0 {
                true if again => (self.stay * 2).clamp(STAY_LOW, STAY_MAX),
                true => STAY_LOW,
                false => STAY,
            };
            self.forget();
            self.crowd = Crowd::new();
            self.connects += 1;
            self.connected = now;
            self.quiet_until = now + PAUSE;
            return Step::Connect;
        }
        Step::Stay
    }

    fn rank<'p>(&self, peers: impl IntoIterator<Item = &'p PeerId>) -> usize {
        let mine = self.weight(&self.me);
        peers.into_iter().filter(|peer| self.weight(peer) < mine).count()
    }

    /// In `0..1`, another with every connection.
    fn lot(&self) -> f64 {
        let mut hasher = blake3::Hasher::new_derive_key("pcdn feeder's lot v1");
        hasher.update(&self.rid.0).update(&self.me.0).update(&self.connects.to_le_bytes());
        let [a, b, ..] = *hasher.finalize().as_bytes();
        f64::from(u16::from_le_bytes([a, b])) / 65_536.0
    }

    fn weight(&self, peer: &PeerId) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new_derive_key("pcdn feeder v1");
        hasher.update(&self.rid.0).update(&peer.0);
        *hasher.finalize().as_bytes()
    }
}

#[cfg(test)]
mod tests;
