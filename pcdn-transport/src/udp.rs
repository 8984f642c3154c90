//! UDP.

pub mod config;
pub mod connection;
pub mod endpoint;
mod flow;
pub mod frame;
mod gauge;
mod noise;
pub mod packet;
mod pull;
mod rtt;
mod seal;
mod serve;
pub mod subs;
mod talk;
mod turn;

pub use config::UdpConfig;
pub use endpoint::{Endpoint, Event, SessionId, Transmit};
