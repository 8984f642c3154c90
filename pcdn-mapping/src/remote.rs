//! A mapping node's rules and answers, as a mapper.
//!
//! The rules are fetched once and then when they expire, and nearly all URLs are mapped by them without a question. Where a rule
//! says `ask`, the node is asked: it knows places, the generation and the signed manifest. While the node is silent the rules that
//! were had last decide, also those of an earlier run from a file. What no rule matches, and everything while there are no rules, is
//! left to the next mapper: put a [`UrlHash`](crate::UrlHash) behind it, so that a URL is mapped whatever fails.
//!
//! | read | decides |
//! |---|---|
//! | `rules.rs` | what is fetched, whose signature counts, what is kept in the file |
//! | `standing.rs` | when the node is asked again; pure |
//! | `asker.rs` | questions about single URLs |
//! | `well_known.rs` | whose word counts where nobody was configured: each origin's own |

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use pcdn_core::async_trait;
use pcdn_core::clock::Clock;
use pcdn_core::error::BoxError;
use pcdn_core::id::PeerId;
use pcdn_core::mapping::{MapError, Mapper};
use pcdn_core::resource::{Mapping, Url};
use tokio::sync::Notify;
use tokio::time::timeout;

use crate::Cached;
use asker::Asker;
use rules::{Fetcher, Held};
use standing::Standing;
pub use well_known::WellKnown;

mod asker;
mod rules;
mod standing;
#[cfg(test)]
mod tests;
mod well_known;

/// How long the first URL waits for the rules, and any URL for the answer about it. A round trip across the world and one more;
/// then playing begins without.
const PATIENCE: Duration = Duration::from_secs(1);
/// The same for an origin that was not configured and mostly has no rules: a round trip on the connection that its content comes by.
const PATIENCE_UNASKED: Duration = Duration::from_millis(300);
/// Longest fetch of the rules, which nobody waits for but the first URL.
const FETCH_MAX: Duration = Duration::from_secs(10);

/// Asks over HTTP. The shell's: this crate has no HTTP client of its own.
#[async_trait]
pub trait Ask: Send + Sync + std::fmt::Debug + 'static {
    /// GETs `url`, with `If-None-Match: etag` if there is one. The body is at most `limit` bytes; a longer one is an error.
    async fn ask(&self, url: &Url, etag: Option<&str>, limit: usize) -> Result<Reply, BoxError>;
}

/// An answer, whatever its status.
#[derive(Clone, Debug, Default)]
pub struct Reply {
    /// HTTP status.
    pub status: u16,
    /// Headers: lower-case name, value.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Reply {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_str())
    }

    /// `Cache-Control: max-age`.
    fn max_age(&self) -> Option<Duration> {
        let parts = self.header("cache-control")?.split(',').map(str::trim);
        let seconds = parts.filter_map(|part| part.strip_prefix("max-age=")).next()?.parse().ok()?;
        Some(Duration::from_secs(seconds))
    }

    fn retry_after(&self) -> Option<Duration> {
        self.header("retry-after")?.parse().ok().map(Duration::from_secs)
    }
}

/// Which node, and what is believed of it.
#[derive(Clone, Debug)]
pub struct RemoteConfig {
    /// The mapping node, or an origin with a [`WELL_KNOWN`](crate::answer::WELL_KNOWN) file.
    pub node: Url,
    /// Whose signatures count. `None` is whoever the node says it is at first: over https TLS proves that, over http nothing does.
    pub key: Option<PeerId>,
    /// Where the rules are kept between runs.
    pub file: Option<PathBuf>,
    /// Whether the node is an origin that nobody says has rules: only its [`WELL_KNOWN`](crate::answer::WELL_KNOWN) file is asked
    /// for, playing waits 300 ms for it at most, and where there is none it is asked for again after minutes, then an hour.
    pub unasked: bool,
}

/// Maps by a mapping node's rules and answers. Needs a tokio runtime. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Remote {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    fetcher: Fetcher,
    clock: Arc<dyn Clock>,
    standing: Mutex<Standing>,
    /// A fetch of the rules ended, whatever came of it.
    ended: Notify,
    asker: Arc<Asker>,
    asked: Cached,
    patience: Duration,
}

impl Remote {
    /// A mapper by the node of `config`. Asks nothing before the first URL.
    pub fn new(config: RemoteConfig, ask: impl Ask, clock: Arc<dyn Clock>) -> Self {
        Self::shared(config, Arc::new(ask), clock)
    }

    fn shared(config: RemoteConfig, ask: Arc<dyn Ask>, clock: Arc<dyn Clock>) -> Self {
        let patience = if config.unasked { PATIENCE_UNASKED } else { PATIENCE };
        let unasked = config.unasked;
        let asker = Arc::new(Asker::new(ask.clone(), clock.clone()));
        let asked = Cached::shared(asker.clone(), clock.clone(), Cached::CAPACITY);
        let fetcher = Fetcher::new(config, ask);
        let kept = fetcher.kept().map(Arc::new);
        if let Some(kept) = &kept {
            asker.towards(kept);
        }
        let standing = Mutex::new(Standing::new(kept, unasked));
        let ended = Notify::new();
        Self { inner: Arc::new(Inner { fetcher, clock, standing, ended, asker, asked, patience }) }
    }

    /// The rules in force, fetched if they are due; `None` if there never were any.
    async fn rules(&self) -> Option<Arc<Held>> {
        let inner = &self.inner;
        // Made before the fetch begins, so that its end is not missed.
        let ended = inner.ended.notified();
        let (held, begin) = inner.standing().begin(inner.clock.now());
        if begin {
            let inner = inner.clone();
            tokio::spawn(async move { inner.refresh().await });
        }
        if held.is_some() {
            return held;
        }
        let fetching = inner.standing().fetching_for(inner.clock.now());
        if let Some(left) = fetching.map(|since| inner.patience.saturating_sub(since)) {
            // Whether it ended well is seen below.
            let _ = timeout(left, ended).await;
        }
        inner.standing().held()
    }

    async fn map_by(&self, held: &Held, url: &Url) -> Result<Mapping, MapError> {
        let decision = held.rules.decide(url)?;
        let by = format!("{}, {}", held.node(), decision.mapping.by);
        let trackers = held.trackers.iter().chain(&decision.mapping.trackers).cloned().collect();
        let offline = Mapping { by, trackers, ..decision.mapping };
        if !decision.ask || held.mapping.is_none() {
            return Ok(offline);
        }
        match self.inner.asked.map(&decision.source).await {
            // What was left out of this viewer's URL was left out before the node was asked.
            Ok(answer) => {
                let mirrors = answer.mirrors.into_iter().filter(|mirror| mirror != url).collect();
                let trackers = answer.trackers.iter().chain(&offline.trackers).cloned().collect();
                Ok(Mapping { dropped: offline.dropped, mirrors, trackers, ..answer })
            }
            Err(error) => {
                tracing::debug!(%error, "the mapping node has no answer; its rules decide");
                Ok(offline)
            }
        }
    }
}

#[async_trait]
impl Mapper for Remote {
    async fn map(&self, url: &Url) -> Result<Mapping, MapError> {
        match self.rules().await {
            Some(held) => self.map_by(&held, url).await,
            None => Err(MapError::Silent { node: self.inner.fetcher.node() }),
        }
    }
}

impl Inner {
    async fn refresh(&self) {
        let held = self.standing().held();
        let fetched = timeout(FETCH_MAX, self.fetcher.fetch(held.as_deref())).await;
        let now = self.clock.now();
        match fetched.unwrap_or_else(|_| Err("it is silent".into())) {
            Ok((held, max_age)) => {
                self.asker.towards(&held);
                self.standing().fetched(now, Arc::new(held), max_age);
            }
            Err(error) => {
                tracing::warn!(node = %self.fetcher.node(), %error, "the mapping node gives no rules");
                self.standing().failed(now);
            }
        }
        self.ended.notify_waiters();
    }

    fn standing(&self) -> MutexGuard<'_, Standing> {
        // Nothing in it calls out, so a panic elsewhere cannot leave it half changed.
        self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
