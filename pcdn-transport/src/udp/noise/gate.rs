//! Which hellos are worth a curve operation: so many a second freely, more with a cookie that shows the caller's address is real.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use pcdn_core::unit::Time;

use super::{Secrets, keyed};

/// Decides which hellos are worth a curve operation.
#[derive(Debug)]
pub(crate) struct Gate {
    /// Hellos answered a second before cookies are demanded.
    free_per_second: u32,
    window_from: Time,
    answered: u32,
    secret: [u8; 32],
    secret_before: [u8; 32],
    turned: Time,
}

/// How long a cookie holds at least; it holds up to twice that.
const COOKIE_LIFE: Duration = Duration::from_secs(60);
/// Even with cookies a second's handshakes are bounded, at this many times the free ones: 0.4 ms of CPU each.
const PROVEN_FACTOR: u32 = 8;

/// What to do with a hello.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Entry {
    Answer,
    Demand([u8; 16]),
    Drop,
}

impl Gate {
    pub(crate) fn new(free_per_second: u32, secrets: &mut Secrets) -> Self {
        let secret = secrets.draw();
        Self {
            free_per_second,
            window_from: Time::ZERO,
            answered: 0,
            secret,
            secret_before: secret,
            turned: Time::ZERO,
        }
    }

    pub(crate) fn judge(
        &mut self,
        now: Time,
        from: SocketAddr,
        cookie: &[u8; 16],
        secrets: &mut Secrets,
    ) -> Entry {
        if now.since(self.window_from) >= Duration::from_secs(1) {
            (self.window_from, self.answered) = (now, 0);
        }
        if now.since(self.turned) >= COOKIE_LIFE {
            self.secret_before = std::mem::replace(&mut self.secret, secrets.draw());
            self.turned = now;
        }
        let due = cookie_for(&self.secret, from);
        let proven = *cookie == due || *cookie == cookie_for(&self.secret_before, from);
        let limit =
            if proven { self.free_per_second.saturating_mul(PROVEN_FACTOR) } else { self.free_per_second };
        if self.answered < limit {
            self.answered += 1;
            return Entry::Answer;
        }
        if proven { Entry::Drop } else { Entry::Demand(due) }
    }
}

fn cookie_for(secret: &[u8; 32], from: SocketAddr) -> [u8; 16] {
    let ip = match from.ip() {
        IpAddr::V4(ip) => ip.to_ipv6_mapped().octets(),
        IpAddr::V6(ip) => ip.octets(),
    };
    keyed(secret, &[&ip, &from.port().to_be_bytes()])
}
