//! Who reads the origin.
//!
//! The nodes of a swarm are ordered by a hash of their keys and the content; the first ones are its feeders: as many as witnesses
//! are wanted, or one where a publisher signs the slices. Everybody computes that from the neighbours it has. A node that is no
//! feeder leaves the origin once the others vouch for what it reads itself, and comes back whenever slices stop to come.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use pcdn_core::id::{PeerId, Rid};
use pcdn_core::layout::SegmentId;
use pcdn_core::verify::Manifest;
use tokio::time::Instant;

use crate::node::driver::ToSwarm;
use crate::node::open::{ManifestPlace, fetch_checked};
use crate::node::{Asset, Shared};

/// So many of the last slices of its own connection must be vouched for by others before a node leaves it.
const VOUCHED: usize = 2;
/// Nothing for so long, beyond what a slice lasts: the origin is read again.
const STARVING: Duration = Duration::from_millis(1_500);
/// A connection is kept at least so long: every one costs the origin a burst.
const STAY: Duration = Duration::from_secs(6);
/// Pause before a connection that failed is tried again, doubling up to [`PAUSE_MAX`].
const PAUSE: Duration = Duration::from_millis(250);
const PAUSE_MAX: Duration = Duration::from_secs(8);
/// Slices remembered to ask whether they are vouched for.
const RECENT: usize = 3;

/// What to do about the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Connect,
    Disconnect,
    Stay,
}

/// What decides it.
#[derive(Debug)]
pub(super) struct Role {
    me: PeerId,
    rid: Rid,
    witnesses: usize,
    recent: VecDeque<SegmentId>,
    /// How long the stream's slices are: the longest time between two of them lately.
    rhythm: Duration,
    last: Option<Instant>,
    connected: Instant,
    failures: u32,
    quiet_until: Instant,
}

impl Role {
    pub(super) fn new(me: PeerId, rid: Rid, witnesses: usize) -> Self {
        let now = Instant::now();
        Self {
            me,
            rid,
            witnesses: witnesses.max(1),
            recent: VecDeque::new(),
            rhythm: Duration::from_secs(1),
            last: None,
            connected: now,
            failures: 0,
            quiet_until: now,
        }
    }

    /// The own connection cut a slice.
    pub(super) fn cut(&mut self, id: SegmentId, provisional: bool) {
        self.failures = 0;
        self.beat();
        if provisional {
            return;
        }
        self.recent.push_back(id);
        if self.recent.len() > RECENT {
            self.recent.pop_front();
        }
    }

    /// A slice came from neighbours.
    pub(super) fn came(&mut self) {
        self.beat();
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
        self.recent.clear();
    }

    /// How long it lasts from slice to slice.
    pub(super) fn rhythm(&self) -> Duration {
        self.rhythm
    }

    /// The newest slices of the own connection.
    pub(super) fn recent(&self) -> Vec<SegmentId> {
        self.recent.iter().copied().collect()
    }

    /// `vouched` of the recent slices could be proven without this node; nothing came for `waiting`.
    pub(super) fn decide(
        &mut self,
        peers: &[PeerId],
        vouched: usize,
        waiting: Duration,
        signed: bool,
        on: bool,
    ) -> Step {
        let feeders = if signed { 1 } else { self.witnesses };
        let feeder = self.rank(peers) < feeders;
        let now = Instant::now();
        if on {
            let settled =
                self.recent.len() >= VOUCHED && vouched >= VOUCHED && self.connected.elapsed() >= STAY;
            if feeder || !settled {
                return Step::Stay;
            }
            self.recent.clear();
            return Step::Disconnect;
        }
        let starving = waiting > self.rhythm + STARVING;
        if (feeder || starving) && now >= self.quiet_until {
            self.connected = now;
            self.quiet_until = now + PAUSE;
            return Step::Connect;
        }
        Step::Stay
    }

    fn rank(&self, peers: &[PeerId]) -> usize {
        let mine = self.weight(&self.me);
        peers.iter().filter(|peer| self.weight(peer) < mine).count()
    }

    fn weight(&self, peer: &PeerId) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new_derive_key("pcdn feeder v1");
        hasher.update(&self.rid.0).update(&peer.0);
        *hasher.finalize().as_bytes()
    }
}

/// The signer's manifest of a live stream, which grows slice by slice.
#[derive(Debug)]
pub(super) struct Signed {
    place: ManifestPlace,
    newest: Option<Arc<Manifest>>,
    next: Instant,
    changed: Option<Instant>,
}

/// The manifest is looked at this often; a signer writes it with every slice.
const LOOK: Duration = Duration::from_millis(500);
/// One that did not change for so long is not followed any more, and slices need witnesses.
const STALE: Duration = Duration::from_secs(30);

impl Signed {
    pub(super) fn new(place: ManifestPlace) -> Self {
        Self { place, newest: None, next: Instant::now(), changed: None }
    }

    /// Whether slices are being signed.
    pub(super) fn is_live(&self) -> bool {
        self.changed.is_some_and(|changed| changed.elapsed() < STALE)
    }

    /// Fetches it if it is time.
    pub(super) async fn look(&mut self, shared: &Shared, asset: &Asset) {
        if Instant::now() < self.next {
            return;
        }
        self.next = Instant::now() + LOOK;
        let Some((manifest, raw)) = fetch_checked(shared, &self.place).await else {
            // None yet: not asked for as often as one that is there.
            self.next = Instant::now() + LOOK * if self.newest.is_some() { 1 } else { 10 };
            return;
        };
        let fits = manifest.rid.is_none_or(|rid| rid == asset.rid());
        let newer = self.newest.as_ref().is_none_or(|old| manifest.seq > old.seq);
        if fits && newer {
            self.changed = Some(Instant::now());
            self.newest = Some(manifest.clone());
            // A swarm that is closed needs none.
            let _ = asset.tell(ToSwarm::Manifest(manifest, raw)).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn as_many_feed_as_witnesses_are_wanted_and_the_rest_leave_once_others_vouch() {
        let all: Vec<PeerId> = (0..6).map(|i| PeerId([i; 32])).collect();
        let mut feeding = 0;
        for me in &all {
            let mut role = Role::new(*me, Rid([1; 32]), 2);
            let others: Vec<PeerId> = all.iter().filter(|peer| *peer != me).copied().collect();
            (0..3).for_each(|i| role.cut(SegmentId(i), false));
            assert_eq!(role.decide(&others, 0, Duration::ZERO, false, true), Step::Stay, "nobody vouches");
            tokio::time::advance(STAY).await;
            feeding += usize::from(role.decide(&others, 3, Duration::ZERO, false, true) == Step::Stay);
        }
        assert_eq!(feeding, 2);
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_starves_reads_the_origin_again() {
        let me = PeerId([9; 32]);
        let peers: Vec<PeerId> = (0..9).map(|i| PeerId([i; 32])).collect();
        let mut role = Role::new(me, Rid([2; 32]), 1);
        role.witnesses = 0;
        assert_eq!(role.decide(&peers, 0, Duration::from_secs(1), false, false), Step::Stay);
        assert_eq!(role.decide(&peers, 0, Duration::from_secs(3), false, false), Step::Connect);
    }
}
