//! Several discoveries as one.
//!
//! A node that has a tracker, a DHT and a few fixed peers asks all of them at the same time and takes what comes first.
//! None of them is trusted to be there: one that fails is reported and forgotten, one that never answers costs a bounded
//! wait and keeps nobody from using what the others said.

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use futures_core::Stream;
use futures_util::StreamExt;
use futures_util::stream::{self, FuturesUnordered};
use pcdn_core::discovery::{BoxStream, Discovery, DiscoveryError, Lease};
use pcdn_core::id::{PeerId, SwarmKey};
use pcdn_core::peer::{PeerAddr, PeerRecord};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

/// How long the others may take once one has agreed: a near tracker answers in a tenth of this.
const GRACE: Duration = Duration::from_secs(1);
/// How long one discovery may take at most: a DHT look-up ends well below.
const PATIENCE: Duration = Duration::from_secs(30);
/// The lease when there is nobody to announce to.
const IDLE_LEASE: Duration = Duration::from_secs(300);
/// Peers remembered in one look-up, so that a source that streams for ever cannot fill the memory. About 1 MiB.
const SEEN_MAX: usize = 4096;

/// Asks several discoveries and merges their answers.
///
/// * `announce` and `withdraw` tell all of them and succeed when one does. They return when all have answered, or one second
///   after the first agreed; the late ones go on by themselves for at most 30 s.
/// * `find` yields records as they come, each peer once. A peer comes again only with addresses not yet seen of it, and then
///   with these alone: a forged first record must not hide the true one. Errors are passed on between records. The stream
///   ends when all sources end, after `want` records, or after 30 s.
///
/// Must be used inside a tokio runtime.
#[derive(Debug)]
pub struct Merged {
    sources: Vec<Source>,
}

#[derive(Debug)]
struct Source {
    discovery: Arc<dyn Discovery>,
    /// The last lease it gave, milliseconds; `u64::MAX` before the first. A late answer thus counts in the next renewal.
    lease_ms: Arc<AtomicU64>,
}

impl Merged {
    /// Of `discoveries`, all equal.
    pub fn new(discoveries: Vec<Arc<dyn Discovery>>) -> Self {
        let source = |discovery| Source { discovery, lease_ms: Arc::new(AtomicU64::new(u64::MAX)) };
        Self { sources: discoveries.into_iter().map(source).collect() }
    }

    fn shortest_lease(&self) -> Lease {
        let known = self.sources.iter().map(|source| source.lease_ms.load(Ordering::Relaxed)).min();
        let renew_in = known.filter(|ms| *ms < u64::MAX).map_or(IDLE_LEASE, Duration::from_millis);
        Lease { renew_in }
    }
}

#[async_trait]
impl Discovery for Merged {
    async fn announce(&self, key: &SwarmKey, me: &PeerRecord) -> Result<Lease, DiscoveryError> {
        let calls = self.sources.iter().map(|source| {
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
        let calls = self.sources.iter().map(|source| {
            let discovery = source.discovery.clone();
            let (key, me) = (*key, *me);
            patient(async move { discovery.withdraw(&key, &me).await })
        });
        any_of(calls.collect()).await
    }

    fn find(&self, key: &SwarmKey, want: usize) -> BoxStream<Result<PeerRecord, DiscoveryError>> {
        let streams = self.sources.iter().map(|source| source.discovery.find(key, want));
        let all = stream::select_all(streams).take_until(Box::pin(sleep(PATIENCE)));
        let search = Search { all, seen: Seen::default(), left: want };
        Box::pin(stream::unfold(search, async |mut search| Some((search.next().await?, search))))
    }
}

/// One look-up under way.
struct Search<S> {
    all: S,
    seen: Seen,
    /// Records still wanted.
    left: usize,
}

impl<S: Stream<Item = Result<PeerRecord, DiscoveryError>> + Unpin> Search<S> {
    async fn next(&mut self) -> Option<Result<PeerRecord, DiscoveryError>> {
        while self.left > 0 {
            match self.all.next().await? {
                Err(error) => return Some(Err(error)),
                Ok(record) => {
                    let Some(fresh) = self.seen.fresh_part(record) else { continue };
                    self.left -= 1;
                    return Some(Ok(fresh));
                }
            }
        }
        None
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

/// What one look-up has yielded already.
#[derive(Default)]
struct Seen(HashMap<PeerId, Vec<PeerAddr>>);

impl Seen {
    /// The part of `record` that is new: the whole record of a new peer, the new addresses of a known one.
    fn fresh_part(&mut self, mut record: PeerRecord) -> Option<PeerRecord> {
        record.addrs.truncate(PeerRecord::ADDRS_MAX);
        if let Some(known) = self.0.get_mut(&record.id) {
            record.addrs.retain(|addr| !known.contains(addr));
            record.addrs.truncate(PeerRecord::ADDRS_MAX.saturating_sub(known.len()));
            known.extend(&record.addrs);
            return (!record.addrs.is_empty()).then_some(record);
        }
        if self.0.len() >= SEEN_MAX {
            return None;
        }
        self.0.insert(record.id, record.addrs.clone());
        Some(record)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pcdn_core::discovery::MockDiscovery;
    use tokio::time::Instant;

    use crate::Fixed;

    const KEY: SwarmKey = SwarmKey([1; 32]);

    fn peer(id: u8, addrs: &[&str]) -> PeerRecord {
        let addrs = addrs.iter().map(|text| text.parse().unwrap()).collect();
        PeerRecord { id: PeerId([id; 32]), addrs, seed: false }
    }

    /// A discovery that fails at everything.
    #[derive(Debug)]
    struct Failing;
    /// A discovery that never answers anything.
    #[derive(Debug)]
    struct Mute;

    fn silent() -> DiscoveryError {
        DiscoveryError::Silent { node: "failing".into() }
    }

    #[async_trait]
    impl Discovery for Failing {
        async fn announce(&self, _: &SwarmKey, _: &PeerRecord) -> Result<Lease, DiscoveryError> {
            Err(silent())
        }
        async fn withdraw(&self, _: &SwarmKey, _: &PeerId) -> Result<(), DiscoveryError> {
            Err(silent())
        }
        fn find(&self, _: &SwarmKey, _: usize) -> BoxStream<Result<PeerRecord, DiscoveryError>> {
            Box::pin(stream::iter([Err(silent())]))
        }
    }

    #[async_trait]
    impl Discovery for Mute {
        async fn announce(&self, _: &SwarmKey, _: &PeerRecord) -> Result<Lease, DiscoveryError> {
            std::future::pending().await
        }
        async fn withdraw(&self, _: &SwarmKey, _: &PeerId) -> Result<(), DiscoveryError> {
            std::future::pending().await
        }
        fn find(&self, _: &SwarmKey, _: usize) -> BoxStream<Result<PeerRecord, DiscoveryError>> {
            Box::pin(stream::pending())
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_failing_and_a_mute_source_do_not_block_the_third() {
        let fixed = Fixed::new(vec![peer(1, &["192.0.2.1:4000"]), peer(2, &["192.0.2.2:4000"])]);
        let all = Merged::new(vec![Arc::new(Mute), Arc::new(Failing), Arc::new(fixed)]);
        let start = Instant::now();
        assert_eq!(all.announce(&KEY, &peer(9, &[])).await.unwrap().renew_in, Duration::from_secs(3600));
        assert!(all.withdraw(&KEY, &PeerId([9; 32])).await.is_ok());
        assert!(start.elapsed() <= 2 * GRACE);

        let start = Instant::now();
        let mut found = all.find(&KEY, 10);
        let mut ids = Vec::new();
        while ids.len() < 2 {
            ids.extend(found.next().await.unwrap().ok().map(|record| record.id.0[0]));
        }
        assert_eq!(ids, [1, 2]);
        assert!(start.elapsed().is_zero(), "records came as they were there");
        while found.next().await.is_some() {}
        assert_eq!(start.elapsed(), PATIENCE, "a mute source ends the stream by patience");
    }

    #[tokio::test(start_paused = true)]
    async fn when_all_fail_the_caller_hears_why() {
        let all = Merged::new(vec![Arc::new(Failing), Arc::new(Mute)]);
        assert!(matches!(all.announce(&KEY, &peer(9, &[])).await, Err(DiscoveryError::Silent { .. })));
    }

    #[tokio::test]
    async fn a_peer_comes_again_only_with_new_addresses() {
        let one = Fixed::new(vec![peer(1, &["192.0.2.1:4000"]), peer(2, &["192.0.2.2:4000"])]);
        let two =
            Fixed::new(vec![peer(1, &["192.0.2.1:4000"]), peer(2, &["192.0.2.2:4000", "192.0.2.9:4000"])]);
        let found: Vec<_> = Merged::new(vec![Arc::new(one), Arc::new(two)]).find(&KEY, 9).collect().await;
        let mut addrs: Vec<_> =
            found.into_iter().flat_map(|r| r.unwrap().addrs).map(|a| a.to_string()).collect();
        addrs.sort();
        assert_eq!(addrs, ["udp://192.0.2.1:4000", "udp://192.0.2.2:4000", "udp://192.0.2.9:4000"]);
    }

    #[tokio::test]
    async fn no_more_than_wanted() {
        let many = Fixed::new((0..20).map(|n| peer(n, &[])).collect());
        assert_eq!(Merged::new(vec![Arc::new(many)]).find(&KEY, 7).count().await, 7);
    }

    #[tokio::test]
    async fn the_shortest_lease_counts() {
        let lease_of = |seconds| {
            let mut mock = MockDiscovery::new();
            mock.expect_announce()
                .returning(move |_, _| Ok(Lease { renew_in: Duration::from_secs(seconds) }));
            Arc::new(mock) as Arc<dyn Discovery>
        };
        let all = Merged::new(vec![lease_of(60), lease_of(30), lease_of(90)]);
        assert_eq!(all.announce(&KEY, &peer(9, &[])).await.unwrap().renew_in, Duration::from_secs(30));
    }
}
