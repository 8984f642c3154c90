//! Fetching what nobody waits for: behind everyone else, and with a bound on what the origin gives for it.
//!
//! A content that is held for others before its release is fetched so. As soon as somebody reads it here, it is fetched as
//! anything else: a viewer comes first.

use super::Swarm;
use crate::transport::Class;

impl Swarm {
    pub(super) fn set_background(&mut self, origin_bytes: Option<u64>) {
        self.background = origin_bytes.map(|bytes| self.origin.taken().saturating_add(bytes));
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
            Some(most) if self.is_background() => most.saturating_sub(self.origin.taken()),
            _ => u64::MAX,
        }
    }
}
