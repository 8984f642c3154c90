//! Several discoveries as one.
//!
//! A node that has two trackers and a few fixed peers asks all of them at the same time and takes what comes first. None of
//! them is trusted to be there: one that fails is reported and forgotten, one that never answers costs a bounded wait and
//! keeps nobody from using what the others said.
//!
//! A DHT costs twenty times the messages of a tracker, so it stands in the second row: it is asked when the first row has
//! found too little in 300 ms, or has come to its end.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::StreamExt;
use futures_util::stream::{self, FuturesUnordered, SelectAll};
use pcdn_core::discovery::{BoxStream, Discovery, DiscoveryError, Lease};
use pcdn_core::id::{PeerId, SwarmKey};
use pcdn_core::peer::PeerRecord;
use tokio::task::JoinHandle;
use tokio::time::{Sleep, sleep, timeout};

use crate::seen::Seen;

/// How long the others may take once one has agreed: a near tracker answers in a tenth of this.
const GRACE: Duration = Duration::from_secs(1);
/// How long one discovery may take at most: a DHT look-up ends well below.
const PATIENCE: Duration = Duration::from_secs(30);
/// The lease when there is nobody to announce to.
const IDLE_LEASE: Duration = Duration::from_secs(300);

/// How long the first row is waited for: seven round trips to a tracker on the same continent.
const HEAD_START: Duration = Duration::from_millis(300);
/// Peers with an address that make the second row unnecessary: a viewer at the usual rates needs three uplinks, and some are gone.
const ENOUGH: usize = 5;
/// How much of a source's description is kept for provenance.
const NAME_MAX: usize = 60;

/// Asks several discoveries and merges their answers.
///
/// * `announce` and `withdraw` tell all of them and succeed when one does. They return when all have answered, or one second
///   after the first agreed; the late ones go on by themselves for at most 30 s.
/// * `find` yields records as they come, each peer once. A peer comes again only with addresses not yet seen of it, and then
///   with these alone: a forged first record must not hide the true one. Errors are passed on between records. The stream
///   ends when all sources end, after `want` records, or after 30 s.
/// * Those of the second row ([`then`](Self::then)) are told everything too, but asked only if the first row has found fewer
///   than 5 peers after 300 ms, or when it ends.
///
/// Must be used inside a tokio runtime.
#[derive(Debug)]
pub struct Merged {
    sources: Vec<Source>,
    later: Vec<Source>,
}

#[derive(Clone, Debug)]
struct Source {
    discovery: Arc<dyn Discovery>,
    /// What it calls itself, for provenance.
    name: Arc<str>,
    /// The last lease it gave, milliseconds; `u64::MAX` before the first. A late answer thus counts in the next renewal.
    lease_ms: Arc<AtomicU64>,
}

/// A peer, and who told of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The peer.
    pub record: PeerRecord,
    /// The source's own description, such as `Tracker(192.0.2.1:7070)`; at most 60 characters.
    pub by: Arc<str>,
}

impl Merged {
    /// Of `discoveries`, all equal.
    pub fn new(discoveries: Vec<Arc<dyn Discovery>>) -> Self {
        Self { sources: discoveries.into_iter().map(Source::new).collect(), later: Vec::new() }
    }

    /// Adds `discoveries` to the second row.
    #[must_use]
    pub fn then(mut self, discoveries: Vec<Arc<dyn Discovery>>) -> Self {
        self.later.extend(discoveries.into_iter().map(Source::new));
        self
    }

    /// As [`find`](Discovery::find), with provenance. A peer that several know is the first one's.
    pub fn find_by(&self, key: &SwarmKey, want: usize) -> BoxStream<Result<Found, DiscoveryError>> {
        let mut search = Search {
            key: *key,
            want,
            all: SelectAll::new(),
            later: Some(self.later.clone()),
            head_start: Box::pin(sleep(HEAD_START)),
            patience: Box::pin(sleep(PATIENCE)),
            seen: Seen::default(),
            usable: 0,
            left: want,
        };
        search.ask(&self.sources);
        Box::pin(stream::unfold(search, async |mut search| Some((search.next().await?, search))))
    }

    fn all(&self) -> impl Iterator<Item = &Source> {
        self.sources.iter().chain(&self.later)
    }

    fn shortest_lease(&self) -> Lease {
        let known = self.all().map(|source| source.lease_ms.load(Ordering::Relaxed)).min();
        let renew_in = known.filter(|ms| *ms < u64::MAX).map_or(IDLE_LEASE, Duration::from_millis);
        Lease { renew_in }
    }
}

impl Source {
    fn new(discovery: Arc<dyn Discovery>) -> Self {
        let name = format!("{discovery:?}").chars().take(NAME_MAX).collect::<String>().into();
        Self { discovery, name, lease_ms: Arc::new(AtomicU64::new(u64::MAX)) }
    }
}

#[async_trait]
impl Discovery for Merged {
    async fn announce(&self, key: &SwarmKey, me: &PeerRecord) -> Result<Lease, DiscoveryError> {
        let calls = self.all().map(|source| {
            let (discovery, lease_ms) = (source.discovery.clone(), source.lease_ms.clone());
            let (key, me) = (*key, me.clone());
            patient(async move {
                let lease = discovery.announce(&key, &me).await?;
                lease_ms
                    .store(lease.renew_in.as_millis().min(u64::MAX as u128 - 1) as u64, Ordering::Relaxed);
                Ok(())
            })
        });
        any_of(calls.collect()).await?;
        Ok(self.shortest_lease())
    }

    async fn withdraw(&self, key: &SwarmKey, me: &PeerId) -> Result<(), DiscoveryError> {
        let calls = self.all().map(|source| {
            let discovery = source.discovery.clone();
            let (key, me) = (*key, *me);
            patient(async move { discovery.withdraw(&key, &me).await })
        });
        any_of(calls.collect()).await
    }

    fn find(&self, key: &SwarmKey, want: usize) -> BoxStream<Result<PeerRecord, DiscoveryError>> {
        Box::pin(self.find_by(key, want).map(|found| found.map(|found| found.record)))
    }
}

/// One look-up under way.
struct Search {
    key: SwarmKey,
    want: usize,
    all: SelectAll<BoxStream<Result<Found, DiscoveryError>>>,
    /// Those not asked yet.
    later: Option<Vec<Source>>,
    head_start: Pin<Box<Sleep>>,
    patience: Pin<Box<Sleep>>,
    seen: Seen,
    /// Peers with an address so far.
    usable: usize,
    /// Records still wanted.
    left: usize,
}

impl Search {
    fn ask(&mut self, sources: &[Source]) {
        for source in sources {
            let by = source.name.clone();
            let found = source.discovery.find(&self.key, self.want);
            self.all
                .push(Box::pin(found.map(move |found| found.map(|record| Found { record, by: by.clone() }))));
        }
    }

    async fn next(&mut self) -> Option<Result<Found, DiscoveryError>> {
        while self.left > 0 {
            let next = tokio::select! {
                biased;
                next = self.all.next() => next,
                () = &mut self.head_start, if self.later.is_some() => {
                    self.ask_later();
                    continue;
                }
                () = &mut self.patience => return None,
            };
            match next {
                Some(Err(error)) => return Some(Err(error)),
                Some(Ok(Found { record, by })) => {
                    let Some(record) = self.seen.fresh_part(record) else { continue };
                    self.left -= 1;
                    self.usable += usize::from(!record.addrs.is_empty());
                    return Some(Ok(Found { record, by }));
                }
                None if !self.ask_later() => return None,
                None => {}
            }
        }
        None
    }

    /// The second row's turn has come; false if it is not needed, or has been asked.
    fn ask_later(&mut self) -> bool {
        let Some(later) = self.later.take() else { return false };
        if self.usable >= ENOUGH || later.is_empty() {
            return false;
        }
        self.ask(&later);
        true
    }
}

/// Runs `call` on its own, so that a caller who leaves early does not cancel it.
fn patient(
    call: impl Future<Output = Result<(), DiscoveryError>> + Send + 'static,
) -> JoinHandle<Result<(), DiscoveryError>> {
    tokio::spawn(async move {
        let silent = || DiscoveryError::Silent { node: "one of several discoveries".into() };
        timeout(PATIENCE, call).await.unwrap_or_else(|_| Err(silent()))
    })
}

/// Waits for all `calls`, but only [`GRACE`] once one has succeeded. Fails with the last error if none does.
async fn any_of(calls: Vec<JoinHandle<Result<(), DiscoveryError>>>) -> Result<(), DiscoveryError> {
    let mut calls: FuturesUnordered<_> = calls.into_iter().collect();
    let mut outcome = None;
    while let Some(joined) = calls.next().await {
        match joined {
            Ok(Ok(())) => {
                let rest = async { while calls.next().await.is_some() {} };
                // Elapsed or not, one has agreed.
                let _ = timeout(GRACE, rest).await;
                return Ok(());
            }
            Ok(Err(error)) => outcome = Some(error),
            Err(crash) => outcome = Some(DiscoveryError::Other { by: "merged", source: crash.into() }),
        }
    }
    outcome.map_or(Ok(()), Err)
}

#[cfg(test)]
mod tests;
