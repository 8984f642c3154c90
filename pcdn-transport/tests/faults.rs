//! Transports over real sockets through a bad network.

#![allow(clippy::unwrap_used, reason = "a test may")]

use std::sync::Arc;

use pcdn_core::id::Identity;
use pcdn_core::transport::Provider;
use pcdn_transport::quic::{Quic, QuicConfig};
use pcdn_transport::relay::bears_faults;
use pcdn_transport::udp::{Udp, UdpConfig};

#[tokio::test]
async fn udp_bears_faults() {
    bears_faults(async |me: &Identity, provider: Arc<dyn Provider>| {
        Udp::bind("127.0.0.1:0".parse().unwrap(), me, provider, UdpConfig::default()).await.unwrap()
    })
    .await;
}

#[tokio::test]
async fn quic_bears_faults() {
    bears_faults(async |me: &Identity, provider: Arc<dyn Provider>| {
        Quic::bind("127.0.0.1:0".parse().unwrap(), me, provider, QuicConfig::default()).await.unwrap()
    })
    .await;
}
