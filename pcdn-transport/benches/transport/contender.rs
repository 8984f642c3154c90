//! What is compared: ways to pull pieces from peers.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use async_trait::async_trait;

use crate::quic::Congestion;
use crate::{quic, spp};

/// Pieces are served in these sizes.
pub(crate) const SIZES: [usize; 2] = [16 << 10, 64 << 10];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Contender {
    /// Our UDP transport.
    Udp,
    /// quinn alone, a stream a piece.
    Quinn(Congestion),
}

impl Contender {
    pub(crate) const ALL: [Self; 3] =
        [Self::Udp, Self::Quinn(Congestion::Cubic), Self::Quinn(Congestion::Bbr)];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Udp => "udp",
            Self::Quinn(Congestion::Cubic) => "quinn-cubic",
            Self::Quinn(Congestion::Bbr) => "quinn-bbr",
        }
    }

    pub(crate) fn named(name: &str) -> Self {
        Self::ALL.into_iter().find(|contender| contender.name() == name).unwrap()
    }

    /// Peers that serve, at addresses of `ip`. They end with the value returned.
    pub(crate) async fn serve(self, peers: usize, ip: std::net::IpAddr) -> (Vec<SocketAddr>, Box<dyn Send>) {
        match self {
            Self::Udp => spp::serve(peers, ip).await,
            Self::Quinn(congestion) => quic::serve(peers, ip, congestion),
        }
    }

    /// One node that has a session with each of `peers`.
    pub(crate) async fn connect(self, peers: &[SocketAddr]) -> Vec<Arc<dyn Puller>> {
        match self {
            Self::Udp => spp::connect(peers).await,
            Self::Quinn(congestion) => quic::connect(peers, congestion).await,
        }
    }
}

/// A session that pieces can be pulled over.
#[async_trait]
pub(crate) trait Puller: Send + Sync {
    /// Pulls one piece of `size` bytes; adds what comes to `bytes` as it comes.
    async fn pull(&self, size: usize, bytes: &AtomicU64);
}
