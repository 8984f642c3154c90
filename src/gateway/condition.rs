//! Conditional requests (RFC 9110 section 13), as a pure function of the request's headers and the validator.

use std::time::SystemTime;

use http::HeaderMap;
use http::header::{IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE};

/// What the resource says of its version.
#[derive(Clone, Debug, Default)]
pub(crate) struct Version {
    /// `ETag`, with its quotes and perhaps `W/`.
    pub(crate) etag: Option<String>,
    /// `Last-Modified`, as sent.
    pub(crate) modified: Option<String>,
}

/// What the conditions of a request say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Answer as usual.
    Go,
    /// 304.
    NotModified,
    /// 412.
    Failed,
}

/// The preconditions, in the order of section 13.2.2.
pub(crate) fn judge(request: &HeaderMap, version: &Version) -> Verdict {
    if let Some(tags) = text(request, IF_MATCH) {
        if !matches_any(tags, version, true) {
            return Verdict::Failed;
        }
    } else if let (Some(limit), Some(modified)) = (date(request, IF_UNMODIFIED_SINCE), version.date())
        && modified > limit
    {
        return Verdict::Failed;
    }
    if let Some(tags) = text(request, IF_NONE_MATCH) {
        return if matches_any(tags, version, false) { Verdict::NotModified } else { Verdict::Go };
    }
    match (date(request, IF_MODIFIED_SINCE), version.date()) {
        (Some(since), Some(modified)) if modified <= since => Verdict::NotModified,
        _ => Verdict::Go,
    }
}

/// Whether a `Range` holds: there is no `If-Range`, or it names exactly this version.
pub(crate) fn range_holds(request: &HeaderMap, version: &Version) -> bool {
    let Some(wanted) = request.get(IF_RANGE) else { return true };
    let Ok(wanted) = wanted.to_str() else { return false };
    let wanted = wanted.trim();
    if wanted.starts_with('"') {
        // Strong comparison: a weak tag never matches.
        return version.etag.as_deref() == Some(wanted);
    }
    version.modified.as_deref() == Some(wanted)
}

impl Version {
    fn date(&self) -> Option<SystemTime> {
        httpdate::parse_http_date(self.modified.as_deref()?).ok()
    }
}

fn matches_any(tags: &str, version: &Version, strong: bool) -> bool {
    if tags.trim() == "*" {
        return true;
    }
    let Some(own) = &version.etag else { return false };
    let opaque = |tag: &str| tag.trim().trim_start_matches("W/").to_owned();
    let weak = |tag: &str| tag.trim().starts_with("W/");
    tags.split(',').any(|tag| opaque(tag) == opaque(own) && !(strong && (weak(tag) || weak(own))))
}

fn text(headers: &HeaderMap, name: http::HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok()
}

fn date(headers: &HeaderMap, name: http::HeaderName) -> Option<SystemTime> {
    httpdate::parse_http_date(text(headers, name)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: &str = "Sun, 22 Nov 2026 10:00:00 GMT";
    const EARLIER: &str = "Sat, 21 Nov 2026 10:00:00 GMT";

    fn version() -> Version {
        Version { etag: Some("\"v1\"".into()), modified: Some(DAY.into()) }
    }

    fn request(headers: &[(http::HeaderName, &str)]) -> HeaderMap {
        headers.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect()
    }

    fn check(name: http::HeaderName, value: &str, want: Verdict) {
        assert_eq!(judge(&request(&[(name.clone(), value)]), &version()), want, "{name}: {value}");
    }

    #[test]
    fn validators_that_match_are_not_modified() {
        check(IF_NONE_MATCH, "\"v1\"", Verdict::NotModified);
        check(IF_NONE_MATCH, "\"v0\", W/\"v1\"", Verdict::NotModified);
        check(IF_NONE_MATCH, "*", Verdict::NotModified);
        check(IF_NONE_MATCH, "\"v2\"", Verdict::Go);
        check(IF_MODIFIED_SINCE, DAY, Verdict::NotModified);
        check(IF_MODIFIED_SINCE, EARLIER, Verdict::Go);
        check(IF_MODIFIED_SINCE, "yesterday", Verdict::Go);
        check(IF_MATCH, "\"v1\"", Verdict::Go);
        check(IF_MATCH, "W/\"v1\"", Verdict::Failed);
        check(IF_UNMODIFIED_SINCE, EARLIER, Verdict::Failed);
    }

    #[test]
    fn a_tag_is_asked_before_a_date() {
        let both = request(&[(IF_NONE_MATCH, "\"v2\""), (IF_MODIFIED_SINCE, DAY)]);
        assert_eq!(judge(&both, &version()), Verdict::Go);
    }

    #[test]
    fn if_range_is_exact() {
        for (value, want) in
            [("\"v1\"", true), ("\"v2\"", false), ("W/\"v1\"", false), (DAY, true), (EARLIER, false)]
        {
            assert_eq!(range_holds(&request(&[(IF_RANGE, value)]), &version()), want, "{value}");
        }
        assert!(range_holds(&HeaderMap::new(), &version()));
    }
}
