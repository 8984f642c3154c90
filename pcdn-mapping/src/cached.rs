//! Another mapper's earlier answers.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use pcdn_core::async_trait;
use pcdn_core::clock::Clock;
use pcdn_core::error::Judged;
use pcdn_core::mapping::{MapError, Mapper};
use pcdn_core::resource::{Mapping, Url};
use pcdn_core::unit::Time;

/// How long "unknown" is believed: a publisher who has just registered a URL waits no longer.
const UNKNOWN_FOR: Duration = Duration::from_secs(30);
/// How long an outdated answer still helps when the mapper fails: a day without the mapping node stops nobody.
const STALE_FOR: Duration = Duration::from_secs(86_400);

/// Keeps the answers of a mapper that is slow or far: each for as long as it is valid, and for a day more while the mapper
/// fails. Bounded; the longest unused answer makes room.
#[derive(Debug)]
pub struct Cached {
    inner: Arc<dyn Mapper>,
    clock: Arc<dyn Clock>,
    answers: Mutex<Answers>,
}

impl Cached {
    /// Answers kept by default: a day's viewing of playlists and films, about 5 MB with a few mirrors each.
    pub const CAPACITY: usize = 10_000;

    /// Keeps up to [`Self::CAPACITY`] answers of `inner`.
    pub fn new(inner: impl Mapper, clock: Arc<dyn Clock>) -> Self {
        Self::with_capacity(inner, clock, Self::CAPACITY)
    }

    /// Keeps up to `capacity` answers, at least one.
    pub fn with_capacity(inner: impl Mapper, clock: Arc<dyn Clock>, capacity: usize) -> Self {
        Self::shared(Arc::new(inner), clock, capacity)
    }

    /// The same around a mapper that others use too.
    pub fn shared(inner: Arc<dyn Mapper>, clock: Arc<dyn Clock>, capacity: usize) -> Self {
        let answers = Mutex::new(Answers { capacity: capacity.max(1), ..Answers::default() });
        Self { inner, clock, answers }
    }

    fn answers(&self) -> MutexGuard<'_, Answers> {
        // A panic elsewhere cannot leave the table half changed: nothing in it calls out.
        self.answers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Mapper for Cached {
    async fn map(&self, url: &Url) -> Result<Mapping, MapError> {
        // URLs hold tokens and are long: their hash is kept, not they.
        let key = *blake3::hash(url.as_str().as_bytes()).as_bytes();
        let kept = self.answers().get(&key);
        let now = self.clock.now();
        if let Some(kept) = kept.as_ref().filter(|kept| now < kept.until) {
            return kept.mapping.clone().ok_or(MapError::Unknown);
        }
        match self.inner.map(url).await {
            Ok(mapping) => {
                let until = now + mapping.valid_for;
                self.answers().put(key, Kept { mapping: Some(mapping.clone()), until });
                Ok(mapping)
            }
            Err(MapError::Unknown) => {
                self.answers().put(key, Kept { mapping: None, until: now + UNKNOWN_FOR });
                Err(MapError::Unknown)
            }
            Err(error) => {
                let stale = kept.filter(|kept| error.transient() && now < kept.until + STALE_FOR);
                let mapping = stale.and_then(|kept| kept.mapping).ok_or(error)?;
                tracing::debug!("the mapper fails; its outdated answer is used");
                Ok(mapping)
            }
        }
    }
}

type Key = [u8; 32];

#[derive(Clone, Debug)]
struct Kept {
    /// `None` is unknown.
    mapping: Option<Mapping>,
    until: Time,
}

/// Least recently used goes first.
#[derive(Debug, Default)]
struct Answers {
    capacity: usize,
    uses: u64,
    by_key: HashMap<Key, (u64, Kept)>,
    by_use: BTreeMap<u64, Key>,
}

impl Answers {
    fn get(&mut self, key: &Key) -> Option<Kept> {
        let (used, kept) = self.by_key.get_mut(key)?;
        self.by_use.remove(used);
        self.uses += 1;
        *used = self.uses;
        self.by_use.insert(self.uses, *key);
        Some(kept.clone())
    }

    fn put(&mut self, key: Key, kept: Kept) {
        self.uses += 1;
        if let Some((used, _)) = self.by_key.insert(key, (self.uses, kept)) {
            self.by_use.remove(&used);
        }
        self.by_use.insert(self.uses, key);
        while self.by_key.len() > self.capacity {
            let Some((_, oldest)) = self.by_use.pop_first() else { return };
            self.by_key.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pcdn_core::clock::ManualClock;
    use pcdn_core::id::Rid;
    use pcdn_core::mapping::MockMapper;
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// Answers `/unknown` with unknown, fails once `down` is set, and counts.
    fn cached(capacity: usize) -> (Cached, Arc<ManualClock>, Arc<AtomicUsize>, Arc<AtomicUsize>) {
        let (asked, down) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let (count, broken) = (asked.clone(), down.clone());
        let mut mock = MockMapper::new();
        mock.expect_map().returning(move |url| {
            count.fetch_add(1, Ordering::Relaxed);
            match (url.path(), broken.load(Ordering::Relaxed)) {
                (_, 1) => Err(MapError::Silent { node: "m".into() }),
                ("/unknown", _) => Err(MapError::Unknown),
                _ => Ok(Mapping { valid_for: Duration::from_secs(100), ..Mapping::to(Rid([1; 32]), "mock") }),
            }
        });
        let clock = Arc::new(ManualClock::default());
        (Cached::with_capacity(mock, clock.clone(), capacity), clock, asked, down)
    }

    fn url(path: &str) -> Url {
        Url::parse("http://h.example").unwrap().join(path).unwrap()
    }

    #[tokio::test]
    async fn answers_hold_while_valid_and_longer_in_need() {
        let (cached, clock, asked, down) = cached(10);
        for _ in 0..3 {
            cached.map(&url("/a")).await.unwrap();
            assert!(matches!(cached.map(&url("/unknown")).await, Err(MapError::Unknown)));
        }
        assert_eq!(asked.load(Ordering::Relaxed), 2);
        clock.advance(Duration::from_secs(31));
        let _ = cached.map(&url("/unknown")).await;
        cached.map(&url("/a")).await.unwrap();
        assert_eq!(asked.load(Ordering::Relaxed), 3, "unknown is asked again after 30 s, the answer is not");
        down.store(1, Ordering::Relaxed);
        clock.advance(Duration::from_secs(100));
        cached.map(&url("/a")).await.unwrap();
        assert_eq!(asked.load(Ordering::Relaxed), 4);
        assert!(matches!(cached.map(&url("/unknown")).await, Err(MapError::Silent { .. })));
        clock.advance(STALE_FOR);
        assert!(cached.map(&url("/a")).await.is_err());
    }

    #[tokio::test]
    async fn the_longest_unused_makes_room() {
        let (cached, _, asked, _) = cached(2);
        for path in ["/a", "/b", "/a", "/c", "/a"] {
            cached.map(&url(path)).await.unwrap();
        }
        assert_eq!(asked.load(Ordering::Relaxed), 3);
        cached.map(&url("/b")).await.unwrap();
        assert_eq!(asked.load(Ordering::Relaxed), 4);
        assert_eq!(cached.answers().by_key.len(), 2);
        assert_eq!(cached.answers().by_use.len(), 2);
    }
}
