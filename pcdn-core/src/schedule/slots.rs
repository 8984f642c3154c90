//! Sets of pieces, one bit each.

/// A set of slots, one bit each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SlotSet {
    words: Vec<u64>,
    count: u32,
}

impl SlotSet {
    /// Whether `slot` is in.
    pub fn get(&self, slot: u32) -> bool {
        self.words.get((slot / 64) as usize).is_some_and(|word| word >> (slot % 64) & 1 == 1)
    }

    /// Whether some slot is in both.
    pub fn meets(&self, other: &SlotSet) -> bool {
        self.words.iter().zip(&other.words).any(|(mine, theirs)| mine & theirs != 0)
    }

    /// Adds to `all` what is in both this and `other`.
    pub(crate) fn add_common(&self, other: &SlotSet, all: &mut SlotSet) {
        let common = self.words.iter().zip(&other.words).map(|(mine, theirs)| mine & theirs);
        for (at, word) in common.enumerate().filter(|(_, word)| *word != 0) {
            if all.words.len() <= at {
                all.words.resize(at + 1, 0);
            }
            all.words[at] |= word;
        }
        all.count = all.words.iter().map(|word| word.count_ones()).sum();
    }

    /// What is in, in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        let bits = |(at, word): (usize, &u64)| {
            let mut left = *word;
            std::iter::from_fn(move || {
                let bit = (left != 0).then(|| left.trailing_zeros())?;
                left &= left - 1;
                Some(at as u32 * 64 + bit)
            })
        };
        self.words.iter().enumerate().flat_map(bits)
    }

    /// Puts `slot` in or takes it out; says whether that was news.
    pub fn set(&mut self, slot: u32, held: bool) -> bool {
        if self.get(slot) == held {
            return false;
        }
        let word = (slot / 64) as usize;
        if word >= self.words.len() {
            self.words.resize(word + 1, 0);
        }
        self.words[word] ^= 1 << (slot % 64);
        self.count = if held { self.count + 1 } else { self.count - 1 };
        true
    }

    /// Makes `count` slots from `first` on, at most 64, what `bits` say, the lowest bit first. Returns those that changed.
    pub(crate) fn replace(&mut self, first: u32, count: u32, bits: u64) -> u64 {
        debug_assert!((1..=64).contains(&count));
        let (word, shift) = ((first / 64) as usize, first % 64);
        let words = (first + count).div_ceil(64) as usize;
        if self.words.len() < words {
            self.words.resize(words, 0);
        }
        // Where the slots lie across two words, the second has the upper ones.
        let upper = (shift + count > 64).then_some(word + 1);
        let before = self.words[word] >> shift | upper.map_or(0, |at| self.words[at] << (64 - shift));
        let changed = (before ^ bits) & (u64::MAX >> (64 - count));
        self.words[word] ^= changed << shift;
        if let Some(at) = upper {
            self.words[at] ^= changed >> (64 - shift);
        }
        self.count = self.count + (changed & bits).count_ones() - (changed & !bits).count_ones();
        changed
    }

    /// Drops the first `count` slots, a multiple of 64; all others move down by as many.
    pub(crate) fn drop_front(&mut self, count: u32) {
        debug_assert_eq!(count % 64, 0);
        let words = self.words.len().min(count as usize / 64);
        let gone: u32 = self.words.drain(..words).map(u64::count_ones).sum();
        self.count -= gone;
    }

    /// How many are in.
    pub fn count(&self) -> u32 {
        self.count
    }
}
