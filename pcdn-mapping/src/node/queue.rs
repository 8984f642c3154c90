//! Which content is looked at next. Pure.
//!
//! Looks are wanted by requests; each content is looked at once at a time, each host by one look at a time, and a URL that failed is
//! left alone for a while: the URL and not the content, so that nobody spoils one by asking for it at a place where it is not.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use pcdn_core::id::Rid;
use pcdn_core::resource::Url;
use pcdn_core::unit::Time;

use crate::canonical::host_of;

/// Looks that wait. At one a second this is a quarter of an hour; more would be answered too late to help.
const WAITING_MAX: usize = 1_000;
/// Looks at a time: reading is the origins' work and hashing is cheap, so a few keep both busy.
const RUNNING_MAX: usize = 4;
/// Failures remembered; the one that ends first is forgotten.
const FAILED_MAX: usize = 10_000;
/// A content that could not be read is left alone for so long, doubling.
const AGAIN: Duration = Duration::from_secs(30);
const AGAIN_MAX: Duration = Duration::from_secs(3_600);

/// A content to be looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Look {
    pub(super) rid: Rid,
    /// Where it is fetched.
    pub(super) url: Url,
    /// How it is told from its next generation, and who named it; for the first look.
    pub(super) named: super::entry::Named,
}

/// What becomes of a wish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outlook {
    /// So many are before it.
    Waiting(usize),
    /// It is looked at now.
    Running,
    /// It failed lately and is tried again in a while.
    Failed { why: String, again_in: Duration },
    /// Too many wait.
    Full,
}

#[derive(Debug)]
struct Failure {
    why: String,
    until: Time,
    times: u32,
}

/// Give it wishes and ends, and take [`next`](Self::next) until it is `None` after each.
#[derive(Debug, Default)]
pub(super) struct Queue {
    waiting: VecDeque<Look>,
    /// What is looked at now, and where.
    running: BTreeMap<Rid, Url>,
    failed: BTreeMap<Url, Failure>,
}

impl Queue {
    /// Wants a look.
    pub(super) fn want(&mut self, now: Time, look: Look) -> Outlook {
        if self.running.contains_key(&look.rid) {
            return Outlook::Running;
        }
        if let Some(before) = self.waiting.iter().position(|other| other.rid == look.rid) {
            return Outlook::Waiting(before);
        }
        if let Some(failure) = self.failed.get(&look.url).filter(|failure| failure.until > now) {
            return Outlook::Failed { why: failure.why.clone(), again_in: failure.until.since(now) };
        }
        if self.waiting.len() >= WAITING_MAX {
            return Outlook::Full;
        }
        self.waiting.push_back(look);
        Outlook::Waiting(self.waiting.len() - 1)
    }

    /// The publisher says that it is worth trying now.
    pub(super) fn pardon(&mut self, url: &Url) {
        self.failed.remove(url);
    }

    /// The next look to begin.
    pub(super) fn next(&mut self) -> Option<Look> {
        if self.running.len() >= RUNNING_MAX {
            return None;
        }
        let busy: BTreeSet<String> = self.running.values().map(host_of).collect();
        let at = self.waiting.iter().position(|look| !busy.contains(&host_of(&look.url)))?;
        let look = self.waiting.remove(at)?;
        self.running.insert(look.rid, look.url.clone());
        Some(look)
    }

    /// A look ended.
    pub(super) fn done(&mut self, now: Time, rid: &Rid, outcome: Result<(), String>) {
        let Some(url) = self.running.remove(rid) else { return };
        let Err(why) = outcome else {
            self.failed.remove(&url);
            return;
        };
        let times = self.failed.get(&url).map_or(0, |failure| failure.times);
        let until = now + AGAIN.saturating_mul(1 << times.min(7)).min(AGAIN_MAX);
        self.failed.insert(url, Failure { why, until, times: times + 1 });
        if self.failed.len() > FAILED_MAX {
            let first =
                self.failed.iter().min_by_key(|(_, failure)| failure.until).map(|(url, _)| url.clone());
            first.map(|url| self.failed.remove(&url));
        }
    }

    /// Whether it is looked at, or will be.
    pub(super) fn knows(&self, rid: &Rid) -> bool {
        self.running.contains_key(rid) || self.waiting.iter().any(|look| look.rid == *rid)
    }

    /// Looks that wait, and that run.
    pub(super) fn lengths(&self) -> (usize, usize) {
        (self.waiting.len(), self.running.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pcdn_core::resource::Generations;

    fn look(number: u16, host: &str) -> Look {
        let mut rid = Rid([0; 32]);
        rid.0[..2].copy_from_slice(&number.to_be_bytes());
        let url = format!("http://{host}/{number}").parse().unwrap();
        let named = super::super::entry::Named { generations: Generations::One, by: "t".into() };
        Look { rid, url, named }
    }

    #[test]
    fn each_content_once_and_each_host_one_at_a_time() {
        let mut queue = Queue::default();
        let now = Time::ZERO;
        for (number, host) in [(1, "a"), (2, "a"), (3, "b"), (4, "c"), (5, "d"), (6, "e")] {
            queue.want(now, look(number, host));
        }
        assert_eq!(queue.want(now, look(2, "a")), Outlook::Waiting(1));
        let begun: Vec<Look> = std::iter::from_fn(|| queue.next()).collect();
        assert_eq!(begun, [look(1, "a"), look(3, "b"), look(4, "c"), look(5, "d")]);
        assert_eq!(queue.want(now, look(1, "a")), Outlook::Running);
        queue.done(now, &look(4, "c").rid, Ok(()));
        assert_eq!(queue.next(), Some(look(6, "e")), "a is still busy");
        queue.done(now, &look(1, "a").rid, Ok(()));
        assert_eq!(queue.next(), Some(look(2, "a")));
    }

    #[test]
    fn what_failed_is_left_alone_ever_longer_unless_pardoned() {
        let (mut queue, mut now, one) = (Queue::default(), Time::ZERO, look(1, "a"));
        for seconds in [30, 60, 120, 240, 480, 960, 1920, 3600, 3600] {
            assert_eq!(queue.want(now, one.clone()), Outlook::Waiting(0));
            assert!(queue.next().is_some());
            queue.done(now, &one.rid, Err("404".into()));
            let again_in = Duration::from_secs(seconds);
            assert_eq!(queue.want(now, one.clone()), Outlook::Failed { why: "404".into(), again_in });
            now += again_in;
        }
        queue.want(now, one.clone());
        queue.next();
        queue.done(now, &one.rid, Err("404".into()));
        queue.pardon(&one.url);
        assert_eq!(queue.want(now, one), Outlook::Waiting(0));
    }

    #[test]
    fn a_place_where_a_content_is_not_spoils_no_other_place_of_it() {
        let (mut queue, wrong) = (Queue::default(), look(1, "a"));
        queue.want(Time::ZERO, wrong.clone());
        queue.next();
        queue.done(Time::ZERO, &wrong.rid, Err("404".into()));
        let right = Look { url: "http://a/right".parse().unwrap(), ..wrong.clone() };
        assert_eq!(queue.want(Time::ZERO, right), Outlook::Waiting(0));
        assert!(matches!(queue.want(Time::ZERO, look(2, "a")), Outlook::Waiting(1)));
    }

    #[test]
    fn tables_are_bounded() {
        let mut queue = Queue::default();
        for number in 0..WAITING_MAX as u16 {
            assert_ne!(queue.want(Time::ZERO, look(number, "a")), Outlook::Full);
        }
        assert_eq!(queue.want(Time::ZERO, look(9_999, "a")), Outlook::Full);
        let mut queue = Queue::default();
        for number in 0..FAILED_MAX as u16 + 5 {
            queue.want(Time(number.into()), look(number, "a"));
            queue.next();
            queue.done(Time(number.into()), &look(number, "a").rid, Err(String::new()));
        }
        assert_eq!(queue.failed.len(), FAILED_MAX);
        assert!(!queue.failed.contains_key(&look(4, "a").url));
    }
}
