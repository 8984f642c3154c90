//! When each session wants to be woken.

use std::collections::{BTreeMap, BTreeSet};

use pcdn_core::unit::Time;

/// One time for each session.
#[derive(Debug, Default)]
pub(super) struct Timers {
    pub(super) by_time: BTreeSet<(Time, u32)>,
    by_session: BTreeMap<u32, Time>,
}

impl Timers {
    pub(super) fn set(&mut self, session: u32, at: Time) {
        let before = self.by_session.insert(session, at);
        if before != Some(at) {
            if let Some(before) = before {
                self.by_time.remove(&(before, session));
            }
            self.by_time.insert((at, session));
        }
    }

    pub(super) fn clear(&mut self, session: u32) {
        if let Some(at) = self.by_session.remove(&session) {
            self.by_time.remove(&(at, session));
        }
    }

    pub(super) fn due(&self, now: Time) -> Vec<u32> {
        self.by_time.iter().take_while(|(at, _)| *at <= now).map(|(_, session)| *session).collect()
    }
}
