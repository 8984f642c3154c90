//! Links between peers, and the way to the origin: implementations of pcdn-core's `Transport` and `Origin` seams.
//!
//! | read | for |
//! |---|---|
//! | [`udp`] | our own UDP protocol, sub-piece pull: what nodes use |
//! | [`nat`] | how a node behind a NAT is seen and reached |
//! | [`quic`] | the same seam over QUIC, for networks that let nothing else pass |
//! | [`shared`] | both of these on one socket |
//! | [`memory`] | links inside one process, for tests and embedders |
//! | [`channel`] | a session over any byte stream, for writing a transport of one's own |
//! | `relay` (feature `testing`) | a bad network between two sockets, and what any transport must bear there |
//! | [`limit`] | rate limits of the node, its swarms and its peers, for all transports together |
//! | [`origin`] | the CDN side over HTTP |

mod base;
pub mod channel;
mod company;
mod fetching;
pub mod limit;
pub mod memory;
pub mod nat;
pub mod origin;
mod pacer;
pub mod quic;
#[cfg(any(test, feature = "testing"))]
pub mod relay;
mod request;
mod secret;
pub mod shared;
#[cfg(test)]
mod testing;
pub mod udp;
mod want;
