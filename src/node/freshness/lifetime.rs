//! How long an origin's answer is good for: RFC 9111 as far as it fits who holds films for one viewer. Pure.
//!
//! The node is its viewer's private cache: `max-age` and `Expires` count, `s-maxage` and `proxy-revalidate` speak to others. What is
//! marked `no-store` is held like what is marked `no-cache`, and confirmed before every use: whoever lets a site's content be shared
//! by its viewers has said already that they may hold it.

use std::time::{Duration, SystemTime};

use pcdn_core::resource::ResourceHead;

/// Where the origin says nothing, a tenth of the content's age is assumed (RFC 9111 section 4.2.2), within these bounds. A film is
/// mostly changed by accident soon after it was put up, and a check costs one small answer.
const HEURISTIC: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));
/// The same where its age is unknown.
const HEURISTIC_BLIND: Duration = Duration::from_secs(10);
/// `immutable` without a time (RFC 8246 leaves that open): long enough for any evening.
const IMMUTABLE: Duration = Duration::from_secs(86_400);
/// Beyond its time an answer may be used while it is checked, for as long again and no longer than this: nobody then gets a content
/// that was replaced more than twice its time ago.
const GRACE_MAX: Duration = Duration::from_secs(60);
/// `stale-while-revalidate` (RFC 5861) is believed up to here.
const GRACE_SAID_MAX: Duration = Duration::from_secs(86_400);
/// What RFC 9111 section 1.2.2 says of greater numbers of seconds.
const SECONDS_MAX: u64 = 1 << 31;

/// How long an answer is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Lifetime {
    /// How old it was when it came.
    age: Duration,
    /// How old it may be.
    fresh: Duration,
    /// How long after it came it may still be used while it is checked.
    grace: Duration,
    /// Never to be used beyond its time unless it was confirmed.
    strict: bool,
}

/// What an answer that came a while ago is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Freshness {
    /// Use it.
    Fresh,
    /// Use it, and see meanwhile whether it still holds.
    Stale,
    /// See first whether it still holds; if that cannot be learnt in time, use it.
    Expired,
    /// Use it only if it is confirmed.
    Forbidden,
}

impl Lifetime {
    /// Of an answer with this head.
    pub(super) fn of(head: &ResourceHead) -> Self {
        let said = Said::by(head);
        let confirm_always = said.no_cache || said.no_store;
        let fresh = if confirm_always { Duration::ZERO } else { said.lifetime(head) };
        let strict = confirm_always || said.must_revalidate;
        let grace = match said.stale_while_revalidate {
            _ if strict => Duration::ZERO,
            Some(said) => said.min(GRACE_SAID_MAX),
            None => fresh.min(GRACE_MAX),
        };
        let age = head.header("age").and_then(seconds).unwrap_or_default();
        Self { age, fresh, grace, strict }
    }

    /// What it is good for `since` it came, or was last confirmed.
    pub(super) fn judge(&self, since: Duration) -> Freshness {
        let over = self.age_after(since).checked_sub(self.fresh);
        match over {
            None => Freshness::Fresh,
            Some(_) if self.strict => Freshness::Forbidden,
            Some(over) if over.min(since) < self.grace => Freshness::Stale,
            Some(_) => Freshness::Expired,
        }
    }

    /// Whether it must never be used beyond its time unless it was confirmed.
    pub(super) fn is_strict(&self) -> bool {
        self.strict
    }

    /// How old it is `since` it came.
    pub(super) fn age_after(&self, since: Duration) -> Duration {
        self.age + since
    }
}

/// The directives of `Cache-Control` that count here.
#[derive(Debug, Default)]
struct Said {
    max_age: Option<Duration>,
    stale_while_revalidate: Option<Duration>,
    no_cache: bool,
    no_store: bool,
    must_revalidate: bool,
    immutable: bool,
}

impl Said {
    fn by(head: &ResourceHead) -> Self {
        let mut said = Self::default();
        let lines = head.headers.iter().filter(|(name, _)| name == "cache-control");
        for directive in lines.flat_map(|(_, line)| directives(line)) {
            let (name, value) = directive.split_once('=').unwrap_or((directive, ""));
            // A time that cannot be read is none (RFC 9111 section 4.2.1).
            let time = || Some(seconds(value.trim().trim_matches('"')).unwrap_or_default());
            match name.trim().to_ascii_lowercase().as_str() {
                // Said twice, the shorter counts.
                "max-age" => said.max_age = said.max_age.or(time()).min(time()),
                "stale-while-revalidate" => said.stale_while_revalidate = time(),
                // With names it is about those headers only.
                "no-cache" if value.is_empty() => said.no_cache = true,
                "no-store" => said.no_store = true,
                "must-revalidate" => said.must_revalidate = true,
                "immutable" => said.immutable = true,
                _ => {}
            }
        }
        said
    }

    fn lifetime(&self, head: &ResourceHead) -> Duration {
        if let Some(said) = self.max_age {
            return said;
        }
        let sent = head.header("date").and_then(date);
        if let Some(expires) = head.header("expires") {
            match (date(expires), sent) {
                // By the origin's own clock: this node's may be wrong.
                (Some(expires), Some(sent)) => return expires.duration_since(sent).unwrap_or_default(),
                // "0", mostly: it is over already.
                (None, _) => return Duration::ZERO,
                (Some(_), None) => {}
            }
        }
        if self.immutable {
            return IMMUTABLE;
        }
        match (head.modified().and_then(date), sent) {
            (Some(modified), Some(sent)) => {
                let age = sent.duration_since(modified).unwrap_or_default();
                (age / 10).clamp(HEURISTIC.0, HEURISTIC.1)
            }
            _ => HEURISTIC_BLIND,
        }
    }
}

/// The parts of a line of `Cache-Control`: a comma within quotes parts nothing.
fn directives(line: &str) -> impl Iterator<Item = &str> {
    let mut quoted = false;
    let parts = line.split(move |c| {
        quoted ^= c == '"';
        c == ',' && !quoted
    });
    parts.map(str::trim).filter(|part| !part.is_empty())
}

fn seconds(text: &str) -> Option<Duration> {
    let text = text.trim();
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    // More digits than fit are still a number.
    Some(Duration::from_secs(text.parse().unwrap_or(SECONDS_MAX).min(SECONDS_MAX)))
}

fn date(text: &str) -> Option<SystemTime> {
    httpdate::parse_http_date(text.trim()).ok()
}

#[cfg(test)]
mod tests {
    use Freshness::{Expired, Forbidden, Fresh, Stale};

    use super::*;

    const SENT: (&str, &str) = ("date", "Sun, 22 Nov 2026 10:00:00 GMT");

    fn lifetime(headers: &[(&str, &str)]) -> Lifetime {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Lifetime::of(&ResourceHead { headers, ..ResourceHead::default() })
    }

    /// What it is good for after each of some seconds.
    fn check(headers: &[(&str, &str)], want: &[(u64, Freshness)]) {
        let lifetime = lifetime(headers);
        for (after, want) in want {
            assert_eq!(lifetime.judge(Duration::from_secs(*after)), *want, "{headers:?} after {after} s");
        }
    }

    #[test]
    fn an_explicit_time_is_obeyed() {
        let control = |value| [("cache-control", value), SENT];
        check(&control("max-age=30"), &[(0, Fresh), (29, Fresh), (30, Stale), (59, Stale), (60, Expired)]);
        check(&control("public, MAX-AGE=\"30\" , s-maxage=1"), &[(29, Fresh), (30, Stale)]);
        check(&control("max-age=3600"), &[(3599, Fresh), (3659, Stale), (3660, Expired)]);
        check(&control("max-age=99999999999999999999"), &[(86_400_000, Fresh)]);
        check(&control("max-age=60, max-age=5"), &[(5, Stale)]);
        check(&control("max-age=soon"), &[(0, Expired)]);
        check(&control("max-age=0"), &[(0, Expired), (1_000, Expired)]);
        check(&control("immutable"), &[(86_399, Fresh)]);
        check(&control("max-age=10, immutable"), &[(10, Stale)]);
    }

    #[test]
    fn expires_is_measured_by_the_origins_own_clock_and_yields_to_max_age() {
        let expires = |value| [("expires", value), SENT];
        check(&expires("Sun, 22 Nov 2026 10:00:40 GMT"), &[(39, Fresh), (40, Stale), (80, Expired)]);
        check(&expires("Sun, 22 Nov 2026 09:00:00 GMT"), &[(0, Expired)]);
        check(&expires("0"), &[(0, Expired)]);
        let both = [("expires", "0"), SENT, ("cache-control", "max-age=7")];
        check(&both, &[(6, Fresh), (7, Stale)]);
    }

    #[test]
    fn what_caches_before_this_one_spent_is_spent() {
        let aged = [("cache-control", "max-age=60"), ("age", "50")];
        check(&aged, &[(9, Fresh), (10, Stale), (69, Stale), (70, Expired)]);
        let over = [("cache-control", "max-age=60"), ("age", "100")];
        check(&over, &[(0, Stale), (59, Stale), (60, Expired)]);
        assert_eq!(lifetime(&over).age_after(Duration::from_secs(5)), Duration::from_secs(105));
        check(&[("cache-control", "max-age=60"), ("age", "old")], &[(59, Fresh)]);
    }

    #[test]
    fn what_must_be_confirmed_is_never_used_without() {
        let control = |value| [("cache-control", value), SENT];
        check(&control("no-cache"), &[(0, Forbidden)]);
        check(&control("max-age=60, no-store"), &[(0, Forbidden)]);
        check(&control("max-age=60, must-revalidate"), &[(59, Fresh), (60, Forbidden)]);
        check(&control("max-age=60, must-revalidate, stale-while-revalidate=60"), &[(60, Forbidden)]);
        check(&control("no-cache=\"set-cookie, max-age=1\", max-age=60"), &[(59, Fresh), (60, Stale)]);
    }

    #[test]
    fn the_origin_may_say_how_long_it_may_be_used_while_it_is_checked() {
        let swr = [("cache-control", "max-age=10, stale-while-revalidate=100")];
        check(&swr, &[(9, Fresh), (109, Stale), (110, Expired)]);
    }

    #[test]
    fn without_a_word_it_is_a_tenth_of_the_contents_age_within_bounds() {
        let modified = |value| [("last-modified", value), SENT];
        check(&modified("Sun, 22 Nov 2026 09:55:00 GMT"), &[(29, Fresh), (30, Stale), (60, Expired)]);
        check(&modified("Sun, 22 Nov 2020 10:00:00 GMT"), &[(59, Fresh), (60, Stale), (120, Expired)]);
        check(&modified("Sun, 22 Nov 2026 09:59:59 GMT"), &[(0, Fresh), (1, Stale), (2, Expired)]);
        check(&modified("Mon, 22 Nov 2027 10:00:00 GMT"), &[(0, Fresh), (1, Stale)]);
        check(&[], &[(9, Fresh), (10, Stale), (20, Expired)]);
    }
}
