//! Peers that mean harm, against a node: whatever they say, give or withhold, the download ends with the content's bytes, and
//! what the node keeps of them is bounded.
#![allow(clippy::unwrap_used)]

mod datagrams;
mod giving;
mod talk;
mod world;
