//! What each request means.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use pcdn_core::id::{PeerId, Rid};
use pcdn_core::mapping::{MapError, Mapper as _};
use pcdn_core::resource::{Mapping, Url};
use pcdn_core::unit::Time;

use super::catalog::{Catalog, CatalogError};
use super::entry::{Entry, Named};
use super::queue::{Look, Outlook, Queue};
use super::store::Space;
use super::worker::{self, now_ms};
use super::{NodeConfig, Parts};
use crate::UrlHash;
use crate::answer::{Authority, MapAnswer};
use crate::canonical::host_of;
use crate::signed::{Kind, Signature, sign};
use crate::template::{Decision, RuleError};
use rules::{Published, allows, rules_for};

mod change;
mod rules;

/// Rules that another node of the same store published are seen after this.
const RULES_AGE: Duration = Duration::from_secs(5);
/// Contents known at most: 10 million take about 7 GB, with manifests of 0.05 % of the contents beside.
const CONTENTS_MAX: u64 = 10_000_000;
/// Counting ten million records takes a database a second.
const COUNT_AGE: Duration = Duration::from_secs(60);
/// When a reader of a content that is being read is told to ask again: of most contents the node needs as long.
const AGAIN: Duration = Duration::from_secs(1);
/// Each look that is before it adds so much.
const AGAIN_EACH: Duration = Duration::from_secs(2);
const AGAIN_MAX: Duration = Duration::from_secs(30);

/// A mapping node without its sockets. Cheap to clone. Needs a tokio runtime.
#[derive(Clone, Debug)]
pub struct Desk {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    parts: Parts,
    config: NodeConfig,
    catalog: Catalog,
    rules: RwLock<Arc<Published>>,
    /// When the store was asked for newer rules.
    asked: Mutex<Time>,
    queue: Mutex<Queue>,
    /// Whether the records are full, and until when that is believed.
    full: Mutex<(bool, Time)>,
    counters: Counters,
}

/// What happened so far.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) contents: AtomicU64,
    pub(super) bytes: AtomicU64,
    pub(super) failures: AtomicU64,
    pub(super) answers: [AtomicU64; 4],
}

impl Counters {
    pub(super) fn read(&self, bytes: u64) {
        self.contents.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }
}

/// What is said about a URL.
#[derive(Debug)]
pub(super) enum Said {
    /// This, for as long as it says.
    Answer(MapAnswer),
    /// It is being read: this so far, and ask again.
    Wait(MapAnswer, Duration),
    /// Nothing: of no host that this node reads, and nobody registered it. Ask again in a while.
    Unknown(String, Duration),
    /// Too much to do.
    Busy(Duration),
}

/// A request that is not answered.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DeskError {
    /// The store failed.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// Not a URL that is mapped.
    #[error(transparent)]
    Map(#[from] MapError),
    /// Not rules.
    #[error(transparent)]
    Rules(#[from] RuleError),
    /// Rules that are not newer.
    #[error("the rules in force have version {have}; publish a higher one")]
    Old {
        /// In force.
        have: u64,
    },
    /// The token does not cover it.
    #[error("this token does not speak for {0}")]
    Token(String),
    /// Too many, or none.
    #[error("{0}")]
    Bounds(String),
}

impl Desk {
    /// Opens the records and reads the rules.
    ///
    /// # Errors
    /// If the store fails, or the configured rules are none.
    pub async fn open(parts: Parts, config: NodeConfig) -> Result<Self, DeskError> {
        let catalog = Catalog::new(parts.store.clone());
        let own = config.rules.clone().unwrap_or_else(|| rules_for(&config.allow, &config.trackers));
        let own = Published::new(own, &parts)?;
        let kept = catalog.rules().await?.map(|text| Published::new(text, &parts)).transpose()?;
        // Rules that were published win over a configuration that was not changed since.
        let rules = match kept {
            Some(kept) if kept.rules.version() >= own.rules.version() => kept,
            _ => own,
        };
        let (rules, asked) = (RwLock::new(Arc::new(rules)), Mutex::new(parts.clock.now()));
        let (queue, counters) = (Mutex::default(), Counters::default());
        let full = Mutex::default();
        Ok(Self { inner: Arc::new(Inner { parts, config, catalog, rules, asked, queue, full, counters }) })
    }

    /// Whose signature is on everything.
    pub fn key(&self) -> PeerId {
        self.inner.parts.key.peer_id()
    }

    /// What an origin that trusts this node may serve at [`WELL_KNOWN`](crate::answer::WELL_KNOWN): `at` is this node's own URL.
    pub fn authority(&self, at: Option<&Url>) -> Authority {
        let mapping = at.map_or_else(|| "/".to_owned(), Url::to_string);
        let trackers = self.inner.config.trackers.clone();
        Authority { rules: None, mapping: Some(mapping), trackers, key: Some(self.key()) }
    }

    /// The rules in force.
    pub(super) async fn rules(&self) -> Result<Arc<Published>, DeskError> {
        let now = self.inner.parts.clock.now();
        let stale = {
            let mut asked = lock(&self.inner.asked);
            let stale = now >= *asked + RULES_AGE;
            if stale {
                *asked = now;
            }
            stale
        };
        let held = self.held();
        if stale
            && let Some(text) = self.inner.catalog.rules().await?
            && text != held.text
        {
            let newer = Published::new(text, &self.inner.parts)?;
            if newer.rules.version() > held.rules.version() {
                self.hold(newer);
            }
        }
        Ok(self.held())
    }

    /// What there is about `url`; has it read if that is worth it.
    pub(super) async fn map(&self, url: &Url) -> Result<Said, DeskError> {
        let Called { rid, source, named } = self.name(url).await?;
        let entry = self.inner.catalog.entry(&rid).await?;
        let readable = self.may_read(&source);
        let Some(entry) = entry else {
            if !readable {
                let why = format!("{} is not among the hosts that this node reads", host_of(&source));
                return Ok(Said::Unknown(why, Duration::from_secs(30)));
            }
            if self.is_full().await? {
                return Ok(Said::Busy(AGAIN_MAX));
            }
            let entry = Entry::new(rid, source.clone(), named.clone());
            return Ok(self.wait_for(entry, url, Look { rid, url: source, named }));
        };
        // Where it was read before; of one that was not, where the asker has it.
        let known = entry.urls.iter().find(|url| self.may_read(url)).cloned();
        let own = Some(source).filter(|_| readable);
        let at = if entry.current.is_some() || entry.published { known.or(own) } else { own.or(known) };
        let look = at.map(|url| Look { rid, url, named });
        match look {
            Some(look) if entry.current.is_none() && entry.unreadable.is_none() => {
                Ok(self.wait_for(entry, url, look))
            }
            look => {
                // The answer is the one that holds; whether it still does is found out beside.
                if let Some(look) = look.filter(|_| entry.is_due(now_ms(), self.inner.config.ttl)) {
                    self.want(look);
                }
                Ok(Said::Answer(self.answer(&entry, Some(url))))
            }
        }
    }

    /// What there is about a name.
    pub(super) async fn entry(&self, rid: &Rid) -> Result<Option<Entry>, DeskError> {
        Ok(self.inner.catalog.entry(rid).await?)
    }

    pub(super) fn answer(&self, entry: &Entry, url: Option<&Url>) -> MapAnswer {
        entry.answer(url.cloned(), self.inner.config.ttl, &self.inner.config.trackers)
    }

    /// A manifest; `None` if there is none of this name.
    pub(super) async fn manifest(&self, rid: &Rid, generation: &str) -> Result<Option<Vec<u8>>, DeskError> {
        Ok(self.inner.catalog.manifest(rid, generation).await?)
    }

    /// Whether a content that has no manifest yet may get one soon.
    pub(super) fn is_looked_at(&self, rid: &Rid) -> bool {
        self.queue().knows(rid)
    }

    /// Whether the store answers.
    pub(super) async fn is_ready(&self) -> bool {
        self.inner.catalog.rules().await.is_ok()
    }

    pub(super) async fn count(&self, space: Space) -> Option<u64> {
        self.inner.catalog.count(space).await.ok()
    }

    pub(super) fn lengths(&self) -> (usize, usize) {
        self.queue().lengths()
    }

    pub(super) fn counters(&self) -> &Counters {
        &self.inner.counters
    }

    pub(super) fn parts(&self) -> &Parts {
        &self.inner.parts
    }

    pub(super) fn config(&self) -> &NodeConfig {
        &self.inner.config
    }

    pub(super) fn catalog(&self) -> &Catalog {
        &self.inner.catalog
    }

    pub(super) fn next_look(&self) -> Option<Look> {
        self.queue().next()
    }

    pub(super) fn looked(&self, rid: &Rid, outcome: Result<(), String>) {
        if outcome.is_err() {
            self.inner.counters.failures.fetch_add(1, Ordering::Relaxed);
        }
        self.queue().done(self.inner.parts.clock.now(), rid, outcome);
    }

    pub(super) fn sign(&self, kind: Kind, body: &[u8]) -> Signature {
        sign(kind, body, &self.inner.parts.key)
    }

    /// The name of a URL: a publisher's, else the rules'.
    async fn name(&self, url: &Url) -> Result<Called, DeskError> {
        let rules = self.rules().await?;
        let text = crate::canonical(url)?.text;
        let published = self.inner.catalog.published(&text).await?;
        let decision = match rules.rules.decide(url) {
            Err(MapError::Unknown) => {
                // As a viewer names it to whom the rules say nothing.
                let mapping = Mapping { by: "no rule".into(), ..UrlHash::new().map(url).await? };
                Decision { mapping, ask: false, source: crate::template::bare(url)? }
            }
            decision => decision?,
        };
        let Decision { mapping, source, .. } = decision;
        let named = Named { generations: mapping.generations, by: mapping.by };
        Ok(Called { rid: published.unwrap_or(mapping.rid), source, named })
    }

    /// Whether no more contents may be known.
    async fn is_full(&self) -> Result<bool, DeskError> {
        let now = self.inner.parts.clock.now();
        let (full, until) = *lock(&self.inner.full);
        if now < until {
            return Ok(full);
        }
        let full = self.inner.catalog.count(Space::Entries).await? >= CONTENTS_MAX;
        *lock(&self.inner.full) = (full, now + COUNT_AGE);
        Ok(full)
    }

    fn may_read(&self, url: &Url) -> bool {
        let host = host_of(url);
        self.inner.config.allow.iter().any(|pattern| allows(pattern, &host, url))
    }

    fn wait_for(&self, entry: Entry, url: &Url, look: Look) -> Said {
        match self.want(look) {
            Outlook::Running => Said::Wait(self.answer(&entry, Some(url)), AGAIN),
            Outlook::Waiting(before) => {
                let again = (AGAIN + AGAIN_EACH * before as u32).min(AGAIN_MAX);
                Said::Wait(self.answer(&entry, Some(url)), again)
            }
            Outlook::Failed { why, again_in } => Said::Unknown(why, again_in),
            Outlook::Full => Said::Busy(AGAIN_MAX),
        }
    }

    fn want(&self, look: Look) -> Outlook {
        let outlook = self.queue().want(self.inner.parts.clock.now(), look);
        worker::begin(self);
        outlook
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        lock(&self.inner.queue)
    }

    fn held(&self) -> Arc<Published> {
        self.inner.rules.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn hold(&self, rules: Published) {
        *self.inner.rules.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(rules);
    }
}

/// A URL's name, where it is read, and what named it.
struct Called {
    rid: Rid,
    source: Url,
    named: Named,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is in it is changed in one step, so a panic elsewhere leaves it whole.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
