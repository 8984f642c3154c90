//! Where verified pieces are kept: in [`Memory`], or on [`Disk`] so that they survive a restart.

pub mod disk;

pub use disk::{Disk, DiskConfig};
pub use pcdn_core::store::{Held, Kept, Memory, Store, StoreError};
