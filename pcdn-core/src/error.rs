//! Errors give a verdict: whose fault it was, and whether trying again can help.
//!
//! The engine punishes a peer, falls back to the origin, or stops, by that verdict and never by matching strings.

/// Any error of an implementation outside this crate.
pub type BoxError = Box<dyn std::error::Error + Send + Sync + 'static>;

/// Who is to blame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blame {
    /// The peer at the other end.
    Peer,
    /// The origin (CDN).
    Origin,
    /// This machine: disk, memory, network interface.
    Local,
    /// What the user configured or asked for.
    Config,
}

/// An error that gives a verdict.
pub trait Judged {
    /// Whose fault it was.
    fn blame(&self) -> Blame;
    /// Whether the same call may succeed later.
    fn transient(&self) -> bool;
}
