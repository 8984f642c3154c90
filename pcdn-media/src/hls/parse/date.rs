//! Dates as playlists write them: ISO 8601, with or without fraction and zone.

const MILLIS_PER_DAY: i64 = 86_400_000;

/// `2010-02-19T14:54:23.031+08:00` in milliseconds since 1970. Without a zone it is UTC. `None` if it is no date of the years
/// 1 to 9999.
pub(super) fn millis_since_1970(text: &str) -> Option<i64> {
    let (date, time) = text.trim().split_once(['T', 't', ' '])?;
    let mut date = date.splitn(3, '-').map(digits);
    let (year, month, day) = (date.next()??, date.next()??, date.next()??);
    if !(1..=9999).contains(&year) || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let zone = time.find(['Z', 'z', '+', '-']).unwrap_or(time.len());
    let of_day = millis_of_day(&time[..zone])?;
    Some(days_since_1970(year, month, day) * MILLIS_PER_DAY + of_day - zone_millis(&time[zone..])?)
}

/// Up to nine decimal digits, and nothing else.
fn digits(text: &str) -> Option<i64> {
    let good = (1..=9).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    if good { text.parse().ok() } else { None }
}

fn millis_of_day(text: &str) -> Option<i64> {
    let (whole, fraction) = text.split_once(['.', ',']).unwrap_or((text, ""));
    let mut parts = whole.splitn(3, ':').map(digits);
    let (hour, minute, second) = (parts.next()??, parts.next()??, parts.next().unwrap_or(Some(0))?);
    // 24:00 and leap seconds are written.
    if hour > 24 || minute > 59 || second > 60 {
        return None;
    }
    let mut millis = 0;
    for digit in 0..3 {
        let byte = fraction.as_bytes().get(digit).copied().unwrap_or(b'0');
        millis = millis * 10 + i64::from(byte.is_ascii_digit().then(|| byte - b'0')?);
    }
    Some(((hour * 60 + minute) * 60 + second) * 1000 + millis)
}

/// `Z`, nothing, `+08:00`, `+0800` or `+08`.
fn zone_millis(text: &str) -> Option<i64> {
    let sign = match text.as_bytes().first() {
        None | Some(b'Z' | b'z') => return Some(0),
        Some(b'-') => -1,
        Some(_) => 1,
    };
    let number: String = text[1..].chars().filter(|char| *char != ':').collect();
    let value = digits(&number)?;
    let (hours, minutes) = if number.len() > 2 { (value / 100, value % 100) } else { (value, 0) };
    (hours <= 24 && minutes < 60).then_some(sign * (hours * 60 + minutes) * 60_000)
}

/// Days of the Gregorian calendar. Years are counted from March, so that the leap day ends one.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let leap_days = year / 4 - year / 100 + year / 400;
    // 719,468 days lie between 1 March of year 0 and 1 January 1970.
    year * 365 + leap_days + day_of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, want: Option<i64>) {
        assert_eq!(millis_since_1970(text), want, "{text}");
    }

    #[test]
    fn dates_as_they_are_met() {
        check("1970-01-01T00:00:00Z", Some(0));
        check("1969-12-31T23:59:59.999Z", Some(-1));
        check("2010-02-19T14:54:23.031+08:00", Some(1_266_562_463_031));
        check("2010-02-19T14:54:23.031+0800", Some(1_266_562_463_031));
        check("2010-02-19T14:54:23.0319999+08", Some(1_266_562_463_031));
        check("2010-02-19T06:54:23.031", Some(1_266_562_463_031));
        check(" 2010-02-19T01:54:23,031-05:00 ", Some(1_266_562_463_031));
        check("2000-02-29T12:00Z", Some(951_825_600_000));
        check("2024-12-31T23:59:60Z", Some(1_735_689_600_000));
        for bad in ["", "T", "2010-02-19", "2010-13-01T00:00:00Z", "2010-02-19T25:00:00Z", "x-y-zTa:b:c"] {
            check(bad, None);
        }
        // A character below the digits where a digit should be made it panic: found by fuzzing.
        for bad in ["2026-03-01T12:00:06.\u{0}", "2026-03-01T12:00:06.0/0"] {
            check(bad, None);
        }
        for bad in
            ["2010-02-19T14:54:23.0é", "2010-02-19T14:54:23+é", "99999999999-01-01T00:00:00Z", "1-1-1T1"]
        {
            check(bad, None);
        }
    }
}
