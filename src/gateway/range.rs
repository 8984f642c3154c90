//! The `Range` header (RFC 9110 section 14), as a pure function of its text and the length.

use pcdn_core::range::ByteRange;

/// What a `Range` header asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    /// Everything: no header, one that is not understood, or several ranges (a server may answer those with the whole).
    Whole,
    /// One part.
    Part(ByteRange),
    /// Nothing that exists: status 416.
    Nothing,
}

/// What `header` asks of a resource of `len` bytes.
pub(crate) fn asked(header: Option<&str>, len: u64) -> Asked {
    let Some(set) = header.and_then(|text| text.trim().strip_prefix("bytes=")) else { return Asked::Whole };
    if set.contains(',') {
        return Asked::Whole;
    }
    let Some((first, last)) = set.trim().split_once('-') else { return Asked::Whole };
    let part = match (number(first), number(last)) {
        (Some(first), Some(last)) if first <= last => ByteRange::new(first, last.saturating_add(1).min(len)),
        (Some(first), None) if last.is_empty() => ByteRange::new(first, len),
        (None, Some(suffix)) if first.is_empty() => ByteRange::new(len.saturating_sub(suffix), len),
        _ => return Asked::Whole,
    };
    part.map_or(Asked::Nothing, Asked::Part)
}

/// `A-B` or `A-`: first byte and, if given, last byte.
pub(crate) fn parse_plain(text: &str) -> Option<(u64, Option<u64>)> {
    let (first, last) = text.split_once('-')?;
    let first = number(first)?;
    if last.is_empty() {
        return Some((first, None));
    }
    number(last).filter(|last| first <= *last).map(|last| (first, Some(last)))
}

/// Digits only: `u64::parse` alone would take a plus sign. Numbers past the end of all files count as that end.
fn number(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| text.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(header: &str, len: u64, want: Asked) {
        assert_eq!(asked(Some(header), len), want, "{header} of {len}");
    }

    fn part(start: u64, end: u64) -> Asked {
        Asked::Part(ByteRange::new(start, end).unwrap())
    }

    #[test]
    fn single_open_and_suffix_ranges() {
        check("bytes=0-0", 10, part(0, 1));
        check("bytes=2-5", 10, part(2, 6));
        check("bytes=2-99", 10, part(2, 10));
        check("bytes=9-", 10, part(9, 10));
        check("bytes=-3", 10, part(7, 10));
        check("bytes=-30", 10, part(0, 10));
        check("bytes=0-99999999999999999999999", 10, part(0, 10));
    }

    #[test]
    fn what_lies_outside_is_nothing() {
        check("bytes=10-", 10, Asked::Nothing);
        check("bytes=10-12", 10, Asked::Nothing);
        check("bytes=-0", 10, Asked::Nothing);
        check("bytes=0-", 0, Asked::Nothing);
        check("bytes=-1", 0, Asked::Nothing);
        check("bytes=99999999999999999999999-", 10, Asked::Nothing);
    }

    #[test]
    fn what_is_not_understood_is_the_whole() {
        for header in
            ["bytes=5-2", "bytes=a-b", "bytes=-", "bytes=", "lines=1-2", "bytes=0-1,3-4", "bytes=+1-2", "0-1"]
        {
            check(header, 10, Asked::Whole);
        }
        assert_eq!(asked(None, 10), Asked::Whole);
    }

    #[test]
    fn plain_ranges_of_the_command_line() {
        assert_eq!(parse_plain("3-9"), Some((3, Some(9))));
        assert_eq!(parse_plain("3-"), Some((3, None)));
        assert_eq!(parse_plain("-3"), None);
        assert_eq!(parse_plain("9-3"), None);
    }

    proptest::proptest! {
        #[test]
        fn a_part_lies_inside(header: String, a: u64, b: u64, len: u64) {
            for header in [header, format!("bytes={a}-{b}"), format!("bytes={a}-"), format!("bytes=-{b}")] {
                if let Asked::Part(range) = asked(Some(&header), len) {
                    assert!(range.end() <= len);
                }
            }
        }
    }
}
