//! Whom to tell of: the choice itself, on nothing but columns and dice.
//!
//! Memory is read in runs: 16 of them, of 8 entries each, at random places spread over the swarm. That costs a quarter of as many
//! single draws (measured: 3.4 to 4.1 µs against 8 to 9), and each entry is as likely as any other.

use std::ops::{ControlFlow, Range};

use pcdn_core::dice::Dice;

use super::super::Ask;
use super::columns::{Hot, Sieve};
use crate::tracker::wire::Nat;

/// Entries of one network in one answer, as long as others exist: a network is what one party can fill.
const PER_NETWORK: u8 = 3;
const RUNS: usize = 16;
const RUN: usize = 8;
/// Candidates of one choice at most.
pub(super) const DRAWN: usize = RUNS * RUN;
/// From one run to the next, so that those read one after the other do not lie side by side. Has no factor in common with `RUNS`.
const STRIDE: usize = 5;

/// Of 30 told: these many of the asker's network or region, superpeers, and useful ones. The rest is uniform, at least 8.
const NEAR: usize = 8;
const SUPERPEERS: usize = 6;
const USEFUL: usize = 8;
const OF: usize = 30;

/// Calls `visit` for runs of indices below `len`, at most [`DRAWN`] together, each index once at most and all equally likely.
fn runs(len: usize, dice: &mut Dice, mut visit: impl FnMut(Range<usize>) -> ControlFlow<()>) {
    let mut around = |low: usize, high: usize, most: usize, dice: &mut Dice| {
        let start = low + dice.below((high - low) as u64) as usize;
        let end = (start + most).min(high);
        visit(start..end)?;
        let left = most.min(high - low) - (end - start);
        if left > 0 { visit(low..low + left) } else { ControlFlow::Continue(()) }
    };
    if len <= DRAWN {
        let _ = around(0, len, DRAWN, dice);
        return;
    }
    let first = dice.below(RUNS as u64) as usize;
    for nth in 0..RUNS {
        let stratum = (first + nth * STRIDE) % RUNS;
        let (low, high) = (stratum * len / RUNS, (stratum + 1) * len / RUNS);
        if around(low, high, RUN, dice).is_break() {
            return;
        }
    }
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
pub(super) fn uniform(
    dice: &mut Dice,
    hot: &[Hot],
    sieve: &Sieve,
    want: usize,
    network: impl Fn(usize) -> u64,
    is_asker: impl Fn(usize) -> bool,
) -> Picked<TOLD_MAX> {
    let want = want.min(TOLD_MAX);
    let (mut picked, mut crowded) = (Picked::<TOLD_MAX>::new(), Picked::<TOLD_MAX>::new());
    let mut crowds = Crowds([0; 256]);
    runs(hot.len(), dice, |run| {
        for at in run {
            if picked.len == want || picked.len + crowded.len >= want + want / 2 || crowded.len == want {
                return ControlFlow::Break(());
            }
            if !sieve.lets_pass(hot[at]) || is_asker(at) {
                continue;
            }
            if crowds.has_room(network(at)) { picked.push(at) } else { crowded.push(at) }
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
    pub(super) fn drawn(dice: &mut Dice, hot: &[Hot], sieve: &Sieve) -> Self {
        let mut list = Picked::new();
        runs(hot.len(), dice, |run| {
            run.filter(|at| sieve.lets_pass(hot[*at])).for_each(|at| list.push(at));
            ControlFlow::Continue(())
        });
        dice.shuffle(&mut list.list[..list.len]);
        Self { list, taken: 0, apart: sieve.apart() }
    }
}

/// Up to `want`: some near, some superpeers, some with what `ask` lacks, the rest uniform. In this order, so that who dials from
/// the front dials the nearest first. Who cannot be met through both NATs comes last, and only if others are too few.
pub(super) fn mix(
    pool: &mut Pool,
    hot: &[Hot],
    ask: &Ask,
    want: usize,
    same_region: impl Fn(Hot) -> bool,
    network: impl Fn(usize) -> u64,
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
                if pool.taken >> nth & 1 == 1
                    || pool.apart == Some(hot[at].nat())
                    || fits.is_some_and(|fits| !fits(hot[at]))
                    || is_asker(at)
                    || !crowds.has_room(network(at))
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
