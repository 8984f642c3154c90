//! Books outside: where a collector of receipts tells what peers have earned, and asks what they have at stake.
//!
//! [`File`] appends lines of JSON; [`Http`] calls a service of the operator's own. Both are [`Ledger`]s; pcdn has no chain and no
//! money.

mod file;
mod http;

pub use file::File;
pub use http::Http;
pub use pcdn_core::ledger::{Entry, Ledger, LedgerError};
