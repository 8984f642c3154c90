//! Contract suites: what every implementation of a seam must do, as functions for its tests.
//!
//! Each takes the implementation under test (or a maker of it) and panics with the clause that was broken:
//!
//! ```
//! use pcdn_core::{conformance, store::Memory, unit::ByteSize};
//! conformance::store::store(|| Memory::of(ByteSize::mib(32)));
//! ```

pub mod fragmenter;
pub mod store;
