//! SIGINT and SIGTERM.

use std::time::{Duration, Instant};

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::{Failure, tell};

/// What a node may take to say goodbye and flush: the contract gives 5 s from the signal to the exit.
const GRACE: Duration = Duration::from_secs(4);

/// The two signals, caught from here on.
pub(crate) struct Stop {
    interrupt: Signal,
    terminate: Signal,
    asked_at: Option<Instant>,
}

impl Stop {
    pub(crate) fn catch() -> Result<Self, Failure> {
        let failed = |e| Failure::other(format!("signals cannot be caught: {e}"));
        Ok(Self {
            interrupt: signal(SignalKind::interrupt()).map_err(failed)?,
            terminate: signal(SignalKind::terminate()).map_err(failed)?,
            asked_at: None,
        })
    }

    /// Waits for one of them.
    pub(crate) async fn asked(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
        self.asked_at.get_or_insert_with(Instant::now);
        tell::notify("STOPPING=1");
        tracing::info!("stopping");
    }

    /// What is left for the node's goodbye, if other ends have been tied since the signal.
    pub(crate) fn grace(&self) -> Duration {
        GRACE.saturating_sub(self.asked_at.map_or(Duration::ZERO, |at| at.elapsed()))
    }
}
