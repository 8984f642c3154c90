//! A segment is of one content: what the origin gives of it, and what others' word lets through.
//!
//! A listed segment may be replaced under its URL while others still hold the one before, which their witnesses or the publisher's old
//! list prove. The origin's own copy of any piece shows it: it is not what was proven. From then on the segment comes from the
//! origin alone. What is here of it and came from others is fetched again and compared, and until that has happened nobody is given
//! what follows: equal, and a witness merely lied; else whoever was given some of it is told that it has changed, and asks again.
//!
//! Lies cannot stop a player this way: only the word of a vetted witness counts, and it costs that witness its key.

use std::collections::BTreeMap;
use std::ops::Range;

use super::{Output, Source, Swarm};
use crate::id::Digest;
use crate::layout::SegmentId;
use crate::origin::OriginError;
use crate::schedule::Slot;
use crate::unit::Time;

/// What was here of segments in doubt, and is to be compared. Bounded by the board.
#[derive(Debug, Default)]
pub(super) struct Doubts {
    were: BTreeMap<Slot, Digest>,
}

impl Doubts {
    /// Whether a piece of these is still to be compared.
    pub(super) fn is_open(&self, slots: Range<u32>) -> bool {
        slots.start < slots.end && self.were.range(Slot(slots.start)..Slot(slots.end)).next().is_some()
    }

    /// A segment left.
    pub(super) fn retire(&mut self, slots: &Range<u32>) {
        self.were.retain(|slot, _| !slots.contains(&slot.0));
    }

    /// The first `count` slots are gone.
    pub(super) fn drop_front(&mut self, count: u32) {
        self.were =
            std::mem::take(&mut self.were).into_iter().map(|(slot, was)| (slot.down(count), was)).collect();
    }
}

impl Swarm {
    /// The origin's copy of a piece of `id` is not what was proven, or not what a witness said on whose word pieces may be here.
    pub(super) fn doubt(&mut self, now: Time, id: SegmentId) {
        // Of a stream that can only be followed nothing can be fetched again; its segments are named by what is in them.
        if !self.setup.stream || self.setup.follow || !self.proof.leave_to_origin(id, &mut self.board) {
            return;
        }
        let slots = self.board.slots_of(id);
        for flight in self.flights.on(&slots) {
            self.cancel(flight);
        }
        let facts = slots.map(|slot| (Slot(slot), *self.board.fact(Slot(slot))));
        let held: Vec<_> =
            facts.filter_map(|(slot, fact)| Some((slot, fact.digest?, fact.source?))).collect();
        if held.iter().all(|(_, _, source)| *source == Source::Origin) {
            return;
        }
        self.out.push_back(Output::Discard(id));
        for (slot, digest, _) in held {
            self.board.lose(slot);
            self.doubts.were.insert(slot, digest);
        }
        self.compare(now);
        self.dirty = true;
    }

    /// Fetches what is to be compared and not on its way.
    pub(super) fn compare(&mut self, now: Time) {
        if self.doubts.were.is_empty() || !self.origin.is_allowed(now) {
            return;
        }
        let open: Vec<u32> = self.doubts.were.keys().map(|slot| slot.0).collect();
        let mut at = 0;
        while let Some(first) = open.get(at) {
            let run = (0..).zip(&open[at..]).take_while(|(i, slot)| *first + i == **slot).count();
            self.fetch(now, Slot(*first), run as u32);
            at += run;
        }
    }

    /// The origin's copy of a piece has come.
    pub(super) fn compared(&mut self, slot: Slot, digest: Digest) {
        let Some(was) = self.doubts.were.remove(&slot) else { return };
        if was == digest {
            return;
        }
        let piece = self.board.piece(slot);
        let (id, at) = (piece.key.segment, piece.at);
        let what = "what was given of the segment is of the one before".to_owned();
        self.break_readers_beyond(id, at, OriginError::Changed { what });
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use bytes::Bytes;

    use super::*;
    use crate::dice::Dice;
    use crate::fragment::{Cut, Segment};
    use crate::id::{Identity, RuleId, SwarmKey};
    use crate::layout::PieceKey;
    use crate::range::ByteRange;
    use crate::resource::Url;
    use crate::schedule::Hybrid;
    use crate::store::Held;
    use crate::swarm::{Input, ReaderId, SwarmSetup};
    use crate::testing::{content, manifest_of};
    use crate::verify::{Manifest, PieceList};

    const LEN: usize = 1 << 20;
    /// Pieces of the content before that an earlier run kept.
    const KEPT: u32 = 4;

    /// A node alone with an origin that has the new content, and a list of the one before.
    struct World {
        swarm: Swarm,
        now: Time,
        store: BTreeMap<PieceKey, Bytes>,
        /// Of the origin, which answers later than the store.
        asked: Vec<(u64, ByteRange)>,
        read: Vec<u8>,
        broken: u32,
    }

    impl World {
        fn new() -> Self {
            let url = Url::parse("http://origin.example/1.ts").unwrap();
            let segment = Segment::of_file(SegmentId(0), url, 0..LEN as u64, 16).unwrap();
            let old = content(LEN, 1);
            let list = PieceList::of(&segment.layout, &old);
            let mut store = BTreeMap::new();
            let mut held = Vec::new();
            for n in 0..KEPT {
                let piece = segment.layout.piece(n).unwrap();
                let key = PieceKey { segment: segment.id, piece };
                let at = segment.layout.bytes_of(piece);
                store.insert(key, old.slice(at.start as usize..at.end as usize));
                held.push(Held { key, layout: segment.layout, digest: list.values()[n as usize], own: true });
            }
            let raw = manifest_of(&old, RuleId([0; 8]), LEN as u64, 16, &Identity::from_secret([9; 32]));
            let setup = SwarmSetup {
                stream: true,
                ..SwarmSetup::new(SwarmKey([1; 32]), Identity::from_secret([1; 32]))
            };
            let swarm = Swarm::new(setup, Box::new(Hybrid::default()), Dice::new(1), Time::ZERO);
            let mut world =
                Self { swarm, now: Time::ZERO, store, asked: Vec::new(), read: Vec::new(), broken: 0 };
            world.give(Input::Held(held));
            world.give(Input::Cut(Cut::Segment(segment)));
            world.give(Input::Manifest(Arc::new(Manifest::parse(&raw).unwrap()), None));
            world
        }

        fn give(&mut self, input: Input) {
            self.swarm.handle(self.now, input);
            while let Some(output) = self.swarm.poll() {
                match output {
                    Output::Fetch { run, range, .. } => self.asked.push((run, range)),
                    Output::Load(key) => {
                        let bytes = self.store.get(&key).cloned();
                        self.give(Input::Loaded { key, bytes });
                    }
                    Output::Keep { key, kept, .. } => _ = self.store.insert(key, kept.bytes.into_inner()),
                    Output::Discard(_) => self.store.clear(),
                    Output::Deliver { reader, bytes, .. } => {
                        self.read.extend_from_slice(&bytes);
                        self.give(Input::Pull { reader });
                    }
                    Output::Broken { why: OriginError::Changed { .. }, .. } => self.broken += 1,
                    _ => {}
                }
            }
        }

        fn play(&mut self, reader: u64) {
            self.give(Input::play(reader, 0, LEN as u64));
            self.give(Input::Pull { reader: ReaderId(reader) });
            for _ in 0..100 {
                self.now += std::time::Duration::from_millis(50);
                self.give(Input::Wake);
                for (run, range) in std::mem::take(&mut self.asked) {
                    let bytes = content(LEN, 2).slice(range.start() as usize..range.end() as usize);
                    self.give(Input::OriginBytes { run, bytes });
                    self.give(Input::OriginEnd { run, result: Ok(()) });
                }
            }
        }
    }

    #[test]
    fn who_was_given_some_of_the_content_before_is_told_and_gets_the_new_one_whole() {
        let mut world = World::new();
        world.play(1);
        let given = world.read.len();
        assert!(world.read == content(LEN, 1)[..given], "nothing of the new one behind it");
        assert_eq!((given, world.broken), ((KEPT << 16) as usize, 1));
        world.read.clear();
        world.play(2);
        assert!(world.read == content(LEN, 2) && world.broken == 1);
        let kept: Vec<u8> = world.store.values().flat_map(|bytes| bytes.iter().copied()).collect();
        assert!(kept == content(LEN, 2), "nothing of the one before stays in the store");
    }
}
