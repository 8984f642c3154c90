//! Deliver files, audio and video from an ordinary CDN **plus** the viewers themselves.
//!
//! This is the facade: it composes the parts of the other crates into a [`Node`], and holds what an application or the `pcdn`
//! binary needs around one: [`gateway`], [`store`], [`identity`], [`publish`].

pub mod admin;
pub mod cli;
pub mod config;
pub mod demo;
pub mod gateway;
mod http;
pub mod identity;
pub mod ledger;
pub mod mapping_node;
pub mod metrics;
pub mod nat;
pub mod node;
pub mod publish;
pub mod push;
pub mod sim;
pub mod standing;
pub mod store;

/// The README, so that its code is compiled with the tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}

pub use node::{Asset, Node, OpenError, Reader};
pub use pcdn_core as core;
#[cfg(feature = "conformance")]
pub use pcdn_core::conformance;
#[cfg(feature = "mock")]
pub use pcdn_core::mock;
#[cfg(feature = "testing")]
pub use pcdn_core::testing;
pub use pcdn_discovery as discovery;
pub use pcdn_mapping as mapping;
pub use pcdn_media as media;
pub use pcdn_transport as transport;

/// Dice seeded from the system: what decisions are drawn with. Secrets are not.
///
/// # Errors
/// If the system has no random bytes to give.
pub fn dice() -> std::io::Result<pcdn_core::dice::Dice> {
    let mut seed = [0; 8];
    getrandom::fill(&mut seed).map_err(|error| std::io::Error::other(error.to_string()))?;
    Ok(pcdn_core::dice::Dice::new(u64::from_le_bytes(seed)))
}
