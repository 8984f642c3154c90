//! The UDP protocol in virtual time: bars of performance and the life of sessions.

#![allow(clippy::unwrap_used, reason = "a test may")]

mod bars;
mod life;
mod world;
