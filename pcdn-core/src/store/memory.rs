//! Pieces in memory, the least recently used leaving first.
//!
//! One map finds a piece, one doubly linked list (in a slab, by index) orders all pieces by their last use. Every call is
//! O(1) but [`held`](Store::held) and [`forget`](Store::forget), which cost what they answer or drop.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use crate::id::{Digest, SwarmKey};
use crate::layout::{Layout, PieceIndex, PieceKey, SegmentId};
use crate::store::{Held, Kept, Store, StoreError};
use crate::unit::ByteSize;

/// What the smallest piece counts for: about its entry in the maps with allocation, so that a swarm of one-byte pieces
/// cannot outgrow the capacity through bookkeeping.
const CHARGE_MIN: u64 = 512;
/// End of the list.
const NONE: usize = usize::MAX;

/// Keeps pieces in memory up to a number of bytes.
///
/// ```
/// use pcdn_core::{store::{Memory, Store}, unit::ByteSize, id::SwarmKey};
/// let store = Memory::of(ByteSize::mib(64));
/// assert!(store.held(&SwarmKey([1; 32]))?.is_empty());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Memory {
    capacity: u64,
    shelf: Mutex<Shelf>,
}

impl Memory {
    /// Of at most `capacity` bytes of pieces. A piece counts for its length, at least 512 bytes.
    pub fn of(capacity: ByteSize) -> Self {
        Self { capacity: capacity.0, shelf: Mutex::default() }
    }

    /// How many bytes are in use.
    pub fn used(&self) -> ByteSize {
        ByteSize(self.shelf().used)
    }

    /// A panic of another thread cannot leave the shelf half changed in a way that matters: pieces are hashed when read.
    fn shelf(&self) -> MutexGuard<'_, Shelf> {
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store for Memory {
    fn held(&self, swarm: &SwarmKey) -> Result<Vec<Held>, StoreError> {
        let shelf = self.shelf();
        let mut held: Vec<Held> = Vec::new();
        for (segment, rack) in shelf.swarms.get(swarm).into_iter().flatten() {
            held.extend(rack.places.iter().map(|(piece, place)| Held {
                key: PieceKey { segment: *segment, piece: *piece },
                layout: rack.layout,
                digest: shelf.slab[*place].digest,
                own: shelf.slab[*place].own,
            }));
        }
        // Hash order differs between runs; what leaves here must not.
        held.sort_unstable_by_key(|held| held.key);
        Ok(held)
    }

    fn put(&self, swarm: &SwarmKey, key: &PieceKey, layout: &Layout, piece: &Kept) -> Result<(), StoreError> {
        super::fits(key, layout, &piece.bytes)?;
        let charge = charge(&piece.bytes);
        if charge > self.capacity {
            return Err(StoreError::Full(format!("a piece of {charge} bytes, a store of {}", self.capacity)));
        }
        let mut shelf = self.shelf();
        if shelf.rack(swarm, key.segment).is_some_and(|rack| rack.layout != *layout) {
            shelf.forget(swarm, key.segment);
        }
        shelf.remove(swarm, key);
        while shelf.used + charge > self.capacity && shelf.evict() {}
        if shelf.used + charge > self.capacity {
            return Err(StoreError::Full(format!("{} bytes of protected pieces", shelf.used)));
        }
        shelf.insert(swarm, key, layout, piece);
        Ok(())
    }

    fn get(&self, swarm: &SwarmKey, key: &PieceKey) -> Result<Option<Bytes>, StoreError> {
        let mut shelf = self.shelf();
        let place = shelf.rack(swarm, key.segment).and_then(|rack| rack.places.get(&key.piece).copied());
        Ok(place.map(|place| {
            shelf.unlink(place);
            shelf.link_newest(place);
            shelf.slab[place].bytes.clone()
        }))
    }

    fn forget(&self, swarm: &SwarmKey, segment: Option<SegmentId>) -> Result<(), StoreError> {
        let mut shelf = self.shelf();
        let segments = match segment {
            Some(segment) => vec![segment],
            None => shelf.swarms.get(swarm).into_iter().flat_map(|racks| racks.keys().copied()).collect(),
        };
        segments.into_iter().for_each(|segment| shelf.forget(swarm, segment));
        Ok(())
    }

    fn protect(&self, swarm: &SwarmKey, protected: bool) -> Result<(), StoreError> {
        let mut shelf = self.shelf();
        match protected {
            true => shelf.protected.insert(*swarm),
            false => shelf.protected.remove(swarm),
        };
        Ok(())
    }

    fn flush(&self) -> Result<(), StoreError> {
        Ok(())
    }
}

/// The pieces of all swarms.
#[derive(Debug)]
struct Shelf {
    swarms: HashMap<SwarmKey, HashMap<SegmentId, Rack>>,
    slab: Vec<Item>,
    free: Vec<usize>,
    oldest: usize,
    newest: usize,
    used: u64,
    /// Swarms whose pieces stay.
    protected: HashSet<SwarmKey>,
}

/// The pieces of one segment, by their place in the slab.
#[derive(Debug)]
struct Rack {
    layout: Layout,
    places: HashMap<PieceIndex, usize>,
}

#[derive(Debug)]
struct Item {
    swarm: SwarmKey,
    key: PieceKey,
    bytes: Bytes,
    digest: Digest,
    own: bool,
    older: usize,
    newer: usize,
}

impl Default for Shelf {
    fn default() -> Self {
        Self {
            swarms: HashMap::new(),
            slab: Vec::new(),
            free: Vec::new(),
            oldest: NONE,
            newest: NONE,
            used: 0,
            protected: HashSet::new(),
        }
    }
}

impl Shelf {
    fn rack(&self, swarm: &SwarmKey, segment: SegmentId) -> Option<&Rack> {
        self.swarms.get(swarm)?.get(&segment)
    }

    fn insert(&mut self, swarm: &SwarmKey, key: &PieceKey, layout: &Layout, piece: &Kept) {
        self.used += charge(&piece.bytes);
        let item = Item {
            swarm: *swarm,
            key: *key,
            bytes: Bytes::clone(&piece.bytes),
            digest: piece.digest,
            own: piece.own,
            older: NONE,
            newer: NONE,
        };
        let place = match self.free.pop() {
            Some(place) => {
                self.slab[place] = item;
                place
            }
            None => {
                self.slab.push(item);
                self.slab.len() - 1
            }
        };
        let racks = self.swarms.entry(*swarm).or_default();
        let rack =
            racks.entry(key.segment).or_insert_with(|| Rack { layout: *layout, places: HashMap::new() });
        rack.places.insert(key.piece, place);
        self.link_newest(place);
    }

    /// Takes a piece out, and the maps that become empty by it.
    fn remove(&mut self, swarm: &SwarmKey, key: &PieceKey) {
        let Entry::Occupied(mut racks) = self.swarms.entry(*swarm) else { return };
        let Entry::Occupied(mut rack) = racks.get_mut().entry(key.segment) else { return };
        let Some(place) = rack.get_mut().places.remove(&key.piece) else { return };
        if rack.get().places.is_empty() {
            rack.remove();
            if racks.get().is_empty() {
                racks.remove();
            }
        }
        self.unlink(place);
        // The place waits for its next item; its bytes must not.
        let bytes = std::mem::take(&mut self.slab[place].bytes);
        self.used -= charge(&bytes);
        self.free.push(place);
    }

    fn forget(&mut self, swarm: &SwarmKey, segment: SegmentId) {
        let Some(rack) = self.rack(swarm, segment) else { return };
        let pieces: Vec<PieceIndex> = rack.places.keys().copied().collect();
        pieces.into_iter().for_each(|piece| self.remove(swarm, &PieceKey { segment, piece }));
    }

    /// Drops the piece that was not used for longest, protected ones apart; `false` if there is none.
    fn evict(&mut self) -> bool {
        // Protected pieces that are passed over become young, so that none is looked at twice before all others.
        for _ in 0..self.slab.len() {
            let Some(item) = self.slab.get(self.oldest) else { return false };
            if !self.protected.contains(&item.swarm) {
                break;
            }
            let place = self.oldest;
            self.unlink(place);
            self.link_newest(place);
        }
        let Some(item) = self.slab.get(self.oldest) else { return false };
        let (swarm, key) = (item.swarm, item.key);
        if self.protected.contains(&swarm) {
            return false;
        }
        self.remove(&swarm, &key);
        true
    }

    fn link_newest(&mut self, place: usize) {
        self.slab[place].older = self.newest;
        self.slab[place].newer = NONE;
        match self.newest {
            NONE => self.oldest = place,
            newest => self.slab[newest].newer = place,
        }
        self.newest = place;
    }

    fn unlink(&mut self, place: usize) {
        let (older, newer) = (self.slab[place].older, self.slab[place].newer);
        match older {
            NONE => self.oldest = newer,
            older => self.slab[older].newer = newer,
        }
        match newer {
            NONE => self.newest = older,
            newer => self.slab[newer].older = older,
        }
    }
}

fn charge(bytes: &Bytes) -> u64 {
    (bytes.len() as u64).max(CHARGE_MIN)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance::store::{self as suite, piece_of};

    const SWARM: SwarmKey = SwarmKey([4; 32]);

    fn put(store: &Memory, segment: u64, index: u32) {
        let layout = Layout::new(4 << 14, 14).unwrap();
        let key = PieceKey { segment: SegmentId(segment), piece: layout.piece(index).unwrap() };
        store.put(&SWARM, &key, &layout, &piece_of(&layout, key, 0)).unwrap();
    }

    fn numbers(store: &Memory) -> Vec<(u64, u32)> {
        let held = store.held(&SWARM).unwrap();
        held.iter().map(|held| (held.key.segment.0, held.key.piece.get())).collect()
    }

    #[test]
    fn it_keeps_the_contract() {
        suite::store(|| Memory::of(ByteSize::mib(32)));
    }

    #[test]
    fn the_least_recently_used_piece_leaves_first() {
        let store = Memory::of(ByteSize::kib(48));
        (0..3).for_each(|index| put(&store, 1, index));
        let first = store.held(&SWARM).unwrap()[0].key;
        assert!(store.get(&SWARM, &first).unwrap().is_some());
        put(&store, 2, 0);
        assert_eq!(numbers(&store), [(1, 0), (1, 2), (2, 0)]);
        assert_eq!(store.used(), ByteSize::kib(48));
    }

    #[test]
    fn a_piece_larger_than_the_store_is_refused_and_drops_nothing() {
        let store = Memory::of(ByteSize(20_000));
        put(&store, 1, 0);
        let layout = Layout::new(1 << 15, 15).unwrap();
        let key = PieceKey { segment: SegmentId(9), piece: layout.piece(0).unwrap() };
        let refused = store.put(&SWARM, &key, &layout, &piece_of(&layout, key, 0));
        assert!(matches!(refused, Err(StoreError::Full(_))));
        assert_eq!(numbers(&store), [(1, 0)]);
    }

    proptest::proptest! {
        #[test]
        fn the_books_balance(ops in proptest::collection::vec((0u64..3, 0u32..4, 0u8..8), 0..200)) {
            let store = Memory::of(ByteSize::kib(100));
            for (segment, index, op) in ops {
                let layout = Layout::new(4 << 14, 14).unwrap();
                let key = PieceKey { segment: SegmentId(segment), piece: layout.piece(index).unwrap() };
                match op {
                    0 => store.forget(&SWARM, Some(SegmentId(segment))).unwrap(),
                    1 | 2 => drop(store.get(&SWARM, &key).unwrap()),
                    _ => put(&store, segment, index),
                }
                let held = store.held(&SWARM).unwrap();
                assert_eq!(store.used().0, held.len() as u64 * (1 << 14));
                assert!(store.used().0 <= 100 << 10);
            }
            store.forget(&SWARM, None).unwrap();
            let shelf = store.shelf();
            assert_eq!((shelf.used, shelf.oldest, shelf.newest), (0, NONE, NONE));
            assert!(shelf.swarms.is_empty());
        }
    }
}
