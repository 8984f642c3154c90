//! Response headers, from what the origin said.

use http::header::{self, HeaderName};
use http::{HeaderMap, HeaderValue};
use pcdn_core::resource::ResourceHead;

use super::condition::Version;

/// Where the first bytes of a body came from.
pub(super) const X_SOURCE: HeaderName = HeaderName::from_static("x-pcdn-source");
/// Where the content's peers meet.
pub(super) const X_SWARM: HeaderName = HeaderName::from_static("x-pcdn-swarm");

/// Headers of the origin that are not passed on: those of its connection, those this gateway sets itself, and those that
/// would speak for the gateway's own host (cookies, transport security, who may read).
const DROPPED: [&str; 15] = [
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "content-length",
    "date",
    "set-cookie",
    "strict-transport-security",
    "alt-svc",
    "clear-site-data",
    "timing-allow-origin",
];

/// Headers that are computed for an answer from a swarm, and passed on in an answer of the origin's own.
const COMPUTED: [&str; 5] = ["content-range", "accept-ranges", "content-type", "etag", "last-modified"];

/// The version that `head` tells.
pub(super) fn version(head: &ResourceHead) -> Version {
    let sent = |name: &str| head.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.clone());
    let validator = head.validator.clone();
    let is_tag = validator.as_deref().is_some_and(|v| v.starts_with(['"', 'W']) && v.ends_with('"'));
    let (tag, date) = if is_tag { (validator, None) } else { (None, validator) };
    Version { etag: sent("etag").or(tag), modified: sent("last-modified").or(date) }
}

/// Headers of every answer with or about the content: type, version, and what else is passed on.
pub(super) fn of_content(head: &ResourceHead, version: &Version) -> HeaderMap {
    let mut headers = passed_on(&head.headers);
    for name in COMPUTED {
        headers.remove(name);
    }
    put(
        &mut headers,
        header::CONTENT_TYPE,
        head.content_type.as_deref().unwrap_or("application/octet-stream"),
    );
    if let Some(etag) = &version.etag {
        put(&mut headers, header::ETAG, etag);
    }
    if let Some(modified) = &version.modified {
        put(&mut headers, header::LAST_MODIFIED, modified);
    }
    headers
}

/// The origin's headers without those that end at this gateway.
pub(super) fn passed_on(sent: &[(String, String)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in sent {
        let name = name.to_ascii_lowercase();
        let dropped = DROPPED.contains(&name.as_str())
            || name.starts_with("access-control-")
            || name.starts_with("x-pcdn-");
        if let (false, Ok(name)) = (dropped, HeaderName::from_bytes(name.as_bytes())) {
            put(&mut headers, name, value);
        }
    }
    headers
}

/// Sets `name`, unless the origin's text is no header value.
pub(super) fn put(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.append(name, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(validator: &str, headers: &[(&str, &str)]) -> ResourceHead {
        let headers = headers.iter().map(|(n, v)| (n.to_string(), v.to_string())).collect();
        ResourceHead { validator: Some(validator.into()), headers, ..ResourceHead::default() }
    }

    #[test]
    fn a_validator_is_a_tag_or_a_date() {
        assert_eq!(version(&head("\"a\"", &[])).etag.as_deref(), Some("\"a\""));
        assert_eq!(version(&head("Sun, 22 Nov 2026 10:00:00 GMT", &[])).etag, None);
        let both = version(&head("\"a\"", &[("last-modified", "x"), ("etag", "\"a\"")]));
        assert_eq!((both.etag.as_deref(), both.modified.as_deref()), (Some("\"a\""), Some("x")));
    }

    #[test]
    fn what_speaks_for_the_origins_host_stays_there() {
        let sent = [
            ("cache-control", "max-age=60"),
            ("set-cookie", "a=b"),
            ("access-control-allow-origin", "*"),
            ("connection", "close"),
            ("x-pcdn-source", "peer"),
            ("bad", "line\nbreak"),
        ];
        let head = head("\"a\"", &sent);
        let headers = of_content(&head, &version(&head));
        let names: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
        assert_eq!(names.len(), 3, "{names:?}");
        assert_eq!(headers["cache-control"], "max-age=60");
        assert_eq!(headers["content-type"], "application/octet-stream");
    }
}
