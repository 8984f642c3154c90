//! A set of sub-pieces of one piece.

/// Sub-pieces of one piece at most: the largest piece, 1 MiB, in the smallest sub-pieces, 1024 bytes.
pub const SUBS_MAX: u16 = 1024;
/// Smallest sub-piece a request may name: smaller ones would only waste headers.
pub const SUB_BYTES_MIN: u16 = 1024;
/// Largest sub-piece, and the default: with all headers 1318 bytes of UDP payload.
pub const SUB_BYTES_MAX: u16 = 1280;

const WORDS: usize = SUBS_MAX as usize / 64;

/// A set of numbers below [`SUBS_MAX`], one bit each.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct SubSet {
    words: [u64; WORDS],
}

impl SubSet {
    /// `count` sub-pieces from `first` on; `None` if any is out of bounds.
    pub fn run(first: u16, count: u16) -> Option<Self> {
        let end = first.checked_add(count).filter(|end| *end <= SUBS_MAX)?;
        let mut set = Self::default();
        (first..end).for_each(|sub| set.insert(sub));
        Some(set)
    }

    /// Those whose bit is set, the lowest bit of the first byte being `first`; `None` if the bitmap could reach out of
    /// bounds.
    pub fn bitmap(first: u16, bitmap: &[u8]) -> Option<Self> {
        let bits = u16::try_from(bitmap.len().checked_mul(8)?).ok()?;
        // The last byte may be padded by up to seven bits.
        first.checked_add(bits).filter(|end| *end <= SUBS_MAX + 7)?;
        let mut set = Self::default();
        for bit in (0..bits).filter(|bit| bitmap[usize::from(bit / 8)] >> (bit % 8) & 1 != 0) {
            if first + bit >= SUBS_MAX {
                return None;
            }
            set.insert(first + bit);
        }
        Some(set)
    }

    /// First and count, if the set is one run.
    pub fn as_run(&self) -> Option<(u16, u16)> {
        let (first, last) = (self.first()?, self.last()?);
        (last - first + 1 == self.len()).then_some((first, last - first + 1))
    }

    /// First, and the bitmap from there to the last.
    pub fn as_bitmap(&self) -> (u16, Vec<u8>) {
        let (Some(first), Some(last)) = (self.first(), self.last()) else { return (0, Vec::new()) };
        let mut bitmap = vec![0u8; usize::from(last - first) / 8 + 1];
        for sub in self.iter() {
            let bit = usize::from(sub - first);
            bitmap[bit / 8] |= 1 << (bit % 8);
        }
        (first, bitmap)
    }

    /// Adds `sub`; out of bounds it is ignored.
    pub fn insert(&mut self, sub: u16) {
        if let Some(word) = self.words.get_mut(usize::from(sub / 64)) {
            *word |= 1 << (sub % 64);
        }
    }

    /// Takes `sub` out; whether it was in.
    pub fn remove(&mut self, sub: u16) -> bool {
        let Some(word) = self.words.get_mut(usize::from(sub / 64)) else { return false };
        let was = *word >> (sub % 64) & 1 != 0;
        *word &= !(1 << (sub % 64));
        was
    }

    /// Whether `sub` is in.
    pub fn contains(&self, sub: u16) -> bool {
        self.words.get(usize::from(sub / 64)).is_some_and(|word| word >> (sub % 64) & 1 != 0)
    }

    /// Adds all of `other`.
    pub fn extend(&mut self, other: &SubSet) {
        self.words.iter_mut().zip(other.words).for_each(|(mine, theirs)| *mine |= theirs);
    }

    /// How many are in.
    pub fn len(&self) -> u16 {
        self.words.iter().map(|word| word.count_ones() as u16).sum()
    }

    /// Whether none is in.
    pub fn is_empty(&self) -> bool {
        self.words.iter().all(|word| *word == 0)
    }

    /// The lowest.
    pub fn first(&self) -> Option<u16> {
        let at = self.words.iter().position(|word| *word != 0)?;
        Some(at as u16 * 64 + self.words[at].trailing_zeros() as u16)
    }

    /// The highest.
    pub fn last(&self) -> Option<u16> {
        let at = self.words.iter().rposition(|word| *word != 0)?;
        Some(at as u16 * 64 + 63 - self.words[at].leading_zeros() as u16)
    }

    /// In ascending order.
    pub fn iter(&self) -> impl Iterator<Item = u16> + '_ {
        self.words.iter().enumerate().flat_map(|(at, &word)| {
            let mut rest = word;
            std::iter::from_fn(move || {
                let bit = (rest != 0).then(|| rest.trailing_zeros() as u16)?;
                rest &= rest - 1;
                Some(at as u16 * 64 + bit)
            })
        })
    }
}

impl std::fmt::Debug for SubSet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_bitmap_round_trips(subs: std::collections::BTreeSet<u16>) {
            let subs: Vec<u16> = subs.into_iter().filter(|sub| *sub < SUBS_MAX).collect();
            let mut set = SubSet::default();
            subs.iter().for_each(|sub| set.insert(*sub));
            prop_assert_eq!(set.iter().collect::<Vec<_>>(), subs.clone());
            prop_assert_eq!(usize::from(set.len()), subs.len());
            let (first, bitmap) = set.as_bitmap();
            prop_assert_eq!(SubSet::bitmap(first, &bitmap), Some(set));
        }
    }

    #[test]
    fn out_of_bounds_is_refused() {
        assert!(SubSet::run(1000, 24).is_some());
        assert!(SubSet::run(1000, 25).is_none());
        assert!(SubSet::run(u16::MAX, 2).is_none());
        assert!(SubSet::bitmap(1020, &[0xff]).is_none());
        assert!(SubSet::bitmap(u16::MAX, &[1]).is_none());
    }
}
