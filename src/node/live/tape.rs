//! What of a broadcast is here, in the order of the stream. Pure but for the clock of waits.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use pcdn_core::layout::SegmentId;
use pcdn_media::flv::order::{Order, Place, Told};
use tokio::time::Instant;

use super::feed::State;

/// A player starts once it has what the next slice may last, and this: it plays that while the next one is cut and comes. A
/// follower has a slice about 0.3 s later than a feeder (measured, 2 s between keyframes).
const CUSHION: Duration = Duration::from_millis(800);
/// Of so many of the newest slices the longest is what the next one may last. A player waits for [`LASTS_MAX`] of it at most, and
/// for the rest of such a stream's slices once.
const LASTS_OF: usize = 16;
const LASTS_MAX: Duration = Duration::from_secs(4);
/// What it may last at least where slices are not all alike: with keyframes near each other the rule cuts slices of one to three
/// seconds, once in some minutes one of nearly five. (Slices of less than a second were cut before the rule applied, and mean the
/// same.)
const LASTS_UNEVEN: Duration = LASTS_MAX;
/// Slices kept at least, however long they are.
const KEPT_MIN: usize = 3;
/// A slice nobody gives for so long is missing: players go on behind it. Less where slices follow one another faster: see
/// [`missing_after`].
const MISSING_AFTER: Duration = Duration::from_secs(8);
const MISSING_AFTER_MIN: Duration = Duration::from_secs(3);
/// Slices kept for players that are behind and for neighbours.
const KEPT_MAX: usize = 64;
/// Bytes of them.
const KEPT_BYTES_MAX: usize = 96 << 20;

/// A slice that is here.
#[derive(Clone, Debug)]
pub(crate) struct Kept {
    pub(crate) bytes: Bytes,
    pub(crate) setup: Bytes,
    pub(crate) duration: Duration,
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
    over: bool,
}

impl Tape {
    /// A slice of this node's own connection.
    pub(crate) fn own(&mut self, source: u64, told: Told, kept: Kept) {
        self.order.lead(source, Told { before: told.before.or(self.last_own), ..told });
        self.last_own = Some(told.id);
        self.put(told.id, kept);
    }

    /// The own connection's newest slice is one that neighbours tell of, and these came before it: a player may begin there.
    pub(crate) fn precede(&mut self, source: u64, before: &[Told], newest: Told) {
        self.order = Order::default();
        for told in before.iter().chain([&newest]) {
            let _ = self.order.add(source, *told);
        }
        self.last_own = Some(newest.id);
        let now = Instant::now();
        let lacking = before.iter().map(|told| told.id).filter(|id| !self.kept.contains_key(id));
        self.wanted.extend(lacking.map(|id| (id, now)));
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

    /// The own connection ended or was left.
    pub(crate) fn lost(&mut self, source: u64) {
        self.order.forget(source);
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

    pub(crate) fn end(&mut self) {
        self.over = true;
    }

    pub(crate) fn is_over(&self) -> bool {
        self.over
    }

    /// Where a new player begins: `behind` slices before the newest that is here, or at the oldest, once there is enough.
    pub(crate) fn start(&self, behind: usize) -> Next {
        // The next slice has been under way for a while.
        let needed = (self.next_lasts().min(LASTS_MAX) + CUSHION).saturating_sub(self.quiet());
        let enough = |span| span >= needed || behind <= 1;
        let mut here = Vec::new();
        let mut span = Duration::ZERO;
        for back in 1..=self.order.len() {
            let Some((place, told)) = self.order.behind(back) else { break };
            match self.kept.get(&told.id) {
                Some(kept) => {
                    span += kept.duration;
                    here.push((place, kept));
                }
                // The newest may be on their way; behind a gap nobody begins.
                None if here.is_empty() => {}
                None => break,
            }
            if here.len() >= behind.max(1) && enough(span) {
                break;
            }
        }
        match here.pop() {
            Some((place, kept)) if enough(span) => Next::Slice(place, kept.clone()),
            _ if self.over => Next::Over,
            _ => Next::Wait,
        }
    }

    /// How long the next slice may last.
    fn next_lasts(&self) -> Duration {
        let newest = (1..=LASTS_OF).map_while(|back| self.order.behind(back)).map(|(_, told)| told.duration);
        let (shortest, longest) = newest.fold((Duration::MAX, Duration::ZERO), |(least, most), duration| {
            (least.min(duration), most.max(duration))
        });
        let even = shortest >= Duration::from_secs(1) && longest.saturating_sub(shortest) <= longest / 10;
        if even { longest } else { longest.max(LASTS_UNEVEN) }
    }

    /// What follows `at`. A player that is `dry` goes on behind a gap: what comes late is of no use to it.
    pub(crate) fn after(&self, at: Place, dry: bool) -> Next {
        let mut at = at;
        while let Some((place, told)) = self.order.after(at) {
            match self.kept.get(&told.id) {
                Some(kept) => return Next::Slice(place, kept.clone()),
                None if dry || self.missing.contains(&told.id) => at = place,
                None => break,
            }
        }
        if self.over { Next::Over } else { Next::Wait }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(id: u64, before: Option<u64>) -> Told {
        Told { id: SegmentId(id), before: before.map(SegmentId), duration: Duration::from_secs(1) }
    }

    fn kept(byte: u8) -> Kept {
        let bytes = Bytes::from(vec![byte; 4]);
        Kept { bytes, setup: Bytes::new(), duration: Duration::from_secs(1), own: true }
    }

    fn ids(tape: &Tape, behind: usize) -> Vec<u8> {
        let mut got = Vec::new();
        let mut next = tape.start(behind);
        while let Next::Slice(place, kept) = next {
            got.push(kept.bytes[0]);
            next = tape.after(place, false);
        }
        got
    }

    #[test]
    fn a_player_starts_with_a_cushion_and_goes_on_over_what_neighbours_bring() {
        let mut tape = Tape::default();
        tape.own(9, told(1, None), kept(1));
        assert!(matches!(tape.start(3), Next::Wait));
        tape.own(9, told(2, None), kept(2));
        tape.own(9, told(3, Some(2)), kept(3));
        tape.lost(9);
        assert!(tape.told(7, told(4, Some(3)), State::Off));
        assert!(!tape.told(8, told(4, Some(3)), State::Off), "it is on its way");
        assert_eq!(ids(&tape, 3), [1, 2, 3]);
        tape.came(SegmentId(4), kept(4));
        assert_eq!(ids(&tape, 3), [2, 3, 4]);
        assert_eq!(ids(&tape, 1), [4]);
    }

    #[test]
    fn what_nobody_gives_is_passed_over() {
        let mut tape = Tape::default();
        (1..=3).for_each(|i| tape.own(9, told(i, Some(i - 1)), kept(i as u8)));
        tape.lost(9);
        assert!(tape.told(7, told(4, Some(3)), State::Off));
        assert!(tape.told(7, told(5, Some(4)), State::Off));
        tape.came(SegmentId(5), kept(5));
        assert_eq!(ids(&tape, 1), [5], "a newcomer begins behind the gap");
        let Next::Slice(place, _) = tape.order.find(SegmentId(3)).map(|p| Next::Slice(p, kept(0))).unwrap()
        else {
            panic!()
        };
        assert!(matches!(tape.after(place, false), Next::Wait));
        assert!(matches!(tape.after(place, true), Next::Slice(_, kept) if kept.bytes[0] == 5));
        tape.missing(SegmentId(4));
        assert!(matches!(tape.after(place, false), Next::Slice(_, kept) if kept.bytes[0] == 5));
    }
}
