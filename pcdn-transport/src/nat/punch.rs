//! One meeting: both sides punch to all addresses of the other at once, until one comes through or the time is over.

use std::net::SocketAddr;
use std::time::Duration;

use pcdn_core::unit::Time;
use pcdn_core::wire::meet::{MEET_ADDRS_MAX, Token};

/// How often each address is punched to: lost ones cost little, and a NAT is opened within a round trip.
pub const EVERY: Duration = Duration::from_millis(100);
/// How long a meeting lasts.
pub const LASTS: Duration = Duration::from_secs(3);
/// A tracker can make a node wait so long at most before it begins.
pub const BEGIN_MAX: Duration = Duration::from_secs(1);
/// Addresses from which the other came through although nobody named them: behind a symmetric NAT every port is a new one.
const CAME_MAX: usize = 4;

/// The meeting as one side sees it.
#[derive(Debug)]
pub struct Punch {
    token: Token,
    addrs: Vec<SocketAddr>,
    next: Time,
    until: Time,
}

impl Punch {
    /// Begins at `begin`, with the other's addresses as the tracker told them.
    pub fn new(begin: Time, token: Token, addrs: &[SocketAddr]) -> Self {
        let addrs = addrs.iter().take(MEET_ADDRS_MAX).copied().collect();
        Self { token, addrs, next: begin, until: begin + LASTS }
    }

    /// What both sides show.
    pub fn token(&self) -> Token {
        self.token
    }

    /// The other's punch came through from there: that way is punched back at once, for the other's NAT may let in only what
    /// it has written to.
    pub fn came(&mut self, now: Time, from: SocketAddr) {
        if !self.addrs.contains(&from) && self.addrs.len() < MEET_ADDRS_MAX + CAME_MAX {
            self.addrs.push(from);
            self.next = self.next.min(now);
        }
    }

    /// Where to punch to now.
    pub fn due(&mut self, now: Time) -> impl Iterator<Item = SocketAddr> + '_ {
        let due = now >= self.next && !self.is_over(now);
        if due {
            self.next = now + EVERY;
        }
        self.addrs.iter().copied().filter(move |_| due)
    }

    /// Whether its time is over.
    pub fn is_over(&self, now: Time) -> bool {
        now >= self.until
    }

    /// When to look again.
    pub fn next_wake(&self) -> Time {
        self.next.min(self.until)
    }
}
