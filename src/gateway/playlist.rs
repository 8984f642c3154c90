//! Playlists and manifests: fetched from the origin for every request, told to the node, and rewritten so that all they name is
//! fetched through this gateway. One that is malformed, or none at all, passes through as it is.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt as _;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header};
use pcdn_core::fragment::FragmentError;
use pcdn_core::origin::{OriginError, OriginGet};
use pcdn_core::resource::{ResourceHint, Url};
use pcdn_media::{dash, hls, probe};
use pcdn_transport::origin::Passed;

use super::heard::{Heard, resource};
use super::outline::with;
use super::source::Source;
use super::{fault, head};
use crate::http::{Body, full, packed};

/// What a playlist is expected to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Hls,
    Dash,
    /// Its content will tell.
    Unknown,
    /// A part of a manifest, relative to this.
    Remote(Arc<Url>),
}

/// Whether what begins with `first` is a playlist. Servers that make them often give them no name and no type that say so.
pub(super) fn is_one(first: &[u8]) -> bool {
    let nameless = Url::parse("http://localhost/").expect("it is a URL");
    let hint = ResourceHint { url: nameless, content_type: None, first_bytes: first.to_vec() };
    kind_of(&hint).is_some()
}

/// What the path's extension says.
pub(super) fn by_name(url: &Url) -> Option<Kind> {
    let hint = ResourceHint { url: url.clone(), content_type: None, first_bytes: Vec::new() };
    kind_of(&hint)
}

fn kind_of(hint: &ResourceHint) -> Option<Kind> {
    match probe::kind(hint) {
        probe::Kind::Hls => Some(Kind::Hls),
        probe::Kind::Dash => Some(Kind::Dash),
        probe::Kind::Flv | probe::Kind::File => None,
    }
}

/// A playlist as the origin gave it.
struct Fetched {
    status: StatusCode,
    /// Where it came from, after redirects.
    at: Url,
    content_type: Option<String>,
    headers: HeaderMap,
    text: Bytes,
}

/// Answers a request for the playlist at `url`. `here` is this gateway as the player calls it; without, nothing is rewritten.
pub(super) async fn answer(
    (source, heard): (&dyn Source, &Heard),
    request: &Parts,
    url: Url,
    kind: Kind,
    here: Option<&str>,
) -> Response<Body> {
    // A player that asks for the difference to what it had would leave this node without the whole.
    let url = if kind == Kind::Dash { url } else { hls::strip_skip(&url) };
    let fetched = match fetch(source, request, &url).await {
        Ok(fetched) => fetched,
        Err(error) => return fault::of_origin(&error),
    };
    let mut headers = fetched.headers;
    headers.insert(head::X_SOURCE, HeaderValue::from_static("origin"));
    let mut body = fetched.text.clone();
    if fetched.status == StatusCode::OK {
        let (at, text) = (&fetched.at, fetched.text);
        let rewritten = match kind {
            Kind::Remote(base) => here.map(|here| rewrite_remote(&text, &base, here)),
            _ => {
                let hint = ResourceHint {
                    url: at.clone(),
                    content_type: fetched.content_type,
                    first_bytes: text[..text.len().min(probe::FIRST_BYTES_MAX)].to_vec(),
                };
                let kind = kind_of(&hint);
                let text = learn(source, heard, &url, &hint, text).await;
                here.map(|here| rewrite(&text, &url, at, kind, here, source.live_start()))
            }
        };
        match rewritten {
            Some(Ok(text)) => body = text,
            Some(Err(error)) => tracing::debug!(%error, "a playlist is not rewritten"),
            None => {}
        }
    }
    let len = HeaderValue::from(body.len());
    headers.insert(header::CONTENT_LENGTH, len);
    with(fetched.status, headers, full(if request.method == Method::HEAD { Bytes::new() } else { body }))
}

/// Has the node and this gateway learn what a playlist says; gives its text as it is understood alone.
async fn learn(source: &dyn Source, heard: &Heard, url: &Url, hint: &ResourceHint, text: Bytes) -> Bytes {
    let at = &hint.url;
    let text = match kind_of(hint) {
        Some(Kind::Hls) => heard.hls(url, at, text),
        _ => {
            heard.dash(at, &text);
            text
        }
    };
    // Every reload of it is a load of the same.
    match source.playlist(&resource(url), at, hint.content_type.as_deref(), text.clone()).await {
        Ok(()) => {}
        Err(error) => tracing::debug!(%error, "a playlist passes through as it is"),
    }
    text
}

fn rewrite_remote(text: &[u8], base: &Url, here: &str) -> Result<Bytes, FragmentError> {
    Ok(dash::rewrite_remote(text, base, &mut |url| mirrored(here, url))?.into())
}

fn rewrite(
    text: &[u8],
    url: &Url,
    at: &Url,
    kind: Option<Kind>,
    here: &str,
    live_start: u32,
) -> Result<Bytes, FragmentError> {
    let mut to = |url: &Url| mirrored(here, url);
    let rewritten = match kind {
        Some(Kind::Hls) => {
            let options = hls::RewriteOptions { live_start: Some(live_start), ..Default::default() };
            hls::rewrite(text, at, &mut to, &options)?
        }
        Some(Kind::Dash) => {
            let options = dash::RewriteOptions { moved: at != url, live_start: Some(live_start) };
            dash::rewrite(text, at, &mut to, &options)?
        }
        _ => text.to_vec(),
    };
    Ok(rewritten.into())
}

/// The URL under which this gateway serves `url`: `HERE/https/HOST/PATH?QUERY`. What is no http(s) stays as it is.
fn mirrored(here: &str, url: &Url) -> String {
    match (url.scheme(), url.host_str()) {
        (scheme @ ("http" | "https"), Some(_)) => {
            let rest = &url[url::Position::BeforeHost..];
            format!("{here}/{scheme}/{rest}")
        }
        _ => url.to_string(),
    }
}

async fn fetch(source: &dyn Source, request: &Parts, url: &Url) -> Result<Fetched, OriginError> {
    let mut asked = vec![("accept-encoding".to_owned(), "gzip".to_owned())];
    for name in [header::ACCEPT, header::ACCEPT_LANGUAGE, header::USER_AGENT] {
        let value = request.headers.get(&name).and_then(|value| value.to_str().ok());
        asked.extend(value.map(|value| (name.as_str().to_owned(), value.to_owned())));
    }
    let (status, at, sent, bytes) = match passed(source, url, &asked).await {
        Some(passed) => {
            let passed = passed?;
            let status = StatusCode::from_u16(passed.status).unwrap_or(StatusCode::BAD_GATEWAY);
            (status, passed.url, passed.headers, passed.bytes)
        }
        None => {
            let body = source.origin().get(&OriginGet::whole(url.clone())).await?;
            let mut headers = body.head.headers;
            headers.extend(body.head.content_type.map(|kind| ("content-type".to_owned(), kind)));
            (StatusCode::OK, url.clone(), headers, body.bytes)
        }
    };
    let mut bytes = bytes;
    let mut text = BytesMut::new();
    while let Some(chunk) = bytes.next().await {
        text.extend_from_slice(&chunk?);
        if text.len() > packed::DOCUMENT_BYTES_MAX {
            return Err(packed::too_long());
        }
    }
    let said = |name: &str| sent.iter().find(|(n, _)| n == name).map(|(_, value)| value.clone());
    let content_type = said("content-type");
    let (text, decoded) = packed::unpacked(&sent, text.freeze())?;
    let mut headers = head::passed_on(&sent);
    // They speak of the origin's bytes, and these are others.
    for name in [header::ETAG, header::LAST_MODIFIED, header::ACCEPT_RANGES, header::CONTENT_LENGTH] {
        headers.remove(name);
    }
    if decoded {
        headers.remove(header::CONTENT_ENCODING);
    }
    Ok(Fetched { status, at, content_type, headers, text })
}

/// A playlist's origin that has not answered for so long is not waited for alone, if the playlist is elsewhere too: players ask for
/// a live one each few seconds, and play on for a segment or two.
const PATIENCE: Duration = Duration::from_secs(1);

/// The origin's answer; where that fails or is late, another place's, which then counts for the origin's: what it lists is found by
/// its own URLs, at whichever place has it.
async fn passed(
    source: &dyn Source,
    url: &Url,
    asked: &[(String, String)],
) -> Option<Result<Passed, OriginError>> {
    let mut own = std::pin::pin!(source.pass(false, url, asked));
    let failed = |answer: &Result<Passed, OriginError>| !matches!(answer, Ok(passed) if passed.status < 500);
    let first = tokio::time::timeout(PATIENCE, &mut own).await;
    if let Ok(first) = first {
        return match first {
            Some(answer) if failed(&answer) => {
                let other = source.elsewhere(url, asked).await;
                Some(other.map_or(answer, |passed| Ok(Passed { url: url.clone(), ..passed })))
            }
            first => first,
        };
    }
    tokio::select! {
        biased;
        first = &mut own => first,
        Some(passed) = source.elsewhere(url, asked) => Some(Ok(Passed { url: url.clone(), ..passed })),
        else => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_mirrored_under_this_gateway() {
        let check = |url: &str, want: &str| {
            assert_eq!(mirrored("http://127.0.0.1:7400", &url.parse().unwrap()), want)
        };
        check("https://cdn.example/a/b.ts?t=1", "http://127.0.0.1:7400/https/cdn.example/a/b.ts?t=1");
        check("http://user@cdn.example:8080/a", "http://127.0.0.1:7400/http/cdn.example:8080/a");
        check("http://[::1]:80/x", "http://127.0.0.1:7400/http/[::1]/x");
        check("skd://key", "skd://key");
    }
}
