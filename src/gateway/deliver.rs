//! The body of an open resource, pulled as the client takes it.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream;
use http::request::Parts;
use http::{HeaderValue, Method, Response, StatusCode, header};
use pcdn_core::fragment::FragmentError;
use pcdn_core::origin::OriginError;
use pcdn_core::resource::Url;

use super::head::{X_SOURCE, X_SWARM};
use super::outline::{outline, with};
use super::rest::Rest;
use super::source::{Feed, Item, Source};
use super::{head, playlist};
use crate::http::{Body, BodyError, streamed, text};
use crate::metrics::GatewayCounters;
use crate::node::OpenError;

/// Answers from an open resource. The first bytes are waited for before the head is sent: an origin that fails shows as a
/// status instead of a broken body, and the head can say where the bytes come from.
///
/// # Errors
/// Why there is no first byte; or that it is a playlist's, where nobody said what it is.
pub(super) async fn deliver(
    request: &Parts,
    item: Box<dyn Item>,
    source: Arc<dyn Source>,
    url: &Url,
    counters: &Arc<GatewayCounters>,
    named: Named,
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
    if named == Named::ByTheWeb && range.start == 0 && playlist::is_one(&first) {
        return Err(FragmentError::Playlist.into());
    }
    outline.headers.insert(X_SOURCE, HeaderValue::from_static(label(feed.sources())));
    let version = item.head().validator.clone();
    let rest = Rest { source, url: url.clone(), version, end: range.end, len: item.len() };
    let left = range.end - range.start;
    let body = Delivery { feed, item, left, counters: counters.clone(), rest: Some(rest) };
    Ok(with(outline.status, outline.headers, streamed(body.stream(first))))
}

/// Who says what an open resource is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Named {
    /// A playlist, which lists it.
    Listed,
    /// Its URL and its server alone.
    ByTheWeb,
}

/// The one word for where bytes came from (cache, origin, peers).
pub(super) fn label(sources: (u64, u64, u64)) -> &'static str {
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
