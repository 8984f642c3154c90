//! Mocks of every seam, under one name: for unit tests of one's own module.
//!
//! They are made by [mockall](https://docs.rs/mockall). A mock answers what it was told to expect and panics at any other call,
//! so a test says exactly what its module may ask of its neighbours:
//!
//! ```
//! use pcdn_core::{id::Rid, mapping::Mapper, mock::MockMapper, resource::Mapping};
//! let mut mapper = MockMapper::new();
//! mapper.expect_map().times(..=1).returning(|_| Ok(Mapping::to(Rid([7; 32]), "test")));
//! # async fn used(mapper: MockMapper) -> Result<(), Box<dyn std::error::Error>> {
//! assert_eq!(mapper.map(&"http://h.example/film".parse()?).await?.rid, Rid([7; 32]));
//! # Ok(()) }
//! ```
//!
//! Where behaviour matters more than calls, the fakes of `testing` (feature `testing`) and
//! [`store::Memory`](crate::store::Memory) are the better tools.

pub use crate::discovery::MockDiscovery;
pub use crate::fragment::{MockFragmenter, MockSlicing};
pub use crate::ledger::MockLedger;
pub use crate::mapping::MockMapper;
pub use crate::origin::MockOrigin;
pub use crate::schedule::MockScheduler;
pub use crate::store::MockStore;
pub use crate::transport::{MockProvider, MockSession, MockTransport};
