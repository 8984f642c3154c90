//! What can be set.

use std::time::Duration;

use pcdn_core::unit::{ByteSize, Rate};

use crate::secret::SwarmSecret;

/// How much of a path's capacity sessions take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Congestion {
    /// What others leave: all sessions together keep 8 ms of queue, and yield to whoever wants more. For homes.
    #[default]
    Delay,
    /// A fair share, each session for itself, whatever queue that fills: CUBIC (RFC 9438). For machines in data centres.
    Cubic,
}

/// Settings of the QUIC transport; `QuicConfig::default()` is right for most.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuicConfig {
    /// Content bytes a second that all sessions together send at most, exact over any second but for one burst of 4 ms (at
    /// most 16 KiB). Default: unlimited, which still yields to other traffic.
    pub upload_limit: Rate,
    /// How much of a path's capacity sessions take. Default: what others leave.
    pub congestion: Congestion,
    /// A session is closed after this long without any packet; both sides send one every third of it. Default 20 s, as the
    /// UDP transport.
    pub idle_timeout: Duration,
    /// How long [`connect`](pcdn_core::transport::Transport::connect) tries. Default 10 s.
    pub handshake_timeout: Duration,
    /// Handshakes answered a second before callers must prove their address (RFC 9000, section 8.1.2). Default 50: about a
    /// tenth of one core, at 2 ms for both signatures and keys.
    pub handshakes_per_second: u32,
    /// Sessions at most, each about 110 KB when idle (quinn, measured); further callers are refused. Default 256.
    pub sessions_max: usize,
    /// Bytes received and not yet read that all sessions together hold at most. Each gets an equal part, at least 256 KiB and
    /// at most 4 MiB: 100 Mbit/s over 300 ms. Default 64 MiB.
    pub receive_buffer: ByteSize,
    /// What every node of a private swarm has; nodes without it, or with another, are not reached and do not reach this one.
    /// Default: none, the swarm is public.
    pub secret: Option<SwarmSecret>,
}

impl Default for QuicConfig {
    fn default() -> Self {
        Self {
            upload_limit: Rate::UNLIMITED,
            congestion: Congestion::Delay,
            idle_timeout: Duration::from_secs(20),
            handshake_timeout: Duration::from_secs(10),
            handshakes_per_second: 50,
            sessions_max: 256,
            receive_buffer: ByteSize::mib(64),
            secret: None,
        }
    }
}
