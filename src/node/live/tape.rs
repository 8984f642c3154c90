//! What of a broadcast is here, in the order of the stream. Pure but for the clock of waits.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use pcdn_core::layout::SegmentId;
use pcdn_media::flv::order::{Order, Place, Told};
use tokio::time::Instant;

use super::feed::State;

/// Of so many of the newest parts the longest is what the next one may last.
const LASTS_OF: usize = 16;
/// Parts kept at least, however long they are.
const KEPT_MIN: usize = 3;
/// A part nobody gives for so long is missing: players go on behind it. Less where parts follow one another faster: see
/// [`missing_after`].
const MISSING_AFTER: Duration = Duration::from_secs(8);
const MISSING_AFTER_MIN: Duration = Duration::from_secs(3);
/// Parts kept for players that are behind and for neighbours: a minute.
const KEPT_MAX: usize = 192;
/// Parts a seam is looked for in: more than a group of pictures that a connection begins with.
const SEAM_PARTS: usize = 32;
/// Bytes of them.
const KEPT_BYTES_MAX: usize = 96 << 20;

/// A part that is here.
#[derive(Clone, Debug)]
pub(crate) struct Kept {
    pub(crate) bytes: Bytes,
    pub(crate) setup: Bytes,
    pub(crate) duration: Duration,
    /// How long after its slice it begins.
    pub(crate) offset: Duration,
    /// Read from the origin by this node.
    pub(crate) own: bool,
}

/// What a player is to do.
#[derive(Debug)]
pub(crate) enum Next {
    Slice(Place, Kept),
    Wait,
    Over,
}

/// How long a slice may take to come where one comes every `rhythm`: one that only a feeder that died could vouch for never does.
pub(crate) fn missing_after(rhythm: Duration) -> Duration {
    (rhythm * 2 + Duration::from_millis(500)).clamp(MISSING_AFTER_MIN, MISSING_AFTER)
}

/// The slices of a broadcast.
#[derive(Debug, Default)]
pub(crate) struct Tape {
    order: Order,
    kept: HashMap<SegmentId, Kept>,
    age: VecDeque<SegmentId>,
    bytes: usize,
    /// What is fetched from neighbours, and since when.
    wanted: BTreeMap<SegmentId, Instant>,
    missing: HashSet<SegmentId>,
    /// What was put out since the swarm was told.
    gone: Vec<SegmentId>,
    /// The own connection's last slice: it names the one before even where the stream's rule does not.
    last_own: Option<SegmentId>,
    /// When the newest slice came.
    moved: Option<Instant>,
    /// When each player will have played all it was given.
    dry: BTreeMap<u64, Instant>,
    over: bool,
}

impl Tape {
    /// A slice of this node's own connection.
    pub(crate) fn own(&mut self, source: u64, told: Told, kept: Kept) {
        self.order.lead(source, Told { before: told.before.or(self.last_own), ..told });
        self.last_own = Some(told.id);
        self.put(told.id, kept);
    }

    /// The newest of what is here without a gap before it, and what a connection that begins now may give once more.
    pub(crate) fn seam(&self) -> Option<(SegmentId, Vec<Bytes>)> {
        let newest =
            (1..=self.order.len()).map_while(|back| self.order.behind(back)).map(|(_, told)| told.id);
        let mut here = newest.skip_while(|id| !self.kept.contains_key(id)).peekable();
        let last = *here.peek()?;
        let kept = here.map_while(|id| self.kept.get(&id)).take(SEAM_PARTS);
        let mut parts: Vec<Bytes> = kept.map(|kept| kept.bytes.clone()).collect();
        parts.reverse();
        Some((last, parts))
    }

    /// Whether it is here.
    pub(crate) fn has(&self, id: SegmentId) -> bool {
        self.kept.contains_key(&id)
    }

    /// Whether a slice of that number has a place here.
    pub(crate) fn knows(&self, id: SegmentId) -> bool {
        self.order.find(id).is_some()
    }

    /// Whether a slice that neighbours told of while the own connection was on is to be fetched now that it is not.
    pub(crate) fn take_over(&mut self, source: u64, told: Told) -> bool {
        if self.kept.contains_key(&told.id) {
            return false;
        }
        let ahead = |tape: &Self| {
            let last = tape.last_own.and_then(|id| tape.order.find(id));
            let place = tape.order.find(told.id);
            place.is_some_and(|place| last.is_none_or(|last| last < place))
        };
        (ahead(self) || self.order.add(source, told) && ahead(self)) && self.want(told.id)
    }

    /// The own connection ended or was left. What neighbours told of before its last part nobody waits for.
    pub(crate) fn lost(&mut self, source: u64) {
        self.order.forget(source);
        if let Some(last) = self.last_own.and_then(|id| self.order.find(id)) {
            let order = &self.order;
            self.wanted.retain(|id, _| order.find(*id).is_some_and(|place| place > last));
        }
        self.last_own = None;
    }

    /// A neighbour tells of a slice; whether it is to be fetched. While the own connection is on, only its order begins one; what
    /// it does not give yet neighbours do.
    pub(super) fn told(&mut self, source: u64, told: Told, feed: State) -> bool {
        if self.order.is_empty() && feed != State::Off {
            return false;
        }
        if !self.order.add(source, told) {
            return false;
        }
        feed != State::Gives && !self.kept.contains_key(&told.id) && self.want(told.id)
    }

    /// False if it is wanted already.
    fn want(&mut self, id: SegmentId) -> bool {
        self.wanted.insert(id, Instant::now()).is_none()
    }

    /// A slice came from neighbours.
    pub(crate) fn came(&mut self, id: SegmentId, kept: Kept) {
        self.wanted.remove(&id);
        self.put(id, kept);
    }

    /// Nobody gives it.
    pub(crate) fn missing(&mut self, id: SegmentId) {
        if self.wanted.remove(&id).is_some() && !self.kept.contains_key(&id) {
            self.missing.insert(id);
        }
    }

    fn put(&mut self, id: SegmentId, kept: Kept) {
        self.missing.remove(&id);
        self.moved = Some(Instant::now());
        self.bytes += kept.bytes.len();
        if let Some(old) = self.kept.insert(id, kept) {
            self.bytes -= old.bytes.len();
        } else {
            self.age.push_back(id);
        }
        while self.age.len() > KEPT_MAX || (self.bytes > KEPT_BYTES_MAX && self.age.len() > KEPT_MIN) {
            let Some(oldest) = self.age.pop_front() else { break };
            self.bytes -= self.kept.remove(&oldest).map_or(0, |kept| kept.bytes.len());
            self.missing.remove(&oldest);
            self.gone.push(oldest);
        }
    }

    /// Slices that are being fetched.
    pub(crate) fn wanted(&self) -> impl Iterator<Item = SegmentId> + '_ {
        self.wanted.keys().copied()
    }

    /// Those of them that have been for at least `age`.
    pub(crate) fn wanted_since(&self, age: Duration) -> Vec<SegmentId> {
        self.wanted.iter().filter(|(_, since)| since.elapsed() >= age).map(|(id, _)| *id).collect()
    }

    /// Slices put out since the last call.
    pub(crate) fn old(&mut self) -> Vec<SegmentId> {
        std::mem::take(&mut self.gone)
    }

    /// How long nothing came, beyond what the next slice may last.
    pub(crate) fn overdue(&self) -> Duration {
        self.quiet().saturating_sub(self.next_lasts())
    }

    fn quiet(&self) -> Duration {
        self.moved.map_or(Duration::ZERO, |moved| moved.elapsed())
    }

    /// A player will have played all it was given at `dry`; `None` while it gathers something to begin with.
    pub(crate) fn plays(&mut self, player: u64, dry: Option<Instant>) {
        match dry {
            Some(dry) => self.dry.insert(player, dry),
            None => self.dry.remove(&player),
        };
    }

    /// A player is gone.
    pub(crate) fn left(&mut self, player: u64) {
        self.dry.remove(&player);
    }

    /// Whether some player has no more than `left` to play.
    pub(crate) fn is_low(&self, left: Duration) -> bool {
        self.dry.values().min().is_some_and(|dry| *dry <= Instant::now() + left)
    }

    /// What the player with least has left, if any plays.
    pub(crate) fn in_hand(&self) -> Option<Duration> {
        self.dry.values().min().map(|dry| dry.saturating_duration_since(Instant::now()))
    }

    /// Whether some player has had nothing left for so long.
    pub(crate) fn is_dry_since(&self, since: Duration) -> bool {
        self.dry.values().min().is_some_and(|dry| dry.elapsed() >= since)
    }

    pub(crate) fn end(&mut self) {
        self.over = true;
    }

    pub(crate) fn is_over(&self) -> bool {
        self.over
    }

    /// Where a new player begins: with the slice that is `behind` slices before the end of what is here, the newest being 1, or
    /// with the oldest. It need not wait for more: it has as much as the origin alone would give it, or more.
    pub(crate) fn start(&self, behind: usize) -> Next {
        let (mut begin, mut begins, mut here) = (None, 0, false);
        for back in 1..=self.order.len() {
            let Some((place, told)) = self.order.behind(back) else { break };
            match self.kept.get(&told.id) {
                Some(kept) => {
                    here = true;
                    if kept.offset.is_zero() {
                        begin = Some((place, kept));
                        begins += 1;
                    }
                }
                // The newest may be on their way; behind a gap nobody begins.
                None if !here => {}
                None => break,
            }
            if begins == behind.max(1) {
                break;
            }
        }
        match begin {
            Some((place, kept)) => Next::Slice(place, kept.clone()),
            None if self.over => Next::Over,
            None => Next::Wait,
        }
    }

    /// How long the next part may last.
    fn next_lasts(&self) -> Duration {
        let newest = (1..=LASTS_OF).map_while(|back| self.order.behind(back));
        newest.map(|(_, told)| told.duration).max().unwrap_or_default()
    }

    /// What follows `at`. A player that is `dry` goes on behind a gap: what comes late is of no use to it. It goes on with a slice,
    /// whose pictures need none before them.
    pub(crate) fn after(&self, at: Place, dry: bool) -> Next {
        let (mut at, mut gap) = (at, false);
        while let Some((place, told)) = self.order.after(at) {
            match self.kept.get(&told.id) {
                Some(kept) if !gap || kept.offset.is_zero() => return Next::Slice(place, kept.clone()),
                Some(_) => {}
                None if dry || self.missing.contains(&told.id) => gap = true,
                None => break,
            }
            at = place;
        }
        if self.over { Next::Over } else { Next::Wait }
    }
}

#[cfg(test)]
mod tests;
