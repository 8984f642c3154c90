//! One request, one response.

use std::net::SocketAddr;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream;
use http::header::{self, HeaderName};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri};
use pcdn_core::origin::OriginGet;
use pcdn_core::range::ByteRange;
use pcdn_core::resource::{ResourceHead, Url};

use super::condition::{Verdict, judge, range_holds};
use super::cors::{METHODS, Pages};
use super::range::{Asked, asked};
use super::route::{NoRoute, route};
use super::source::{Feed, Item, Source};
use super::{fault, head};
use crate::http::guard::{self, Names};
use crate::http::{Body, BodyError, full, streamed, text};
use crate::metrics::GatewayCounters;
use crate::node::OpenError;

const X_SOURCE: HeaderName = HeaderName::from_static("x-pcdn-source");
const X_SWARM: HeaderName = HeaderName::from_static("x-pcdn-swarm");

/// Everything a request is answered from.
#[derive(Debug)]
pub(super) struct Answering {
    pub(super) source: Arc<dyn Source>,
    pub(super) upstream: Option<Url>,
    pub(super) pages: Pages,
    pub(super) names: Names,
    pub(super) counters: Arc<GatewayCounters>,
}

impl Answering {
    /// Answers a request that came to the address `local`.
    pub(super) async fn answer<B>(&self, request: Request<B>, local: SocketAddr) -> Response<Body> {
        let _under_way = self.counters.begin();
        let response = match guard::check(&request, &self.names, local) {
            Err(refusal) => *refusal,
            Ok(()) => {
                let (request, _) = request.into_parts();
                let mut response = self.dispatch(&request, local).await;
                self.pages.admit(&request.headers, &mut response);
                response
            }
        };
        self.counters.answered(response.status().as_u16());
        response
    }

    async fn dispatch(&self, request: &Parts, local: SocketAddr) -> Response<Body> {
        match request.method {
            Method::GET | Method::HEAD => {}
            Method::OPTIONS => return self.pages.preflight(&request.headers),
            _ => {
                let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "only GET, HEAD and OPTIONS are answered");
                response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(METHODS));
                return response;
            }
        }
        let url = match self.url(&request.uri, local) {
            Ok(url) => url,
            Err(no_route) => return fault::of_route(no_route),
        };
        match self.source.open(&url).await {
            Ok(item) => deliver(request, item, &self.counters).await,
            Err(OpenError::Fragment(_)) => self.pass_through(request, url).await,
            Err(error) => fault::of_open(&error),
        }
    }

    /// A proxy request to ourselves means our own path.
    fn url(&self, target: &Uri, local: SocketAddr) -> Result<Url, NoRoute> {
        let own = target.authority().is_some_and(|a| self.names.own(a.as_str(), local));
        match target.path_and_query().filter(|_| own) {
            Some(path) => route(&Uri::from(path.clone()), self.upstream.as_ref()),
            None => route(target, self.upstream.as_ref()),
        }
    }

    /// What cannot be cut, straight from the origin.
    async fn pass_through(&self, request: &Parts, url: Url) -> Response<Body> {
        match self.try_pass_through(request, url).await {
            Ok(response) => response,
            Err(error) => fault::of_origin(&error),
        }
    }

    async fn try_pass_through(
        &self,
        request: &Parts,
        url: Url,
    ) -> Result<Response<Body>, pcdn_core::origin::OriginError> {
        let origin = self.source.origin();
        let mut want = OriginGet::whole(url);
        let ranged = request.headers.contains_key(header::RANGE);
        if request.method == Method::HEAD || ranged {
            let told = origin.head(&want.url).await?;
            let outline = match (told.len, told.ranges || request.method == Method::HEAD) {
                (Some(len), true) => outline(request, &told, len),
                _ => Outline::unknown(&told),
            };
            let part = match outline.body.clone() {
                Some(part) if request.method == Method::GET => part,
                _ => return Ok(outline.response(request)),
            };
            if outline.status == StatusCode::PARTIAL_CONTENT {
                want.range = ByteRange::new(part.start, part.end);
                want.len = told.len;
            }
        }
        let body = origin.get(&want).await?;
        let mut response = match (body.head.len, &want.range) {
            (Some(len), Some(range)) => Outline::part(&body.head, *range, len),
            (Some(len), None) => outline(request, &body.head, len).whole(len),
            (None, _) => Outline::unknown(&body.head),
        };
        response.headers.insert(X_SOURCE, HeaderValue::from_static("origin"));
        let bytes = body.bytes.map(|chunk| chunk.map_err(BodyError::from));
        let (status, headers) = (response.status, std::mem::take(&mut response.headers));
        if status == StatusCode::NOT_MODIFIED || status == StatusCode::PRECONDITION_FAILED {
            return Ok(Outline { status, headers, body: None }.response(request));
        }
        Ok(with(status, headers, streamed(bytes.boxed())))
    }
}

/// A response before its body is there.
struct Outline {
    status: StatusCode,
    headers: HeaderMap,
    /// The bytes to send; `None` for an answer without content.
    body: Option<Range<u64>>,
}

/// Status, headers and part of a resource of `len` bytes that `request` is answered with.
fn outline(request: &Parts, told: &ResourceHead, len: u64) -> Outline {
    let version = head::version(told);
    let mut headers = head::of_content(told, &version);
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    match judge(&request.headers, &version) {
        Verdict::Go => {}
        Verdict::NotModified => return Outline { status: StatusCode::NOT_MODIFIED, headers, body: None },
        Verdict::Failed => return Outline { status: StatusCode::PRECONDITION_FAILED, headers, body: None },
    }
    // A range has a meaning for GET only (RFC 9110 section 14.2).
    let wanted = request.headers.get(header::RANGE).and_then(|value| value.to_str().ok());
    let wanted = wanted.filter(|_| request.method == Method::GET && range_holds(&request.headers, &version));
    match asked(wanted, len) {
        Asked::Whole => Outline { status: StatusCode::OK, headers, body: Some(0..len) }.whole(len),
        Asked::Part(range) => Outline { status: StatusCode::PARTIAL_CONTENT, headers, body: None }.cut(range, len),
        Asked::Nothing => {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
            head::put(&mut headers, header::CONTENT_RANGE, &format!("bytes */{len}"));
            Outline { status: StatusCode::RANGE_NOT_SATISFIABLE, headers, body: None }
        }
    }
}

impl Outline {
    /// All of a resource whose length the origin does not tell.
    fn unknown(told: &ResourceHead) -> Self {
        Self { status: StatusCode::OK, headers: head::of_content(told, &head::version(told)), body: Some(0..0) }
    }

    fn part(told: &ResourceHead, range: ByteRange, len: u64) -> Self {
        let headers = head::of_content(told, &head::version(told));
        Self { status: StatusCode::PARTIAL_CONTENT, headers, body: None }.cut(range, len)
    }

    fn cut(mut self, range: ByteRange, len: u64) -> Self {
        let content_range = format!("bytes {}-{}/{len}", range.start(), range.end() - 1);
        head::put(&mut self.headers, header::CONTENT_RANGE, &content_range);
        self.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(range.len()));
        self.body = Some(range.start()..range.end());
        self
    }

    fn whole(mut self, len: u64) -> Self {
        if self.status == StatusCode::OK {
            self.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(len));
        }
        self
    }

    /// The response without content: to HEAD, or of a status that has none.
    fn response(self, request: &Parts) -> Response<Body> {
        let line = match self.status {
            StatusCode::RANGE_NOT_SATISFIABLE => "the range lies outside the content\n",
            StatusCode::PRECONDITION_FAILED => "the content is another version\n",
            _ => "",
        };
        let line = if request.method == Method::HEAD { "" } else { line };
        let mut headers = self.headers;
        if !line.is_empty() {
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        }
        with(self.status, headers, full(line))
    }
}

fn with(status: StatusCode, headers: HeaderMap, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

/// Answers from an open resource. The first bytes are waited for before the head is sent: an origin that fails shows as a
/// status instead of a broken body, and the head can say where the bytes come from.
async fn deliver(request: &Parts, item: Box<dyn Item>, counters: &Arc<GatewayCounters>) -> Response<Body> {
    let mut outline = outline(request, item.head(), item.len());
    head::put(&mut outline.headers, X_SWARM, &item.swarm().to_string());
    let Some(range) = outline.body.clone() else { return outline.response(request) };
    if request.method == Method::HEAD || range.is_empty() {
        // What a HEAD tells was told by the origin.
        outline.headers.insert(X_SOURCE, HeaderValue::from_static("origin"));
        return outline.response(request);
    }
    let mut feed = item.read(range.clone());
    let first = match feed.next().await {
        Some(Ok(first)) => first,
        Some(Err(error)) => return fault::of_open(&error),
        None => return text(StatusCode::BAD_GATEWAY, "the content ended before its first byte"),
    };
    outline.headers.insert(X_SOURCE, HeaderValue::from_static(label(feed.sources())));
    let body = Delivery { feed, item, left: range.end - range.start, counters: counters.clone() };
    with(outline.status, outline.headers, streamed(body.stream(first)))
}

/// The one word for where bytes came from (cache, origin, peers).
fn label(sources: (u64, u64, u64)) -> &'static str {
    match sources {
        (_, 0, 0) => "cache",
        (0, _, 0) => "origin",
        (0, 0, _) => "peer",
        _ => "mixed",
    }
}

/// A body under way. Dropping it drops the feed, which ends the interest in the bytes.
struct Delivery {
    feed: Box<dyn Feed>,
    /// Keeps the swarm joined while the client reads.
    item: Box<dyn Item>,
    left: u64,
    counters: Arc<GatewayCounters>,
}

impl Delivery {
    fn stream(self, first: Bytes) -> stream::BoxStream<'static, Result<Bytes, BodyError>> {
        let first = Some(Ok(first));
        stream::unfold((self, first), |(mut body, first)| async move {
            let chunk = match first {
                Some(first) => first,
                None if body.left == 0 => return None,
                None => body.feed.next().await?,
            };
            let chunk = chunk.map_err(BodyError::from).inspect(|bytes| body.took(bytes));
            Some((chunk, (body, None)))
        })
        .boxed()
    }

    fn took(&mut self, bytes: &Bytes) {
        self.left = self.left.saturating_sub(bytes.len() as u64);
        self.counters.delivered(bytes.len() as u64);
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        if self.left > 0 {
            self.counters.aborted();
            tracing::debug!(swarm = %self.item.swarm().short(), left = self.left, "a body ended early");
        }
    }
}
