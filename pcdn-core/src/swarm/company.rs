//! Company that may be here in a moment.
//!
//! A swarm begins knowing nobody. Most of the time discovery answers within a round trip and neighbours say what they hold
//! within two more: what is fetched from the origin before that is mostly held by somebody near. On a fast line that is all of
//! a short film (measured on loopback, 4 MB: everything that viewers of a film that others were watching fetched twice, they had
//! asked for in the 1 to 30 ms before the first neighbour said what it holds).

use std::time::Duration;

use super::Swarm;
use crate::id::PeerId;
use crate::peer::PeerRecord;
use crate::unit::Time;

/// Company is awaited no longer than this: a question to a tracker and a handshake over a distant path of 100 ms.
pub const COMPANY_WAIT: Duration = Duration::from_millis(400);

/// Whether it is still open who is there.
#[derive(Debug)]
pub(super) struct Company {
    pub(super) until: Time,
    /// Discovery has answered, be it that there is nobody.
    answered: bool,
}

impl Company {
    pub(super) fn new(now: Time) -> Self {
        Self { until: now + COMPANY_WAIT, answered: false }
    }
}

impl Swarm {
    /// Whether company may be here in a moment.
    pub(super) fn awaits_company(&self, now: Time) -> bool {
        let open = || !self.company.answered || self.exchange.known.dials() || self.links.has_silent();
        self.setup.take && now < self.company.until && open()
    }

    /// A peer cannot be reached: it is no company.
    pub(super) fn not_reached(&mut self, now: Time, peer: &PeerId) {
        self.exchange.known.not_reached(now, peer);
        self.dirty = true;
    }

    /// Discovery names peers, or says that there are none.
    pub(super) fn discovered(&mut self, now: Time, records: Vec<PeerRecord>) {
        self.dirty |= !self.company.answered;
        self.company.answered = true;
        self.found(now, records);
    }
}

#[cfg(test)]
mod tests;
