//! Connections that are kept: one for each place of each origin.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use super::connection::Connection;
use super::dial::Dialer;
use super::{Memory, Route, unreachable};

/// Connections kept at once. A node meets a handful of CDN hosts; each costs two windows and its pings.
const LINES_MAX: usize = 32;

/// What became of a connection: nothing yet, or it stands, or it failed.
pub(super) type Line = Option<Result<Arc<Connection>, ()>>;

#[derive(Debug)]
pub(super) struct Pool {
    dialer: Arc<Dialer>,
    idle: Duration,
    lines: Mutex<BTreeMap<(String, String), watch::Receiver<Line>>>,
}

impl Pool {
    /// Connections by `dialer`, each kept until nobody has used it for `idle`.
    pub(super) fn new(dialer: Dialer, idle: Duration) -> Self {
        Self { dialer: Arc::new(dialer), idle, lines: Mutex::default() }
    }

    /// The connection for `route`, begun if there is none. What fails is noted in `memory`.
    pub(super) fn line(&self, route: &Route, memory: &Arc<Memory>) -> watch::Receiver<Line> {
        let key = (route.origin.clone(), route.alt_used());
        // Plain data, whole after every statement: a panic elsewhere leaves nothing half done.
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(line) = lines.get(&key).filter(|line| is_live(line)) {
            return line.clone();
        }
        lines.retain(|_, line| is_live(line));
        if lines.len() >= LINES_MAX {
            // Any will do: who still uses it keeps it.
            lines.pop_first();
        }
        let (told, line) = watch::channel(None);
        tokio::spawn(begin(self.dialer.clone(), route.clone(), memory.clone(), self.idle, told));
        lines.insert(key, line.clone());
        line
    }
}

/// Whether it stands or may yet.
fn is_live(line: &watch::Receiver<Line>) -> bool {
    match &*line.borrow() {
        None => line.has_changed().is_ok(),
        Some(Ok(connection)) => connection.is_open(),
        Some(Err(())) => false,
    }
}

async fn begin(
    dialer: Arc<Dialer>,
    route: Route,
    memory: Arc<Memory>,
    idle: Duration,
    told: watch::Sender<Line>,
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
