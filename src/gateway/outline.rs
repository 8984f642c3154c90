//! Status and headers of an answer, before its body is there. Pure.

use std::ops::Range;

use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header};
use pcdn_core::range::ByteRange;
use pcdn_core::resource::ResourceHead;

use super::condition::{Verdict, judge, range_holds};
use super::head;
use super::range::{Asked, asked};
use crate::http::{Body, full};

/// A response before its body is there.
pub(super) struct Outline {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    /// The bytes to send; `None` for an answer without content.
    pub(super) body: Option<Range<u64>>,
}

/// Status, headers and part of a resource of `len` bytes that `request` is answered with.
pub(super) fn outline(request: &Parts, told: &ResourceHead, len: u64) -> Outline {
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
        Asked::Part(range) => {
            Outline { status: StatusCode::PARTIAL_CONTENT, headers, body: None }.cut(range, len)
        }
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
    pub(super) fn unknown(told: &ResourceHead) -> Self {
        Self {
            status: StatusCode::OK,
            headers: head::of_content(told, &head::version(told)),
            body: Some(0..0),
        }
    }

    pub(super) fn part(told: &ResourceHead, range: ByteRange, len: u64) -> Self {
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

    pub(super) fn whole(mut self, len: u64) -> Self {
        if self.status == StatusCode::OK {
            self.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(len));
        }
        self
    }

    /// The response without content: to HEAD, or of a status that has none.
    pub(super) fn response(self, request: &Parts) -> Response<Body> {
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

/// A response of these parts.
pub(super) fn with(status: StatusCode, headers: HeaderMap, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}
