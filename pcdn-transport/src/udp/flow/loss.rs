//! Loss, and how much of it is the path's own.
//!
//! If the window has halved and the loss has not fallen, it was not this session that overfilled the path. At the smallest
//! windows no trial is needed: what is lost there is lost to others or to the air.

use std::time::Duration;

use pcdn_core::unit::Time;

/// Loss beyond the path's own that is obeyed.
pub(super) const LOSS_FELT: f64 = 0.05;
/// Loss is averaged over about so many packets, or a round if that is more.
const LOSS_MEMORY: f64 = 80.0;
/// What was found to be the path's own loss is believed this long.
const PATH_LOSS_FOR: Duration = Duration::from_secs(10);
/// More than this is never believed to be the path's own.
const PATH_LOSS_MAX: f64 = 0.2;

/// What is known of losses.
#[derive(Debug, Default)]
pub(super) struct Loss {
    mean: f64,
    /// In the last round.
    latest: f64,
    path: Option<(f64, Time)>,
    trial: Option<Trial>,
}

/// How things stood when loss was first felt.
#[derive(Clone, Copy, Debug)]
struct Trial {
    window: f64,
    loss: f64,
    rate: f64,
}

impl Loss {
    /// A round is over in which `arrived` of `sent` packets arrived.
    pub(super) fn round(&mut self, sent: u64, arrived: u64) {
        self.latest = 1.0 - (arrived as f64 / sent as f64).min(1.0);
        self.mean += (self.latest - self.mean) * (sent as f64 / (sent as f64 + LOSS_MEMORY));
    }

    /// Lately, as a share.
    pub(super) fn mean(&self) -> f64 {
        self.mean
    }

    /// What a `window` that gave `rate` lost beyond the path's own; `small` says that it can hardly be any smaller.
    pub(super) fn excess(&mut self, now: Time, window: f64, rate: f64, small: bool) -> f64 {
        // The path's own loss cannot be more than what is lost now.
        self.path =
            self.path.filter(|(_, until)| now < *until).map(|(loss, until)| (loss.min(self.mean), until));
        let excess = self.mean - self.path.map_or(0.0, |(loss, _)| loss);
        if excess <= LOSS_FELT {
            self.trial = None;
            return excess;
        }
        let trial = *self.trial.get_or_insert(Trial { window, loss: self.mean, rate });
        if small {
            return self.believe(now);
        }
        if window <= trial.window / 2.0 {
            self.trial = None;
            // An overfull link would deliver as much as before; a lossy one delivers less of less.
            if self.latest > trial.loss / 3.0 && rate < trial.rate * 0.85 {
                return self.believe(now);
            }
        }
        excess
    }

    fn believe(&mut self, now: Time) -> f64 {
        self.trial = None;
        let loss = self.mean.min(PATH_LOSS_MAX);
        self.path = Some((loss, now + PATH_LOSS_FOR));
        self.mean - loss
    }
}
