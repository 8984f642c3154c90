//! HTTP/3: which origins are asked over it, by what connection, and when TCP takes over.
//!
//! A path that does not carry UDP must never cost a viewer anything. So a connection is made beside requests that TCP carries, and
//! used once it stands; only where HTTP/3 has worked before does a request wait for it, and not for long. A request that is
//! answered by silence goes over TCP as well, whoever answers first; and what failed is left alone for a while (`alt_svc.rs`).

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::HeaderMap;
use http::header::ALT_SVC;
use pcdn_core::origin::OriginError;
use pcdn_core::resource::Url;
use pcdn_core::unit::Time;
use tokio::time::{Instant, timeout};

use super::alt_svc::{self, Alternatives, Place, Said};
use super::config::{HttpConfig, HttpConfigError, OriginHttp};
use super::guard::{Guard, Lane, Lookup};
use super::http::host_of;

mod connection;
mod dial;
mod pool;

pub(super) use connection::{Connection, Transfer};
use dial::Dialer;
use pool::Pool;

/// How long a request waits for a connection to a place that has worked before: a handshake over half the world is 300 ms, and one
/// over TCP with TLS takes twice as long as one of QUIC.
const HEAD_START: Duration = Duration::from_millis(300);

/// HTTP/3 of one [`Http`](super::Http).
pub(super) struct Http3 {
    /// Asked for without a word from the origin.
    always: bool,
    pool: Pool,
    memory: Arc<Memory>,
}

/// What is known of all origins.
pub(super) struct Memory {
    alternatives: Mutex<Alternatives>,
    started: Instant,
}

/// Where a request may be sent over HTTP/3.
#[derive(Clone, Debug)]
pub(super) struct Route {
    /// `host:port` of the URL, whose memory it is.
    origin: String,
    /// Whom the certificate must name.
    name: String,
    /// Whom to connect to.
    place: Place,
    /// Which addresses that may lead to.
    lane: Lane,
    head_start: Duration,
}

impl Route {
    /// What `Alt-Used` says (RFC 7838 section 5).
    pub(super) fn alt_used(&self) -> String {
        format!("{}:{}", self.place.host, self.place.port)
    }
}

impl Http3 {
    /// `None` where the configuration asks for older versions.
    pub(super) fn new(config: &HttpConfig, lookup: Arc<dyn Lookup>) -> Result<Option<Self>, HttpConfigError> {
        if !matches!(config.http, OriginHttp::Auto | OriginHttp::Http3) {
            return Ok(None);
        }
        let memory = Memory { alternatives: Mutex::default(), started: Instant::now() };
        Ok(Some(Self {
            always: config.http == OriginHttp::Http3,
            pool: Pool::new(Dialer::new(config, lookup)?, config.idle_timeout.0),
            memory: Arc::new(memory),
        }))
    }

    /// How `url` may be asked for over HTTP/3 now, if at all.
    pub(super) fn route(&self, url: &Url, guard: &Guard) -> Option<Route> {
        // A password in the URL is turned into a header by the TCP client alone.
        if url.scheme() != "https" || !url.username().is_empty() || url.password().is_some() {
            return None;
        }
        let origin = host_of(url);
        let known = self.memory.with(|all, now| {
            let untried = self.always && !all.is_aside(now, &origin);
            let own = || Place { host: String::new(), port: url.port_or_known_default().unwrap_or(443) };
            all.of(now, &origin).or_else(|| untried.then(|| (own(), true)))
        });
        let (mut place, proven) = known?;
        if place.host.is_empty() {
            url.host_str().unwrap_or_default().clone_into(&mut place.host);
        }
        // The place is as much a stranger's word as a redirect is.
        let there = Url::parse(&format!("https://{}:{}/", place.host, place.port)).ok()?;
        let lane = guard.admit(&there).ok()?;
        let name = url.host_str().unwrap_or_default().trim_matches(['[', ']']).to_owned();
        let head_start = if proven { HEAD_START } else { Duration::ZERO };
        Some(Route { origin, name, place, lane, head_start })
    }

    /// An answer of `url`'s origin says where else it answers; a connection to there is made beside what else is asked.
    pub(super) fn learn(&self, url: &Url, headers: &HeaderMap, guard: &Guard) {
        let values = headers.get_all(ALT_SVC).iter().filter_map(|value| value.to_str().ok());
        if self.always || url.scheme() != "https" || !headers.contains_key(ALT_SVC) {
            return;
        }
        let said = alt_svc::parse(values);
        let news = matches!(said, Said::Http3(..));
        self.memory.with(|all, now| all.learn(now, &host_of(url), said));
        if let Some(route) = self.route(url, guard).filter(|_| news) {
            drop(self.pool.line(&route, &self.memory));
        }
    }

    /// A connection to there, if it stands or soon does.
    pub(super) async fn connection(&self, route: &Route) -> Option<Arc<Connection>> {
        let mut line = self.pool.line(route, &self.memory);
        if line.borrow().is_none() && !route.head_start.is_zero() {
            // Whatever comes of it shows in the line.
            let _ = timeout(route.head_start, line.wait_for(Option::is_some)).await;
        }
        let found = line.borrow().clone()?;
        found.ok().filter(|connection| connection.is_open())
    }

    pub(super) fn worked(&self, route: &Route) {
        self.memory.with(|all, now| all.worked(now, &route.origin));
    }

    pub(super) fn failed(&self, route: &Route, why: &str) {
        self.memory.failed(&route.origin, why);
    }
}

impl fmt::Debug for Http3 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Http3").field("always", &self.always).finish_non_exhaustive()
    }
}

impl Memory {
    fn with<T>(&self, then: impl FnOnce(&mut Alternatives, Time) -> T) -> T {
        then(&mut self.lock(), Time::ZERO + self.started.elapsed())
    }

    fn failed(&self, origin: &str, why: &str) {
        let wait = self.with(|all, now| all.failed(now, origin));
        tracing::debug!(origin, why, ?wait, "HTTP/3 is left alone");
    }

    fn lock(&self) -> MutexGuard<'_, Alternatives> {
        // Plain data, whole after every statement: a panic elsewhere leaves nothing half done.
        self.alternatives.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What `error` of QUIC or HTTP/3 means.
fn unreachable(error: &dyn fmt::Display) -> OriginError {
    OriginError::Unreachable { why: format!("HTTP/3: {error}") }
}
