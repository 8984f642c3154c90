//! pcdn
pub mod node;
pub mod identity;
pub mod publish;
pub mod store;
