//! One request, one response.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream;
use http::request::Parts;
use http::{HeaderValue, Method, Request, Response, StatusCode, Uri, header};
use pcdn_core::fragment::FragmentError;
use pcdn_core::origin::OriginError;
use pcdn_core::range::ByteRange;
use pcdn_core::resource::Url;

use super::cors::{METHODS, Pages};
use super::head::{X_SOURCE, X_SWARM};
use super::outline::{outline, with};
use super::pass::pass;
use super::rest::Rest;
use super::route::{NoRoute, route};
use super::source::{Feed, Item, Source};
use super::{fault, head, playlist};
use crate::http::guard::{self, Names};
use crate::http::{Body, BodyError, full, streamed, text};
use crate::metrics::GatewayCounters;
use crate::node::OpenError;

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
                let mut response =
                    text(StatusCode::METHOD_NOT_ALLOWED, "only GET, HEAD and OPTIONS are answered");
                response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(METHODS));
                return response;
            }
        }
        let url = match self.url(&request.uri, local) {
            Ok(url) => url,
            Err(no_route) => return fault::of_route(no_route),
        };
        match self.source.segment(&url, asked_range(request), from_start(request)).await {
            Some(Ok(item)) => {
                return self.delivered(request, item, url).await;
            }
            // The playlist may know more than the origin: what it lists is passed through, too.
            Some(Err(error)) if is_the_origins_answer(&error) => {
                return pass(&*self.source, request, url, &error).await;
            }
            Some(Err(error)) => return fault::of_open(&error),
            None => {}
        }
        if let Some(kind) = playlist::by_name(&url) {
            return self.playlist(request, url, kind, local).await;
        }
        match self.source.open(&url, from_start(request)).await {
            Ok(item) => self.delivered(request, item, url).await,
            Err(OpenError::Fragment(FragmentError::Playlist)) => {
                self.playlist(request, url, playlist::Kind::Unknown, local).await
            }
            Err(OpenError::Fragment(FragmentError::Stream)) => self.live(request, url).await,
            Err(error) if is_the_origins_answer(&error) => pass(&*self.source, request, url, &error).await,
            Err(error) => fault::of_open(&error),
        }
    }

    /// What is open, or where it has not begun what the origin says instead: replaced or refused at this very moment, or no more to be
    /// had in parts.
    async fn delivered(&self, request: &Parts, item: Box<dyn Item>, url: Url) -> Response<Body> {
        match deliver(request, item, self.source.clone(), &url, &self.counters).await {
            Ok(response) => response,
            Err(error) if is_the_origins_answer(&error) => pass(&*self.source, request, url, &error).await,
            Err(error) => fault::of_open(&error),
        }
    }

    /// A live stream goes on until the player leaves.
    async fn live(&self, request: &Parts, url: Url) -> Response<Body> {
        let live = match self.source.live(&url).await {
            Ok(live) => live,
            Err(error) if is_the_origins_answer(&error) => {
                return pass(&*self.source, request, url, &error).await;
            }
            Err(error) => return fault::of_open(&error),
        };
        let mut headers = head::of_content(&live.head, &head::version(&live.head));
        head::put(&mut headers, X_SWARM, &live.swarm.to_string());
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        // Servers of live streams often say nothing of their type.
        let named = headers.get(header::CONTENT_TYPE).is_some_and(|kind| kind != "application/octet-stream");
        if !named {
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("video/x-flv"));
        }
        if request.method == Method::HEAD {
            return with(StatusCode::OK, headers, full(Bytes::new()));
        }
        let (mut feed, counters) = (live.feed, self.counters.clone());
        let Some(Ok(first)) = feed.next().await else { return fault::of_open(&OpenError::Closed) };
        headers.insert(X_SOURCE, HeaderValue::from_static(label(feed.sources())));
        let body =
            stream::unfold((feed, counters, Some(Ok(first))), |(mut feed, counters, first)| async move {
                let chunk = match first {
                    Some(first) => first,
                    None => feed.next().await?,
                };
                let chunk =
                    chunk.map_err(BodyError::from).inspect(|bytes| counters.delivered(bytes.len() as u64));
                Some((chunk, (feed, counters, None)))
            });
        with(StatusCode::OK, headers, streamed(body.boxed()))
    }

    async fn playlist(
        &self,
        request: &Parts,
        url: Url,
        kind: playlist::Kind,
        local: SocketAddr,
    ) -> Response<Body> {
        // Whoever uses this as a proxy asks it for absolute URLs anyway.
        let proxied = request.uri.authority().is_some_and(|a| !self.names.own(a.as_str(), local));
        let host = request.headers.get(header::HOST).and_then(|host| host.to_str().ok());
        let here = host.filter(|_| !proxied).map(|host| format!("http://{host}"));
        playlist::answer(&*self.source, request, url, kind, here.as_deref()).await
    }

    /// A proxy request to ourselves means our own path.
    fn url(&self, target: &Uri, local: SocketAddr) -> Result<Url, NoRoute> {
        let own = target.authority().is_some_and(|a| self.names.own(a.as_str(), local));
        match target.path_and_query().filter(|_| own) {
            Some(path) => route(&Uri::from(path.clone()), self.upstream.as_ref()),
            None => route(target, self.upstream.as_ref()),
        }
    }
}

/// The one range a request asks for, if it has a start and an end.
fn asked_range(request: &Parts) -> Option<ByteRange> {
    let text = request.headers.get(header::RANGE)?.to_str().ok()?;
    let (start, end) = text.strip_prefix("bytes=")?.split_once('-')?;
    ByteRange::new(start.trim().parse().ok()?, end.trim().parse::<u64>().ok()?.checked_add(1)?)
}

/// Whether it asks for the first byte and what follows: a player that begins, or a download.
fn from_start(request: &Parts) -> bool {
    let range = request.headers.get(header::RANGE).map(|range| range.to_str().unwrap_or_default());
    request.method == Method::GET && range.is_none_or(|range| range.trim() == "bytes=0-")
}

/// Whether a client should see what the origin says instead: content that cannot be cut, and whatever status it answers. It costs one
/// more request, the one the player would have made. What was replaced while others read it is the origin's to give.
fn is_the_origins_answer(error: &OpenError) -> bool {
    matches!(
        error,
        OpenError::Fragment(_) | OpenError::Origin(OriginError::Changed { .. } | OriginError::Status { .. })
    )
}

/// Answers from an open resource. The first bytes are waited for before the head is sent: an origin that fails shows as a
/// status instead of a broken body, and the head can say where the bytes come from.
///
/// # Errors
/// Why there is no first byte.
async fn deliver(
    request: &Parts,
    item: Box<dyn Item>,
    source: Arc<dyn Source>,
    url: &Url,
    counters: &Arc<GatewayCounters>,
) -> Result<Response<Body>, OpenError> {
    let mut outline = outline(request, item.head(), item.len());
    head::put(&mut outline.headers, X_SWARM, &item.swarm().to_string());
    if let Some(age) = item.age() {
        // A cache behind this gateway must not count from now what was spent here.
        outline.headers.insert(header::AGE, HeaderValue::from(age.as_secs()));
    }
    let Some(range) = outline.body.clone() else { return Ok(outline.response(request)) };
    if request.method == Method::HEAD || range.is_empty() {
        // What a HEAD tells was told by the origin.
        outline.headers.insert(X_SOURCE, HeaderValue::from_static("origin"));
        return Ok(outline.response(request));
    }
    let mut feed = item.read(range.clone());
    let first = match feed.next().await {
        Some(Ok(first)) => first,
        Some(Err(error)) => return Err(error),
        None => return Ok(text(StatusCode::BAD_GATEWAY, "the content ended before its first byte")),
    };
    outline.headers.insert(X_SOURCE, HeaderValue::from_static(label(feed.sources())));
    let rest = Rest { source, url: url.clone(), version: item.head().validator.clone(), end: range.end };
    let left = range.end - range.start;
    let body = Delivery { feed, item, left, counters: counters.clone(), rest: Some(rest) };
    Ok(with(outline.status, outline.headers, streamed(body.stream(first))))
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
    /// What can be done once if the feed fails.
    rest: Option<Rest>,
}

impl Delivery {
    fn stream(self, first: Bytes) -> stream::BoxStream<'static, Result<Bytes, BodyError>> {
        let first = Some(Ok(first));
        stream::unfold((self, first), |(mut body, first)| async move {
            let chunk = match first {
                Some(first) => first,
                None if body.left == 0 => return None,
                None => body.next().await?,
            };
            let chunk = chunk.map_err(BodyError::from).inspect(|bytes| body.took(bytes));
            Some((chunk, (body, None)))
        })
        .boxed()
    }

    async fn next(&mut self) -> Option<Result<Bytes, OpenError>> {
        let next = self.feed.next().await?;
        let Err(OpenError::Origin(OriginError::Status { status: 200, .. })) = &next else {
            return Some(next);
        };
        let Some(rest) = self.rest.take() else { return Some(next) };
        let Some(feed) = rest.feed(self.left).await else { return Some(next) };
        self.feed = feed;
        self.feed.next().await
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
