//! The QUIC transport on real sockets of this machine.
#![allow(clippy::unwrap_used)]

mod contract;
mod meeting;
mod rebind;
mod shared;
