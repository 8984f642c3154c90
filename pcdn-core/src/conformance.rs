//! Contract suites: what every implementation of a seam must do, as functions for its tests.
//!
//! Each takes the implementation under test (or a maker of it) and panics with the clause that was broken:
//!
//! ```
//! use pcdn_core::{conformance, schedule::Sequential, store::Memory, unit::ByteSize};
//! conformance::store::store(|| Memory::of(ByteSize::mib(32)));
//! conformance::scheduler::scheduler(|| Sequential);
//! ```
//!
//! | seam | suite | needs |
//! |---|---|---|
//! | Fragmenter | [`fragmenter::fragmenter`] | a sample it can cut |
//! | Discovery | [`discovery::discovery`], [`discovery::meeting`] | nothing; two that can find each other |
//! | Transport, Session | [`transport::transport`] | a maker of transports that can reach each other |
//! | Mapper | [`mapper::mapper`] | URLs grouped by content |
//! | Scheduler | [`scheduler::scheduler`] | nothing |
//! | Origin | [`origin::origin`] | a server of a known body |
//! | Store | [`store::store`] | nothing |
//!
//! The asynchronous ones run under any runtime: they wait for events, and give up after half a minute of silence.

pub mod discovery;
pub mod fragmenter;
pub mod mapper;
pub mod origin;
pub mod scheduler;
pub mod store;
pub mod transport;
