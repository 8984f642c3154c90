//! What an answer to a range request is worth. Pure.
//!
//! Origins answer range requests in every way there is: rightly, with the whole, with another range, with another version.
//! Using the wrong bytes would poison a swarm, so everything but a provably right answer is an error.

use pcdn_core::origin::{OriginError, OriginGet};
use pcdn_core::range::ByteRange;

/// A `200` to a range request is still used if the range starts this early: skipping 1 MiB costs less than a second
/// connection on any link worth the name, skipping more does not.
pub(super) const SKIP_BYTES_MAX: u64 = 1 << 20;

/// A parsed `Content-Range` of unit bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ContentRange {
    /// `bytes A-B/TOTAL` or `bytes A-B/*`.
    Part { range: ByteRange, total: Option<u64> },
    /// `bytes */TOTAL`, of a 416.
    Unsatisfied { total: u64 },
}

impl ContentRange {
    /// Reads the header's value (RFC 9110 section 14.4); `None` for anything that breaks its grammar or contradicts itself.
    pub(super) fn parse(value: &str) -> Option<Self> {
        let (unit, rest) = value.trim().split_once(' ')?;
        if !unit.eq_ignore_ascii_case("bytes") {
            return None;
        }
        let (range, total) = rest.trim().split_once('/')?;
        let total = if total == "*" { None } else { Some(decimal(total)?) };
        if range == "*" {
            return Some(Self::Unsatisfied { total: total? });
        }
        let (first, last) = range.split_once('-')?;
        let range = ByteRange::new(decimal(first)?, decimal(last)?.checked_add(1)?)?;
        total.is_none_or(|total| range.end() <= total).then_some(Self::Part { range, total })
    }
}

/// Digits only: `parse` alone would take `+5`.
fn decimal(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| text.parse().ok())?
}

/// The parts of a response head that decide.
#[derive(Clone, Debug, Default)]
pub(super) struct Answer<'a> {
    pub(super) status: u16,
    pub(super) content_range: Option<&'a str>,
    pub(super) content_length: Option<u64>,
    pub(super) etag: Option<&'a str>,
    pub(super) last_modified: Option<&'a str>,
    /// `Content-Encoding`, unless it is `identity`.
    pub(super) encoding: Option<&'a str>,
}

/// How to read the body of a good answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Reading {
    /// Bytes to throw away first.
    pub(super) skip: u64,
    /// Bytes to give then; `None` is until the end, wherever that is.
    pub(super) take: Option<u64>,
    /// Whether the body goes on after them.
    pub(super) more: bool,
    /// Length of the whole resource, if told.
    pub(super) len: Option<u64>,
    /// Whether the origin just proved that it serves ranges.
    pub(super) ranged: bool,
}

/// Why an answer is not used.
#[derive(Debug)]
pub(super) enum Reject {
    /// It gave the whole instead of a range that starts too far in: remember that of the host.
    NoRanges,
    /// It answered the range with nonsense, which it may do to every range.
    Garbled(OriginError),
    /// Anything else.
    Error(OriginError),
}

/// Judges a 200, 206 or 416 to `want`; other statuses are errors before they come here.
pub(super) fn judge(want: &OriginGet, answer: &Answer<'_>) -> Result<Reading, Reject> {
    same_version(want, answer)?;
    match (answer.status, want.range) {
        (206, Some(range)) => part(want, range, answer),
        (200, None) => whole(want, answer),
        (200, Some(range)) => whole_for_part(want, range, answer),
        (416, Some(range)) => unsatisfied(want, range, answer),
        (206, None) => Err(malformed("206 to a request without a range")),
        (status, _) => Err(Reject::Error(OriginError::Status { status, retry_after: None })),
    }
}

fn part(want: &OriginGet, range: ByteRange, answer: &Answer<'_>) -> Result<Reading, Reject> {
    refuse_encoded(answer)?;
    let value = answer.content_range.ok_or_else(|| garbled("206 without Content-Range"))?;
    let Some(ContentRange::Part { range: got, total }) = ContentRange::parse(value) else {
        return Err(garbled(format!("Content-Range {}", clip(value))));
    };
    if let (Some(known), Some(total)) = (want.len, total)
        && known != total
    {
        return Err(changed(format!("length {known} is now {total}")));
    }
    // A range that reaches beyond the end is answered up to the end. Only then may the answer be shorter than the question.
    let ends_there = total.is_some_and(|total| got.end() == total && range.end() > total);
    if got.start() != range.start() || (got.end() != range.end() && !ends_there) {
        return Err(garbled(format!("{} answered with {}", range.to_header(), clip(value))));
    }
    if answer.content_length.is_some_and(|length| length != got.len()) {
        return Err(garbled("Content-Length contradicts Content-Range"));
    }
    let len = total.or(want.len);
    Ok(Reading { skip: 0, take: Some(got.len()), more: false, len, ranged: true })
}

fn whole(want: &OriginGet, answer: &Answer<'_>) -> Result<Reading, Reject> {
    if answer.encoding.is_some() {
        // Bytes of an encoding nobody asked for are not the content's: they pass through to a player, who can decode them,
        // but have no length or validator to share them by.
        if want.len.is_some() {
            refuse_encoded(answer)?;
        }
        return Ok(Reading { skip: 0, take: answer.content_length, more: false, len: None, ranged: false });
    }
    same_length(want, answer)?;
    let len = answer.content_length.or(want.len);
    Ok(Reading { skip: 0, take: len, more: false, len, ranged: false })
}

/// The whole instead of a part: the origin has no ranges (or, with `If-Range`, has another version; that was seen before).
fn whole_for_part(want: &OriginGet, range: ByteRange, answer: &Answer<'_>) -> Result<Reading, Reject> {
    refuse_encoded(answer)?;
    same_length(want, answer)?;
    if want.validator.is_some() && answer.etag.is_none() && answer.last_modified.is_none() {
        return Err(changed("the origin answers If-Range with a version it does not name"));
    }
    let len = answer.content_length.or(want.len);
    let end = len.map_or(range.end(), |len| len.min(range.end()));
    let Some(usable) = ByteRange::new(range.start(), end) else {
        return Err(Reject::Error(OriginError::Status { status: 416, retry_after: None }));
    };
    if usable.start() > SKIP_BYTES_MAX {
        return Err(Reject::NoRanges);
    }
    let more = len != Some(usable.end());
    Ok(Reading { skip: usable.start(), take: Some(usable.len()), more, len, ranged: false })
}

fn unsatisfied(want: &OriginGet, range: ByteRange, answer: &Answer<'_>) -> Result<Reading, Reject> {
    match (answer.content_range.and_then(ContentRange::parse), want.len) {
        (Some(ContentRange::Unsatisfied { total }), Some(known)) if total != known => {
            Err(changed(format!("length {known} is now {total}")))
        }
        (Some(ContentRange::Unsatisfied { total }), _) if range.start() < total => {
            Err(garbled(format!("416 to {} of {total} bytes", range.to_header())))
        }
        _ => Err(Reject::Error(OriginError::Status { status: 416, retry_after: None })),
    }
}

fn same_length(want: &OriginGet, answer: &Answer<'_>) -> Result<(), Reject> {
    match (want.len, answer.content_length) {
        (Some(known), Some(now)) if known != now => Err(changed(format!("length {known} is now {now}"))),
        _ => Ok(()),
    }
}

fn same_version(want: &OriginGet, answer: &Answer<'_>) -> Result<(), Reject> {
    let Some(known) = want.validator.as_deref().filter(|_| matches!(answer.status, 200 | 206)) else {
        return Ok(());
    };
    let (name, now) =
        if is_etag(known) { ("ETag", answer.etag) } else { ("Last-Modified", answer.last_modified) };
    match now {
        Some(now) if now != known => Err(changed(format!("{name} {} is now {}", clip(known), clip(now)))),
        // A 206 need not repeat its validator after If-Range; a 200 without the one we know cannot vouch for itself.
        _ => Ok(()),
    }
}

/// Whether `validator` is an entity tag rather than a date.
pub(super) fn is_etag(validator: &str) -> bool {
    validator.starts_with('"') || validator.starts_with("W/")
}

fn refuse_encoded(answer: &Answer<'_>) -> Result<(), Reject> {
    match answer.encoding {
        Some(encoding) => Err(malformed(format!("content encoding {} nobody asked for", clip(encoding)))),
        None => Ok(()),
    }
}

fn malformed(what: impl Into<String>) -> Reject {
    Reject::Error(OriginError::Malformed { what: what.into() })
}

fn garbled(what: impl Into<String>) -> Reject {
    Reject::Garbled(OriginError::Malformed { what: what.into() })
}

fn changed(what: impl Into<String>) -> Reject {
    Reject::Error(OriginError::Changed { what: what.into() })
}

/// A stranger's header in an error message, cut short.
fn clip(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(80).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use pcdn_core::resource::Url;
    use proptest::prelude::*;

    fn want(range: Option<(u64, u64)>, len: Option<u64>, validator: Option<&str>) -> OriginGet {
        let range = range.map(|(start, end)| ByteRange::new(start, end).unwrap());
        let url = Url::parse("http://cdn.example/f").unwrap();
        OriginGet { url, range, validator: validator.map(Into::into), len }
    }

    fn partial(content_range: &str) -> Answer<'_> {
        Answer { status: 206, content_range: Some(content_range), ..Answer::default() }
    }

    /// `verdict` is what the answer is taken for: `ok SKIP TAKE`, `none`, `changed`, `garbled`, `malformed` or the status.
    fn check(want: &OriginGet, answer: &Answer<'_>, verdict: &str) {
        let got = match judge(want, answer) {
            Ok(Reading { skip, take, .. }) => {
                format!("ok {skip} {}", take.map_or("end".into(), |t| t.to_string()))
            }
            Err(Reject::NoRanges) => "none".into(),
            Err(Reject::Garbled(_)) => "garbled".into(),
            Err(Reject::Error(OriginError::Changed { .. })) => "changed".into(),
            Err(Reject::Error(OriginError::Malformed { .. })) => "malformed".into(),
            Err(Reject::Error(OriginError::Status { status, .. })) => status.to_string(),
            Err(other) => format!("{other:?}"),
        };
        assert_eq!(got, verdict, "{want:?} {answer:?}");
    }

    #[test]
    fn content_range_is_read_strictly() {
        let part = |a, b, total| Some(ContentRange::Part { range: ByteRange::new(a, b).unwrap(), total });
        assert_eq!(ContentRange::parse("bytes 0-9/20"), part(0, 10, Some(20)));
        assert_eq!(ContentRange::parse("Bytes 5-5/*"), part(5, 6, None));
        assert_eq!(ContentRange::parse("bytes */20"), Some(ContentRange::Unsatisfied { total: 20 }));
        let max = u64::MAX;
        for bad in [
            "",
            "bytes",
            "bytes 0-9",
            "bytes=0-9/20",
            "items 0-9/20",
            "bytes 9-0/20",
            "bytes 0-20/20",
            "bytes +0-9/20",
            "bytes -9/20",
            "bytes 0-/20",
            "bytes */*",
            "bytes 0-9/",
            "bytes 0-9/99999999999999999999999",
            &format!("bytes 0-{max}/*"),
        ] {
            assert_eq!(ContentRange::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_right_206_is_read_exactly() {
        check(&want(Some((10, 20)), Some(100), None), &partial("bytes 10-19/100"), "ok 0 10");
        check(&want(Some((10, 20)), None, None), &partial("bytes 10-19/*"), "ok 0 10");
        check(&want(Some((10, 20)), Some(100), None), &partial("bytes 10-19/*"), "ok 0 10");
        let clipped = want(Some((90, 200)), None, None);
        check(&clipped, &partial("bytes 90-99/100"), "ok 0 10");
    }

    #[test]
    fn a_wrong_206_is_refused() {
        let asked = want(Some((10, 20)), Some(100), None);
        check(&asked, &partial("bytes 11-20/100"), "garbled");
        check(&asked, &partial("bytes 10-18/100"), "garbled");
        check(&asked, &partial("bytes 10-29/100"), "garbled");
        check(&asked, &partial("bytes 10-19/99"), "changed");
        check(&asked, &partial("nonsense"), "garbled");
        check(&asked, &Answer { status: 206, ..Answer::default() }, "garbled");
        check(&asked, &Answer { content_length: Some(9), ..partial("bytes 10-19/100") }, "garbled");
        check(&asked, &Answer { encoding: Some("gzip"), ..partial("bytes 10-19/100") }, "malformed");
        check(&want(None, None, None), &partial("bytes 0-99/100"), "malformed");
    }

    #[test]
    fn a_200_to_a_range_is_used_if_little_is_skipped() {
        let whole = Answer { status: 200, content_length: Some(4 << 20), ..Answer::default() };
        check(&want(Some((0, 10)), None, None), &whole, "ok 0 10");
        check(&want(Some((SKIP_BYTES_MAX, SKIP_BYTES_MAX + 10)), None, None), &whole, "ok 1048576 10");
        check(&want(Some((SKIP_BYTES_MAX + 1, SKIP_BYTES_MAX + 10)), None, None), &whole, "none");
        check(&want(Some((8 << 20, 9 << 20)), None, None), &whole, "416");
        check(&want(Some((0, 10)), Some(5), None), &whole, "changed");
    }

    #[test]
    fn another_version_is_never_mixed_in() {
        let asked = want(Some((10, 20)), Some(100), Some("\"a\""));
        let with = |etag| Answer { etag: Some(etag), ..partial("bytes 10-19/100") };
        check(&asked, &with("\"a\""), "ok 0 10");
        check(&asked, &with("\"b\""), "changed");
        check(&asked, &partial("bytes 10-19/100"), "ok 0 10");
        let whole = |etag| Answer { status: 200, content_length: Some(100), etag, ..Answer::default() };
        check(&asked, &whole(Some("\"b\"")), "changed");
        check(&asked, &whole(Some("\"a\"")), "ok 10 10");
        check(&asked, &whole(None), "changed");
        let dated = want(None, None, Some("Sun, 06 Nov 1994 08:49:37 GMT"));
        let answer =
            Answer { status: 200, last_modified: Some("Mon, 07 Nov 1994 08:49:37 GMT"), ..Answer::default() };
        check(&dated, &answer, "changed");
    }

    #[test]
    fn a_416_tells_a_new_length_from_a_lie() {
        let of = |value| Answer { status: 416, content_range: Some(value), ..Answer::default() };
        check(&want(Some((50, 60)), Some(100), None), &of("bytes */40"), "changed");
        check(&want(Some((50, 60)), Some(100), None), &of("bytes */100"), "garbled");
        check(&want(Some((50, 60)), None, None), &of("bytes */40"), "416");
        check(&want(Some((50, 60)), None, None), &Answer { status: 416, ..Answer::default() }, "416");
    }

    #[test]
    fn an_encoded_whole_passes_but_cannot_be_shared() {
        let gzip =
            Answer { status: 200, content_length: Some(9), encoding: Some("gzip"), ..Answer::default() };
        let reading = judge(&want(None, None, None), &gzip).unwrap();
        assert_eq!((reading.take, reading.len), (Some(9), None));
        check(&want(None, Some(100), None), &gzip, "malformed");
        check(&want(Some((0, 5)), None, None), &gzip, "malformed");
    }

    proptest! {
        #[test]
        fn no_header_panics_and_no_answer_gives_more_than_asked(
            value in "(bytes )?[-0-9*/ ]{0,30}", start in 0u64..1000, len in 1u64..1000, known: Option<u16>,
        ) {
            let asked = want(Some((start, start + len)), known.map(u64::from), None);
            for status in [200, 206, 416] {
                let answer = Answer { status, content_range: Some(&value), ..Answer::default() };
                if let Ok(reading) = judge(&asked, &answer) {
                    prop_assert!(reading.take.is_some_and(|take| take <= len));
                }
            }
        }

        #[test]
        fn content_range_reads_what_it_should(start in 0u64..1 << 40, len in 1u64..1 << 40, rest in 0u64..1 << 40) {
            let range = ByteRange::new(start, start + len).unwrap();
            let total = range.end() + rest;
            let text = format!("bytes {}-{}/{total}", start, range.end() - 1);
            prop_assert_eq!(ContentRange::parse(&text), Some(ContentRange::Part { range, total: Some(total) }));
        }
    }
}
