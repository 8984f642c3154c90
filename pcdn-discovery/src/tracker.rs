//! The tracker: a small server that knows who takes part in which swarm, and its client.
//!
//! A tracker introduces the first peers and nothing more: it keeps no content, vouches for nobody, and a swarm that has met
//! goes on without it. So it may forget everything at a restart, and it lives in memory alone.
//!
//! | file | what | pure |
//! |---|---|---|
//! | [`wire`] | the datagrams, with their format | yes |
//! | [`cookie`] | the connection id that proves a source address | yes |
//! | [`secret`] | the key of a private tracker | yes |
//! | [`token`] | what an application allows its users | yes |
//! | [`guard`] | what one address may do | yes |
//! | [`table`] | who may enter a swarm, who is handed out, when to come again | yes |
//! | [`store`] | where entries live: columns in memory, or Redis beside them | memory is |
//! | [`networks`] | whose network and region an address belongs to | yes |
//! | `nodes`, `load` | what reporting peers hold; how busy the tracker is | yes |
//! | `reach` | which addresses are worth telling and believing | yes |
//! | [`meet`] | how nodes appear, and how two of them meet through NATs | yes |
//! | [`service`] | one request in, one answer out | yes |
//! | [`standing`] | receipts, witnesses, superpeers | yes |
//! | [`server`], [`http`] | the sockets around it | no |
//! | [`client`] | [`Tracker`]: its [`Machine`](client::Machine) is pure, its socket is not | half |
//!
//! What is pure takes `now` and `dice` as arguments and can be run by a test or a simulator in virtual time.

pub mod client;
pub mod cookie;
pub mod guard;
pub mod http;
mod load;
pub mod meet;
pub mod networks;
mod nodes;
mod reach;
pub mod secret;
pub mod server;
pub mod service;
pub mod standing;
pub mod store;
pub mod table;
pub mod token;
pub mod wire;

pub use client::{Tracker, Trackers};
pub use secret::Secret;
pub use server::{TrackerConfig, TrackerServer};
