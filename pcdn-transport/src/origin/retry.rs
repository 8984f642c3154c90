//! Whether to ask an origin again, and when. Pure: time and dice are arguments.
//!
//! Only failures before the first byte come here; what breaks later is the engine's to resume, which may have peers for it.

use std::time::Duration;

use pcdn_core::dice::Dice;
use pcdn_core::error::Judged;
use pcdn_core::origin::OriginError;
use pcdn_core::unit::Time;

/// Waits before the second and later retries; the first is at once, on what is then another connection or another edge.
const WAITS: [Duration; 3] = [Duration::from_millis(250), Duration::from_millis(500), Duration::from_secs(1)];
/// The longest `Retry-After` that is believed: a viewer is gone by then.
pub(super) const RETRY_AFTER_MAX: Duration = Duration::from_secs(60);
/// How often an answer that makes no sense is asked for again: another edge may be sane.
const NONSENSE_MAX: u32 = 1;

/// Limits of one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Patience {
    /// Attempts in all, at least 1.
    pub(super) attempts: u32,
    /// Total time, waits included.
    pub(super) give_up_after: Duration,
    /// The longest single wait; an origin that asks for more gets no further request, and the caller its answer.
    pub(super) wait_max: Duration,
}

/// What to do after a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Ask again after this long.
    Again(Duration),
    /// Report it.
    Stop,
}

/// One request's history.
#[derive(Debug)]
pub(super) struct Retry {
    patience: Patience,
    started: Time,
    attempts: u32,
    nonsense: u32,
}

impl Retry {
    pub(super) fn new(patience: Patience, now: Time) -> Self {
        Self { patience, started: now, attempts: 0, nonsense: 0 }
    }

    /// How much of the total time is left.
    pub(super) fn left(&self, now: Time) -> Duration {
        self.patience.give_up_after.saturating_sub(now.since(self.started))
    }

    /// Judges the failure of one attempt. `budget` is the host's; `waits_until` the time it asked everyone to stay away.
    pub(super) fn after(
        &mut self,
        now: Time,
        error: &OriginError,
        budget: &mut Budget,
        waits_until: Time,
        dice: &mut Dice,
    ) -> Verdict {
        self.attempts += 1;
        let nonsense = matches!(error, OriginError::Malformed { .. });
        self.nonsense += u32::from(nonsense);
        if !error.transient() || self.attempts >= self.patience.attempts || self.nonsense > NONSENSE_MAX {
            return Verdict::Stop;
        }
        let asked = waits_until.since(now);
        let wait = match self.attempts {
            // With jitter from half to the whole, so that viewers of one broken edge do not come back in step.
            n @ 2.. => WAITS[(n as usize - 2).min(WAITS.len() - 1)].mul_f64(0.5 + dice.unit() / 2.0),
            _ => Duration::ZERO,
        };
        let wait = wait.max(asked);
        let in_time = wait <= self.patience.wait_max && wait < self.left(now);
        if in_time && budget.spend() { Verdict::Again(wait) } else { Verdict::Stop }
    }
}

/// Retries a host may cost: a tenth of the requests and a few at once, so that a dead origin is not asked four times as often
/// as a living one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Budget {
    tenths: u32,
}

impl Budget {
    /// Three retries at once, and never more than ten saved up.
    const START: u32 = 30;
    const MAX: u32 = 100;

    /// One request was made: a tenth of a retry is earned.
    pub(super) fn earn(&mut self) {
        self.tenths = (self.tenths + 1).min(Self::MAX);
    }

    pub(super) fn spend(&mut self) -> bool {
        let paid = self.tenths.checked_sub(10);
        self.tenths = paid.unwrap_or(self.tenths);
        paid.is_some()
    }
}

impl Default for Budget {
    fn default() -> Self {
        Self { tenths: Self::START }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Patience =
        Patience { attempts: 5, give_up_after: Duration::from_secs(10), wait_max: Duration::from_secs(2) };

    fn down() -> OriginError {
        OriginError::Unreachable { why: "reset".into() }
    }

    fn status(status: u16) -> OriginError {
        OriginError::Status { status, retry_after: None }
    }

    fn millis(verdict: Verdict) -> Option<u128> {
        match verdict {
            Verdict::Again(wait) => Some(wait.as_millis()),
            Verdict::Stop => None,
        }
    }

    #[test]
    fn once_at_once_then_with_growing_waits_then_never() {
        let (mut retry, mut dice) = (Retry::new(PATIENCE, Time::ZERO), Dice::new(1));
        let mut budget = Budget { tenths: 100 };
        let mut ask = || millis(retry.after(Time::ZERO, &down(), &mut budget, Time::ZERO, &mut dice));
        assert_eq!(ask(), Some(0));
        assert!((125..=250).contains(&ask().unwrap()));
        assert!((250..=500).contains(&ask().unwrap()));
        assert!((500..=1000).contains(&ask().unwrap()));
        assert_eq!(ask(), None);
    }

    #[test]
    fn what_cannot_get_better_is_not_retried() {
        for error in [status(404), status(403), status(410), OriginError::Changed { what: String::new() }] {
            let mut retry = Retry::new(PATIENCE, Time::ZERO);
            let verdict =
                retry.after(Time::ZERO, &error, &mut Budget::default(), Time::ZERO, &mut Dice::new(1));
            assert_eq!(verdict, Verdict::Stop, "{error}");
        }
    }

    #[test]
    fn nonsense_is_asked_for_once_more() {
        let (mut retry, mut budget, mut dice) =
            (Retry::new(PATIENCE, Time::ZERO), Budget::default(), Dice::new(1));
        let nonsense = OriginError::Malformed { what: String::new() };
        let mut ask = || retry.after(Time::ZERO, &nonsense, &mut budget, Time::ZERO, &mut dice);
        assert_eq!(ask(), Verdict::Again(Duration::ZERO));
        assert_eq!(ask(), Verdict::Stop);
    }

    #[test]
    fn a_wait_the_origin_asked_for_is_kept_or_nothing_is_asked() {
        let ask = |until| {
            let mut retry = Retry::new(PATIENCE, Time::ZERO);
            retry.after(Time::ZERO, &status(503), &mut Budget::default(), until, &mut Dice::new(1))
        };
        assert_eq!(ask(Time::from_secs(1)), Verdict::Again(Duration::from_secs(1)));
        assert_eq!(ask(Time::from_secs(30)), Verdict::Stop);
    }

    #[test]
    fn time_and_the_hosts_budget_end_it() {
        let mut dice = Dice::new(1);
        let mut retry = Retry::new(PATIENCE, Time::ZERO);
        let late = retry.after(Time::from_secs(10), &down(), &mut Budget::default(), Time::ZERO, &mut dice);
        assert_eq!(late, Verdict::Stop);

        let mut budget = Budget::default();
        let mut first = |budget: &mut Budget| {
            Retry::new(PATIENCE, Time::ZERO).after(Time::ZERO, &down(), budget, Time::ZERO, &mut dice)
        };
        (0..3).for_each(|_| assert_eq!(first(&mut budget), Verdict::Again(Duration::ZERO)));
        assert_eq!(first(&mut budget), Verdict::Stop);
        (0..10).for_each(|_| budget.earn());
        assert_eq!(first(&mut budget), Verdict::Again(Duration::ZERO));
    }
}
