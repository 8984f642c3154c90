//! Warming up before a release, on real sockets: the first viewer finds the film among peers, peers keep their owners' limits,
//! and what is cancelled leaves.
#![allow(clippy::unwrap_used)]

mod command;
mod limits;
mod paused;
mod playlist;
mod release;
mod world;
