//! One request: the right client for it, TCP where HTTP/3 does not answer, and redirects judged hop by hop.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use http::header::{
    ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, COOKIE, HeaderMap, HeaderName, HeaderValue, LOCATION, USER_AGENT,
};
use http::{Method, StatusCode};
use pcdn_core::origin::OriginError;
use pcdn_core::resource::Url;
use reqwest::Client;
use tokio::time::timeout;

use super::config::{HeaderLine, HttpConfig, HttpConfigError, OriginHttp};
use super::guard::{Checked, Guard, Lane, Lookup, Refused};
use super::head;
use super::http3::{Connection, Http3, Route};
use super::incoming::Incoming;
use super::tally::{OriginTraffic, Tally};

/// A `Location` longer than this is not followed: redirects that grow are a loop with a counter.
const LOCATION_BYTES_MAX: usize = 8 << 10;
/// The body of an answer nobody wants is read up to this size, because that keeps its connection; a larger one costs more
/// than a new handshake.
const DRAIN_BYTES_MAX: u64 = 16 << 10;
/// Largest response head over HTTP/2; over HTTP/1.1 the client's own limit (100 fields, about 400 KiB) comes first.
const H2_HEAD_BYTES_MAX: u32 = 64 << 10;

/// Who asks.
const AGENT: &str = concat!("pcdn/", env!("CARGO_PKG_VERSION"));
/// Where a request went, if not to the URL's own host and port (RFC 7838 section 5).
const ALT_USED: HeaderName = HeaderName::from_static("alt-used");

/// Sends requests where the guard lets them go.
#[derive(Debug)]
pub(super) struct Sender {
    guard: Guard,
    public: Clients,
    named: Clients,
    http3: Option<Http3>,
    tally: Arc<Tally>,
    redirects_max: u32,
    first_byte_timeout: Duration,
}

/// The clients of one lane.
#[derive(Debug)]
struct Clients {
    plain: Client,
    secure: Client,
}

impl Clients {
    fn new(config: &HttpConfig, resolver: &Checked) -> Result<Self, HttpConfigError> {
        let plain = client(config, resolver.clone(), config.http == OriginHttp::Http1, false)?;
        let secure = match config.http {
            OriginHttp::Http2 => client(config, resolver.clone(), false, true)?,
            _ => plain.clone(),
        };
        Ok(Self { plain, secure })
    }
}

/// One hop of a request.
struct Hop<'h> {
    method: &'h Method,
    url: &'h Url,
    headers: &'h HeaderMap,
    lane: Lane,
}

impl Sender {
    pub(super) fn new(config: &HttpConfig, lookup: Arc<dyn Lookup>) -> Result<Self, HttpConfigError> {
        // Process-wide and only once; a program that installed its own before keeps it.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let clients = |lane| Clients::new(config, &Checked { lookup: lookup.clone(), lane });
        Ok(Self {
            guard: Guard { allow: config.allow.clone(), only_allowed: config.only_allowed },
            public: clients(Lane::Public)?,
            named: clients(Lane::Named)?,
            http3: Http3::new(config, lookup.clone())?,
            tally: Arc::default(),
            redirects_max: config.redirects_max,
            first_byte_timeout: config.first_byte_timeout.0,
        })
    }

    pub(super) fn guard(&self) -> &Guard {
        &self.guard
    }

    pub(super) fn traffic(&self) -> OriginTraffic {
        self.tally.traffic()
    }

    /// The first answer that is no redirect. `configured` headers go along as far as the first origin reaches.
    pub(super) async fn send(
        &self,
        method: Method,
        url: &Url,
        mut headers: HeaderMap,
        configured: &[HeaderLine],
    ) -> Result<Incoming, OriginError> {
        headers.entry(ACCEPT_ENCODING).or_insert(HeaderValue::from_static("identity"));
        for line in configured {
            headers.insert(line.name.clone(), line.value.clone());
        }
        let mut url = url.clone();
        for _ in 0..=self.redirects_max {
            url.set_fragment(None);
            let lane = self.guard.admit(&url)?;
            let answer = self.hop(&Hop { method: &method, url: &url, headers: &headers, lane }).await?;
            let Some(next) = redirect(&url, &answer)? else { return Ok(answer) };
            drain(answer).await;
            if next.origin() != url.origin() {
                configured.iter().for_each(|line| drop(headers.remove(&line.name)));
                [AUTHORIZATION, COOKIE].iter().for_each(|name| drop(headers.remove(name)));
            }
            url = next;
        }
        Err(OriginError::Malformed { what: format!("more than {} redirects", self.redirects_max) })
    }

    /// One answer, over HTTP/3 if that is known to work.
    async fn hop(&self, hop: &Hop<'_>) -> Result<Incoming, OriginError> {
        let Some(http3) = &self.http3 else { return self.over_tcp(hop).await };
        let answer = match http3.route(hop.url, &self.guard) {
            Some(route) => match http3.connection(&route).await {
                Some(connection) => self.over_either(http3, &route, &connection, hop).await?,
                None => self.over_tcp(hop).await?,
            },
            None => self.over_tcp(hop).await?,
        };
        http3.learn(hop.url, answer.headers(), &self.guard);
        Ok(answer)
    }

    /// Asks over HTTP/3, and over TCP too as soon as that is answered by silence. Whoever answers first is used, and the other's
    /// stream reset.
    async fn over_either(
        &self,
        http3: &Http3,
        route: &Route,
        connection: &Arc<Connection>,
        hop: &Hop<'_>,
    ) -> Result<Incoming, OriginError> {
        let mut quic = std::pin::pin!(self.over_quic(route, connection, hop));
        let failed = |error: &OriginError| {
            http3.failed(route, &error.to_string());
            self.tally.fallback();
        };
        let silent = tokio::select! {
            answer = &mut quic => match answer {
                Ok(answer) => {
                    http3.worked(route);
                    return Ok(answer);
                }
                Err(error) => error,
            },
            // Half the time is left for TCP.
            () = connection.quiet(self.first_byte_timeout / 2) => {
                let mut tcp = std::pin::pin!(self.over_tcp(hop));
                tokio::select! {
                    answer = &mut quic => match answer {
                        Ok(answer) => return Ok(answer),
                        Err(error) => {
                            failed(&error);
                            return tcp.await;
                        }
                    },
                    answer = &mut tcp => {
                        // Both may be down: then it is no fault of UDP's, and the later one may still come.
                        let late = match answer {
                            Ok(_) => None,
                            Err(_) => timeout(self.first_byte_timeout / 2, quic).await.ok().and_then(Result::ok),
                        };
                        if late.is_none() {
                            failed(&OriginError::Silent(self.first_byte_timeout / 2));
                        }
                        return late.map_or(answer, Ok);
                    }
                }
            }
        };
        failed(&silent);
        self.over_tcp(hop).await
    }

    async fn over_quic(
        &self,
        route: &Route,
        connection: &Arc<Connection>,
        hop: &Hop<'_>,
    ) -> Result<Incoming, OriginError> {
        let mut request = http::Request::new(());
        *request.method_mut() = hop.method.clone();
        let uri = hop.url.as_str().parse();
        *request.uri_mut() =
            uri.map_err(|_| OriginError::Unreachable { why: "not a URI of HTTP/3".into() })?;
        let headers = request.headers_mut();
        headers.clone_from(hop.headers);
        headers.entry(USER_AGENT).or_insert(HeaderValue::from_static(AGENT));
        headers.entry(ACCEPT).or_insert(HeaderValue::from_static("*/*"));
        if let Ok(value) = HeaderValue::from_str(&route.alt_used()) {
            headers.insert(ALT_USED, value);
        }
        let (head, transfer) = connection.ask(request).await?;
        if head.status() == StatusCode::MISDIRECTED_REQUEST {
            return Err(OriginError::Unreachable { why: "it does not answer for this origin there".into() });
        }
        Ok(Incoming::over_quic(hop.url.clone(), head, transfer, self.tally.clone()))
    }

    async fn over_tcp(&self, hop: &Hop<'_>) -> Result<Incoming, OriginError> {
        let clients = if hop.lane == Lane::Public { &self.public } else { &self.named };
        let client = if hop.url.scheme() == "https" { &clients.secure } else { &clients.plain };
        let request = client.request(hop.method.clone(), hop.url.clone()).headers(hop.headers.clone());
        let answer = timeout(self.first_byte_timeout, request.send()).await;
        let answer = answer.map_err(|_| OriginError::Silent(self.first_byte_timeout))?;
        let answer = answer.map_err(|error| blame(error, hop.url.host_str().unwrap_or_default()))?;
        Ok(Incoming::over_tcp(answer, self.tally.clone()))
    }
}

fn client(
    config: &HttpConfig,
    resolver: Checked,
    only_1: bool,
    only_2: bool,
) -> Result<Client, HttpConfigError> {
    let mut builder = Client::builder()
        .user_agent(AGENT)
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
    if only_1 {
        builder = builder.http1_only();
    }
    if only_2 {
        builder = builder.http2_prior_knowledge();
    }
    if let Some(path) = &config.ca {
        let bad = |why: String| HttpConfigError::Ca { path: path.clone(), why };
        let pem = std::fs::read(path).map_err(|error| bad(error.to_string()))?;
        let authorities =
            reqwest::Certificate::from_pem_bundle(&pem).map_err(|error| bad(last_cause(&error)))?;
        if authorities.is_empty() {
            return Err(bad("no certificate in it".into()));
        }
        builder = builder.tls_certs_only(authorities);
    }
    builder.build().map_err(|error| HttpConfigError::Client { why: last_cause(&error) })
}

/// Where `response` leads, if it is a redirect that may be followed.
fn redirect(from: &Url, response: &Incoming) -> Result<Option<Url>, OriginError> {
    use StatusCode as Is;
    let moved =
        [Is::MOVED_PERMANENTLY, Is::FOUND, Is::SEE_OTHER, Is::TEMPORARY_REDIRECT, Is::PERMANENT_REDIRECT];
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

/// Reads a small body nobody wants, so that its connection can be used again.
pub(super) async fn drain(mut response: Incoming) {
    /// Small bodies come with their head; longer waits than this cost more than they save.
    const WAIT: Duration = Duration::from_millis(50);
    if head::content_length(response.headers()).is_some_and(|len| len <= DRAIN_BYTES_MAX) {
        let read = async { while let Ok(Some(_)) = response.chunk().await {} };
        let _ = timeout(WAIT, read).await;
    }
}

/// What a client error means. The URL never gets into the text: it may hold a token.
pub(super) fn blame(error: reqwest::Error, host: &str) -> OriginError {
    let error = error.without_url();
    let mut cause: Option<&(dyn Error + 'static)> = Some(&error);
    while let Some(this) = cause {
        if let Some(refused) = this.downcast_ref::<Refused>() {
            let why =
                format!("it leads to {}, which is no public address; name it with --origin", refused.address);
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
