//! The seam over HTTP: asks, judges, retries.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::Method;
use http::header::{HeaderMap, HeaderValue, IF_RANGE, RANGE};
use pcdn_core::async_trait;
use pcdn_core::dice::Dice;
use pcdn_core::origin::{Origin, OriginBody, OriginError, OriginGet};
use pcdn_core::range::ByteRange;
use pcdn_core::resource::{ResourceHead, Url};
use pcdn_core::unit::Time;
use tokio::time::{Instant, sleep, timeout};

use super::body::{Body, Pace};
use super::config::{HttpConfig, HttpConfigError};
use super::guard::{Lookup, System};
use super::head;
use super::hosts::Hosts;
use super::incoming::Incoming;
use super::mirrors::Mirrors;
use super::range::{self, Reject, SKIP_BYTES_MAX};
use super::resources::{Resource, Resources};
use super::retry::{Patience, Retry, Verdict};
use super::send::{Sender, drain};
use super::tally::OriginTraffic;

/// Fetches over HTTP/1.1, HTTP/2 and HTTP/3. Cheap to clone; clones share connections and what is remembered of hosts and resources.
///
/// Beyond the seam's contract:
/// - A range that reaches beyond the end of a resource of unknown length is answered up to the end; `head.len` tells.
/// - An origin that gives the whole instead of a range is used if the range starts within the first MiB; else the error is
///   [`OriginError::Status`] 200, at once for the next ten minutes: fetch the whole instead.
/// - An answer in an encoding nobody asked for is given to a request for the whole only, with no length and no validator and
///   with `content-encoding` among its headers: for players, not for swarms.
/// - An origin that answers ranges with nonsense, and once more when it is asked again, counts as one that gives the whole instead,
///   and is asked for no range for ten minutes.
/// - 429 and 503 with `Retry-After` silence that URL for up to 60 s: requests fail at once with what it said.
#[derive(Clone)]
pub struct Http {
    shared: Arc<Shared>,
    bare: bool,
    attempts: u32,
}

struct Shared {
    config: HttpConfig,
    sender: Sender,
    started: Instant,
    memory: Mutex<Memory>,
}

struct Memory {
    hosts: Hosts,
    resources: Resources,
    dice: Dice,
}

impl Http {
    /// A fetcher with `config`; `dice` give the jitter of retries.
    pub fn new(config: HttpConfig, dice: Dice) -> Result<Self, HttpConfigError> {
        Self::with_lookup(config, dice, Arc::new(System))
    }

    pub(super) fn with_lookup(
        config: HttpConfig,
        dice: Dice,
        lookup: Arc<dyn Lookup>,
    ) -> Result<Self, HttpConfigError> {
        let sender = Sender::new(&config, lookup)?;
        let memory = Mutex::new(Memory { hosts: Hosts::default(), resources: Resources::default(), dice });
        let attempts = config.attempts.max(1);
        let shared = Shared { config, sender, started: Instant::now(), memory };
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
        self.shared.sender.guard().admit(url).map(|_| ())
    }

    /// What came from origins since this was made, clones included, by the version of HTTP that carried it.
    pub fn traffic(&self) -> OriginTraffic {
        self.shared.sender.traffic()
    }

    pub(super) fn pace(&self) -> Pace {
        let config = &self.shared.config;
        Pace { stall: config.stall_timeout.0, rate_min: config.rate_min, window: config.rate_window.0 }
    }

    /// `garbled` is set if the range was answered with nonsense.
    async fn get_once(&self, want: &OriginGet, garbled: &AtomicBool) -> Result<OriginBody, OriginError> {
        if want.range.is_some_and(|range| range.start() > SKIP_BYTES_MAX) && self.without_ranges(&want.url) {
            return Err(no_ranges());
        }
        // Few bytes are skipped of the whole then.
        let headers = if self.resource(&want.url, |known, now| known.has_wrong_ranges(now)) {
            HeaderMap::new()
        } else {
            range_headers(want)
        };
        let response = self.send(Method::GET, &want.url, headers).await?;
        let status = response.status().as_u16();
        if !matches!(status, 200 | 206 | 416) {
            return Err(refusal(response).await);
        }
        let answer = head::answer(status, response.headers())?;
        let reading = match range::judge(want, &answer) {
            Ok(reading) => reading,
            Err(Reject::Error(error)) => return Err(error),
            Err(Reject::Garbled(error)) => {
                garbled.store(true, Ordering::Relaxed);
                return Err(error);
            }
            Err(Reject::NoRanges) => {
                self.resource(&want.url, |known, now| known.ignored_range(now));
                return Err(no_ranges());
            }
        };
        if reading.ranged {
            self.resource(&want.url, |known, now| known.served_range(now));
        }
        let ranges = reading.ranged || (want.range.is_none() && self.says_ranges(&want.url, &response));
        let head = head::resource_head(response.headers(), reading.len, ranges);
        let endless = head.len.is_none();
        let mut body = Body::new(response, reading, self.pace());
        if !endless {
            body.fill().await?;
        }
        Ok(OriginBody { head, bytes: body.stream() })
    }

    /// HEAD, and where that leaves something open (refused by signed URLs, silent on ranges, empty) the first byte: its answer
    /// proves what HEAD only claims.
    async fn head_once(&self, url: &Url) -> Result<ResourceHead, OriginError> {
        let response = self.send(Method::HEAD, url, HeaderMap::new()).await?;
        let status = response.status().as_u16();
        match status {
            200 => {
                let answer = head::answer(status, response.headers())?;
                let len = answer.content_length.filter(|_| answer.encoding.is_none());
                let said = head::accepts_ranges(response.headers());
                // Servers that make no body for HEAD often tell the length of that, 0, as if it were the content's.
                if len != Some(0) && (said.is_some() || len.is_none()) {
                    let ranges = said == Some(true) && !self.without_ranges(url);
                    return Ok(head::resource_head(response.headers(), len, ranges));
                }
            }
            400 | 403 | 405 | 501 => {}
            _ => return Err(refusal(response).await),
        }
        let first = OriginGet { range: ByteRange::new(0, 1), ..OriginGet::whole(url.clone()) };
        match self.get_once(&first, &AtomicBool::new(false)).await {
            // An empty resource has no first byte.
            Err(OriginError::Status { status: 416, .. }) => {
                Ok(ResourceHead { len: Some(0), ..ResourceHead::default() })
            }
            Err(OriginError::Malformed { .. }) => {
                // An encoding nobody asked for: what it is shows with the whole.
                Ok(self.get_once(&OriginGet::whole(url.clone()), &AtomicBool::new(false)).await?.head)
            }
            other => Ok(other?.head),
        }
    }

    pub(super) async fn send(
        &self,
        method: Method,
        url: &Url,
        headers: HeaderMap,
    ) -> Result<Incoming, OriginError> {
        let configured = if self.bare { &[][..] } else { &self.shared.config.headers };
        self.shared.sender.send(method, url, headers, configured).await
    }

    /// Starts a request for `url`, unless that asked to be left alone.
    pub(super) fn begin(&self, url: &Url) -> Result<Retry, OriginError> {
        let refusal = self.resource(url, |known, now| known.refusal(now));
        refusal.map_or_else(|| Ok(self.begin_anyway(url)), Err)
    }

    /// Starts a request for `url`, whatever it asked for: somebody's own request, who would make it without pcdn, too.
    pub(super) fn begin_anyway(&self, url: &Url) -> Retry {
        let config = &self.shared.config;
        let patience = Patience {
            attempts: self.attempts,
            give_up_after: config.give_up_after.0,
            wait_max: config.retry_wait_max.0,
        };
        let now = self.now();
        self.memory().hosts.at(now, &host_of(url)).budget.earn();
        Retry::new(patience, now)
    }

    /// One attempt, cut off when the request's whole time is over.
    pub(super) async fn attempt<T>(
        &self,
        retry: &Retry,
        attempt: impl Future<Output = Result<T, OriginError>>,
    ) -> Result<T, OriginError> {
        let left = timeout(retry.left(self.now()), attempt).await;
        left.unwrap_or(Err(OriginError::Silent(self.shared.config.give_up_after.0)))
    }

    /// After a failure: waits as long as is right and returns, or gives the error back.
    pub(super) async fn again(
        &self,
        retry: &mut Retry,
        url: &Url,
        error: OriginError,
    ) -> Result<(), OriginError> {
        let host = host_of(url);
        let verdict = {
            let now = self.now();
            let Memory { hosts, resources, dice } = &mut *self.memory();
            let known = resources.at(now, url);
            known.failed(now, &error);
            retry.after(now, &error, &mut hosts.at(now, &host).budget, known.waits_until(), dice)
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

    /// What ranges that make no sense stand for, also when they are asked for again: the whole may be right.
    fn garbled(&self, url: &Url, error: &OriginError) -> OriginError {
        tracing::debug!(%error, "a resource without ranges");
        self.resource(url, |known, now| known.garbled_range(now));
        no_ranges()
    }

    fn says_ranges(&self, url: &Url, response: &Incoming) -> bool {
        head::accepts_ranges(response.headers()) == Some(true) && !self.without_ranges(url)
    }

    pub(super) fn without_ranges(&self, url: &Url) -> bool {
        self.resource(url, |known, now| known.is_without_ranges(now))
    }

    /// What is remembered of `url`.
    fn resource<T>(&self, url: &Url, with: impl FnOnce(&mut Resource, Time) -> T) -> T {
        let now = self.now();
        with(self.memory().resources.at(now, url), now)
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
        let mut retry = self.begin(url)?;
        loop {
            match self.attempt(&retry, self.head_once(url)).await {
                Ok(head) => return Ok(head),
                Err(error) => self.again(&mut retry, url, error).await?,
            }
        }
    }

    async fn confirm(&self, url: &Url, known: &ResourceHead) -> Result<ResourceHead, OriginError> {
        let mut retry = self.begin(url)?;
        loop {
            match self.attempt(&retry, self.confirm_once(url, known)).await {
                Ok(head) => return Ok(head),
                Err(error) => self.again(&mut retry, url, error).await?,
            }
        }
    }

    async fn get(&self, want: &OriginGet) -> Result<OriginBody, OriginError> {
        let mut retry = self.begin(&want.url)?;
        loop {
            let garbled = AtomicBool::new(false);
            match self.attempt(&retry, self.get_once(want, &garbled)).await {
                Ok(body) => return Ok(body),
                Err(error) => {
                    let again = self.again(&mut retry, &want.url, error).await;
                    again.map_err(|error| {
                        if garbled.into_inner() { self.garbled(&want.url, &error) } else { error }
                    })?;
                }
            }
        }
    }
}

impl fmt::Debug for Http {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Http").field("config", &self.shared.config).finish_non_exhaustive()
    }
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

/// The error an unusable answer stands for.
pub(super) async fn refusal(response: Incoming) -> OriginError {
    let error = OriginError::Status {
        status: response.status().as_u16(),
        retry_after: head::retry_after(response.headers()),
    };
    drain(response).await;
    error
}

fn no_ranges() -> OriginError {
    OriginError::Status { status: 200, retry_after: None }
}

/// `host:port`, under which a host is remembered.
pub(super) fn host_of(url: &Url) -> String {
    format!("{}:{}", url.host_str().unwrap_or_default(), url.port_or_known_default().unwrap_or_default())
}
