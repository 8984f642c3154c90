//! One thing looked at, and what it says of P2P.

use pcdn_core::peer::{Appearance, Nat};
use pcdn_discovery::lan::{GROUP, GROUP_V6, Heard};
use serde::Serialize;

/// How it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum State {
    /// There is nothing to look at.
    Skipped,
    Ok,
    /// It works, and could be better.
    Warn,
    Bad,
}

impl State {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Skipped => "-",
            Self::Ok => "ok",
            Self::Warn => "warning",
            Self::Bad => "bad",
        }
    }
}

/// One line of the report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Check {
    pub(super) check: &'static str,
    pub(super) state: State,
    pub(super) what: String,
    /// What to do about it.
    pub(super) todo: Option<String>,
}

impl Check {
    pub(super) fn ok(check: &'static str, what: impl Into<String>) -> Self {
        Self { check, state: State::Ok, what: what.into(), todo: None }
    }

    pub(super) fn skipped(check: &'static str, what: impl Into<String>) -> Self {
        Self { check, state: State::Skipped, what: what.into(), todo: None }
    }

    pub(super) fn warn(check: &'static str, what: impl Into<String>, todo: impl Into<String>) -> Self {
        Self { check, state: State::Warn, what: what.into(), todo: Some(todo.into()) }
    }

    pub(super) fn bad(check: &'static str, what: impl Into<String>, todo: impl Into<String>) -> Self {
        Self { check, state: State::Bad, what: what.into(), todo: Some(todo.into()) }
    }
}

/// Whether peers can be had: nothing is bad, where of several trackers one is enough.
pub(super) fn verdict(checks: &[Check]) -> bool {
    let trackers = || checks.iter().filter(|check| check.check == "tracker");
    let one_answers = trackers().any(|check| check.state != State::Bad);
    checks.iter().all(|check| check.state != State::Bad || (check.check == "tracker" && one_answers))
}

/// What a NAT means for who is behind it.
pub(super) fn nat(appearance: &Appearance) -> Check {
    let at = appearance.addrs.first().map(ToString::to_string).unwrap_or_default();
    let kind = appearance.nat.as_str();
    match appearance.nat {
        _ if at.is_empty() => Check::bad(
            "nat",
            "no tracker sees UDP from here",
            "let UDP go out through the firewall, to any port; or see whether a tracker answers at all",
        ),
        Nat::Open => Check::ok("nat", format!("open: everybody reaches this node at {at}")),
        Nat::Restricted | Nat::Cone => {
            Check::ok("nat", format!("{kind}, seen at {at}: peers are met by way of a tracker"))
        }
        Nat::Symmetric => Check::warn(
            "nat",
            format!(
                "symmetric, seen at {at}: every peer sees another port, and most others behind NATs are not met"
            ),
            "let the router open ports (UPnP, NAT-PMP or PCP), or forward a UDP port to this machine and give it with --listen \
             udp://0.0.0.0:PORT",
        ),
        Nat::Unknown => Check::warn(
            "nat",
            format!("seen at {at}; of what kind the NAT is, the tracker cannot tell"),
            "let the tracker's second UDP port through its firewall: the number after its own",
        ),
    }
}

/// What a clock that is wrong by so many seconds means.
pub(super) fn clock(seconds: i64) -> Check {
    let limit = pcdn_core::peer::SignedRecord::SKEW.as_secs() as i64;
    let what =
        format!("{} s {} the tracker's", seconds.abs(), if seconds < 0 { "behind" } else { "ahead of" });
    let todo = "set the clock, and keep it by NTP";
    match seconds.abs() {
        0..=2 => Check::ok("clock", "agrees with the tracker's"),
        off if off > limit => {
            Check::bad("clock", format!("{what}: what this node signs is refused, from {limit} s on"), todo)
        }
        off if off > limit / 10 => Check::warn("clock", what, todo),
        _ => Check::ok("clock", what),
    }
}

/// What it means where this node is heard in its local networks, and where not. Nobody needs them, so nothing is bad.
pub(super) fn lan(heard: &[Heard]) -> Check {
    let list = |which: &dyn Fn(&Heard) -> bool| {
        let ips: Vec<String> =
            heard.iter().filter(|heard| which(heard)).map(|heard| heard.at.to_string()).collect();
        ips.join(", ")
    };
    if heard.is_empty() {
        return Check::skipped(
            "lan",
            "this machine has no address in a local network at which --listen has it listen",
        );
    }
    let (there, not) = (list(&|heard| heard.why_not.is_none()), list(&|heard| heard.why_not.is_some()));
    let Some(why) = heard.iter().find_map(|heard| heard.why_not.as_ref()) else {
        return Check::ok(
            "lan",
            format!("multicast works at {there}: peers there are found without a tracker"),
        );
    };
    let elsewhere = if there.is_empty() { String::new() } else { format!("; it does at {there}") };
    Check::warn(
        "lan",
        format!("multicast does not work at {not} ({why}){elsewhere}"),
        format!(
            "let UDP to port {} in, and out to {} and {}, through this machine's firewall",
            GROUP.1, GROUP.0, GROUP_V6.0
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_tracker_that_answers_is_enough_and_nothing_else_may_be_bad() {
        let bad = |check| Check::bad(check, "", "");
        let good = Check::ok("tracker", "");
        assert!(verdict(&[good.clone(), bad("tracker")]));
        assert!(!verdict(&[bad("tracker"), bad("tracker")]));
        assert!(!verdict(&[good.clone(), bad("nat")]));
        assert!(verdict(&[good, Check::warn("disk", "", ""), Check::skipped("dht", "")]));
    }

    #[test]
    fn every_kind_of_nat_has_its_words_and_what_is_not_right_says_what_to_do() {
        let of = |nat, at: Option<&str>| {
            nat_of(Appearance { addrs: at.map(|at| at.parse().unwrap()).into_iter().collect(), nat })
        };
        let at = Some("udp://198.51.100.1:4000");
        assert_eq!(of(Nat::Open, at), (State::Ok, false));
        assert_eq!(of(Nat::Cone, at), (State::Ok, false));
        assert_eq!(of(Nat::Restricted, at), (State::Ok, false));
        assert_eq!(of(Nat::Symmetric, at), (State::Warn, true));
        assert_eq!(of(Nat::Unknown, at), (State::Warn, true));
        assert_eq!(of(Nat::Unknown, None), (State::Bad, true));
    }

    fn nat_of(appearance: Appearance) -> (State, bool) {
        let check = nat(&appearance);
        (check.state, check.todo.is_some())
    }

    #[test]
    fn a_local_network_helps_and_none_is_needed() {
        let heard = |at: &str, why_not: Option<std::io::ErrorKind>| Heard {
            at: at.parse().unwrap(),
            why_not: why_not.map(Into::into),
        };
        let of = |all: Vec<Heard>| lan(&all);
        assert_eq!(of(vec![]).state, State::Skipped);
        let both = of(vec![heard("192.168.1.2", None), heard("fd00::2", None)]);
        assert_eq!(both.state, State::Ok);
        assert!(both.what.contains("192.168.1.2, fd00::2"));
        let one = of(vec![heard("192.168.1.2", Some(std::io::ErrorKind::TimedOut)), heard("fd00::2", None)]);
        assert_eq!((one.state, one.todo.is_some()), (State::Warn, true));
        assert!(one.what.contains("not work at 192.168.1.2 (timed out); it does at fd00::2"), "{}", one.what);
        assert!(verdict(&[Check::ok("tracker", ""), one]));
    }

    #[test]
    fn clocks_may_differ_as_far_as_records_allow() {
        for (seconds, state) in
            [(0, State::Ok), (20, State::Ok), (-31, State::Warn), (300, State::Warn), (-301, State::Bad)]
        {
            assert_eq!(clock(seconds).state, state, "{seconds}");
        }
    }
}
