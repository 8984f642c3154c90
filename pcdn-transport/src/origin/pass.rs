//! Answers as they are: for a gateway that passes through what it does not understand.

use bytes::Bytes;
use http::Method;
use http::header::{CONTENT_RANGE, CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue};
use pcdn_core::discovery::BoxStream;
use pcdn_core::origin::OriginError;
use pcdn_core::resource::Url;

use super::body::Body;
use super::head;
use super::http::Http;
use super::range::Reading;

/// An answer that nobody judged.
pub struct Passed {
    /// Where it came from, after redirects.
    pub url: Url,
    /// HTTP status.
    pub status: u16,
    /// `Content-Length`, if told. Of a HEAD's answer, the length GET would have.
    pub len: Option<u64>,
    /// End-to-end headers, `content-type` and `content-range` among them: lower-case name, value.
    pub headers: Vec<(String, String)>,
    /// The body, with stalls and early ends turned into errors.
    pub bytes: BoxStream<Result<Bytes, OriginError>>,
}

impl std::fmt::Debug for Passed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Passed").field("status", &self.status).field("len", &self.len).finish_non_exhaustive()
    }
}

/// Request headers that are not the player's to set: they frame this hop's connection.
const OWN: [&str; 9] = [
    "connection",
    "keep-alive",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "content-length",
];

impl Http {
    /// Asks for `url` with the player's `headers` and gives the answer whatever its status; redirects are followed, addresses
    /// and times checked as ever. Without an answer it is asked for again, as by [`get`](pcdn_core::origin::Origin::get); an answer
    /// that asks for patience (`Retry-After`) is the player's to obey.
    pub async fn pass(
        &self,
        head_only: bool,
        url: &Url,
        headers: &[(String, String)],
    ) -> Result<Passed, OriginError> {
        let method = if head_only { Method::HEAD } else { Method::GET };
        let asked = request_headers(headers);
        let mut retry = self.begin_anyway(url);
        let response = loop {
            match self.attempt(&retry, self.send(method.clone(), url, asked.clone())).await {
                Ok(response) => break response,
                Err(error) => self.again(&mut retry, url, error).await?,
            }
        };
        let (url, status) = (response.url().clone(), response.status().as_u16());
        let len = head::answer(status, response.headers())?.content_length;
        let mut headers = head::passed_on(response.headers());
        for name in [CONTENT_TYPE, CONTENT_RANGE] {
            let value = response.headers().get(&name).and_then(|value| value.to_str().ok());
            headers.extend(value.map(|value| (name.as_str().to_owned(), value.to_owned())));
        }
        let bodiless = head_only || matches!(status, 204 | 304);
        let take = if bodiless { Some(0) } else { len };
        let reading = Reading { skip: 0, take, more: false, len, ranged: false };
        Ok(Passed { url, status, len, headers, bytes: Body::new(response, reading, self.pace()).stream() })
    }
}

fn request_headers(lines: &[(String, String)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        let (Ok(name), Ok(value)) = (HeaderName::try_from(name.as_str()), HeaderValue::from_str(value))
        else {
            continue;
        };
        if name != HOST && !OWN.contains(&name.as_str()) {
            headers.append(name, value);
        }
    }
    headers
}
