//! Connections that are kept: one for each place of each origin.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use super::connection::Connection;
use super::dial::Dialer;
use super::{Memory, Route, unreachable};

/// Connections kept at once. A node meets a handful of CDN hosts; each costs two windows and its pings.
const LINES_MAX: usize = 32;

/// What became of a connection: nothing yet, or it stands, or it failed.
type Outcome = Option<Result<Arc<Connection>, ()>>;

/// A connection that was begun.
#[derive(Clone, Debug)]
pub(super) struct Line {
    begun: Instant,
    outcome: watch::Receiver<Outcome>,
}

impl Line {
    /// The connection, if it stands by `head_start` after it was begun. So nobody waits for one that others have waited for.
    pub(super) async fn connection(mut self, head_start: Duration) -> Option<Arc<Connection>> {
        let left = head_start.saturating_sub(self.begun.elapsed());
        if self.outcome.borrow().is_none() && !left.is_zero() {
            // Whatever comes of it is seen below.
            let _ = timeout(left, self.outcome.wait_for(Option::is_some)).await;
        }
        let found = self.outcome.borrow().clone()?;
        found.ok().filter(|connection| connection.is_open())
    }

    /// Whether it stands or may yet.
    fn is_live(&self) -> bool {
        match &*self.outcome.borrow() {
            None => self.outcome.has_changed().is_ok(),
            Some(Ok(connection)) => connection.is_open(),
            Some(Err(())) => false,
        }
    }
}

#[derive(Debug)]
pub(super) struct Pool {
    dialer: Arc<Dialer>,
    idle: Duration,
    lines: Mutex<BTreeMap<(String, String), Line>>,
}

impl Pool {
    /// Connections by `dialer`, each kept until nobody has used it for `idle`.
    pub(super) fn new(dialer: Dialer, idle: Duration) -> Self {
        Self { dialer: Arc::new(dialer), idle, lines: Mutex::default() }
    }

    /// The connection for `route`, begun if there is none. What fails is noted in `memory`.
    pub(super) fn line(&self, route: &Route, memory: &Arc<Memory>) -> Line {
        let key = (route.origin.clone(), route.alt_used());
        // Plain data, whole after every statement: a panic elsewhere leaves nothing half done.
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(line) = lines.get(&key).filter(|line| line.is_live()) {
            return line.clone();
        }
        lines.retain(|_, line| line.is_live());
        if lines.len() >= LINES_MAX {
            // Any will do: who still uses it keeps it.
            lines.pop_first();
        }
        let (told, outcome) = watch::channel(None);
        let line = Line { begun: Instant::now(), outcome };
        tokio::spawn(begin(self.dialer.clone(), route.clone(), memory.clone(), self.idle, told));
        lines.insert(key, line.clone());
        line
    }
}

async fn begin(
    dialer: Arc<Dialer>,
    route: Route,
    memory: Arc<Memory>,
    idle: Duration,
    told: watch::Sender<Outcome>,
) {
    let dialled = match dialer.dial(&route).await {
        Ok(quic) => Connection::open(quic, memory.clone(), route.origin.clone(), idle).await,
        Err(error) => Err(unreachable(&error)),
    };
    if let Err(error) = &dialled {
        memory.failed(&route.origin, &error.to_string());
    }
    told.send_replace(Some(dialled.map_err(drop)));
}
