//! The last answers of another discovery, for when it fails.
//!
//! A tracker that is restarted, a network that is away for a minute: peers found shortly before are still there, and a node
//! that remembers them does not fall back to the origin.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::StreamExt as _;
use futures_util::stream;
use pcdn_core::discovery::{BoxStream, Discovery, DiscoveryError, Lease};
use pcdn_core::id::{PeerId, SwarmKey};
use pcdn_core::peer::PeerRecord;
use tokio::time::{Instant, Sleep, sleep};

use crate::seen::Seen;

/// How long a peer is handed on after it was last found. Half of the viewers of a film stay longer.
const HOLD: Duration = Duration::from_secs(600);
/// How long the source may say nothing before remembered peers are told: a second is what a viewer waits without noticing.
const SILENCE: Duration = Duration::from_secs(1);
/// Swarms remembered. A playlist of many renditions is a few dozen.
const SWARMS_MAX: usize = 1_024;
/// Peers remembered of each: two look-ups' worth. All together at most about 15 MB.
const PEERS_MAX: usize = 64;

/// Passes everything to another discovery, and remembers whom it found.
///
/// `find` yields what the source finds. If that fails, or says nothing for a second, the peers of the last ten minutes follow,
/// each once. A source that answers and knows nobody is believed. `withdraw` forgets the swarm.
///
/// Must be used inside a tokio runtime.
#[derive(Debug)]
pub struct Cached<D> {
    source: D,
    kept: Arc<Mutex<Kept>>,
}

impl<D: Discovery> Cached<D> {
    /// Remembers for `source`.
    pub fn new(source: D) -> Self {
        Self { source, kept: Arc::default() }
    }
}

#[async_trait]
impl<D: Discovery> Discovery for Cached<D> {
    async fn announce(&self, key: &SwarmKey, me: &PeerRecord) -> Result<Lease, DiscoveryError> {
        self.source.announce(key, me).await
    }

    async fn withdraw(&self, key: &SwarmKey, me: &PeerId) -> Result<(), DiscoveryError> {
        lock(&self.kept).forget(key);
        self.source.withdraw(key, me).await
    }

    fn find(&self, key: &SwarmKey, want: usize) -> BoxStream<Result<PeerRecord, DiscoveryError>> {
        let search = Search {
            key: *key,
            source: Some(self.source.find(key, want)),
            kept: self.kept.clone(),
            silence: Box::pin(sleep(SILENCE)),
            failed: false,
            remembered: None,
            seen: Seen::default(),
            left: want,
        };
        Box::pin(stream::unfold(search, async |mut search| Some((search.next().await?, search))))
    }
}

/// One look-up under way.
struct Search {
    key: SwarmKey,
    /// Until it ends.
    source: Option<BoxStream<Result<PeerRecord, DiscoveryError>>>,
    kept: Arc<Mutex<Kept>>,
    silence: std::pin::Pin<Box<Sleep>>,
    failed: bool,
    /// Peers remembered, once it is their turn.
    remembered: Option<Vec<PeerRecord>>,
    seen: Seen,
    /// Records still wanted.
    left: usize,
}

impl Search {
    async fn next(&mut self) -> Option<Result<PeerRecord, DiscoveryError>> {
        while self.left > 0 {
            if let Some(record) = self.remembered.as_mut().and_then(Vec::pop) {
                let Some(fresh) = self.seen.fresh_part(record) else { continue };
                self.left -= 1;
                return Some(Ok(fresh));
            }
            let source = self.source.as_mut()?;
            let next = tokio::select! {
                biased;
                next = source.next() => next,
                () = &mut self.silence, if self.remembered.is_none() => {
                    self.remember();
                    continue;
                }
            };
            match next {
                Some(Ok(record)) => {
                    lock(&self.kept).keep(&self.key, &record, Instant::now());
                    self.silence.as_mut().reset(Instant::now() + SILENCE);
                    let Some(fresh) = self.seen.fresh_part(record) else { continue };
                    self.left -= 1;
                    return Some(Ok(fresh));
                }
                Some(Err(error)) => {
                    self.failed = true;
                    return Some(Err(error));
                }
                None => {
                    self.source = None;
                    if !self.failed {
                        return None;
                    }
                    self.remember();
                }
            }
        }
        None
    }

    fn remember(&mut self) {
        if self.remembered.is_none() {
            self.remembered = Some(lock(&self.kept).of(&self.key, Instant::now()));
        }
    }
}

/// Who was found, and when last.
#[derive(Debug, Default)]
struct Kept {
    swarms: BTreeMap<SwarmKey, VecDeque<(PeerRecord, Instant)>>,
    /// Swarms, the one longest without news first.
    order: VecDeque<SwarmKey>,
}

impl Kept {
    fn keep(&mut self, key: &SwarmKey, record: &PeerRecord, now: Instant) {
        if self.order.back() != Some(key) {
            self.order.retain(|known| known != key);
            self.order.push_back(*key);
        }
        let peers = self.swarms.entry(*key).or_default();
        let mut record = record.clone();
        record.addrs.truncate(PeerRecord::ADDRS_MAX);
        if let Some(at) = peers.iter().position(|(known, _)| known.id == record.id)
            && let Some((old, _)) = peers.remove(at)
        {
            // A record may hold only what is new.
            let older = old.addrs.into_iter().filter(|addr| !record.addrs.contains(addr)).collect::<Vec<_>>();
            record.addrs.extend(older);
            record.addrs.truncate(PeerRecord::ADDRS_MAX);
        }
        peers.push_back((record, now));
        if peers.len() > PEERS_MAX {
            peers.pop_front();
        }
        if self.order.len() > SWARMS_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.swarms.remove(&oldest);
        }
    }

    /// Oldest first.
    fn of(&self, key: &SwarmKey, now: Instant) -> Vec<PeerRecord> {
        let fresh = |(_, at): &&(PeerRecord, Instant)| now.duration_since(*at) <= HOLD;
        self.swarms.get(key).into_iter().flatten().filter(fresh).map(|(record, _)| record.clone()).collect()
    }

    fn forget(&mut self, key: &SwarmKey) {
        self.swarms.remove(key);
        self.order.retain(|known| known != key);
    }
}

fn lock(kept: &Mutex<Kept>) -> MutexGuard<'_, Kept> {
    kept.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
