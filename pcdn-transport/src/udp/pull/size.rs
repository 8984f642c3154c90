//! How large a sub-piece the path carries.
//!
//! Every datagram forbids fragmentation, so a path that is too narrow swallows full sub-pieces and nothing else (RFC 4821's black
//! hole). The asker notices, for the server's small answers still come, and asks for smaller ones; after a while it tries again.

use std::time::Duration;

use pcdn_core::unit::Time;

use crate::udp::subs::{SUB_BYTES_MAX, SUB_BYTES_MIN};

/// Each step leaves room for another tunnel. With the packet's own 38 bytes, and IPv6 and UDP: 1366, 1238 and 1110 bytes.
const STEPS: [u16; 3] = [SUB_BYTES_MAX, 1152, SUB_BYTES_MIN];
/// Askings in vain before a step down: one may be a burst of losses.
const VAIN_MAX: u8 = 2;
/// A larger size is tried again after this long (RFC 8899 section 5.1.1).
const RAISE_AFTER: Duration = Duration::from_secs(600);

/// What is known of the path's size.
#[derive(Debug, Default)]
pub(super) struct PathSize {
    step: usize,
    vain: u8,
    since: Time,
    /// The node's own limit; zero before the first fetch.
    most: u16,
}

impl PathSize {
    /// Bytes of a sub-piece that passed, or were not yet found not to.
    pub(super) fn bytes(&self) -> u16 {
        STEPS[self.step].min(self.most)
    }

    /// Bytes of the next fetch's sub-pieces, at most `most`.
    pub(super) fn for_next(&mut self, now: Time, most: u16) -> u16 {
        self.most = most;
        if self.step > 0 && now.since(self.since) >= RAISE_AFTER {
            (self.step, self.since) = (self.step - 1, now);
        }
        self.bytes()
    }

    /// A full sub-piece came.
    pub(super) fn came(&mut self) {
        self.vain = 0;
    }

    /// Full sub-pieces were sent and none came. `true` if smaller ones are to be asked for.
    pub(super) fn in_vain(&mut self, now: Time) -> bool {
        self.vain += 1;
        if self.vain < VAIN_MAX || self.step + 1 == STEPS.len() {
            self.vain = self.vain.min(VAIN_MAX);
            return false;
        }
        let before = self.bytes();
        (self.vain, self.since) = (0, now);
        while self.step + 1 < STEPS.len() && self.bytes() == before {
            self.step += 1;
        }
        self.bytes() < before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_in_vain_step_down_and_ten_minutes_later_it_is_tried_again() {
        let mut size = PathSize::default();
        let now = Time::from_secs(1);
        assert_eq!(size.for_next(now, SUB_BYTES_MAX), SUB_BYTES_MAX);
        assert!(!size.in_vain(now));
        size.came();
        assert!(!size.in_vain(now) && size.in_vain(now));
        assert_eq!(size.for_next(now, SUB_BYTES_MAX), 1152);
        assert!(!size.in_vain(now) && size.in_vain(now));
        assert_eq!(size.for_next(now, SUB_BYTES_MAX), SUB_BYTES_MIN);
        assert!((0..9).all(|_| !size.in_vain(now)), "there is nothing smaller");
        assert_eq!(size.for_next(now + RAISE_AFTER, SUB_BYTES_MAX), 1152);
    }

    #[test]
    fn a_node_that_asks_for_small_ones_anyway_steps_below_its_own_size() {
        let mut size = PathSize::default();
        assert_eq!(size.for_next(Time::ZERO, 1100), 1100);
        assert!(!size.in_vain(Time::ZERO) && size.in_vain(Time::ZERO));
        assert_eq!(size.bytes(), SUB_BYTES_MIN);
    }
}
