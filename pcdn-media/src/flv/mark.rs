//! The rule that says where slices begin.
//!
//! *Marks* are the tags a slice may begin with: keyframes, as a rule. Every mark has a *print*, a hash of its content. A mark
//! whose print is smaller than all prints of the last `D` before it is a *minimum*; a slice begins at the first mark at
//! least `D` after a minimum with no other minimum between, and at every mark at least `D` after the mark before.
//!
//! So a boundary follows from the content of a few `D` before it, whatever came earlier and whatever the clock showed. A node
//! that joins sees after one `D` the same minima as all others; the minima it did not see can only make it miss a boundary,
//! never invent one. Hence: **its first boundary is a boundary of everyone, and from there on all are the same.** And two
//! boundaries are never closer than `D`: the minimum that makes one lies at or after the boundary before.

use std::collections::VecDeque;

use bytes::Bytes;

/// Prints remembered at most. In a falling-minima window random prints leave about the logarithm of the number of marks, 6
/// for 1 s of all-intra video; only forged ones reach this.
const WINDOW_MAX: usize = 1024;

/// What names the content of a mark: it and the configuration it is decoded with.
#[derive(Clone, Debug)]
pub(super) struct Content {
    pub(super) config: Bytes,
    pub(super) body: Bytes,
}

impl Content {
    fn print(&self) -> u64 {
        let mut hasher = blake3::Hasher::new_derive_key("pcdn flv mark 1");
        // The long part first: behind anything else its blocks lie askew, and BLAKE3 is three times slower.
        hasher.update(&self.body).update(&self.config).update(&(self.config.len() as u64).to_be_bytes());
        u64::from_be_bytes(*hasher.finalize().as_bytes().first_chunk().expect("32 bytes hold 8"))
    }
}

/// A print, taken only when it is compared: with marks `D` apart, as most streams have them, it never is.
#[derive(Debug)]
enum Print {
    Taken(u64),
    Of(Content),
}

impl Print {
    fn take(&mut self) -> u64 {
        let print = match self {
            Print::Taken(print) => *print,
            Print::Of(content) => content.print(),
        };
        *self = Print::Taken(print);
        print
    }
}

/// The rule's state over one unbroken run of marks.
#[derive(Debug, Default)]
pub(super) struct Rule {
    first: Option<i64>,
    prev: Option<i64>,
    /// When the last minimum was that has not led to a boundary.
    pending: Option<i64>,
    /// Whether all marks of the last `D` were seen.
    synced: bool,
    /// The marks of the last `D` that may still be the least of a window: prints rise from front to back.
    window: VecDeque<(i64, Print)>,
}

impl Rule {
    /// Whether a slice begins at this mark: `at` its time, `d` the least duration, both in milliseconds.
    pub(super) fn mark(&mut self, at: i64, d: i64, content: Content) -> bool {
        let apart = self.prev.is_some_and(|prev| at - prev >= d);
        let begins = apart || self.pending.is_some_and(|pending| at - pending >= d);
        if begins {
            self.pending = None;
        }
        self.synced |= apart || at - *self.first.get_or_insert(at) >= d;
        if self.is_minimum(at, d, content) && self.synced {
            self.pending = Some(at);
        }
        self.prev = Some(at);
        begins
    }

    fn is_minimum(&mut self, at: i64, d: i64, content: Content) -> bool {
        while self.window.front().is_some_and(|(time, _)| *time <= at - d) {
            self.window.pop_front();
        }
        let Some((_, least)) = self.window.front_mut() else {
            self.window.push_back((at, Print::Of(content)));
            return true;
        };
        let (least, print) = (least.take(), content.print());
        while self.window.back_mut().is_some_and(|(_, other)| other.take() >= print) {
            self.window.pop_back();
        }
        if self.window.len() == WINDOW_MAX {
            self.window.pop_front();
        }
        self.window.push_back((at, Print::Taken(print)));
        print < least
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const D: i64 = 1000;

    fn boundaries(marks: &[(i64, u64)]) -> Vec<i64> {
        let mut rule = Rule::default();
        let content =
            |salt: u64| Content { config: Bytes::new(), body: Bytes::copy_from_slice(&salt.to_be_bytes()) };
        marks.iter().filter(|(at, salt)| rule.mark(*at, D, content(*salt))).map(|(at, _)| *at).collect()
    }

    proptest! {
        #[test]
        fn a_joiner_has_every_boundary_from_its_first_one_and_none_is_early(
            steps in prop::collection::vec((1i64..1800, any::<u64>()), 2..200), join in any::<prop::sample::Index>()
        ) {
            let marks: Vec<(i64, u64)> =
                steps.iter().scan(0, |at, (step, salt)| { *at += step; Some((*at, *salt)) }).collect();
            let all = boundaries(&marks);
            let mine = boundaries(&marks[join.index(marks.len())..]);
            prop_assert!(all.ends_with(&mine), "{all:?} {mine:?}");
            prop_assert!(all.windows(2).all(|pair| pair[1] - pair[0] >= D));
        }
    }

    #[test]
    fn marks_far_apart_are_boundaries_at_once_and_equal_ones_none() {
        assert_eq!(boundaries(&[(0, 1), (2000, 1), (4000, 1)]), [2000, 4000]);
        let slate: Vec<(i64, u64)> = (0..50).map(|i| (i * 400, 7)).collect();
        assert_eq!(boundaries(&slate), [] as [i64; 0], "ties make no minimum");
    }

    #[test]
    fn a_joiner_agrees_after_a_few_d() {
        let mut dice = pcdn_core::dice::Dice::new(1);
        let marks: Vec<(i64, u64)> = (0..4000).map(|i| (i * 500, dice.next_u64())).collect();
        let waits: Vec<i64> =
            (0..1900).map(|join| boundaries(&marks[join..join + 100])[0] - marks[join].0).collect();
        let mean = waits.iter().sum::<i64>() / waits.len() as i64;
        assert!(mean <= 3000 && waits.iter().all(|wait| *wait <= 12_000), "{mean} {:?}", waits.iter().max());
        let apart: Vec<i64> = boundaries(&marks).windows(2).map(|pair| pair[1] - pair[0]).collect();
        let mean = apart.iter().sum::<i64>() / apart.len() as i64;
        assert!((1000..=2200).contains(&mean), "{mean}");
    }
}
