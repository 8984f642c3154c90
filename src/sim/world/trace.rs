//! A running hash over everything the engines were told: equal traces are equal runs.

use pcdn_core::swarm::Input;
use pcdn_core::unit::Time;

/// The hash so far.
#[derive(Clone, Copy, Debug)]
pub(in crate::sim) struct Trace(u64);

impl Default for Trace {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Trace {
    /// An input is handed to a peer's engine.
    pub(super) fn input(&mut self, now: Time, peer: u32, input: &Input) {
        let (kind, detail) = match input {
            Input::LinkUp { link, .. } => (1, u64::from(link.0)),
            Input::LinkDown { link } => (2, u64::from(link.0)),
            Input::Path { link, .. } => (3, u64::from(link.0)),
            Input::Message { link, .. } => (4, u64::from(link.0)),
            Input::Piece { flight, .. } => (5, *flight),
            Input::Failed { flight, .. } => (6, *flight),
            Input::OriginBytes { run, bytes } => (7, run << 24 | bytes.len() as u64),
            Input::OriginEnd { run, .. } => (8, *run),
            Input::Ask { ask, .. } => (9, ask.0),
            Input::AskGone { ask } => (10, ask.0),
            Input::Found(records) => (11, records.len() as u64),
            Input::NotReached(_) => (12, 0),
            Input::Loaded { key, .. } => (13, key.segment.0 << 20 | u64::from(key.piece.get())),
            Input::Pull { .. } => (14, 0),
            Input::Wake => (15, 0),
            _ => (16, 0),
        };
        self.mix(now.0);
        self.mix(u64::from(peer) << 8 | kind);
        self.mix(detail);
    }

    /// FNV-1a over 64-bit words, with a turn so that high bits reach low ones.
    fn mix(&mut self, word: u64) {
        self.0 = (self.0 ^ word).wrapping_mul(0x0000_0100_0000_01b3).rotate_left(29);
    }
}

impl std::fmt::Display for Trace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}
