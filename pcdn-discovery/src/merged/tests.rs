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
    let two = Fixed::new(vec![peer(1, &["192.0.2.1:4000"]), peer(2, &["192.0.2.2:4000", "192.0.2.9:4000"])]);
    let found: Vec<_> = Merged::new(vec![Arc::new(one), Arc::new(two)]).find(&KEY, 9).collect().await;
    let mut addrs: Vec<_> = found.into_iter().flat_map(|r| r.unwrap().addrs).map(|a| a.to_string()).collect();
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
        mock.expect_announce().returning(move |_, _| Ok(Lease { renew_in: Duration::from_secs(seconds) }));
        Arc::new(mock) as Arc<dyn Discovery>
    };
    let all = Merged::new(vec![lease_of(60), lease_of(30), lease_of(90)]);
    assert_eq!(all.announce(&KEY, &peer(9, &[])).await.unwrap().renew_in, Duration::from_secs(30));
}

/// Yields one peer each `every`, and counts how often it is asked.
#[derive(Debug)]
struct Slow {
    ids: std::ops::Range<u8>,
    every: Duration,
    asked: AtomicU64,
}

fn slow(ids: std::ops::Range<u8>, every_ms: u64) -> Arc<Slow> {
    Arc::new(Slow { ids, every: Duration::from_millis(every_ms), asked: AtomicU64::new(0) })
}

#[async_trait]
impl Discovery for Slow {
    async fn announce(&self, _: &SwarmKey, _: &PeerRecord) -> Result<Lease, DiscoveryError> {
        self.asked.fetch_add(100, Ordering::Relaxed);
        Ok(Lease { renew_in: Duration::from_secs(60) })
    }
    async fn withdraw(&self, _: &SwarmKey, _: &PeerId) -> Result<(), DiscoveryError> {
        Ok(())
    }
    fn find(&self, _: &SwarmKey, _: usize) -> BoxStream<Result<PeerRecord, DiscoveryError>> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let every = self.every;
        Box::pin(stream::iter(self.ids.clone()).then(move |id| async move {
            sleep(every).await;
            Ok(peer(id, &[&format!("192.0.2.{id}:4000")]))
        }))
    }
}

async fn all(of: &Merged) -> Vec<(u8, String)> {
    let found: Vec<_> = of.find_by(&KEY, 50).filter_map(async |found| found.ok()).collect().await;
    found.into_iter().map(|found| (found.record.id.0[0], found.by.chars().take(16).collect())).collect()
}

#[tokio::test(start_paused = true)]
async fn the_second_row_rests_while_the_first_finds_enough() {
    let (tracker, dht) = (slow(1..7, 10), slow(7..9, 10));
    let both = Merged::new(vec![tracker]).then(vec![dht.clone()]);
    assert_eq!(all(&both).await.len(), 6);
    assert_eq!(dht.asked.load(Ordering::Relaxed), 0);
    both.announce(&KEY, &peer(9, &[])).await.unwrap();
    assert_eq!(dht.asked.load(Ordering::Relaxed), 100, "but it is told");
}

#[tokio::test(start_paused = true)]
async fn the_second_row_begins_after_300_ms_without_five_peers() {
    // The first row finds its fifth peer 350 ms in.
    let (tracker, dht) = (slow(1..20, 70), slow(50..52, 10));
    let both = Merged::new(vec![tracker]).then(vec![dht]);
    let begun = Instant::now();
    let found = async {
        let mut found = both.find(&KEY, 50);
        while found.next().await.unwrap().unwrap().id.0[0] != 50 {}
    };
    found.await;
    assert_eq!(begun.elapsed(), HEAD_START + Duration::from_millis(10));
}

#[tokio::test(start_paused = true)]
async fn the_second_row_begins_at_once_when_the_first_has_failed() {
    let both = Merged::new(vec![Arc::new(Failing)]).then(vec![slow(1..3, 10)]);
    let begun = Instant::now();
    let found = all(&both).await;
    assert_eq!(begun.elapsed(), Duration::from_millis(20));
    assert_eq!(found.iter().map(|(id, _)| *id).collect::<Vec<_>>(), [1, 2]);
}

#[tokio::test(start_paused = true)]
async fn a_mute_first_row_does_not_keep_the_second_from_answering() {
    let both = Merged::new(vec![Arc::new(Mute)]).then(vec![slow(1..3, 10)]);
    let begun = Instant::now();
    assert!(both.find(&KEY, 1).next().await.unwrap().is_ok());
    assert_eq!(begun.elapsed(), HEAD_START + Duration::from_millis(10));
}

#[tokio::test(start_paused = true)]
async fn each_peer_is_told_with_its_source() {
    let (quick, late) = (slow(1..3, 10), slow(1..4, 100));
    let both = Merged::new(vec![quick, late]);
    let names: Vec<_> = all(&both).await.into_iter().map(|(id, by)| (id, by.contains("1..3"))).collect();
    assert_eq!(names, [(1, true), (2, true), (3, false)], "a peer that both know is the first one's");
}
