//! The shell: clients, redirects, timeouts, retries.

use std::error::Error;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::header::{ACCEPT_ENCODING, AUTHORIZATION, COOKIE, HeaderMap, HeaderValue, IF_RANGE, LOCATION, RANGE};
use http::{Method, StatusCode};
use pcdn_core::async_trait;
use pcdn_core::dice::Dice;
use pcdn_core::origin::{Origin, OriginBody, OriginError, OriginGet};
use pcdn_core::range::ByteRange;
use pcdn_core::resource::{ResourceHead, Url};
use pcdn_core::unit::Time;
use reqwest::{Client, Response};
use tokio::time::{Instant, sleep, timeout};

use super::body::{Body, Pace};
use super::config::{HttpConfig, HttpConfigError};
use super::guard::{Checked, Guard, Lane, Lookup, Refused, System};
use super::head;
use super::hosts::Hosts;
use super::mirrors::Mirrors;
use super::range::{self, Reject, SKIP_BYTES_MAX};
use super::retry::{Patience, Retry, Verdict};

/// A `Location` longer than this is not followed: redirects that grow are a loop with a counter.
const LOCATION_BYTES_MAX: usize = 8 << 10;
/// The body of an answer nobody wants is read up to this size, because that keeps its connection; a larger one costs more
/// than a new handshake.
const DRAIN_BYTES_MAX: u64 = 16 << 10;
/// Largest response head over HTTP/2; over HTTP/1.1 the client's own limit (100 fields, about 400 KiB) comes first.
const H2_HEAD_BYTES_MAX: u32 = 64 << 10;

/// Fetches over HTTP/1.1 and HTTP/2. Cheap to clone; clones share connections and what is remembered of hosts.
///
/// Beyond the seam's contract:
/// - A range that reaches beyond the end of a resource of unknown length is answered up to the end; `head.len` tells.
/// - An origin that gives the whole instead of a range is used if the range starts within the first MiB; else the error is
///   [`OriginError::Status`] 200, at once for the next ten minutes: fetch the whole instead.
/// - An answer in an encoding nobody asked for is given to a request for the whole only, with no length and no validator and
///   with `content-encoding` among its headers: for players, not for swarms.
/// - 429 and 503 with `Retry-After` silence that host for up to 60 s: requests fail at once with what it said.
#[derive(Clone)]
pub struct Http {
    shared: Arc<Shared>,
    bare: bool,
    attempts: u32,
}

struct Shared {
    config: HttpConfig,
    guard: Guard,
    public: Client,
    named: Client,
    started: Instant,
    memory: Mutex<Memory>,
}

struct Memory {
    hosts: Hosts,
    dice: Dice,
}

impl Http {
    /// A fetcher with `config`; `dice` give the jitter of retries. Must be called where a tokio runtime will run it.
    pub fn new(config: HttpConfig, dice: Dice) -> Result<Self, HttpConfigError> {
        Self::with_lookup(config, dice, Arc::new(System))
    }

    pub(super) fn with_lookup(
        config: HttpConfig, dice: Dice, lookup: Arc<dyn Lookup>,
    ) -> Result<Self, HttpConfigError> {
        // Process-wide and only once; a program that installed its own before keeps it.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = |lane| client(&config, Checked { lookup: lookup.clone(), lane });
        let (public, named) = (client(Lane::Public)?, client(Lane::Named)?);
        let guard = Guard { allow: config.allow.clone(), only_allowed: config.only_allowed };
        let memory = Mutex::new(Memory { hosts: Hosts::default(), dice });
        let attempts = config.attempts.max(1);
        let shared = Shared { config, guard, public, named, started: Instant::now(), memory };
        Ok(Self { shared: Arc::new(shared), bare: false, attempts })
    }

    /// The same without the configured headers: for URLs the operator did not choose, such as a mapper's mirrors.
    pub fn bare(&self) -> Self {
        Self { bare: true, ..self.clone() }
    }

    /// The same with at most `attempts` attempts (at least one) for a request.
    pub fn attempts(&self, attempts: u32) -> Self {
        Self { attempts: attempts.max(1), ..self.clone() }
    }

    /// `url` and further URLs of the same content, one taking over when another fails. Each is tried twice before that, and
    /// the configured headers go to `url` only.
    pub fn mirrored(&self, url: Url, mirrors: Vec<Url>) -> Mirrors {
        let primary = self.attempts(2);
        let others = primary.bare();
        Mirrors::new(Arc::new(primary), Arc::new(others), url, mirrors)
    }

    /// Whether `url` may be fetched from, as far as that can be said without asking DNS. A gateway answers 403 by it before it
    /// does anything else.
    pub fn admits(&self, url: &Url) -> Result<(), OriginError> {
        self.shared.guard.admit(url).map(|_| ())
    }

    pub(super) fn pace(&self) -> Pace {
        let config = &self.shared.config;
        Pace { stall: config.stall_timeout.0, rate_min: config.rate_min, window: config.rate_window.0 }
    }

    async fn get_once(&self, want: &OriginGet, host: &str, limit: Duration) -> Result<OriginBody, OriginError> {
        if want.range.is_some_and(|range| range.start() > SKIP_BYTES_MAX) && self.without_ranges(host) {
            return Err(no_ranges());
        }
        let response = self.send(Method::GET, &want.url, range_headers(want), limit).await?;
        let status = response.status().as_u16();
        if !matches!(status, 200 | 206 | 416) {
            return Err(refusal(response).await);
        }
        let answer = head::answer(status, response.headers())?;
        let reading = match range::judge(want, &answer) {
            Ok(reading) => reading,
            Err(Reject::Error(error)) => return Err(error),
            Err(Reject::NoRanges) => {
                self.remember(|hosts, now| hosts.at(now, host).ignored_range(now));
                return Err(no_ranges());
            }
        };
        if reading.ranged {
            self.remember(|hosts, now| hosts.at(now, host).served_range());
        }
        let ranges = reading.ranged || (want.range.is_none() && self.says_ranges(host, &response));
        let head = head::resource_head(response.headers(), reading.len, ranges);
        let mut body = Body::new(response, reading, self.pace());
        body.fill().await?;
        Ok(OriginBody { head, bytes: body.stream() })
    }

    /// HEAD, and where that leaves something open (refused by signed URLs, silent on ranges) the first byte: its answer proves
    /// what HEAD only claims.
    async fn head_once(&self, url: &Url, host: &str, limit: Duration) -> Result<ResourceHead, OriginError> {
        let response = self.send(Method::HEAD, url, HeaderMap::new(), limit).await?;
        let status = response.status().as_u16();
        match status {
            200 => {
                let answer = head::answer(status, response.headers())?;
                let len = answer.content_length.filter(|_| answer.encoding.is_none());
                let said = head::accepts_ranges(response.headers());
                if said.is_some() || len.is_none_or(|len| len == 0) {
                    let ranges = said == Some(true) && !self.without_ranges(host);
                    return Ok(head::resource_head(response.headers(), len, ranges));
                }
            }
            400 | 403 | 405 | 501 => {}
            _ => return Err(refusal(response).await),
        }
        let first = OriginGet { range: ByteRange::new(0, 1), ..OriginGet::whole(url.clone()) };
        match self.get_once(&first, host, limit).await {
            // An empty resource has no first byte.
            Err(OriginError::Status { status: 416, .. }) => Ok(ResourceHead { len: Some(0), ..ResourceHead::default() }),
            Err(OriginError::Malformed { .. }) => {
                // An encoding nobody asked for: what it is shows with the whole.
                Ok(self.get_once(&OriginGet::whole(url.clone()), host, limit).await?.head)
            }
            other => Ok(other?.head),
        }
    }

    /// One request, redirects followed, every hop judged; gives the first answer that is no redirect.
    pub(super) async fn send(
        &self, method: Method, url: &Url, mut headers: HeaderMap, limit: Duration,
    ) -> Result<Response, OriginError> {
        headers.entry(ACCEPT_ENCODING).or_insert(HeaderValue::from_static("identity"));
        let configured = if self.bare { &[][..] } else { &self.shared.config.headers };
        for line in configured {
            headers.insert(line.name.clone(), line.value.clone());
        }
        let mut hop = url.clone();
        for _ in 0..=self.shared.config.redirects_max {
            hop.set_fragment(None);
            let client = match self.shared.guard.admit(&hop)? {
                Lane::Public => &self.shared.public,
                Lane::Named => &self.shared.named,
            };
            let request = client.request(method.clone(), hop.clone()).headers(headers.clone());
            let wait = limit.min(self.shared.config.first_byte_timeout.0);
            let response = timeout(wait, request.send()).await.map_err(|_| OriginError::Silent(wait))?;
            let response = response.map_err(|error| blame(error, hop.host_str().unwrap_or_default()))?;
            let Some(next) = redirect(&hop, &response)? else { return Ok(response) };
            drain(response).await;
            if next.origin() != hop.origin() {
                configured.iter().for_each(|line| drop(headers.remove(&line.name)));
                [AUTHORIZATION, COOKIE].iter().for_each(|name| drop(headers.remove(name)));
            }
            hop = next;
        }
        let what = format!("more than {} redirects", self.shared.config.redirects_max);
        Err(OriginError::Malformed { what })
    }

    /// Starts a request to `host`, unless that asked to be left alone.
    pub(super) fn begin(&self, host: &str) -> Result<Retry, OriginError> {
        let config = &self.shared.config;
        let patience = Patience {
            attempts: self.attempts,
            give_up_after: config.give_up_after.0,
            wait_max: config.retry_wait_max.0,
        };
        self.remember(|hosts, now| {
            let host = hosts.at(now, host);
            host.budget.earn();
            host.waiting(now).map_or(Ok(Retry::new(patience, now)), Err)
        })
    }

    /// How much of the request's time is left.
    pub(super) fn left(&self, retry: &Retry) -> Duration {
        retry.left(self.now())
    }

    /// After a failure: waits as long as is right and returns, or gives the error back.
    pub(super) async fn again(&self, retry: &mut Retry, host: &str, error: OriginError) -> Result<(), OriginError> {
        let verdict = {
            let now = self.now();
            let Memory { hosts, dice } = &mut *self.memory();
            let host = hosts.at(now, host);
            host.failed(now, &error);
            let until = host.waits_until();
            retry.after(now, &error, &mut host.budget, until, dice)
        };
        match verdict {
            Verdict::Stop => Err(error),
            Verdict::Again(wait) => {
                tracing::debug!(host, %error, ?wait, "asking the origin again");
                sleep(wait).await;
                Ok(())
            }
        }
    }

    fn says_ranges(&self, host: &str, response: &Response) -> bool {
        head::accepts_ranges(response.headers()) == Some(true) && !self.without_ranges(host)
    }

    fn without_ranges(&self, host: &str) -> bool {
        self.remember(|hosts, now| hosts.at(now, host).without_ranges(now))
    }

    fn remember<T>(&self, with: impl FnOnce(&mut Hosts, Time) -> T) -> T {
        let now = self.now();
        with(&mut self.memory().hosts, now)
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        // Plain data, whole after every statement: a panic elsewhere leaves nothing half done.
        self.shared.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Time {
        Time::ZERO + self.shared.started.elapsed()
    }
}

#[async_trait]
impl Origin for Http {
    async fn head(&self, url: &Url) -> Result<ResourceHead, OriginError> {
        let host = host_of(url);
        let mut retry = self.begin(&host)?;
        loop {
            match self.head_once(url, &host, self.left(&retry)).await {
                Ok(head) => return Ok(head),
                Err(error) => self.again(&mut retry, &host, error).await?,
            }
        }
    }

    async fn get(&self, want: &OriginGet) -> Result<OriginBody, OriginError> {
        let host = host_of(&want.url);
        let mut retry = self.begin(&host)?;
        loop {
            match self.get_once(want, &host, self.left(&retry)).await {
                Ok(body) => return Ok(body),
                Err(error) => self.again(&mut retry, &host, error).await?,
            }
        }
    }
}

impl fmt::Debug for Http {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Http").field("config", &self.shared.config).finish_non_exhaustive()
    }
}

fn client(config: &HttpConfig, resolver: Checked) -> Result<Client, HttpConfigError> {
    let mut builder = Client::builder()
        .user_agent(concat!("pcdn/", env!("CARGO_PKG_VERSION")))
        .no_proxy()
        .referer(false)
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .connect_timeout(config.connect_timeout.0)
        .pool_max_idle_per_host(config.idle_per_host)
        .pool_idle_timeout(config.idle_timeout.0)
        .http2_max_header_list_size(H2_HEAD_BYTES_MAX)
        .http2_adaptive_window(true)
        .local_address(config.bind)
        .dns_resolver(resolver);
    if let Some(path) = &config.ca {
        let bad = |why: String| HttpConfigError::Ca { path: path.clone(), why };
        let pem = std::fs::read(path).map_err(|error| bad(error.to_string()))?;
        let authorities = reqwest::Certificate::from_pem_bundle(&pem).map_err(|error| bad(last_cause(&error)))?;
        if authorities.is_empty() {
            return Err(bad("no certificate in it".into()));
        }
        builder = builder.tls_certs_only(authorities);
    }
    builder.build().map_err(|error| HttpConfigError::Client { why: last_cause(&error) })
}

fn range_headers(want: &OriginGet) -> HeaderMap {
    let mut headers = HeaderMap::new();
    if let Some(range) = want.range {
        let value = HeaderValue::from_str(&range.to_header()).expect("digits are a header value");
        headers.insert(RANGE, value);
        // A weak tag is of no use to If-Range (RFC 9110 section 13.1.5); the answer's tag is compared in any case.
        let strong = want.validator.as_deref().filter(|validator| !validator.starts_with("W/"));
        if let Some(Ok(value)) = strong.map(HeaderValue::from_str) {
            headers.insert(IF_RANGE, value);
        }
    }
    headers
}

/// Where `response` leads, if it is a redirect that may be followed.
fn redirect(from: &Url, response: &Response) -> Result<Option<Url>, OriginError> {
    use StatusCode as Is;
    let moved = [Is::MOVED_PERMANENTLY, Is::FOUND, Is::SEE_OTHER, Is::TEMPORARY_REDIRECT, Is::PERMANENT_REDIRECT];
    let location = response.headers().get(LOCATION).filter(|_| moved.contains(&response.status()));
    let Some(location) = location else { return Ok(None) };
    let malformed = |what: &str| OriginError::Malformed { what: what.to_owned() };
    if location.len() > LOCATION_BYTES_MAX {
        return Err(malformed("a redirect to a URL without end"));
    }
    let text = std::str::from_utf8(location.as_bytes()).map_err(|_| malformed("a redirect to no text"))?;
    let to = from.join(text).map_err(|_| malformed("a redirect to no URL"))?;
    if from.scheme() == "https" && to.scheme() != "https" {
        let host = to.host_str().unwrap_or_default().to_owned();
        return Err(OriginError::Forbidden { host, why: "a redirect leads from https to http".into() });
    }
    Ok(Some(to))
}

/// The error an unusable answer stands for.
async fn refusal(response: Response) -> OriginError {
    let error = OriginError::Status {
        status: response.status().as_u16(),
        retry_after: head::retry_after(response.headers()),
    };
    drain(response).await;
    error
}

/// Reads a small body nobody wants, so that its connection can be used again.
async fn drain(mut response: Response) {
    /// Small bodies come with their head; longer waits than this cost more than they save.
    const WAIT: Duration = Duration::from_millis(50);
    if head::content_length(response.headers()).is_some_and(|len| len <= DRAIN_BYTES_MAX) {
        let read = async { while let Ok(Some(_)) = response.chunk().await {} };
        let _ = timeout(WAIT, read).await;
    }
}

fn no_ranges() -> OriginError {
    OriginError::Status { status: 200, retry_after: None }
}

/// `host:port`, under which a host is remembered.
pub(super) fn host_of(url: &Url) -> String {
    format!("{}:{}", url.host_str().unwrap_or_default(), url.port_or_known_default().unwrap_or_default())
}

/// What a client error means. The URL never gets into the text: it may hold a token.
pub(super) fn blame(error: reqwest::Error, host: &str) -> OriginError {
    let error = error.without_url();
    let mut cause: Option<&(dyn Error + 'static)> = Some(&error);
    while let Some(this) = cause {
        if let Some(refused) = this.downcast_ref::<Refused>() {
            let why = format!("it leads to {}, which is no public address; name it with --origin", refused.address);
            return OriginError::Forbidden { host: refused.host.clone(), why };
        }
        cause = this.source();
    }
    let why = last_cause(&error);
    OriginError::Unreachable { why: if host.is_empty() { why } else { format!("{host}: {why}") } }
}

fn last_cause(error: &(dyn Error + 'static)) -> String {
    let mut last = error;
    while let Some(cause) = last.source() {
        last = cause;
    }
    last.to_string()
}
