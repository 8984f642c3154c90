//! Fetching what nobody waits for: behind everyone else, and with a bound on what the origin gives for it.
//!
//! A content that is held for others before its release is fetched so. As soon as somebody reads it here, it is fetched as
//! anything else: a viewer comes first.

use super::Swarm;
use crate::transport::Class;

/// What the origin may give in the background.
#[derive(Clone, Copy, Debug)]
pub(super) struct Background {
    /// Bytes taken from it, and asked of it, when that began.
    since: u64,
    /// Bytes it may give from then on.
    most: u64,
}

impl Swarm {
    /// A bound that is said again counts from when the first was said: what is under way meanwhile is not allowed twice.
    pub(super) fn set_background(&mut self, origin_bytes: Option<u64>) {
        let since = self.background.map_or(self.origin.taken(), |background| background.since);
        self.background = origin_bytes.map(|most| Background { since, most });
        self.dirty = true;
    }

    fn is_background(&self) -> bool {
        self.background.is_some() && self.readers.is_empty()
    }

    /// How a request of `class` is to be asked for.
    pub(super) fn class(&self, class: Class) -> Class {
        if self.is_background() { Class::Background } else { class }
    }

    /// Bytes that may still be taken from the origin.
    pub(super) fn origin_left(&self) -> u64 {
        match self.background {
            Some(Background { since, most }) if self.is_background() => {
                since.saturating_add(most).saturating_sub(self.origin.taken())
            }
            _ => u64::MAX,
        }
    }
}
