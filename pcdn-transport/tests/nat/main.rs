//! Homes behind NATs, in virtual time: who meets whom, and what survives.
#![allow(clippy::unwrap_used)]

mod matrix;
mod order;
mod rebind;
mod world;
