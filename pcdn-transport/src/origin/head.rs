//! From a response head to the words of the seam. Pure.

use std::time::Duration;

use http::HeaderMap;
use http::header::{
    ACCEPT_RANGES, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, DATE, ETAG, HeaderName,
    LAST_MODIFIED, RETRY_AFTER,
};
use pcdn_core::origin::OriginError;
use pcdn_core::resource::ResourceHead;

use super::range::Answer;

/// Names and values of one response head together. Servers of films send less than 2 KiB.
const HEAD_BYTES_MAX: usize = 64 << 10;

/// Headers that belong to one connection (RFC 9110 section 7.6.1) or that the receiver computes anew.
const HOP_BY_HOP: [&str; 12] = [
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "content-length",
    "content-range",
    "content-type",
];

/// The parts that [`judge`](super::range::judge) needs.
pub(super) fn answer(status: u16, headers: &HeaderMap) -> Result<Answer<'_>, OriginError> {
    let bytes: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    if bytes > HEAD_BYTES_MAX {
        return Err(OriginError::Malformed { what: format!("a response head of {bytes} bytes") });
    }
    Ok(Answer {
        status,
        content_range: text(headers, CONTENT_RANGE),
        content_length: content_length(headers),
        etag: text(headers, ETAG),
        last_modified: text(headers, LAST_MODIFIED),
        encoding: text(headers, CONTENT_ENCODING).filter(|coding| !coding.eq_ignore_ascii_case("identity")),
    })
}

/// What the seam says of a resource.
pub(super) fn resource_head(headers: &HeaderMap, len: Option<u64>, ranges: bool) -> ResourceHead {
    let encoded =
        text(headers, CONTENT_ENCODING).is_some_and(|coding| !coding.eq_ignore_ascii_case("identity"));
    let strong = text(headers, ETAG).filter(|etag| etag.starts_with('"'));
    let validator = strong.or_else(|| text(headers, LAST_MODIFIED)).filter(|_| !encoded);
    ResourceHead {
        len,
        content_type: text(headers, CONTENT_TYPE).map(Into::into),
        validator: validator.map(Into::into),
        ranges,
        headers: passed_on(headers),
    }
}

/// `Accept-Ranges`: yes, no, or nothing said.
pub(super) fn accepts_ranges(headers: &HeaderMap) -> Option<bool> {
    let value = text(headers, ACCEPT_RANGES)?;
    Some(value.split(',').any(|unit| unit.trim().eq_ignore_ascii_case("bytes")))
}

/// End-to-end headers a gateway gives on.
pub(super) fn passed_on(headers: &HeaderMap) -> Vec<(String, String)> {
    let kept = headers.iter().filter(|(name, _)| !HOP_BY_HOP.contains(&name.as_str()));
    kept.filter_map(|(name, value)| Some((name.as_str().to_owned(), value.to_str().ok()?.to_owned())))
        .collect()
}

/// `Content-Length`, if it is a number.
pub(super) fn content_length(headers: &HeaderMap) -> Option<u64> {
    let value = text(headers, CONTENT_LENGTH)?.trim();
    value.bytes().all(|b| b.is_ascii_digit()).then(|| value.parse().ok())?
}

/// `Retry-After`, in seconds or as a date. A date is measured from the answer's own `Date`, so no clock of ours is in it.
pub(super) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let value = text(headers, RETRY_AFTER)?.trim();
    if let Ok(seconds) = value.parse::<u32>() {
        return Some(Duration::from_secs(seconds.into()));
    }
    let (then, now) = (http_date(value)?, http_date(text(headers, DATE)?.trim())?);
    Some(Duration::from_secs(then.saturating_sub(now)))
}

/// Seconds since year 0 of `Sun, 06 Nov 1994 08:49:37 GMT`; good for differences only.
fn http_date(text: &str) -> Option<u64> {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let fields: Vec<&str> = text.split_once(", ")?.1.split_ascii_whitespace().collect();
    let [day, month, year, clock, "GMT"] = fields[..] else { return None };
    let month = MONTHS.iter().position(|name| *name == month)? as u64;
    let (day, year): (u64, u64) = (day.parse().ok()?, year.parse().ok()?);
    if !(1..=31).contains(&day) || !(1..=9999).contains(&year) {
        return None;
    }
    // Years begin in March, so that the leap day is the last of one (the usual civil-from-days arithmetic).
    let (year, month) = if month < 2 { (year - 1, month + 10) } else { (year, month - 2) };
    let days = year * 365 + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 1;
    let mut seconds = 0;
    for part in clock.split(':') {
        seconds = seconds * 60 + part.parse::<u64>().ok().filter(|n| *n < 61)?;
    }
    (clock.len() == 8).then_some(days * 86_400 + seconds)
}

fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
        lines.iter().map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap())).collect()
    }

    #[test]
    fn the_strongest_validator_is_chosen() {
        let date = ("last-modified", "Sun, 06 Nov 1994 08:49:37 GMT");
        let validator = |lines: &[_]| resource_head(&headers(lines), None, false).validator;
        assert_eq!(validator(&[("etag", "\"a\""), date]).as_deref(), Some("\"a\""));
        assert_eq!(validator(&[("etag", "W/\"a\""), date]).as_deref(), Some(date.1));
        assert_eq!(validator(&[("etag", "W/\"a\"")]), None);
        assert_eq!(validator(&[("etag", "\"a\""), ("content-encoding", "gzip")]), None);
    }

    #[test]
    fn connection_headers_are_not_passed_on() {
        let got = passed_on(&headers(&[("connection", "close"), ("cache-control", "no-store"), ("te", "x")]));
        assert_eq!(got, [("cache-control".to_owned(), "no-store".to_owned())]);
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let secs = |lines: &[_]| retry_after(&headers(lines)).map(|d| d.as_secs());
        assert_eq!(secs(&[("retry-after", "7")]), Some(7));
        let date = |text| ("date", text);
        let then = ("retry-after", "Thu, 29 Feb 2024 00:00:10 GMT");
        assert_eq!(secs(&[then, date("Wed, 28 Feb 2024 23:59:50 GMT")]), Some(20));
        assert_eq!(
            secs(&[("retry-after", "Fri, 01 Mar 2024 00:00:00 GMT"), date("Wed, 28 Feb 2024 00:00:00 GMT")]),
            Some(172_800)
        );
        assert_eq!(
            secs(&[("retry-after", "Mon, 01 Jan 2024 00:00:00 GMT"), date("Sun, 31 Dec 2023 23:59:59 GMT")]),
            Some(1)
        );
        assert_eq!(secs(&[then]), None);
        for bad in [
            "-1",
            "soon",
            "Thu, 99 Feb 2024 00:00:10 GMT",
            "Thu, 29 Foo 2024 00:00:10 GMT",
            ", ",
            "x, 1 Jan 1 1:1:1 GMT",
        ] {
            assert_eq!(secs(&[("retry-after", bad), date("Wed, 28 Feb 2024 23:59:50 GMT")]), None, "{bad}");
        }
    }

    #[test]
    fn a_head_too_large_is_refused() {
        let mut big = HeaderMap::new();
        (0..9).for_each(|_| {
            assert!(!big.append("x-filler", "x".repeat(8 << 10).parse().unwrap()) || !big.is_empty())
        });
        assert!(matches!(answer(200, &big), Err(OriginError::Malformed { .. })));
    }

    #[test]
    fn lengths_are_digits() {
        for (value, want) in
            [("12", Some(12)), ("+12", None), ("", None), ("1e3", None), ("99999999999999999999999", None)]
        {
            assert_eq!(content_length(&headers(&[("content-length", value)])), want, "{value}");
        }
    }
}
