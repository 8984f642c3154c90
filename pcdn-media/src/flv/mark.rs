//! The rule that says where slices begin.
//!
//! *Marks* are the tags a slice may begin with: keyframes, as a rule. Every mark has a *print*, a hash of its content. A mark
//! whose print is smaller than all prints of the last `D` before it is a *minimum*. An *anchor* is the first mark at least `D`
//! after a minimum with no other minimum between, and every mark at least `D` after the mark before.
//!
//! So an anchor follows from the content of a few `D` before it, whatever came earlier and whatever the clock showed. A node
//! that joins sees after one `D` the same minima as all others; the minima it did not see can only make it miss an anchor,
//! never invent one. Hence: **its first anchor is an anchor of everyone.**
//!
//! Slices begin at anchors, and between them at *fillers*: at every mark at least `D` after the last beginning, unless the last
//! minimum is less than `D` old and not the mark itself, for then an anchor may follow before another `D` is over. A node cuts no
//! filler before its first anchor, and what it knows there all others know: **from its first anchor on all are the same.** Two
//! beginnings are never closer than `D`, and none is farther from the next than `2 D` and the time from one mark to the next:
//! a minimum that forbids a filler makes an anchor, or gives way to a later one at which a filler may be.

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

/// Why a slice begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Beginning {
    /// Everybody knows that it does.
    Anchor,
    /// Everybody does who saw an anchor before.
    Filler,
}

/// The rule's state over one unbroken run of marks.
#[derive(Debug, Default)]
pub(super) struct Rule {
    first: Option<i64>,
    prev: Option<i64>,
    /// When the last minimum was that has not led to an anchor.
    pending: Option<i64>,
    /// Whether all marks of the last `D` were seen.
    synced: bool,
    /// The last beginning; none before the first anchor.
    last: Option<i64>,
    /// The marks of the last `D` that may still be the least of a window: prints rise from front to back.
    window: VecDeque<(i64, Print)>,
}

impl Rule {
    /// Whether a slice begins at this mark: `at` its time, `d` the least duration, both in milliseconds.
    pub(super) fn mark(&mut self, at: i64, d: i64, content: Content) -> Option<Beginning> {
        let apart = self.prev.is_some_and(|prev| at - prev >= d);
        let anchor = apart || self.pending.is_some_and(|pending| at - pending >= d);
        if anchor {
            self.pending = None;
        }
        self.synced |= apart || at - *self.first.get_or_insert(at) >= d;
        if self.is_minimum(at, d, content) && self.synced {
            self.pending = Some(at);
        }
        self.prev = Some(at);
        let long = self.last.is_some_and(|last| at - last >= d);
        let beginning = match anchor {
            true => Beginning::Anchor,
            false if long && self.pending.is_none_or(|pending| pending == at) => Beginning::Filler,
            false => return None,
        };
        self.last = Some(at);
        Some(beginning)
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

    fn content(salt: u64) -> Content {
        Content { config: Bytes::new(), body: Bytes::copy_from_slice(&salt.to_be_bytes()) }
    }

    /// Where slices begin.
    fn beginnings(marks: &[(i64, u64)]) -> Vec<(i64, Beginning)> {
        let mut rule = Rule::default();
        let begins = |(at, salt): &(i64, u64)| Some((*at, rule.mark(*at, D, content(*salt))?));
        marks.iter().filter_map(begins).collect()
    }

    fn times(marks: &[(i64, u64)]) -> Vec<i64> {
        beginnings(marks).into_iter().map(|(at, _)| at).collect()
    }

    fn marks(steps: &[(i64, u64)]) -> Vec<(i64, u64)> {
        let place = |at: &mut i64, (step, salt): &(i64, u64)| {
            *at += step;
            Some((*at, *salt))
        };
        steps.iter().scan(0, place).collect()
    }

    proptest! {
        #[test]
        fn a_joiner_has_every_beginning_from_its_first_one_and_none_is_early_or_late(
            steps in prop_oneof![
                prop::collection::vec((1i64..1800, any::<u64>()), 2..200),
                prop::collection::vec((1i64..60, any::<u64>()), 2..600),
                // Content that repeats has few minima, or none.
                prop::collection::vec((400i64..600, 0u64..3), 2..200),
            ],
            join in any::<prop::sample::Index>()
        ) {
            let marks = marks(&steps);
            let all = beginnings(&marks);
            let mine = beginnings(&marks[join.index(marks.len())..]);
            prop_assert!(all.ends_with(&mine), "{all:?} {mine:?}");
            prop_assert!(mine.first().is_none_or(|first| first.1 == Beginning::Anchor));
            let apart = steps.iter().map(|(step, _)| *step).max().unwrap_or(0);
            for pair in all.windows(2) {
                let lasts = pair[1].0 - pair[0].0;
                prop_assert!((D..=2 * D + apart).contains(&lasts), "{lasts} {all:?}");
            }
        }
    }

    #[test]
    fn marks_far_apart_are_anchors_at_once_and_between_equal_ones_are_fillers() {
        use Beginning::{Anchor, Filler};
        assert_eq!(beginnings(&[(0, 1), (2000, 1), (4000, 1)]), [(2000, Anchor), (4000, Anchor)]);
        let slate = |from: i64| (0..9).map(move |i| (from + i * 400, 7));
        assert_eq!(times(&slate(0).collect::<Vec<_>>()), [] as [i64; 0], "ties make no minimum");
        let behind: Vec<(i64, u64)> = slate(0).chain(slate(5_000)).collect();
        assert_eq!(beginnings(&behind), [(5_000, Anchor), (6_200, Anchor), (7_400, Filler)]);
    }

    /// With keyframes half a second apart slices once lasted five seconds now and then, and players ran dry.
    #[test]
    fn slices_of_short_groups_last_little_more_than_two_d_and_a_joiner_agrees_after_a_few() {
        let mut dice = pcdn_core::dice::Dice::new(1);
        for (step, longest, mean_max) in
            [(40, 2_040, 1_400), (480, 2_400, 1_800), (500, 2_000, 1_500), (900, 2_700, 2_300)]
        {
            let marks: Vec<(i64, u64)> = (0..8000).map(|i| (i * step, dice.next_u64())).collect();
            let lasts: Vec<i64> = times(&marks).windows(2).map(|pair| pair[1] - pair[0]).collect();
            let mean = lasts.iter().sum::<i64>() / lasts.len() as i64;
            assert!(lasts.iter().all(|lasts| *lasts <= longest), "{step}: {:?}", lasts.iter().max());
            assert!((D..=mean_max).contains(&mean), "{step}: {mean}");
        }
        let marks: Vec<(i64, u64)> = (0..4000).map(|i| (i * 500, dice.next_u64())).collect();
        let waits: Vec<i64> =
            (0..1900).map(|join| times(&marks[join..join + 100])[0] - marks[join].0).collect();
        let mean = waits.iter().sum::<i64>() / waits.len() as i64;
        assert!(mean <= 3000 && waits.iter().all(|wait| *wait <= 12_000), "{mean} {:?}", waits.iter().max());
    }
}
