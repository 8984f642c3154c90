//! Links between peers, and the way to the origin: implementations of pcdn-core's `Transport` and `Origin` seams.
//!
//! | read | for |
//! |---|---|
//! | [`udp`] | our own UDP protocol, sub-piece pull: what nodes use |
//! | [`nat`] | how a node behind a NAT is seen and reached |
//! | [`memory`] | links inside one process, for tests and embedders |
//! | [`channel`] | a session over any byte stream, for writing a transport of one's own |
//! | [`origin`] | the CDN side over HTTP |

pub mod channel;
mod fetching;
pub mod memory;
pub mod nat;
pub mod origin;
#[cfg(test)]
mod testing;
pub mod udp;
mod want;
