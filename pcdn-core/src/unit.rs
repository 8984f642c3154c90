//! Time, rates and sizes: one type each, one text form each (`250ms`, `2.5MB/s`, `64KiB`).

use std::fmt;
use std::ops::{Add, AddAssign, Sub};
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Microseconds since the node (or the simulated world) started. Monotonic; says nothing about the wall clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Time(pub u64);

impl Time {
    /// The start.
    pub const ZERO: Time = Time(0);
    /// Later than every moment a node can live to see.
    pub const NEVER: Time = Time(u64::MAX);

    /// `seconds` after the start.
    pub const fn from_secs(seconds: u64) -> Self {
        Self(seconds * 1_000_000)
    }

    /// `millis` milliseconds after the start.
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis * 1_000)
    }

    /// How long after `earlier` this is; zero if it is not.
    pub fn since(self, earlier: Time) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }

    /// Seconds since the start.
    pub fn as_secs_f64(self) -> f64 {
        self.0 as f64 / 1e6
    }
}

impl Add<Duration> for Time {
    type Output = Time;
    fn add(self, span: Duration) -> Time {
        Time(self.0.saturating_add(span.as_micros().min(u64::MAX as u128) as u64))
    }
}

impl AddAssign<Duration> for Time {
    fn add_assign(&mut self, span: Duration) {
        *self = *self + span;
    }
}

impl Sub<Duration> for Time {
    type Output = Time;
    fn sub(self, span: Duration) -> Time {
        Time(self.0.saturating_sub(span.as_micros().min(u64::MAX as u128) as u64))
    }
}

/// Bytes per second. [`Rate::UNLIMITED`] is a rate like any other, only larger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Rate(pub u64);

impl Rate {
    /// No limit.
    pub const UNLIMITED: Rate = Rate(u64::MAX);

    /// `megabits` per second, the unit of access links.
    pub const fn from_mbit(megabits: u64) -> Self {
        Self(megabits * 125_000)
    }

    /// How long `bytes` take at this rate; [`Duration::MAX`] at rate 0.
    pub fn time_for(self, bytes: u64) -> Duration {
        match self.0 {
            0 => Duration::MAX,
            rate => {
                Duration::from_micros((bytes as u128 * 1_000_000 / rate as u128).min(u64::MAX as u128) as u64)
            }
        }
    }

    /// How many bytes pass in `span`.
    pub fn bytes_in(self, span: Duration) -> u64 {
        (self.0 as u128 * span.as_micros() / 1_000_000).min(u64::MAX as u128) as u64
    }

    /// Whether this is no limit at all.
    pub fn is_unlimited(self) -> bool {
        self == Self::UNLIMITED
    }
}

/// A number of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct ByteSize(pub u64);

impl ByteSize {
    /// `n` KiB.
    pub const fn kib(n: u64) -> Self {
        Self(n << 10)
    }

    /// `n` MiB.
    pub const fn mib(n: u64) -> Self {
        Self(n << 20)
    }

    /// `n` GiB.
    pub const fn gib(n: u64) -> Self {
        Self(n << 30)
    }
}

/// A span of time in text: `250ms`, `30s`, `2m`, `1h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Span(pub Duration);

/// Text that is not a size, rate or span.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{got:?} is not a {what}: write it like {like}")]
pub struct UnitError {
    got: String,
    what: &'static str,
    like: &'static str,
}

/// Factors of the size suffixes: powers of ten as drive makers count, powers of two with an `i`.
const SIZES: [(&str, u64); 9] = [
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
    ("kB", 1_000),
    ("KB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
];
const SPANS: [(&str, u64); 5] =
    [("us", 1), ("ms", 1_000), ("s", 1_000_000), ("m", 60_000_000), ("h", 3_600_000_000)];

impl FromStr for ByteSize {
    type Err = UnitError;
    fn from_str(text: &str) -> Result<Self, UnitError> {
        let err = UnitError { got: clip(text), what: "size", like: "64KiB, 10MB or unlimited" };
        parse_size(text).map(ByteSize).ok_or(err)
    }
}

impl FromStr for Rate {
    type Err = UnitError;
    fn from_str(text: &str) -> Result<Self, UnitError> {
        let err = UnitError { got: clip(text), what: "rate", like: "2.5MB/s, 64KiB/s or unlimited" };
        let text = text.trim();
        parse_size(text.strip_suffix("/s").unwrap_or(text)).map(Rate).ok_or(err)
    }
}

impl FromStr for Span {
    type Err = UnitError;
    fn from_str(text: &str) -> Result<Self, UnitError> {
        let err = UnitError { got: clip(text), what: "time", like: "250ms, 30s or 2m" };
        let text = text.trim();
        let split = text.find(|c: char| c.is_ascii_alphabetic()).ok_or_else(|| err.clone())?;
        let (number, suffix) = text.split_at(split);
        let factor = SPANS.iter().find(|(name, _)| *name == suffix).map(|(_, f)| *f);
        let micros = factor.and_then(|f| scaled(number, f)).ok_or(err)?;
        Ok(Span(Duration::from_micros(micros)))
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_size(self.0, f)
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_size(self.0, f)?;
        if self.is_unlimited() { Ok(()) } else { f.write_str("/s") }
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let micros = self.0.as_micros() as u64;
        let exact = SPANS.iter().rev().find(|(_, factor)| micros.is_multiple_of(*factor));
        let (suffix, factor) = exact.filter(|_| micros > 0).unwrap_or(&("s", 1_000_000));
        write!(f, "{}{suffix}", micros / factor)
    }
}

macro_rules! text_serde {
    ($($name:ident),*) => {$(
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.collect_str(self)
            }
        }
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                String::deserialize(from)?.parse().map_err(serde::de::Error::custom)
            }
        }
    )*};
}
text_serde!(Rate, ByteSize, Span);

fn clip(text: &str) -> String {
    text.chars().take(40).collect()
}

fn parse_size(text: &str) -> Option<u64> {
    let text = text.trim();
    if text == "unlimited" {
        return Some(u64::MAX);
    }
    let suffixed = SIZES.iter().find_map(|(name, factor)| Some((text.strip_suffix(name)?, *factor)));
    let (number, factor) = suffixed.unwrap_or((text.strip_suffix('B').unwrap_or(text), 1));
    scaled(number, factor)
}

/// `number × factor`, with a decimal point allowed; `None` for anything negative, too large or not a number.
fn scaled(number: &str, factor: u64) -> Option<u64> {
    let number = number.trim();
    if let Ok(whole) = number.parse::<u64>() {
        return whole.checked_mul(factor);
    }
    let plain = number.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    let value = number.parse::<f64>().ok().filter(|v| plain && v.is_finite())? * factor as f64;
    (value < u64::MAX as f64).then_some(value.round() as u64)
}

/// The shortest exact form: binary suffix if it divides, else decimal, else plain bytes.
fn write_size(bytes: u64, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    if bytes == u64::MAX {
        return f.write_str("unlimited");
    }
    let largest = |binary: bool| {
        SIZES.iter().filter(|(name, _)| name.contains('i') == binary && *name != "KB").rev().find_map(
            |(name, factor)| (bytes > 0 && bytes.is_multiple_of(*factor)).then_some((bytes / factor, *name)),
        )
    };
    let (binary, decimal) = (largest(true), largest(false));
    let best = match (binary, decimal) {
        (Some(b), Some(d)) => Some(if d.0 < b.0 { d } else { b }),
        (b, d) => b.or(d),
    };
    match best {
        Some((count, name)) => write!(f, "{count}{name}"),
        None => write!(f, "{bytes}B"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_size(text: &str, want: u64) {
        assert_eq!(text.parse::<ByteSize>().unwrap().0, want, "{text}");
    }

    #[test]
    fn sizes_read_as_people_write_them() {
        check_size("64KiB", 65_536);
        check_size("10MB", 10_000_000);
        check_size("2.5MB", 2_500_000);
        check_size("17", 17);
        check_size("17B", 17);
        check_size("unlimited", u64::MAX);
        for bad in ["", "MB", "-1MB", "1e9GB", "99999999999999999999", "1QB", "inf", "nan"] {
            assert!(bad.parse::<ByteSize>().is_err(), "{bad}");
        }
    }

    #[test]
    fn rates_and_spans_read_and_print() {
        assert_eq!("2.5MB/s".parse::<Rate>().unwrap(), Rate(2_500_000));
        assert_eq!("250ms".parse::<Span>().unwrap().0, Duration::from_millis(250));
        assert_eq!("2m".parse::<Span>().unwrap().to_string(), "2m");
        assert_eq!(Span(Duration::ZERO).to_string(), "0s");
        assert!("5".parse::<Span>().is_err());
        assert!("5 parsecs".parse::<Span>().is_err());
    }

    proptest::proptest! {
        #[test]
        fn text_forms_round_trip(n: u64) {
            let size = ByteSize(n);
            assert_eq!(size.to_string().parse::<ByteSize>().unwrap(), size);
            let rate = Rate(n);
            assert_eq!(rate.to_string().parse::<Rate>().unwrap(), rate);
        }
    }
}
