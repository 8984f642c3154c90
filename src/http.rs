//! Serving HTTP to this machine's own programs: the listener, its limits and the checks every request passes first.
//! Shared by the gateway and the admin server; neither is a public web server and both are reachable by hostile web pages.
//!
//! *Promises:* no request is handed on whose `Host` is not ours, whose framing is ambiguous or that has a body larger than
//! allowed; a slow or silent client holds one connection of a bounded number for a bounded time.

pub(crate) mod call;
pub(crate) mod guard;
pub(crate) mod packed;
mod serve;
mod stall;

pub(crate) use serve::{Limits, Listening, Remote, bind, serve};

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use http::{HeaderValue, Response, StatusCode, header};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::Frame;

/// An error that cuts a body short; the connection is closed, so the client sees that bytes are missing.
pub(crate) type BodyError = Box<dyn std::error::Error + Send + Sync>;

/// A response body.
pub(crate) type Body = UnsyncBoxBody<Bytes, BodyError>;

/// A body of known bytes.
pub(crate) fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}

/// A body pulled from `stream` as the client takes it; dropped with the connection.
pub(crate) fn streamed(stream: BoxStream<'static, Result<Bytes, BodyError>>) -> Body {
    StreamBody::new(stream.map(|chunk| chunk.map(Frame::data))).boxed_unsync()
}

/// One line of text with a status.
pub(crate) fn text(status: StatusCode, line: impl Into<String>) -> Response<Body> {
    let mut body = line.into();
    body.push('\n');
    let mut response = Response::new(full(body));
    *response.status_mut() = status;
    let plain = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, plain);
    response
}
