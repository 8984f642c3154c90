//! Which web pages may read answers (the Fetch standard's CORS): those named by `--gateway-cors`, never `*` or `null`.

use http::header::{self, HeaderName};
use http::{HeaderMap, HeaderValue, Response, StatusCode};

use crate::http::{Body, full};

/// Headers of an answer that scripts may read. Without the ranges players cannot seek; `Date` is what DASH players set their clock by
/// where a manifest names no time server.
const EXPOSED: &str =
    "Content-Length, Content-Range, Accept-Ranges, Date, ETag, Last-Modified, X-Pcdn-Source, X-Pcdn-Swarm";
/// Request headers a page may send.
const ALLOWED: &str = "Range, If-Range, If-None-Match, If-Modified-Since";
/// What the gateway answers to.
pub(super) const METHODS: &str = "GET, HEAD, OPTIONS";
/// How long a browser may keep the answer to its preflight, seconds.
const MAX_AGE: &str = "600";

/// The pages let in.
#[derive(Debug)]
pub(super) struct Pages(Vec<String>);

impl Pages {
    /// `*` and `null` let nobody in, whoever wrote them.
    pub(super) fn new(origins: &[String]) -> Self {
        Self(origins.iter().filter(|o| !matches!(o.as_str(), "*" | "null")).cloned().collect())
    }

    /// The page that sends this request, if it is let in.
    fn page<'r>(&self, request: &'r HeaderMap) -> Option<&'r HeaderValue> {
        let origin = request.get(header::ORIGIN)?;
        self.0.iter().any(|allowed| allowed.as_bytes() == origin.as_bytes()).then_some(origin)
    }

    /// Lets the page read `response`, errors included: a script must be able to tell a 404 from a broken network.
    pub(super) fn admit(&self, request: &HeaderMap, response: &mut Response<Body>) {
        if self.0.is_empty() {
            return;
        }
        let headers = response.headers_mut();
        headers.append(header::VARY, HeaderValue::from_static("Origin"));
        if let Some(page) = self.page(request) {
            headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, page.clone());
            headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(EXPOSED));
            headers.insert(HeaderName::from_static("timing-allow-origin"), page.clone());
        }
    }

    /// The answer to OPTIONS.
    pub(super) fn preflight(&self, request: &HeaderMap) -> Response<Body> {
        let mut response = Response::new(full(""));
        *response.status_mut() = StatusCode::NO_CONTENT;
        let headers = response.headers_mut();
        headers.insert(header::ALLOW, HeaderValue::from_static(METHODS));
        if self.page(request).is_some() {
            headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static(METHODS));
            headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static(ALLOWED));
            headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static(MAX_AGE));
            if request.contains_key("access-control-request-private-network") {
                let yes = HeaderValue::from_static("true");
                headers.insert(HeaderName::from_static("access-control-allow-private-network"), yes);
            }
        }
        response
    }
}
