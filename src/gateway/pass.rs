//! What is not served from a swarm: passed through from the origin.

use futures_util::StreamExt as _;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, header};
use pcdn_core::origin::{Origin, OriginError, OriginGet};
use pcdn_core::range::ByteRange;
use pcdn_core::resource::Url;
use pcdn_transport::origin::Passed;

use super::outline::{Outline, outline, with};
use super::source::Source;
use super::{fault, head};
use crate::http::{Body, BodyError, streamed};
use crate::node::OpenError;

/// Request headers that an origin needs to answer as it would without a gateway. No others: a page's cookies and
/// credentials for the gateway's own host are none of the origin's business.
const FORWARDED: [HeaderName; 9] = [
    header::RANGE,
    header::IF_RANGE,
    header::IF_MATCH,
    header::IF_NONE_MATCH,
    header::IF_MODIFIED_SINCE,
    header::IF_UNMODIFIED_SINCE,
    header::ACCEPT,
    header::ACCEPT_LANGUAGE,
    header::USER_AGENT,
];

/// The origin's answer to `request`, which could not be opened because of `why`: exactly, if the source can give it so, else
/// as the seam tells it.
pub(super) async fn pass(source: &dyn Source, request: &Parts, url: Url, why: &OpenError) -> Response<Body> {
    let answered = match source.pass(request.method == Method::HEAD, &url, &forwarded(&request.headers)).await
    {
        Some(Ok(passed)) => Ok(exact(passed)),
        Some(Err(error)) => Err(error),
        None if matches!(why, OpenError::Fragment(_) | OpenError::Origin(OriginError::Changed { .. })) => {
            retold(&*source.origin(), request, url).await
        }
        None => return fault::of_open(why),
    };
    let mut response = answered.unwrap_or_else(|error| fault::of_origin(&error));
    response.headers_mut().insert(head::X_SOURCE, HeaderValue::from_static("origin"));
    response
}

fn forwarded(headers: &HeaderMap) -> Vec<(String, String)> {
    let named = FORWARDED.iter().filter_map(|name| Some((name, headers.get(name)?.to_str().ok()?)));
    named.map(|(name, value)| (name.as_str().to_owned(), value.to_owned())).collect()
}

fn exact(passed: Passed) -> Response<Body> {
    let status = StatusCode::from_u16(passed.status).unwrap_or(StatusCode::BAD_GATEWAY);
    let mut headers = head::passed_on(&passed.headers);
    if let Some(len) =
        passed.len.filter(|_| status != StatusCode::NOT_MODIFIED && status != StatusCode::NO_CONTENT)
    {
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(len));
    }
    let bytes = passed.bytes.map(|chunk| chunk.map_err(BodyError::from));
    with(status, headers, streamed(bytes.boxed()))
}

/// From what the seam tells: enough for content that has no length or is no kind a node cuts.
async fn retold(origin: &dyn Origin, request: &Parts, url: Url) -> Result<Response<Body>, OriginError> {
    let mut want = OriginGet::whole(url);
    if request.method == Method::HEAD || request.headers.contains_key(header::RANGE) {
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
    let outline = match (body.head.len, &want.range) {
        (Some(len), Some(range)) => Outline::part(&body.head, *range, len),
        (Some(len), None) => outline(request, &body.head, len).whole(len),
        (None, _) => Outline::unknown(&body.head),
    };
    if outline.body.is_none() {
        return Ok(outline.response(request));
    }
    let bytes = body.bytes.map(|chunk| chunk.map_err(BodyError::from));
    Ok(with(outline.status, outline.headers, streamed(bytes.boxed())))
}
