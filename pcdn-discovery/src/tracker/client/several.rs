//! Several trackers that share the swarms among them, without talking to each other.
//!
//! Every node sorts the trackers by the same hash of swarm and tracker (rendezvous hashing, HRW) and uses the first two: it
//! announces to both and asks the first, then the second. So a tracker holds its share of the swarms alone, one more tracker
//! takes over its part of them and no more, and one that dies is no loss: everything is at another one as well. One that does
//! not answer is passed over for a while, so that its swarms have two again.

use std::collections::HashSet;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::join_all;
use futures_util::stream::{self, StreamExt};
use pcdn_core::discovery::{BoxStream, Discovery, DiscoveryError, Lease};
use pcdn_core::error::Judged;
use pcdn_core::id::{PeerId, SwarmKey};
use pcdn_core::peer::PeerRecord;
use pcdn_core::unit::Time;
use tokio::time::{Instant, timeout};

use super::Tracker;
use order::Order;

mod order;

pub use order::REPLICAS;

/// How long the first is waited for before the second is asked as well: above nearly every round trip with a retry.
const HEAD_START: Duration = Duration::from_millis(500);

/// Trackers that share the swarms among them, as one [`Discovery`]. All nodes must be given the same ones, in any order: they
/// are known by the text they are given as.
#[derive(Clone)]
pub struct Trackers {
    inner: Arc<Inner>,
}

struct Inner {
    trackers: Vec<Arc<dyn Discovery>>,
    order: Mutex<Order>,
    start: Instant,
}

impl Trackers {
    /// Of these. One or two are simply all used.
    pub fn new(trackers: Vec<Tracker>) -> Self {
        let named =
            trackers.into_iter().map(|tracker| (tracker.name(), Arc::new(tracker) as Arc<dyn Discovery>));
        Self::named(named.collect())
    }

    /// Of discoveries with names of their own.
    pub fn named(trackers: Vec<(String, Arc<dyn Discovery>)>) -> Self {
        let (names, trackers): (Vec<String>, Vec<Arc<dyn Discovery>>) = trackers.into_iter().unzip();
        let order = Mutex::new(Order::new(names));
        Self { inner: Arc::new(Inner { trackers, order, start: Instant::now() }) }
    }
}

impl Inner {
    fn order(&self) -> MutexGuard<'_, Order> {
        self.order.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Time {
        Time(self.start.elapsed().as_micros() as u64)
    }

    /// The trackers of `key`, best first.
    fn of(&self, key: &SwarmKey) -> Vec<usize> {
        self.order().of(self.now(), key)
    }

    /// Remembers whether a tracker answers. A refusal is an answer.
    fn heard<T>(&self, tracker: usize, result: &Result<T, DiscoveryError>) {
        let answers = result.as_ref().err().is_none_or(|error| !error.transient());
        self.order().heard(self.now(), tracker, answers);
    }

    async fn announce(
        &self,
        tracker: usize,
        key: &SwarmKey,
        me: &PeerRecord,
    ) -> Result<Lease, DiscoveryError> {
        let lease = self.trackers[tracker].announce(key, me).await;
        self.heard(tracker, &lease);
        lease
    }

    /// Everything one tracker finds.
    async fn find(
        &self,
        tracker: usize,
        key: &SwarmKey,
        want: usize,
    ) -> Vec<Result<PeerRecord, DiscoveryError>> {
        let found: Vec<_> = self.trackers[tracker].find(key, want).collect().await;
        match found.iter().find(|result| result.is_err()) {
            Some(error) => self.heard(tracker, error),
            None => self.heard(tracker, &Ok(())),
        }
        found
    }
}

#[async_trait]
impl Discovery for Trackers {
    async fn announce(&self, key: &SwarmKey, me: &PeerRecord) -> Result<Lease, DiscoveryError> {
        let inner = &self.inner;
        let order = inner.of(key);
        let (first, spare) = order.split_at(order.len().min(REPLICAS));
        let results = join_all(first.iter().map(|tracker| inner.announce(*tracker, key, me))).await;
        let silent = results.iter().filter(|result| result.is_err()).count();
        let mut results: Vec<_> = results;
        // For each that failed, the next in the order: a swarm is always at two trackers while two live.
        for tracker in spare.iter().take(silent) {
            results.push(inner.announce(*tracker, key, me).await);
        }
        let (leases, errors): (Vec<_>, Vec<_>) = results.into_iter().partition(Result::is_ok);
        let shortest = leases.into_iter().flatten().min_by_key(|lease| lease.renew_in);
        match (shortest, errors.into_iter().find_map(Result::err)) {
            (Some(lease), _) => Ok(lease),
            (None, Some(error)) => Err(error),
            (None, None) => Err(none()),
        }
    }

    async fn withdraw(&self, key: &SwarmKey, me: &PeerId) -> Result<(), DiscoveryError> {
        let order = self.inner.of(key);
        let goodbye = |tracker: &usize| self.inner.trackers[*tracker].withdraw(key, me);
        let results = join_all(order.iter().take(REPLICAS).map(goodbye)).await;
        results.into_iter().find(Result::is_ok).unwrap_or(Ok(()))
    }

    fn find(&self, key: &SwarmKey, want: usize) -> BoxStream<Result<PeerRecord, DiscoveryError>> {
        let (inner, key) = (self.inner.clone(), *key);
        let search = async move { inner.search(&key, want).await };
        Box::pin(stream::once(search).flat_map(stream::iter))
    }
}

impl Inner {
    /// The first tracker's peers; the second's as well if the first is slow or knows too few; the others only while none has
    /// answered.
    async fn search(&self, key: &SwarmKey, want: usize) -> Vec<Result<PeerRecord, DiscoveryError>> {
        let order = self.of(key);
        let mut found = Found::default();
        let mut slow = None;
        let mut answered = 0;
        for (nth, tracker) in order.iter().enumerate() {
            if found.records.len() >= want || (nth >= REPLICAS && answered > 0) {
                break;
            }
            let mut asked = Box::pin(self.find(*tracker, key, want));
            if nth == 0 && order.len() > 1 {
                match timeout(HEAD_START, &mut asked).await {
                    Ok(all) => answered += usize::from(found.take(all)),
                    Err(_) => slow = Some(asked),
                }
                continue;
            }
            let all = asked.await;
            answered += usize::from(found.take(all));
        }
        // The second has answered by now, or has been waited for as long as any call may take.
        if let Some(asked) = slow.filter(|_| answered == 0) {
            found.take(asked.await);
        }
        found.results(want)
    }
}

/// What trackers said, each peer once.
#[derive(Default)]
struct Found {
    records: Vec<PeerRecord>,
    known: HashSet<PeerId>,
    error: Option<DiscoveryError>,
}

impl Found {
    /// Takes one tracker's answer in; whether it was one.
    fn take(&mut self, all: Vec<Result<PeerRecord, DiscoveryError>>) -> bool {
        let mut answered = true;
        for result in all {
            match result {
                Ok(record) if self.known.insert(record.id) => self.records.push(record),
                Ok(_) => {}
                Err(error) => {
                    self.error = Some(error);
                    answered = false;
                }
            }
        }
        answered
    }

    fn results(self, want: usize) -> Vec<Result<PeerRecord, DiscoveryError>> {
        match self.error {
            Some(error) if self.records.is_empty() && want > 0 => vec![Err(error)],
            _ => self.records.into_iter().take(want).map(Ok).collect(),
        }
    }
}

fn none() -> DiscoveryError {
    DiscoveryError::Address { node: "trackers".to_owned(), why: "the list is empty".to_owned() }
}

impl fmt::Debug for Trackers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&self.inner.trackers).finish()
    }
}
