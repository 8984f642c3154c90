//! pcdn-transport

pub mod origin;
pub mod udp;
