//! Values of attributes: durations and dates of XML Schema, byte ranges, numbers.

use std::time::Duration;

use pcdn_core::range::ByteRange;

/// Longer durations count as this, 317 years, so that sums of a manifest's durations never overflow.
pub(super) const DURATION_MAX: Duration = Duration::from_secs(10_000_000_000);

/// A duration such as `PT1H2M3.5S`. A year counts 365 days and a month 30; negative ones are zero.
pub(super) fn duration(text: &str) -> Option<Duration> {
    let (negative, text) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
    let mut rest = text.strip_prefix('P').filter(|rest| !rest.is_empty())?;
    let (mut in_time, mut sum) = (false, Duration::ZERO);
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix('T').filter(|after| !in_time && !after.is_empty()) {
            (in_time, rest) = (true, after);
            continue;
        }
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let unit = match (in_time, rest.as_bytes()[end]) {
            (false, b'Y') => 365 * 86_400,
            (false, b'M') => 30 * 86_400,
            (false, b'W') => 7 * 86_400,
            (false, b'D') => 86_400,
            (true, b'H') => 3_600,
            (true, b'M') => 60,
            (true, b'S') => 1,
            _ => return None,
        };
        let count = seconds(&rest[..end])?.min(DURATION_MAX);
        sum = sum.saturating_add(count.saturating_mul(unit)).min(DURATION_MAX);
        rest = &rest[end + 1..];
    }
    Some(if negative { Duration::ZERO } else { sum })
}

/// A decimal number of seconds, without sign or exponent.
pub(super) fn seconds(text: &str) -> Option<Duration> {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if (whole.is_empty() && part.is_empty()) || !digits(whole) || !digits(part) {
        return None;
    }
    // More digits than fit are more than any bound anyway.
    let whole = if whole.is_empty() { 0 } else { whole.parse().unwrap_or(DURATION_MAX.as_secs()) };
    let nanos = format!("{:0<9.9}", part).parse().ok()?;
    Some(Duration::new(whole.min(DURATION_MAX.as_secs()), nanos))
}

/// A duration as text, to the millisecond.
pub(super) fn write_duration(span: Duration) -> String {
    let millis = span.as_millis();
    match millis % 1000 {
        0 => format!("PT{}S", millis / 1000),
        part => format!("PT{}.{part:03}S", millis / 1000),
    }
}

/// A moment such as `2026-03-01T12:00:00.5Z` in milliseconds since 1970. Without a zone it is UTC, as the standard says.
pub(super) fn date(text: &str) -> Option<i64> {
    let (day, clock) = text.split_once('T')?;
    let mut day = day.splitn(3, '-').map(|part| part.parse::<u16>().ok());
    let (year, month, day) = (day.next()??, day.next()??, day.next()??);
    let zone = clock.find(['Z', '+', '-']).unwrap_or(clock.len());
    let (clock, zone) = clock.split_at_checked(zone)?;
    let mut clock = clock.splitn(3, ':');
    let (hour, minute): (i64, i64) = (clock.next()?.parse().ok()?, clock.next()?.parse().ok()?);
    let second = clock.next().map_or(Some(Duration::ZERO), seconds)?;
    let sane = (1..=12).contains(&month) && (1..=31).contains(&day) && (0..=24).contains(&hour);
    if !sane || !(0..60).contains(&minute) || second.as_secs() > 60 {
        return None;
    }
    let minutes = (days_since_1970(year, month, day) * 24 + hour) * 60 + minute - zone_minutes(zone)?;
    Some(minutes * 60_000 + second.as_millis() as i64)
}

fn zone_minutes(zone: &str) -> Option<i64> {
    if matches!(zone, "" | "Z") {
        return Some(0);
    }
    let (sign, rest) = zone.split_at_checked(1)?;
    let (hours, minutes) = rest.split_once(':').or_else(|| rest.split_at_checked(2))?;
    let minutes = hours.parse::<u8>().ok()? as i64 * 60 + minutes.parse::<u8>().ok()? as i64;
    Some(if sign == "-" { -minutes } else { minutes })
}

/// Days of the Gregorian calendar. Counting years from March puts the leap day at the end of one.
fn days_since_1970(year: u16, month: u16, day: u16) -> i64 {
    let (year, month, day) = (i64::from(year), i64::from(month), i64::from(day));
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let leap_days = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    year * 365 + leap_days + (month * 153 + 2) / 5 + day - 1 - 719_468
}

/// A byte range such as `0-99`, both ends included.
pub(super) fn range(text: &str) -> Option<ByteRange> {
    let (first, last) = text.split_once('-')?;
    ByteRange::new(first.trim().parse().ok()?, last.trim().parse::<u64>().ok()?.checked_add(1)?)
}

/// A number that must not be 0.
pub(super) fn positive(text: &str) -> Option<u64> {
    text.parse().ok().filter(|number| *number > 0)
}

/// `ticks` at `timescale` per second, which is not 0. Negative ones are zero.
pub(super) fn span(ticks: i128, timescale: u64) -> Duration {
    let (ticks, scale) = (ticks.max(0).unsigned_abs(), u128::from(timescale.max(1)));
    let whole = (ticks / scale).min(u128::from(DURATION_MAX.as_secs())) as u64;
    let nanos = (ticks % scale * 1_000_000_000 / scale) as u32;
    Duration::new(whole, nanos)
}

/// How many whole ticks have passed after `span`.
pub(super) fn elapsed(span: Duration, timescale: u64) -> i128 {
    (nanos(span) * u128::from(timescale) / 1_000_000_000) as i128
}

/// The first tick that is no more within `span`. Manifests write durations to the millisecond, rounded, so what begins in
/// the last one is not within either.
pub(super) fn reach(span: Duration, timescale: u64) -> i128 {
    (nanos(span).saturating_sub(1_000_000) * u128::from(timescale)).div_ceil(1_000_000_000) as i128
}

fn nanos(span: Duration) -> u128 {
    span.as_nanos().min(DURATION_MAX.as_nanos())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(text: &str) -> Option<u128> {
        duration(text).map(|span| span.as_millis())
    }

    #[test]
    fn durations_read_as_the_standard_writes_them() {
        assert_eq!(ms("PT1H2M3.5S"), Some(3_723_500));
        assert_eq!(ms("P0Y0M1DT0H0M0.000S"), Some(86_400_000));
        assert_eq!(ms("P1M"), Some(30 * 86_400_000));
        assert_eq!(ms("PT1M"), Some(60_000));
        assert_eq!(ms("PT.5S"), Some(500));
        assert_eq!(ms("-PT5S"), Some(0));
        assert_eq!(duration("PT999999999999999999999999S"), Some(DURATION_MAX));
        assert_eq!(duration("P99999999999Y"), Some(DURATION_MAX));
        for bad in ["", "P", "PT", "5S", "PT5", "PTS", "P5S", "PT1D", "PT1.2.3S", "PTTS", "PT-5S", "PT1é"] {
            assert_eq!(duration(bad), None, "{bad}");
        }
        for text in ["PT4S", "PT0.040S", "PT3600.500S"] {
            assert_eq!(write_duration(duration(text).unwrap()), text);
        }
    }

    #[test]
    fn dates_are_milliseconds_since_1970() {
        assert_eq!(date("1970-01-01T00:00:00Z"), Some(0));
        assert_eq!(date("2000-02-29T12:00:00.25Z"), Some(951_825_600_250));
        assert_eq!(date("2026-03-01T00:00:00+01:00"), date("2026-02-28T23:00:00Z"));
        assert_eq!(date("2026-03-01T00:00:00"), date("2026-03-01T00:00:00Z"));
        assert_eq!(date("1969-12-31T23:59:59Z"), Some(-1000));
        for bad in ["", "2026", "2026-13-01T00:00:00Z", "2026-01-01T25:00:00Z", "2026-01-01Té", "x-y-zT1:2:3"]
        {
            assert_eq!(date(bad), None, "{bad}");
        }
    }

    #[test]
    fn ranges_are_inclusive_in_text() {
        assert_eq!(range("0-99"), ByteRange::new(0, 100));
        for bad in ["", "5", "5-", "-5", "9-3", "0-18446744073709551615"] {
            assert_eq!(range(bad), None, "{bad}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "\\PC{0,24}", like in "[-+PTYMDHSZ0-9.:]{0,24}") {
            for text in [text.as_str(), like.as_str()] {
                let _ = (duration(text), seconds(text), date(text), range(text));
            }
        }
    }
}
