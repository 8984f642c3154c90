//! How many checks run at once.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use pcdn_core::resource::Url;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Checks of one host at once: a node that wakes up with many films open must not look like an attack.
const PER_HOST: usize = 4;
/// Checks at once in all. More wait their turn: one for each resource that is open.
const IN_ALL: usize = 32;
/// Hosts remembered; those that nobody asks are dropped beyond.
const HOSTS_MAX: usize = 64;

/// Gives checks their turn.
#[derive(Debug)]
pub(in crate::node) struct Checks {
    all: Arc<Semaphore>,
    hosts: Mutex<BTreeMap<String, Arc<Semaphore>>>,
}

impl Default for Checks {
    fn default() -> Self {
        Self { all: Arc::new(Semaphore::new(IN_ALL)), hosts: Mutex::default() }
    }
}

/// A check may run while this is held.
pub(super) type Turn = (Option<OwnedSemaphorePermit>, Option<OwnedSemaphorePermit>);

impl Checks {
    /// Waits until the host of `url` may be asked.
    pub(super) async fn turn(&self, url: &Url) -> Turn {
        let host =
            self.host(&format!("{}:{:?}", url.host_str().unwrap_or_default(), url.port_or_known_default()));
        // The host's first: who waits for a slow host keeps nobody else's place. They are never closed, so both are always given.
        let host = host.acquire_owned().await.ok();
        (host, self.all.clone().acquire_owned().await.ok())
    }

    fn host(&self, name: &str) -> Arc<Semaphore> {
        // Plain data, whole after every statement: a panic elsewhere leaves nothing half done.
        let mut hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        if hosts.len() >= HOSTS_MAX && !hosts.contains_key(name) {
            hosts.retain(|_, checks| Arc::strong_count(checks) > 1);
        }
        hosts.entry(name.to_owned()).or_insert_with(|| Arc::new(Semaphore::new(PER_HOST))).clone()
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    fn url(host: usize) -> Url {
        format!("http://h{host}.example/film").parse().unwrap()
    }

    #[test]
    fn a_host_and_all_hosts_are_asked_a_few_times_at_once() {
        let checks = Checks::default();
        let mut turns: Vec<Turn> =
            (0..PER_HOST).map(|_| checks.turn(&url(0)).now_or_never().unwrap()).collect();
        assert!(checks.turn(&url(0)).now_or_never().is_none(), "this host is asked enough");
        turns.extend((PER_HOST..IN_ALL).map(|host| checks.turn(&url(host)).now_or_never().unwrap()));
        assert!(checks.turn(&url(1_000)).now_or_never().is_none(), "enough are asked");
        turns.clear();
        assert!(checks.turn(&url(0)).now_or_never().is_some());
    }

    #[test]
    fn hosts_are_forgotten_when_nobody_asks_them() {
        let checks = Checks::default();
        let busy = checks.turn(&url(0)).now_or_never().unwrap();
        for host in 0..10 * HOSTS_MAX {
            drop(checks.turn(&url(host)).now_or_never().unwrap());
        }
        let hosts = checks.hosts.lock().unwrap();
        assert!(hosts.len() <= HOSTS_MAX && hosts.contains_key("h0.example:Some(80)"));
        drop((busy, hosts));
    }
}
