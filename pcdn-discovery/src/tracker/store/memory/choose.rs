//! Whom to tell of: the choice itself, on nothing but columns and dice.
//!
//! Memory is read in runs at random places spread over the swarm, and each entry is as likely as any other. Runs cost a quarter of as
//! many single draws, and fewer runs less than many: each begins with memory that is in no cache. So who is told of any peers is
//! told of 4 runs, and who is told of the best ones of the best in 16.

use std::hint::black_box;
use std::ops::{ControlFlow, Range};

use pcdn_core::dice::Dice;

use super::super::Ask;
use super::columns::{Family, Hot, Seen, Sieve};
use crate::tracker::wire::Nat;

/// Entries of one network in one answer, as long as others exist: a network is what one party can fill.
const PER_NETWORK: u8 = 3;
/// Candidates of one choice at most.
pub(super) const DRAWN: usize = 128;
/// Runs of a choice of the best: of 8 entries each.
const RUNS_OF_BEST: usize = 16;
/// Runs of a choice of any, as long as are wanted together.
const RUNS_OF_ANY: usize = 4;
/// From one of the 16 runs to the next, so that those read one after the other do not lie side by side. Has no factor in common with
/// the numbers of runs.
const STRIDE: usize = 5;

/// Of 30 told: these many of the asker's network or region, superpeers, and useful ones. The rest is uniform, at least 8.
const NEAR: usize = 8;
const SUPERPEERS: usize = 6;
const USEFUL: usize = 8;
const OF: usize = 30;

/// Calls `visit` for `RUNS` runs of `run` indices, and for what follows each of them until it has enough: at most [`DRAWN`]
/// indices, each once at most and all equally likely, but for strata that differ by one.
fn runs<const RUNS: usize, F: Family>(
    seen: &[Seen<F>],
    run: usize,
    dice: &mut Dice,
    mut visit: impl FnMut(Range<usize>) -> ControlFlow<()>,
) {
    let len = seen.len();
    if len <= DRAWN {
        let _ = around(0..len, dice.below(len as u64) as usize, len, &mut visit);
        return;
    }
    let first = dice.below(RUNS as u64) as usize;
    // A stratum each, none shorter than its part of `DRAWN`.
    let mut strata: [(Range<usize>, usize); RUNS] = std::array::from_fn(|nth| {
        let stratum = (first + nth * STRIDE) % RUNS;
        let (low, high) = (stratum * len / RUNS, (stratum + 1) * len / RUNS);
        (low..high, low + dice.below((high - low) as u64) as usize)
    });
    // Memory that is asked for at once comes at once: both ends of each run before any of them is looked at.
    let touch = |(stratum, start): &(Range<usize>, usize)| {
        let last = (start + run - 1).min(stratum.end - 1);
        seen[*start].hot.have ^ seen[last].hot.have
    };
    black_box(strata.iter().map(touch).fold(0, |sum, byte| sum ^ byte));
    let mut left = DRAWN / RUNS;
    while left > 0 {
        let most = run.min(left);
        left -= most;
        for (stratum, start) in &mut strata {
            if around(stratum.clone(), *start, most, &mut visit).is_break() {
                return;
            }
            *start += most;
            if *start >= stratum.end {
                *start -= stratum.end - stratum.start;
            }
        }
    }
}

/// `most` indices of `stratum` from `start` on, after its last one its first.
fn around(
    stratum: Range<usize>,
    start: usize,
    most: usize,
    visit: &mut impl FnMut(Range<usize>) -> ControlFlow<()>,
) -> ControlFlow<()> {
    let end = (start + most).min(stratum.end);
    visit(start..end)?;
    let left = most - (end - start);
    if left > 0 { visit(stratum.start..stratum.start + left) } else { ControlFlow::Continue(()) }
}

/// Places in the columns, without heap.
pub(super) struct Picked<const N: usize> {
    list: [u32; N],
    len: usize,
}

/// Told with one plain answer at most; a native one has room for fewer.
pub(super) const TOLD_MAX: usize = 64;

impl<const N: usize> Picked<N> {
    fn new() -> Self {
        Self { list: [0; N], len: 0 }
    }

    #[inline]
    fn push(&mut self, at: usize) {
        self.list[self.len] = at as u32;
        self.len += 1;
    }

    #[inline]
    pub(super) fn len(&self) -> usize {
        self.len
    }

    #[inline]
    pub(super) fn iter(&self) -> impl Iterator<Item = usize> + '_ {
        self.list[..self.len].iter().map(|at| *at as usize)
    }
}

/// How many of each network are chosen. Networks that share one of its places are counted together: seldom, and then an answer
/// only has one from elsewhere more.
struct Crowds([u8; 256]);

impl Crowds {
    #[inline]
    fn has_room(&mut self, network: u64) -> bool {
        let place = &mut self.0[(network.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as usize];
        let room = *place < PER_NETWORK;
        *place += u8::from(room);
        room
    }
}

/// Up to `want`, all equally likely. Half as many more are looked at where a few networks fill the swarm.
pub(super) fn uniform<F: Family>(
    dice: &mut Dice,
    seen: &[Seen<F>],
    sieve: &Sieve,
    want: usize,
    is_asker: impl Fn(usize) -> bool,
) -> Picked<TOLD_MAX> {
    let want = want.min(TOLD_MAX);
    let run = want.div_ceil(RUNS_OF_ANY).max(1);
    let (mut picked, mut crowded) = (Picked::<TOLD_MAX>::new(), Picked::<TOLD_MAX>::new());
    let mut crowds = Crowds([0; 256]);
    runs::<RUNS_OF_ANY, F>(seen, run, dice, |run| {
        for at in run {
            if picked.len == want || picked.len + crowded.len >= want + want / 2 || crowded.len == want {
                return ControlFlow::Break(());
            }
            if !sieve.lets_pass(seen[at].hot) || is_asker(at) {
                continue;
            }
            if crowds.has_room(F::network(&seen[at].at)) { picked.push(at) } else { crowded.push(at) }
        }
        ControlFlow::Continue(())
    });
    crowded.iter().take(want - picked.len).for_each(|at| picked.push(at));
    picked
}

/// Candidates in random order, and which are chosen already.
pub(super) struct Pool {
    list: Picked<DRAWN>,
    taken: u128,
    /// The kind of NAT that the asker's does not meet.
    apart: Option<Nat>,
}

const _: () = assert!(DRAWN == 128, "one bit of `taken` each");

impl Pool {
    pub(super) fn drawn<F: Family>(dice: &mut Dice, seen: &[Seen<F>], sieve: &Sieve) -> Self {
        let mut list = Picked::new();
        runs::<RUNS_OF_BEST, F>(seen, DRAWN / RUNS_OF_BEST, dice, |run| {
            run.filter(|at| sieve.lets_pass(seen[*at].hot)).for_each(|at| list.push(at));
            ControlFlow::Continue(())
        });
        dice.shuffle(&mut list.list[..list.len]);
        Self { list, taken: 0, apart: sieve.apart() }
    }
}

/// Up to `want`: some near, some superpeers, some with what `ask` lacks, the rest uniform. In this order, so that who dials from
/// the front dials the nearest first. Who cannot be met through both NATs comes last, and only if others are too few.
pub(super) fn mix<F: Family>(
    pool: &mut Pool,
    seen: &[Seen<F>],
    ask: &Ask,
    want: usize,
    same_region: impl Fn(Hot) -> bool,
    is_asker: impl Fn(usize) -> bool,
) -> Picked<TOLD_MAX> {
    let want = want.min(TOLD_MAX);
    let mut picked = Picked::new();
    let mut crowds = Crowds([0; 256]);
    let mut take =
        |pool: &mut Pool, picked: &mut Picked<TOLD_MAX>, most: usize, fits: Option<&dyn Fn(Hot) -> bool>| {
            let until = (picked.len + most).min(want);
            for step in 0..pool.list.len {
                if picked.len == until {
                    return;
                }
                // The uniform rest comes from the other end: the front has lost those that fitted something.
                let nth = if fits.is_some() { step } else { pool.list.len - 1 - step };
                let at = pool.list.list[nth] as usize;
                let one = &seen[at];
                if pool.taken >> nth & 1 == 1
                    || pool.apart == Some(one.hot.nat())
                    || fits.is_some_and(|fits| !fits(one.hot))
                    || is_asker(at)
                    || !crowds.has_room(F::network(&one.at))
                {
                    continue;
                }
                pool.taken |= 1 << nth;
                picked.push(at);
            }
        };
    // At least one of each kind, however few are wanted, but never so that nothing uniform is left.
    let share = |of: usize| (want * of / OF).max(usize::from(want > 3));
    if ask.network.0 != 0 {
        let near = share(NEAR);
        take(pool, &mut picked, near, Some(&|one: Hot| one.network == ask.network.0));
        let left = near.saturating_sub(picked.len);
        take(pool, &mut picked, left, Some(&same_region));
    }
    take(pool, &mut picked, share(SUPERPEERS), Some(&Hot::is_superpeer));
    for gap in [USEFUL_GAP, u16::MAX] {
        let useful = share(USEFUL) / 2;
        take(pool, &mut picked, useful, Some(&|one: Hot| is_useful(one, ask, gap)));
    }
    take(pool, &mut picked, want, None);
    fill(pool, &mut picked, want, is_asker);
    picked
}

/// Nearness that is tried first among useful ones: a quarter of a file, or 64 s of a stream.
const USEFUL_GAP: u16 = 64;

/// Whether `one` has what `ask` lacks, by at most `gap`: somewhat ahead first, so that not all ask the few that have everything.
fn is_useful(one: Hot, ask: &Ask, gap: u16) -> bool {
    match ask.traits.position {
        Some(position) => {
            one.is_live() && (one.position.wrapping_sub(position as u16)) < gap.min(i16::MAX as u16)
        }
        None if ask.traits.have == 0 => false,
        None => one.have > ask.traits.have && u16::from(one.have - ask.traits.have) <= gap,
    }
}

/// Rather many of one network than too few.
fn fill(pool: &mut Pool, picked: &mut Picked<TOLD_MAX>, want: usize, is_asker: impl Fn(usize) -> bool) {
    for nth in 0..pool.list.len {
        let at = pool.list.list[nth] as usize;
        if picked.len < want && pool.taken >> nth & 1 == 0 && !is_asker(at) {
            pool.taken |= 1 << nth;
            picked.push(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::columns::V4;
    use super::*;

    /// How often each of `len` entries is among the first `most` of a choice, in 20,000 choices.
    fn drawn<const RUNS: usize>(len: usize, run: usize, most: usize) -> Vec<u32> {
        let seen = vec![Seen::<V4>::nobody(); len];
        let (mut dice, mut count) = (Dice::new(1), vec![0; len]);
        for _ in 0..20_000 {
            let mut list = Vec::new();
            runs::<RUNS, V4>(&seen, run, &mut dice, |run| {
                list.extend(run);
                if list.len() < most { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
            });
            list.truncate(most);
            list.iter().for_each(|at| count[*at] += 1);
            list.sort_unstable();
            list.dedup();
            assert_eq!(list.len(), most.min(len).min(DRAWN), "each once");
        }
        count
    }

    #[test]
    fn every_entry_is_as_likely_as_any_other() {
        for (len, most) in [(7, 30), (100, 30), (129, 30), (1_000, 30), (1_000, 100), (1_003, DRAWN)] {
            let any = (RUNS_OF_ANY, drawn::<RUNS_OF_ANY>(len, 8, most));
            let best = (RUNS_OF_BEST, drawn::<RUNS_OF_BEST>(len, 8, most));
            for (runs, count) in [any, best] {
                let wanted = 20_000.0 * most.min(len).min(DRAWN) as f64 / len as f64;
                // Six standard deviations of a single one; and one stratum may have an entry more than another.
                let uneven = if len > DRAWN { wanted * runs as f64 / len as f64 } else { 0.0 };
                let least = wanted - uneven - 6.0 * wanted.sqrt();
                assert!(count.iter().all(|n| f64::from(*n) > least), "{len} {most}: {wanted} {count:?}");
            }
        }
    }

    #[test]
    fn a_choice_looks_on_until_it_has_enough_or_has_seen_its_part() {
        assert_eq!(drawn::<RUNS_OF_ANY>(10_000, 8, 500).iter().sum::<u32>(), 20_000 * DRAWN as u32);
        assert_eq!(drawn::<RUNS_OF_BEST>(10_000, 8, 500).iter().sum::<u32>(), 20_000 * DRAWN as u32);
    }
}
