//! Waves: how many copies are begun at a time.

/// The first wave reads the CDN, so it is small: enough that two may fail.
const FIRST_MIN: u32 = 3;
const FIRST_MAX: u32 = 8;
/// The next wave begins once so many of a wave hold so much: it then takes from them while they finish.
const READY_PERCENT: u32 = 80;
const HALF: u64 = 2;

/// Copies of the first wave for `target` copies in all: a quarter of them within 3 to 8.
pub(super) fn first(target: u32) -> u32 {
    (target / 4).clamp(FIRST_MIN, FIRST_MAX).min(target)
}

/// Copies of the wave after one of `size` when `left` are still to be begun.
pub(super) fn next(size: u32, left: u32) -> u32 {
    size.saturating_mul(2).max(1).min(left)
}

/// Whether a wave is far enough for the next: `held` bytes of each of its copies, of `len`.
pub(super) fn is_ready(held: &[u64], len: u64) -> bool {
    let half = held.iter().filter(|bytes| **bytes >= len.div_ceil(HALF)).count() as u32;
    !held.is_empty() && half * 100 >= held.len() as u32 * READY_PERCENT
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_wave_is_ready_when_four_fifths_hold_half() {
        assert!(!is_ready(&[], 100));
        assert!(is_ready(&[50, 50, 50, 50, 0], 100));
        assert!(!is_ready(&[50, 50, 50, 49, 0], 100));
    }

    proptest! {
        /// Waves add up to the target, each at most twice the last, so n copies take about log2(n / n0) waves.
        #[test]
        fn waves_double_and_add_up(target in 1u32..100_000) {
            let mut size = first(target);
            let (mut sum, mut waves) = (size, 1);
            while sum < target {
                let next = next(size, target - sum);
                prop_assert!(next <= size * 2 && next >= 1);
                (sum, size, waves) = (sum + next, next, waves + 1);
            }
            prop_assert_eq!(sum, target);
            prop_assert!(f64::from(waves) <= f64::from(target).log2() + 2.0);
        }
    }
}
