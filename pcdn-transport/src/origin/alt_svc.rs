//! Where else an origin says it answers (`Alt-Svc`, RFC 7838), and what became of trying it. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

use pcdn_core::unit::Time;

/// Origins whose alternatives are remembered. A node meets a handful; the bound is against a playlist that names thousands.
const ORIGINS_MAX: usize = 256;
/// How long an alternative counts that names no `ma` (RFC 7838 section 3.1).
const FRESH: Duration = Duration::from_secs(86_400);
/// The longest `ma` that is believed: a week without a word from an origin is a long time.
const FRESH_MAX: Duration = Duration::from_secs(7 * 86_400);
/// How long an alternative that failed is left alone, doubling. Trying again costs a handshake beside requests that TCP carries, so
/// it may be soon; networks that block UDP mostly keep doing so.
const ASIDE: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(3600));
/// Alternatives read of one header; servers name three.
const ENTRIES_MAX: usize = 16;

/// One place an origin answers at over HTTP/3.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// Host, as in a URL; empty is the origin's own.
    pub(super) host: String,
    pub(super) port: u16,
}

/// What a header says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Said {
    /// HTTP/3 there, for so long.
    Http3(Place, Duration),
    /// Nothing that this node speaks, any more.
    Nothing,
}

/// Reads the values of `Alt-Svc`, together in order. Parts that break its grammar are skipped.
pub(super) fn parse<'v>(values: impl Iterator<Item = &'v str>) -> Said {
    for entry in values.flat_map(entries).take(ENTRIES_MAX) {
        if entry.eq_ignore_ascii_case("clear") {
            return Said::Nothing;
        }
        let mut parts = split(entry, ';');
        let Some(place) = parts.next().and_then(place) else { continue };
        let mut fresh = FRESH;
        for part in parts {
            if let Some(("ma", seconds)) = part.split_once('=').map(|(name, value)| (name.trim(), value)) {
                fresh = Duration::from_secs(unquote(seconds).parse::<u32>().unwrap_or(0).into());
            }
        }
        return Said::Http3(place, fresh.min(FRESH_MAX));
    }
    Said::Nothing
}

fn entries(value: &str) -> impl Iterator<Item = &str> {
    split(value, ',').map(str::trim).filter(|entry| !entry.is_empty())
}

/// Splits at `at` outside of quotes.
fn split(text: &str, at: char) -> impl Iterator<Item = &str> {
    let mut quoted = false;
    text.split(move |c| {
        quoted ^= c == '"';
        c == at && !quoted
    })
}

/// `h3=":443"` or `h3="host:443"`. Drafts of HTTP/3 (`h3-29`) are others' past.
fn place(entry: &str) -> Option<Place> {
    let (protocol, authority) = entry.split_once('=')?;
    if protocol.trim() != "h3" {
        return None;
    }
    let (host, port) = unquote(authority).rsplit_once(':')?;
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'[' | b']' | b':');
    let port = port.parse().ok().filter(|port| *port != 0)?;
    (host.len() <= 255 && host.bytes().all(plain)).then(|| Place { host: host.to_ascii_lowercase(), port })
}

fn unquote(text: &str) -> &str {
    let text = text.trim();
    text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text)
}

/// What is known of one origin.
#[derive(Clone, Debug, Default)]
struct Known {
    place: Option<Place>,
    fresh_until: Time,
    aside_until: Time,
    faults: u32,
    /// It has answered there.
    proven: bool,
    seen: Time,
}

/// All origins, by `host:port`.
#[derive(Debug, Default)]
pub(super) struct Alternatives(BTreeMap<String, Known>);

impl Alternatives {
    /// An answer of `origin` carried the header.
    pub(super) fn learn(&mut self, now: Time, origin: &str, said: Said) {
        if said == Said::Nothing && !self.0.contains_key(origin) {
            return;
        }
        let known = self.at(now, origin);
        match said {
            Said::Http3(place, fresh) => {
                if known.place.as_ref() != Some(&place) {
                    *known = Known { place: Some(place), seen: now, ..Known::default() };
                }
                known.fresh_until = now + fresh;
            }
            Said::Nothing => known.fresh_until = Time::ZERO,
        }
    }

    /// Where `origin` answers over HTTP/3, unless that failed lately, and whether it ever has.
    pub(super) fn of(&mut self, now: Time, origin: &str) -> Option<(Place, bool)> {
        let known = self.0.get_mut(origin)?;
        known.seen = now;
        let usable = known.fresh_until > now && known.aside_until <= now;
        known.place.clone().filter(|_| usable).map(|place| (place, known.proven))
    }

    /// Whether it failed lately, named by the origin or not.
    pub(super) fn is_aside(&self, now: Time, origin: &str) -> bool {
        self.0.get(origin).is_some_and(|known| known.aside_until > now)
    }

    /// It answered.
    pub(super) fn worked(&mut self, now: Time, origin: &str) {
        let known = self.at(now, origin);
        (known.proven, known.faults, known.aside_until) = (true, 0, Time::ZERO);
    }

    /// It did not; gives how long it is left alone.
    pub(super) fn failed(&mut self, now: Time, origin: &str) -> Duration {
        let known = self.at(now, origin);
        let wait = ASIDE.0.saturating_mul(1 << known.faults.min(10)).min(ASIDE.1);
        // Requests that fail together fail once.
        if known.aside_until <= now {
            known.aside_until = now + wait;
            known.faults += 1;
        }
        known.proven = false;
        wait
    }

    /// The memory of `origin`, made if there is none; the longest unused one makes room.
    fn at(&mut self, now: Time, origin: &str) -> &mut Known {
        if self.0.len() >= ORIGINS_MAX && !self.0.contains_key(origin) {
            let oldest = self.0.iter().min_by_key(|(_, known)| known.seen).map(|(name, _)| name.clone());
            oldest.map(|name| self.0.remove(&name));
        }
        let known = self.0.entry(origin.to_owned()).or_default();
        known.seen = now;
        known
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn said(value: &str) -> Said {
        parse([value].into_iter())
    }

    fn http3(host: &str, port: u16, secs: u64) -> Said {
        Said::Http3(Place { host: host.to_owned(), port }, Duration::from_secs(secs))
    }

    #[test]
    fn headers_of_real_servers_are_read() {
        for (value, want) in [
            (r#"h3=":443"; ma=2592000"#, http3("", 443, 604_800)),
            (r#"h3=":443"; ma=86400, h3-29=":443"; ma=86400"#, http3("", 443, 86_400)),
            (r#"h2="x:1", h3="alt.example:8443";persist=1 ; ma="60""#, http3("alt.example", 8443, 60)),
            (r#"h3="[::1]:443""#, http3("[::1]", 443, 86_400)),
            ("h3=:443", http3("", 443, 86_400)),
            (r#"quic=":443"; v="46,43", h3=":444""#, http3("", 444, 86_400)),
            ("clear", Said::Nothing),
            (r#"h3-29=":443""#, Said::Nothing),
            ("", Said::Nothing),
        ] {
            assert_eq!(said(value), want, "{value}");
        }
        for broken in
            [r#"h3="host""#, r#"h3=":0""#, r#"h3=":70000""#, r#"h3="a b:443""#, "h3", r#"h3="u@h:1""#]
        {
            assert_eq!(said(broken), Said::Nothing, "{broken}");
        }
        assert_eq!(parse(["h2=\":1\"", "h3=\":2\""].into_iter()), http3("", 2, 86_400));
    }

    #[test]
    fn what_is_said_lasts_as_long_as_it_says_and_clear_ends_it() {
        let mut all = Alternatives::default();
        let at = Time::from_secs;
        all.learn(at(1), "a:443", http3("", 443, 10));
        let here = Place { host: String::new(), port: 443 };
        assert_eq!(all.of(at(10), "a:443"), Some((here.clone(), false)));
        assert_eq!(all.of(at(11), "a:443"), None);
        all.learn(at(20), "a:443", http3("", 443, 10));
        all.worked(at(20), "a:443");
        assert_eq!(all.of(at(21), "a:443"), Some((here, true)));
        all.learn(at(22), "a:443", Said::Nothing);
        assert_eq!(all.of(at(22), "a:443"), None);
        assert_eq!(all.of(at(22), "b:443"), None);
    }

    #[test]
    fn one_that_failed_is_left_alone_for_longer_each_time() {
        let mut all = Alternatives::default();
        let mut now = Time::ZERO;
        for wait in [60, 120, 240, 480, 960, 1920, 3600, 3600] {
            all.learn(now, "a:443", http3("", 443, 86_400));
            assert!(all.of(now, "a:443").is_some());
            all.failed(now, "a:443");
            all.failed(now, "a:443");
            assert_eq!(all.of(now + Duration::from_secs(wait - 1), "a:443"), None);
            assert!(all.is_aside(now, "a:443"));
            now += Duration::from_secs(wait);
        }
        all.worked(now, "a:443");
        assert_eq!(all.failed(now, "a:443"), Duration::from_secs(60));
    }

    #[test]
    fn another_place_begins_anew() {
        let mut all = Alternatives::default();
        all.learn(Time::ZERO, "a:443", http3("", 443, 100));
        all.failed(Time::ZERO, "a:443");
        all.learn(Time::ZERO, "a:443", http3("", 444, 100));
        assert!(all.of(Time::ZERO, "a:443").is_some());
    }

    #[test]
    fn the_table_is_bounded() {
        let mut all = Alternatives::default();
        for n in 0..2 * ORIGINS_MAX as u64 {
            all.learn(Time(n), &format!("h{n}:443"), http3("", 443, 100));
        }
        assert_eq!(all.0.len(), ORIGINS_MAX);
        assert!(!all.0.contains_key("h0:443"));
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_panic(value in ".{0,200}") {
            if let Said::Http3(place, fresh) = said(&value) {
                prop_assert!(place.port != 0 && fresh <= FRESH_MAX && !place.host.contains('/'));
            }
        }
    }
}
