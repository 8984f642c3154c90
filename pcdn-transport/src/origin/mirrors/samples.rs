//! Stretches of the content as the first URL gave it, by which a mirror is known. Pure.

use bytes::Bytes;

/// Stretches kept, one for each part of the content.
const SLOTS: u64 = 8;
/// Their length at most: with a header it is one datagram.
const BYTES: usize = 1024;
/// Stretches a mirror must give.
const ASKED: usize = 2;

/// What was kept.
#[derive(Debug, Default)]
pub(super) struct Samples {
    len: Option<u64>,
    kept: [Option<(u64, Vec<u8>)>; SLOTS as usize],
}

impl Samples {
    /// The length, once anything was kept.
    pub(super) fn len(&self) -> Option<u64> {
        self.len
    }

    /// `bytes` came from `at` on of a content of `len` bytes; the first of each eighth are kept.
    pub(super) fn see(&mut self, len: u64, at: u64, bytes: &Bytes) {
        if bytes.is_empty() || at >= len {
            return;
        }
        self.len = Some(len);
        let slot = &mut self.kept[(u128::from(at) * u128::from(SLOTS) / u128::from(len)) as usize];
        if slot.is_none() {
            *slot = Some((at, bytes[..bytes.len().min(BYTES)].to_vec()));
        }
    }

    /// The outermost of them: where files of equal length differ, they mostly do over most of their length.
    pub(super) fn some(&self) -> Vec<(u64, Vec<u8>)> {
        let mut all: Vec<_> = self.kept.iter().flatten().cloned().collect();
        if all.len() > ASKED {
            all.drain(1..all.len() - (ASKED - 1));
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_and_last_of_what_was_seen_are_asked_for() {
        let mut samples = Samples::default();
        assert!(samples.some().is_empty());
        for at in (0..1_000_000).step_by(10_000) {
            samples.see(1_000_000, at, &Bytes::from(vec![(at / 10_000) as u8; 4_000]));
        }
        let some = samples.some();
        assert_eq!(some, [(0, vec![0; BYTES]), (880_000, vec![88; BYTES])]);
        samples.see(1_000_000, 1_000_000, &Bytes::from_static(b"beyond"));
        samples.see(u64::MAX, u64::MAX - 1, &Bytes::from_static(b"far"));
        assert_eq!(samples.some().len(), 2);
    }

    #[test]
    fn one_is_better_than_none() {
        let mut samples = Samples::default();
        samples.see(10, 3, &Bytes::from_static(b"345"));
        assert_eq!(samples.some(), [(3, b"345".to_vec())]);
    }
}
