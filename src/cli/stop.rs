//! SIGINT and SIGTERM.

use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::{Failure, tell};

/// What a node may take to say goodbye and flush: the contract gives 5 s from the signal to the exit.
pub(crate) const GRACE: Duration = Duration::from_secs(4);

/// The two signals, caught from here on.
pub(crate) struct Stop {
    interrupt: Signal,
    terminate: Signal,
}

impl Stop {
    pub(crate) fn catch() -> Result<Self, Failure> {
        let failed = |e| Failure::other(format!("signals cannot be caught: {e}"));
        Ok(Self {
            interrupt: signal(SignalKind::interrupt()).map_err(failed)?,
            terminate: signal(SignalKind::terminate()).map_err(failed)?,
        })
    }

    /// Waits for one of them.
    pub(crate) async fn asked(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
        tell::notify("STOPPING=1");
        tracing::info!("stopping");
    }
}
