//! What can be set.

use std::time::Duration;

use pcdn_core::unit::Rate;

use super::cipher::Cipher;
use super::subs::SUB_BYTES_MAX;
use crate::limit::{Limits, Rates};
use crate::secret::SwarmSecret;

/// Settings of the UDP transport; `UdpConfig::default()` is right for most.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UdpConfig {
    /// Content bytes a second that all sessions together send at most, exact over any second but for one burst of 4 ms (at
    /// most 40 KiB). Default: unlimited, which still yields to other traffic.
    pub upload_limit: Rate,
    /// Likewise of each swarm, and of each peer. Default: unlimited.
    pub upload_limit_swarm: Rate,
    /// See [`upload_limit_swarm`](Self::upload_limit_swarm).
    pub upload_limit_peer: Rate,
    /// Bytes of a sub-piece this node asks for, 1024 to 1280. Default 1280: 1350 bytes of UDP payload with all headers.
    pub sub_bytes: u16,
    /// A session is closed after this long without any packet. Default 20 s.
    pub idle_timeout: Duration,
    /// How long [`connect`](pcdn_core::transport::Transport::connect) tries. Default 10 s.
    pub handshake_timeout: Duration,
    /// Handshakes answered a second before callers must prove their address. Default 50: 2 % of one core.
    pub handshakes_per_second: u32,
    /// Sessions at most, each about 4 KB when idle; further callers get no answer. Default 1024.
    pub sessions_max: usize,
    /// How this node would have packets sealed. Default: what its processor does faster.
    pub cipher: Cipher,
    /// What every node of a private swarm has; nodes without it, or with another, are not reached and do not reach this one.
    /// Default: none, the swarm is public.
    pub secret: Option<SwarmSecret>,
}

impl UdpConfig {
    /// The upload limits, of this transport alone.
    pub fn limits(&self) -> Limits {
        let (swarm, peer) = (self.upload_limit_swarm, self.upload_limit_peer);
        Limits::new(Rates { node: self.upload_limit, swarm, peer })
    }
}

impl Default for UdpConfig {
    fn default() -> Self {
        Self {
            upload_limit: Rate::UNLIMITED,
            upload_limit_swarm: Rate::UNLIMITED,
            upload_limit_peer: Rate::UNLIMITED,
            sub_bytes: SUB_BYTES_MAX,
            idle_timeout: Duration::from_secs(20),
            handshake_timeout: Duration::from_secs(10),
            handshakes_per_second: 50,
            sessions_max: 1024,
            cipher: Cipher::fastest(),
            secret: None,
        }
    }
}
