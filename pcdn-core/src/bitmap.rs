//! One bit per piece of a segment.

use serde::{Deserialize, Serialize};

/// Which pieces of a segment somebody holds. Bit 0 of byte 0 is piece 0.
///
/// Its length is fixed by the segment's [`Layout`](crate::layout::Layout); spare bits of the last byte are zero.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Bitmap {
    bits: Vec<u8>,
    len: u32,
}

impl Bitmap {
    /// `len` pieces, none held.
    pub fn new(len: u32) -> Self {
        Self { bits: vec![0; len.div_ceil(8) as usize], len }
    }

    /// `len` pieces, all held.
    pub fn full(len: u32) -> Self {
        let mut map = Self::new(len);
        (0..len).for_each(|i| {
            map.set(i);
        });
        map
    }

    /// From its wire form; `None` if the number of bytes is not `ceil(len / 8)` or a spare bit is set.
    pub fn from_bytes(bytes: &[u8], len: u32) -> Option<Self> {
        if bytes.len() != len.div_ceil(8) as usize {
            return None;
        }
        let spare = bytes.last().is_some_and(|last| !len.is_multiple_of(8) && last >> (len % 8) != 0);
        (!spare).then(|| Self { bits: bytes.to_vec(), len })
    }

    /// The wire form.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bits
    }

    /// Number of pieces, held or not.
    pub fn len(&self) -> u32 {
        self.len
    }

    /// Whether the segment has no piece.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether piece `i` is held; false beyond the end.
    pub fn get(&self, i: u32) -> bool {
        i < self.len && self.bits[(i / 8) as usize] >> (i % 8) & 1 == 1
    }

    /// Marks piece `i` held; says whether that was news. Beyond the end nothing happens.
    pub fn set(&mut self, i: u32) -> bool {
        if i >= self.len || self.get(i) {
            return false;
        }
        self.bits[(i / 8) as usize] |= 1 << (i % 8);
        true
    }

    /// Marks piece `i` not held; says whether that was news.
    pub fn clear(&mut self, i: u32) -> bool {
        if !self.get(i) {
            return false;
        }
        self.bits[(i / 8) as usize] &= !(1 << (i % 8));
        true
    }

    /// Number of held pieces.
    pub fn count(&self) -> u32 {
        self.bits.iter().map(|b| b.count_ones()).sum()
    }

    /// Whether every piece is held.
    pub fn is_full(&self) -> bool {
        self.count() == self.len
    }

    /// The held pieces, ascending.
    pub fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        (0..self.len).filter(|i| self.get(*i))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn wire_form_round_trips(len in 0u32..200, picks in proptest::collection::vec(0u32..200, 0..50)) {
            let mut map = Bitmap::new(len);
            for pick in &picks {
                map.set(*pick);
            }
            prop_assert_eq!(Bitmap::from_bytes(map.as_bytes(), len).unwrap(), map.clone());
            prop_assert_eq!(map.iter().count() as u32, map.count());
        }
    }

    #[test]
    fn a_wrong_length_or_a_spare_bit_is_refused() {
        assert!(Bitmap::from_bytes(&[0], 9).is_none());
        assert!(Bitmap::from_bytes(&[0, 0b10], 9).is_none());
        assert!(Bitmap::from_bytes(&[0, 0b1], 9).is_some());
        assert!(Bitmap::full(9).is_full());
        assert!(!Bitmap::new(4).set(4));
    }
}
