//! The sessions of one node share its uplink: what each may add to its queue. For all transports that decide by delay.

/// Packets that all sessions of this node together put into the bottleneck's queue beyond the target.
const FEW: f64 = 4.0;
/// A session far below the mean takes so many times its part of the few.
const EVEN_OUT: f64 = 8.0;
/// Packets under way of one session that sends alone, never fewer: below that no loss could be told from reordering.
pub(crate) const WINDOW_MIN: f64 = 4.0;
/// And of all that send together, as long as each has one: beside a foreign flow that fills the queue of a slow uplink this is
/// what the node still takes.
const WINDOWS_MIN: f64 = 8.0;

/// The sessions of this node that are sending, those of one transport.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Company {
    pub(crate) senders: usize,
    /// Their mean window, packets.
    pub(crate) window: f64,
}

impl Company {
    pub(crate) const ALONE: Self = Self { senders: 1, window: 0.0 };

    /// This session's part of [`FEW`]: more for those with small windows, so that shares become equal.
    pub(crate) fn few(&self, window: f64) -> f64 {
        let part = FEW / self.senders.max(1) as f64;
        if self.senders < 2 { part } else { part * (self.window / window).powi(2).clamp(0.0, EVEN_OUT) }
    }

    /// The smallest window of each.
    pub(crate) fn floor(&self) -> f64 {
        (WINDOWS_MIN / self.senders.max(1) as f64).clamp(1.0, WINDOW_MIN)
    }
}
