//! What is compared: ways to pull pieces from peers.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use async_trait::async_trait;
use pcdn_core::peer::Scheme;

use crate::quic::Congestion;
use crate::{ours, quic};

/// Pieces are served in these sizes.
pub(crate) const SIZES: [usize; 2] = [16 << 10, 64 << 10];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Contender {
    /// Our UDP transport.
    Udp,
    /// Our QUIC transport.
    Quic,
    /// quinn alone, a stream a piece.
    Quinn(Congestion),
}

impl Contender {
    pub(crate) const ALL: [Self; 4] =
        [Self::Udp, Self::Quic, Self::Quinn(Congestion::Cubic), Self::Quinn(Congestion::Bbr)];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Udp => "udp",
            Self::Quic => "quic",
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
            Self::Udp => ours::serve(Scheme::Udp, peers, ip).await,
            Self::Quic => ours::serve(Scheme::Quic, peers, ip).await,
            Self::Quinn(congestion) => quic::serve(peers, ip, congestion),
        }
    }

    /// One node that has a session with each of `peers`.
    pub(crate) async fn connect(self, peers: &[SocketAddr]) -> Vec<Arc<dyn Puller>> {
        match self {
            Self::Udp => ours::connect(Scheme::Udp, peers).await,
            Self::Quic => ours::connect(Scheme::Quic, peers).await,
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
