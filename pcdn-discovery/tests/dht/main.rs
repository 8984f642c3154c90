//! The DHT over real sockets on loopback.
#![cfg(feature = "kad")]
#![allow(clippy::unwrap_used, clippy::print_stderr)]

mod hostile;
mod life;
mod many;
mod world;
