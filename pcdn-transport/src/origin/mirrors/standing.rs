//! What is remembered of each URL. Pure.

use std::time::Duration;

use pcdn_core::origin::OriginGet;
use pcdn_core::resource::ResourceHead;
use pcdn_core::unit::Time;

use crate::origin::retry::Budget;

/// How long a failed URL is tried last: doubling from one second to a minute.
const ASIDE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));
/// A URL is late after so many times what it took at worst lately, within these bounds: a busy edge is not a dead one, and a second
/// is what a player's smallest buffer bears.
const LATE: (u32, Duration, Duration) = (3, Duration::from_millis(150), Duration::from_secs(1));
/// Late, where nothing was measured: a far edge with a handshake.
const LATE_GUESS: Duration = Duration::from_millis(600);

/// One URL's record.
#[derive(Clone, Debug, Default)]
struct Standing {
    faults: u32,
    aside_until: Time,
    /// It has other bytes: never asked again.
    dropped: bool,
    /// It has shown the same bytes.
    proven: bool,
    validator: Option<String>,
    /// How long its answers took at worst lately.
    took: Option<Duration>,
}

/// Those of all URLs of a content; the first is the one that was asked for.
#[derive(Clone, Debug, Default)]
pub(super) struct Standings {
    each: Vec<Standing>,
    hedges: Budget,
}

impl Standings {
    pub(super) fn of(urls: usize) -> Self {
        Self { each: vec![Standing::default(); urls], hedges: Budget::default() }
    }

    /// What of it holds for another file at the same places.
    pub(super) fn of_another(&self, urls: usize) -> Self {
        let mut each = self.each.clone();
        each.resize(urls, Standing::default());
        each.iter_mut().for_each(|standing| standing.validator = None);
        Self { each, hedges: self.hedges }
    }

    /// The order to try: those in good standing as given, then the others, the one put aside for the shortest first.
    pub(super) fn order(&self, now: Time) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.each.len()).filter(|index| !self.each[*index].dropped).collect();
        order.sort_by_key(|index| self.each[*index].aside_until.since(now));
        order
    }

    /// Whether another URL than `index` is in good standing.
    pub(super) fn has_other(&self, now: Time, index: usize) -> bool {
        let good = |standing: &Standing| !standing.dropped && standing.aside_until <= now;
        self.each.iter().enumerate().any(|(other, standing)| other != index && good(standing))
    }

    /// It failed; `differs` if because it has another content.
    pub(super) fn failed(&mut self, now: Time, index: usize, differs: bool) {
        let standing = &mut self.each[index];
        let wait = ASIDE.0.saturating_mul(1 << standing.faults.min(10));
        standing.aside_until = now + wait.min(ASIDE.1);
        standing.faults += 1;
        standing.dropped |= differs && index != 0;
    }

    /// It answered after `took`, before those `overtaken`, which were asked no later: they are put aside.
    pub(super) fn answered(&mut self, now: Time, index: usize, took: Duration, overtaken: &[usize]) {
        self.hedges.earn();
        overtaken.iter().for_each(|other| self.failed(now, *other, false));
        let standing = &mut self.each[index];
        (standing.faults, standing.aside_until) = (0, Time::ZERO);
        standing.took = Some(standing.took.map_or(took, |seen| took.max((seen * 7 + took) / 8)));
    }

    /// It answered with this head.
    pub(super) fn told(&mut self, index: usize, head: &ResourceHead) {
        let validator = &mut self.each[index].validator;
        if validator.is_none() {
            validator.clone_from(&head.validator);
        }
    }

    /// When an answer of it is late.
    pub(super) fn late_after(&self, index: usize) -> Duration {
        self.each[index].took.map_or(LATE_GUESS, |took| (took * LATE.0).clamp(LATE.1, LATE.2))
    }

    /// Whether one more may be asked because of that: a tenth of requests, and three at once.
    pub(super) fn may_hedge(&mut self) -> bool {
        self.hedges.spend()
    }

    pub(super) fn is_unproven(&self, index: usize) -> bool {
        index != 0 && !self.each[index].proven
    }

    pub(super) fn is_proven(&self, index: usize) -> bool {
        index == 0 || self.each[index].proven
    }

    pub(super) fn proven(&mut self, index: usize) {
        self.each[index].proven = true;
    }

    pub(super) fn known(&self, index: usize) -> Option<&str> {
        self.each[index].validator.as_deref()
    }

    /// Whether `want` asks for a version that none of the URLs has. Only said once the first URL's own is known: a version may
    /// be remembered from an earlier run.
    pub(super) fn is_foreign(&self, want: &OriginGet) -> bool {
        let Some(asked) = &want.validator else { return false };
        let mut known = self.each.iter().filter_map(|standing| standing.validator.as_ref());
        self.each[0].validator.is_some() && known.all(|known| known != asked)
    }

    /// What `known` would be in the first URL's own words, if a mirror said it: their lengths agree, their validators need not.
    pub(super) fn own_word(&self, known: &ResourceHead) -> Option<ResourceHead> {
        let said =
            |standing: &Standing| standing.validator.is_some() && standing.validator == known.validator;
        let (first, others) = self.each.split_first()?;
        let by_mirror = !said(first) && others.iter().any(said);
        by_mirror.then(|| ResourceHead {
            validator: first.validator.clone(),
            headers: Vec::new(),
            ..known.clone()
        })
    }

    /// What URL `index` is asked to insist on, for what the caller insists on: its own validator.
    pub(super) fn validator(&self, index: usize, want: &OriginGet) -> Option<String> {
        let asked = want.validator.as_ref()?;
        match &self.each[index].validator {
            Some(known) => Some(known.clone()),
            None => (index == 0).then(|| asked.clone()),
        }
    }
}
