//! One request: the right client for it, and redirects judged hop by hop.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use http::header::{ACCEPT_ENCODING, AUTHORIZATION, COOKIE, HeaderMap, HeaderValue, LOCATION};
use http::{Method, StatusCode};
use pcdn_core::origin::OriginError;
use pcdn_core::resource::Url;
use reqwest::{Client, Response};
use tokio::time::timeout;

use super::config::{HeaderLine, HttpConfig, HttpConfigError};
use super::guard::{Checked, Guard, Lane, Lookup, Refused};
use super::head;

/// A `Location` longer than this is not followed: redirects that grow are a loop with a counter.
const LOCATION_BYTES_MAX: usize = 8 << 10;
/// The body of an answer nobody wants is read up to this size, because that keeps its connection; a larger one costs more
/// than a new handshake.
const DRAIN_BYTES_MAX: u64 = 16 << 10;
/// Largest response head over HTTP/2; over HTTP/1.1 the client's own limit (100 fields, about 400 KiB) comes first.
const H2_HEAD_BYTES_MAX: u32 = 64 << 10;

/// Sends requests where the guard lets them go.
#[derive(Debug)]
pub(super) struct Sender {
    guard: Guard,
    public: Client,
    named: Client,
    redirects_max: u32,
    first_byte_timeout: Duration,
}

impl Sender {
    pub(super) fn new(config: &HttpConfig, lookup: Arc<dyn Lookup>) -> Result<Self, HttpConfigError> {
        // Process-wide and only once; a program that installed its own before keeps it.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = |lane| client(config, Checked { lookup: lookup.clone(), lane });
        Ok(Self {
            guard: Guard { allow: config.allow.clone(), only_allowed: config.only_allowed },
            public: client(Lane::Public)?,
            named: client(Lane::Named)?,
            redirects_max: config.redirects_max,
            first_byte_timeout: config.first_byte_timeout.0,
        })
    }

    pub(super) fn guard(&self) -> &Guard {
        &self.guard
    }

    /// The first answer that is no redirect. `configured` headers go along as far as the first origin reaches.
    pub(super) async fn send(
        &self,
        method: Method,
        url: &Url,
        mut headers: HeaderMap,
        configured: &[HeaderLine],
    ) -> Result<Response, OriginError> {
        headers.entry(ACCEPT_ENCODING).or_insert(HeaderValue::from_static("identity"));
        for line in configured {
            headers.insert(line.name.clone(), line.value.clone());
        }
        let mut hop = url.clone();
        for _ in 0..=self.redirects_max {
            hop.set_fragment(None);
            let client = match self.guard.admit(&hop)? {
                Lane::Public => &self.public,
                Lane::Named => &self.named,
            };
            let request = client.request(method.clone(), hop.clone()).headers(headers.clone());
            let answer = timeout(self.first_byte_timeout, request.send()).await;
            let answer = answer.map_err(|_| OriginError::Silent(self.first_byte_timeout))?;
            let answer = answer.map_err(|error| blame(error, hop.host_str().unwrap_or_default()))?;
            let Some(next) = redirect(&hop, &answer)? else { return Ok(answer) };
            drain(answer).await;
            if next.origin() != hop.origin() {
                configured.iter().for_each(|line| drop(headers.remove(&line.name)));
                [AUTHORIZATION, COOKIE].iter().for_each(|name| drop(headers.remove(name)));
            }
            hop = next;
        }
        Err(OriginError::Malformed { what: format!("more than {} redirects", self.redirects_max) })
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
fn redirect(from: &Url, response: &Response) -> Result<Option<Url>, OriginError> {
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
pub(super) async fn drain(mut response: Response) {
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
