//! The piece workload: K pieces under way at each of N peers, each replaced by the next as soon as it is whole.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::contender::{Contender, Puller};
use crate::runtime;

/// What pulling came to.
#[derive(Clone, Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) bytes: u64,
    pub(crate) span: Duration,
    /// How long each piece took, sorted.
    pub(crate) times: Vec<Duration>,
}

impl Outcome {
    pub(crate) fn mbit(&self) -> f64 {
        self.bytes as f64 * 8e-6 / self.span.as_secs_f64()
    }

    /// In milliseconds.
    pub(crate) fn percentile(&self, percent: usize) -> f64 {
        let at = (self.times.len() * percent / 100).min(self.times.len().saturating_sub(1));
        self.times.get(at).map_or(f64::NAN, |time| time.as_secs_f64() * 1e3)
    }
}

/// Pulls for `span` after a warm-up.
pub(crate) async fn pull_for(
    pullers: &[Arc<dyn Puller>],
    k: usize,
    size: usize,
    warm_up: Duration,
    span: Duration,
) -> Outcome {
    let (bytes, over) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let counts_from = Instant::now() + warm_up;
    let workers: Vec<_> = pullers
        .iter()
        .flat_map(|puller| std::iter::repeat_n(puller, k))
        .map(|puller| {
            let (puller, bytes, over) = (Arc::clone(puller), Arc::clone(&bytes), Arc::clone(&over));
            tokio::spawn(async move {
                let mut times = Vec::new();
                while !over.load(Ordering::Relaxed) {
                    let began = Instant::now();
                    puller.pull(size, &bytes).await;
                    if began >= counts_from {
                        times.push(began.elapsed());
                    }
                }
                times
            })
        })
        .collect();
    tokio::time::sleep(warm_up).await;
    let (before, began) = (bytes.load(Ordering::Relaxed), Instant::now());
    tokio::time::sleep(span).await;
    let (after, span) = (bytes.load(Ordering::Relaxed), began.elapsed());
    over.store(true, Ordering::Relaxed);
    let mut times = Vec::new();
    for worker in workers {
        // Pieces that outlast the span count too: the slow ones are what a percentile is about.
        times.extend(worker.await.unwrap());
    }
    times.sort_unstable();
    Outcome { bytes: after - before, span, times }
}

/// Pulls `pieces` pieces in all.
pub(crate) async fn pull_all(pullers: &[Arc<dyn Puller>], k: usize, size: usize, pieces: u64) {
    let (bytes, left) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(pieces)));
    let workers: Vec<_> = pullers
        .iter()
        .flat_map(|puller| std::iter::repeat_n(puller, k))
        .map(|puller| {
            let (puller, bytes, left) = (Arc::clone(puller), Arc::clone(&bytes), Arc::clone(&left));
            tokio::spawn(async move {
                let one_less = |left: u64| left.checked_sub(1);
                while left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less).is_ok() {
                    puller.pull(size, &bytes).await;
                }
            })
        })
        .collect();
    for worker in workers {
        worker.await.unwrap();
    }
    assert_eq!(bytes.load(Ordering::Relaxed), pieces * size as u64);
}

/// Part of a process: `CONTENDER PEERS IP`; prints the addresses and serves until its input ends.
pub(crate) fn serve(words: &[&str]) {
    let [contender, peers, ip] = words else { return };
    let (peers, ip): (usize, IpAddr) = (peers.parse().unwrap(), ip.parse().unwrap());
    let runtime = runtime();
    let (addrs, served) = runtime.block_on(Contender::named(contender).serve(peers, ip));
    let addrs: Vec<String> = addrs.iter().map(SocketAddr::to_string).collect();
    println!("{}", addrs.join(","));
    let _ = std::io::stdin().read_line(&mut String::new());
    let _within = runtime.enter();
    drop(served);
}

/// Part of a process: `CONTENDER ADDRESSES K SIZE SECONDS`; prints what it came to.
pub(crate) fn pull(words: &[&str]) {
    let [contender, addrs, k, size, seconds] = words else { return };
    let addrs: Vec<SocketAddr> = addrs.split(',').map(|addr| addr.parse().unwrap()).collect();
    let (k, size, seconds) = (k.parse().unwrap(), size.parse().unwrap(), seconds.parse().unwrap());
    let outcome = runtime().block_on(async {
        let pullers = Contender::named(contender).connect(&addrs).await;
        let pulling = pull_for(&pullers, k, size, Duration::from_secs(1), Duration::from_secs_f64(seconds));
        // A piece that never comes must not stop the bench.
        tokio::time::timeout(Duration::from_secs_f64(seconds + 30.0), pulling).await
    });
    let outcome = outcome.unwrap_or_default();
    println!("{} {} {}", outcome.mbit(), outcome.percentile(50), outcome.percentile(99));
}
