use std::sync::atomic::{AtomicU8, Ordering};

use super::*;

const KEY: SwarmKey = SwarmKey([1; 32]);
const WELL: u8 = 0;
const FAILS: u8 = 1;
const MUTE: u8 = 2;
const EMPTY: u8 = 3;

/// A tracker that can be broken.
#[derive(Clone, Debug, Default)]
struct Fickle(Arc<AtomicU8>);

fn peer(id: u8) -> PeerRecord {
    let addrs = vec![format!("udp://192.0.2.{id}:4000").parse().unwrap()];
    PeerRecord { id: PeerId([id; 32]), addrs, seed: false }
}

#[async_trait]
impl Discovery for Fickle {
    async fn announce(&self, _: &SwarmKey, _: &PeerRecord) -> Result<Lease, DiscoveryError> {
        Ok(Lease { renew_in: HOLD })
    }
    async fn withdraw(&self, _: &SwarmKey, _: &PeerId) -> Result<(), DiscoveryError> {
        Ok(())
    }
    fn find(&self, _: &SwarmKey, _: usize) -> BoxStream<Result<PeerRecord, DiscoveryError>> {
        match self.0.load(Ordering::Relaxed) {
            WELL => Box::pin(stream::iter([Ok(peer(1)), Ok(peer(2))])),
            FAILS => Box::pin(stream::iter([Err(DiscoveryError::Silent { node: "tracker".into() })])),
            EMPTY => Box::pin(stream::empty()),
            _ => Box::pin(stream::pending()),
        }
    }
}

async fn ids(cached: &Cached<Fickle>) -> Vec<u8> {
    let found: Vec<_> = cached.find(&KEY, 9).collect().await;
    let mut ids: Vec<u8> = found.into_iter().flatten().map(|record| record.id.0[0]).collect();
    ids.sort_unstable();
    ids
}

#[tokio::test(start_paused = true)]
async fn a_source_that_fails_is_stood_in_for_and_heard_again() {
    let source = Fickle::default();
    let cached = Cached::new(source.clone());
    source.0.store(FAILS, Ordering::Relaxed);
    assert!(ids(&cached).await.is_empty(), "nothing is invented");
    source.0.store(WELL, Ordering::Relaxed);
    assert_eq!(ids(&cached).await, [1, 2]);
    source.0.store(FAILS, Ordering::Relaxed);
    assert_eq!(ids(&cached).await, [1, 2]);
    let told: Vec<_> = cached.find(&KEY, 9).collect().await;
    assert!(told[0].is_err(), "the failure is told too");
    source.0.store(EMPTY, Ordering::Relaxed);
    assert!(ids(&cached).await.is_empty(), "a source that knows nobody is believed");
}

#[tokio::test(start_paused = true)]
async fn a_mute_source_is_stood_in_for_after_a_second() {
    let source = Fickle::default();
    let cached = Cached::new(source.clone());
    ids(&cached).await;
    source.0.store(MUTE, Ordering::Relaxed);
    let begun = Instant::now();
    let mut found = cached.find(&KEY, 2);
    assert!(found.next().await.unwrap().is_ok());
    assert_eq!(begun.elapsed(), SILENCE);
    assert!(found.next().await.unwrap().is_ok());
    assert!(found.next().await.is_none(), "as many as were wanted");
}

#[tokio::test(start_paused = true)]
async fn peers_are_remembered_for_ten_minutes_and_not_after_leaving() {
    let source = Fickle::default();
    let cached = Cached::new(source.clone());
    ids(&cached).await;
    source.0.store(FAILS, Ordering::Relaxed);
    sleep(HOLD).await;
    assert_eq!(ids(&cached).await, [1, 2]);
    sleep(Duration::from_millis(1)).await;
    assert!(ids(&cached).await.is_empty());
    source.0.store(WELL, Ordering::Relaxed);
    ids(&cached).await;
    source.0.store(FAILS, Ordering::Relaxed);
    cached.withdraw(&KEY, &PeerId([9; 32])).await.unwrap();
    assert!(ids(&cached).await.is_empty());
}

#[tokio::test]
async fn what_is_remembered_is_bounded() {
    let mut kept = Kept::default();
    let now = Instant::now();
    for n in 0..(SWARMS_MAX as u16 + 10) {
        let mut key = [0; 32];
        key[..2].copy_from_slice(&n.to_be_bytes());
        kept.keep(&SwarmKey(key), &peer(1), now);
    }
    assert_eq!((kept.swarms.len(), kept.order.len()), (SWARMS_MAX, SWARMS_MAX));
    (0..=255).for_each(|id| kept.keep(&KEY, &peer(id), now));
    let of = kept.of(&KEY, now);
    assert_eq!((of.len(), of[0].id.0[0]), (PEERS_MAX, 192), "the newest");
    let mut moved = peer(255);
    moved.addrs = vec!["udp://192.0.2.1:4001".parse().unwrap()];
    (0..20).for_each(|_| kept.keep(&KEY, &moved, now));
    assert_eq!(kept.of(&KEY, now).last().unwrap().addrs.len(), 2, "both of its addresses, once each");
}
