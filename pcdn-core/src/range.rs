//! Half-open byte ranges that are never empty.

use serde::{Deserialize, Serialize};

/// Bytes `start..end` of a resource, `start < end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "(u64, u64)", into = "(u64, u64)")]
pub struct ByteRange {
    start: u64,
    end: u64,
}

impl ByteRange {
    /// `start..end`, or `None` if that is empty or backwards.
    pub fn new(start: u64, end: u64) -> Option<Self> {
        (start < end).then_some(Self { start, end })
    }

    /// First byte.
    pub fn start(&self) -> u64 {
        self.start
    }

    /// One past the last byte.
    pub fn end(&self) -> u64 {
        self.end
    }

    /// Number of bytes, at least 1.
    #[allow(clippy::len_without_is_empty)] // never empty, by construction
    pub fn len(&self) -> u64 {
        self.end - self.start
    }

    /// Whether byte `at` lies inside.
    pub fn contains(&self, at: u64) -> bool {
        (self.start..self.end).contains(&at)
    }

    /// The common part.
    pub fn intersect(&self, other: &ByteRange) -> Option<ByteRange> {
        Self::new(self.start.max(other.start), self.end.min(other.end))
    }

    /// The same range as a value of the HTTP `Range` header (RFC 9110 section 14.2).
    pub fn to_header(&self) -> String {
        format!("bytes={}-{}", self.start, self.end - 1)
    }
}

impl TryFrom<(u64, u64)> for ByteRange {
    type Error = &'static str;
    fn try_from((start, end): (u64, u64)) -> Result<Self, Self::Error> {
        Self::new(start, end).ok_or("a byte range must not be empty")
    }
}

impl From<ByteRange> for (u64, u64) {
    fn from(range: ByteRange) -> Self {
        (range.start, range.end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_ranges_do_not_exist() {
        assert!(ByteRange::new(3, 3).is_none());
        assert!(ByteRange::new(4, 3).is_none());
        assert_eq!(ByteRange::new(0, 1).unwrap().to_header(), "bytes=0-0");
    }

    #[test]
    fn intersection_is_half_open() {
        let range = |a, b| ByteRange::new(a, b).unwrap();
        assert_eq!(range(0, 10).intersect(&range(5, 20)), ByteRange::new(5, 10));
        assert_eq!(range(0, 10).intersect(&range(10, 20)), None);
    }
}
