//! Finding peers: implementations of the [`Discovery`](pcdn_core::discovery::Discovery) seam.
//!
//! | type | asks | first peers after |
//! |---|---|---|
//! | [`Fixed`] | a list given beforehand | at once |
//! | [`Tracker`] | a tracker node, over UDP or HTTP | two round trips, one when it was asked in the last minute |
//! | [`Trackers`] | several trackers that share the swarms among them, two for each | as above |
//! | [`Lan`] (feature `lan`) | the local network, by multicast | a millisecond |
//! | [`Kad`] (feature `kad`) | a DHT of the peers themselves | about 90 ms where a round trip takes 40 |
//! | [`Merged`] | several discoveries side by side, or a second row after the first | the fastest of them |
//! | [`Cached`] | another discovery, and its last answers when it fails | that one, or 1 s |
//!
//! [`TrackerServer`] is the other end of [`Tracker`]. Its wire format is documented at [`tracker::wire`].
//!
//! ```
//! use std::sync::Arc;
//! use pcdn_discovery::{Fixed, Merged, Tracker};
//!
//! let neighbours = Fixed::new(Vec::new());
//! let tracker: Tracker = "tracker.example:7070".parse()?;
//! let everyone = Merged::new(vec![Arc::new(neighbours), Arc::new(tracker)]);
//! # Ok::<(), pcdn_core::discovery::DiscoveryError>(())
//! ```

mod cached;
mod fixed;
#[cfg(feature = "kad")]
pub mod kad;
#[cfg(feature = "lan")]
pub mod lan;
mod merged;
mod seen;
#[cfg(feature = "tracker")]
pub mod tracker;

pub use cached::Cached;
pub use fixed::Fixed;
#[cfg(feature = "kad")]
pub use kad::{Contact, Kad, KadConfig, KadStatus, Serve};
#[cfg(feature = "lan")]
pub use lan::Lan;
pub use merged::{Found, Merged};
#[cfg(feature = "tracker")]
pub use tracker::{Secret, Tracker, TrackerConfig, TrackerServer, Trackers};
