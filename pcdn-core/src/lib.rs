//! The words, the five seams, the swarm engine and the schedulers of **pcdn**.
//!
//! This crate is pure: no socket, no clock, no dice of its own. Decisions are functions of (state, now, dice, input), so the
//! same code runs under tokio, in the simulator and in a unit test.
//!
//! | read | for |
//! |---|---|
//! | [`id`], [`mod@unit`], [`range`], [`layout`], [`bitmap`], [`resource`], [`peer`], [`mod@glob`] | the words |
//! | [`fragment`], [`discovery`], [`transport`], [`mapping`], [`schedule`] | the five seams |
//! | [`origin`], [`store`], [`ledger`] | the supports |
//! | [`receipt`], [`audit`], [`superpeer`] | what peers sign for what they got, what they prove to hold, and who is preferred for it |
//! | [`warmup`] | who shall hold a content before it is released |
//! | [`verify`] | proof that bytes are right: `Verified`, piece lists, manifests, witnesses |
//! | [`wire`] | what peers say to one another |
//! | [`swarm`] | the engine: one resource, all its neighbours |

pub mod audit;
pub mod bitmap;
pub mod clock;
#[cfg(any(test, feature = "conformance"))]
pub mod conformance;
pub mod dice;
pub mod discovery;
pub mod error;
mod form;
pub mod fragment;
pub mod glob;
pub mod id;
pub mod layout;
pub mod ledger;
pub mod mapping;
#[cfg(any(test, feature = "mock"))]
pub mod mock;
pub mod origin;
pub mod peer;
pub mod range;
pub mod receipt;
pub mod resource;
pub mod schedule;
pub mod store;
pub mod superpeer;
pub mod swarm;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod transport;
pub mod unit;
pub mod verify;
pub mod warmup;
pub mod wire;

pub use async_trait::async_trait;
pub use bytes::Bytes;
