//! pcdn-transport

pub mod origin;
