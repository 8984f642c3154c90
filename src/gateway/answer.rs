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
use super::deliver::{Named, deliver, label};
use super::head::{X_SOURCE, X_SWARM};
use super::heard::{Heard, Word};
use super::outline::with;
use super::pass::{pass, pass_unless_playlist};
use super::route::{NoRoute, route};
use super::source::Source;
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
    pub(super) heard: Heard,
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
                return match deliver(request, item, self.source.clone(), &url, &self.counters, Named::Listed)
                    .await
                {
                    Ok(response) => response,
                    // Replaced or refused at this very moment, or no more to be had in parts.
                    Err(error) if is_the_origins_answer(&error) => {
                        pass(&*self.source, request, url, &error).await
                    }
                    Err(error) => fault::of_open(&error),
                };
            }
            // The playlist may know more than the origin: what it lists is passed through, too.
            Some(Err(error)) if is_the_origins_answer(&error) => {
                return pass(&*self.source, request, url, &error).await;
            }
            Some(Err(error)) => return fault::of_open(&error),
            None => {}
        }
        match (self.heard.of(&url), playlist::by_name(&url)) {
            (Some(Word::Pass), _) => {
                let why = OpenError::Fragment(FragmentError::LengthUnknown);
                return pass(&*self.source, request, url, &why).await;
            }
            (Some(Word::Remote(base)), _) => {
                return self.playlist(request, url, playlist::Kind::Remote(base), local).await;
            }
            (_, Some(kind)) => return self.playlist(request, url, kind, local).await,
            (Some(Word::Playlist | Word::Rendition(_)), None) => {
                return self.playlist(request, url, playlist::Kind::Unknown, local).await;
            }
            (None, None) => {}
        }
        let answered = match self.source.open(&url, from_start(request)).await {
            Ok(item) => {
                deliver(request, item, self.source.clone(), &url, &self.counters, Named::ByTheWeb).await
            }
            Err(error) => Err(error),
        };
        match answered {
            Ok(response) => response,
            Err(OpenError::Fragment(FragmentError::Playlist)) => {
                self.heard.note(&url, Word::Playlist);
                self.playlist(request, url, playlist::Kind::Unknown, local).await
            }
            Err(OpenError::Fragment(FragmentError::Stream)) => self.live(request, url).await,
            Err(error) if is_the_origins_answer(&error) => {
                match pass_unless_playlist(&*self.source, request, &url, &error).await {
                    Some(response) => response,
                    None => {
                        self.heard.note(&url, Word::Playlist);
                        self.playlist(request, url, playlist::Kind::Unknown, local).await
                    }
                }
            }
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
        playlist::answer((&*self.source, &self.heard), request, url, kind, here.as_deref()).await
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
