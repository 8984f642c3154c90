//! Whether a content is still the same: one conditional request (RFC 9110 section 13) for its first byte.
//!
//! Who knows conditions answers 304; who knows ranges alone sends a byte and its validators; signed URLs that refuse HEAD answer
//! either way. Only of what is known to come whole is the head asked for instead, lest the whole content comes.

use http::Method;
use http::header::{HeaderMap, HeaderValue, IF_MODIFIED_SINCE, IF_NONE_MATCH, RANGE};
use pcdn_core::origin::OriginError;
use pcdn_core::resource::{ResourceHead, Url};

use super::head;
use super::http::{Http, refusal};
use super::range::ContentRange;
use super::send::drain;

impl Http {
    pub(super) async fn confirm_once(
        &self,
        url: &Url,
        known: &ResourceHead,
    ) -> Result<ResourceHead, OriginError> {
        let mut headers = conditions(known);
        let method = if self.without_ranges(url) { Method::HEAD } else { Method::GET };
        if method == Method::GET {
            headers.insert(RANGE, HeaderValue::from_static("bytes=0-0"));
        }
        let response = self.send(method, url, headers).await?;
        let status = response.status().as_u16();
        let answer = head::answer(status, response.headers())?;
        let now = match status {
            304 => renewed(known, head::passed_on(response.headers())),
            200 => {
                let len = answer.content_length.filter(|_| answer.encoding.is_none());
                head::resource_head(response.headers(), len, known.ranges)
            }
            206 | 416 => {
                let len = match answer.content_range.and_then(ContentRange::parse) {
                    Some(ContentRange::Part { total, .. }) => total,
                    Some(ContentRange::Unsatisfied { total }) => Some(total),
                    None => {
                        return Err(OriginError::Malformed {
                            what: format!("{status} without Content-Range"),
                        });
                    }
                };
                head::resource_head(response.headers(), len, true)
            }
            _ => return Err(refusal(response).await),
        };
        drain(response).await;
        match known.differs_from(&now) {
            Some(what) => Err(OriginError::Changed { what }),
            None => Ok(now),
        }
    }
}

/// `If-None-Match`, for which a weak tag is good enough, and `If-Modified-Since` for who knows no tags.
fn conditions(known: &ResourceHead) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in [(IF_NONE_MATCH, known.tag()), (IF_MODIFIED_SINCE, known.modified())] {
        if let Some(Ok(value)) = value.map(HeaderValue::from_str) {
            headers.insert(name, value);
        }
    }
    headers
}

/// What was known, with the headers of a 304 in place of those of the same name (RFC 9111 section 3.2).
fn renewed(known: &ResourceHead, newer: Vec<(String, String)>) -> ResourceHead {
    let mut head = known.clone();
    // An age belongs to one answer.
    head.headers.retain(|(name, _)| name != "age" && !newer.iter().any(|(new, _)| new == name));
    head.headers.extend(newer);
    head
}
