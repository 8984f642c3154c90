//! A hierarchical timing wheel: what happens next, among hundreds of thousands of things to come.
//!
//! Eight levels of 64 slots. Level 0 has a slot for each microsecond of the 64 around now; a slot of level k spans 64^k of
//! them. An entry lies at the level of the highest six bits in which its time differs from now, and moves down when its slot
//! is reached: at most seven moves in its life, most often two. A bit set per level finds the next slot in one instruction.
//! A binary heap does the same in log n comparisons with as many cache misses; with 400,000 entries that is 50 times slower.
//!
//! Promise: entries come out in the order of their times, and those of one time in the order they were put in.

use pcdn_core::unit::Time;

/// Six bits of the time each.
const LEVELS: usize = 8;
const SLOT_BITS: u32 = 6;
const SLOTS: usize = 1 << SLOT_BITS;
/// Times are cut to what the levels hold, 2^48 µs = 9 years.
const HORIZON: u64 = (1 << (SLOT_BITS as u64 * LEVELS as u64)) - 1;
/// No entry.
const NONE: u32 = u32::MAX;

/// Entries of type `T`, each with its time.
#[derive(Debug)]
pub struct Wheel<T> {
    entries: Vec<Entry<T>>,
    free: u32,
    levels: [Level; LEVELS],
    now: u64,
    len: usize,
}

#[derive(Debug)]
struct Entry<T> {
    at: u64,
    next: u32,
    what: T,
}

/// One level: for each slot a list, first in first out, and a bit that says whether it has entries.
#[derive(Clone, Copy, Debug)]
struct Level {
    taken: u64,
    slots: [List; SLOTS],
}

#[derive(Clone, Copy, Debug)]
struct List {
    first: u32,
    last: u32,
}

const EMPTY: List = List { first: NONE, last: NONE };

impl<T: Copy> Default for Wheel<T> {
    fn default() -> Self {
        Self {
            entries: Vec::new(),
            free: NONE,
            levels: [Level { taken: 0, slots: [EMPTY; SLOTS] }; LEVELS],
            now: 0,
            len: 0,
        }
    }
}

impl<T: Copy> Wheel<T> {
    /// Puts `what` in at `at`; a time gone by counts as now.
    pub fn insert(&mut self, at: Time, what: T) {
        let at = at.0.clamp(self.now, HORIZON);
        let entry = Entry { at, next: NONE, what };
        let index = match self.free {
            NONE => {
                self.entries.push(entry);
                (self.entries.len() - 1) as u32
            }
            index => {
                self.free = self.entries[index as usize].next;
                self.entries[index as usize] = entry;
                index
            }
        };
        self.len += 1;
        self.link(index, at);
    }

    /// Takes the earliest out. Now is its time from here on.
    pub fn pop(&mut self) -> Option<(Time, T)> {
        if self.len == 0 {
            return None;
        }
        loop {
            let here = self.now & (SLOTS as u64 - 1);
            let ahead = self.levels[0].taken & (u64::MAX << here);
            if ahead != 0 {
                return Some(self.take(ahead.trailing_zeros() as usize));
            }
            self.advance();
        }
    }

    /// Entries waiting.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    fn take(&mut self, slot: usize) -> (Time, T) {
        let level = &mut self.levels[0];
        let index = level.slots[slot].first;
        let entry = &mut self.entries[index as usize];
        level.slots[slot].first = entry.next;
        if entry.next == NONE {
            level.slots[slot].last = NONE;
            level.taken &= !(1 << slot);
        }
        entry.next = self.free;
        self.free = index;
        self.len -= 1;
        self.now = entry.at;
        (Time(entry.at), entry.what)
    }

    /// Level 0 is empty: goes to the next slot of the lowest level that has one and hands its entries down.
    fn advance(&mut self) {
        for at in 1..LEVELS {
            let shift = SLOT_BITS * at as u32;
            let here = (self.now >> shift) & (SLOTS as u64 - 1);
            // All of a higher level lie in slots after the one now is in.
            let ahead = self.levels[at].taken & u64::MAX.checked_shl(here as u32 + 1).unwrap_or(0);
            if ahead == 0 {
                continue;
            }
            let slot = ahead.trailing_zeros() as u64;
            let above = self.now >> (shift + SLOT_BITS) << SLOT_BITS;
            self.now = (above | slot) << shift;
            let list = std::mem::replace(&mut self.levels[at].slots[slot as usize], EMPTY);
            self.levels[at].taken &= !(1 << slot);
            let mut index = list.first;
            while index != NONE {
                let entry = &mut self.entries[index as usize];
                let (time, next) = (entry.at, std::mem::replace(&mut entry.next, NONE));
                self.link(index, time);
                index = next;
            }
            return;
        }
        unreachable!("len > 0, so some level has an entry ahead of now");
    }

    fn link(&mut self, index: u32, at: u64) {
        let differs = at ^ self.now;
        let level = if differs == 0 { 0 } else { (63 - differs.leading_zeros()) / SLOT_BITS } as usize;
        let slot = (at >> (SLOT_BITS * level as u32)) as usize & (SLOTS - 1);
        let level = &mut self.levels[level];
        level.taken |= 1 << slot;
        let list = &mut level.slots[slot];
        match list.last {
            NONE => list.first = index,
            last => self.entries[last as usize].next = index,
        }
        list.last = index;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug)]
    enum Step {
        /// After this many microseconds from now.
        Insert(u64),
        Pop,
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        // Near, far and very far delays, so that every level is used.
        let delay = (0u32..40, any::<u64>()).prop_map(|(bits, noise)| noise & ((1 << bits) - 1));
        proptest::collection::vec(prop_oneof![delay.prop_map(Step::Insert), Just(Step::Pop)], 0..400)
    }

    proptest! {
        #[test]
        fn it_gives_what_an_ordered_map_gives(steps in steps()) {
            let mut wheel = Wheel::default();
            let mut reference = BTreeMap::new();
            let mut now = 0;
            for (n, step) in steps.into_iter().enumerate() {
                match step {
                    Step::Insert(delay) => {
                        wheel.insert(Time(now + delay), n);
                        reference.insert((now + delay, n), ());
                    }
                    Step::Pop => {
                        let want = reference.pop_first().map(|((at, n), ())| (Time(at), n));
                        let got = wheel.pop();
                        prop_assert_eq!(got, want);
                        now = got.map_or(now, |(at, _)| at.0);
                    }
                }
                prop_assert_eq!(wheel.len(), reference.len());
            }
            while let Some(((at, n), ())) = reference.pop_first() {
                prop_assert_eq!(wheel.pop(), Some((Time(at), n)));
            }
            prop_assert_eq!(wheel.pop(), None);
        }
    }

    #[test]
    fn the_past_is_now_and_never_is_the_horizon() {
        let mut wheel = Wheel::default();
        wheel.insert(Time(100), 'a');
        assert_eq!(wheel.pop(), Some((Time(100), 'a')));
        wheel.insert(Time::NEVER, 'n');
        wheel.insert(Time(3), 'b');
        assert_eq!(wheel.pop(), Some((Time(100), 'b')));
        assert_eq!(wheel.pop(), Some((Time(HORIZON), 'n')));
        assert!(wheel.is_empty());
    }
}
