//! The contract of every transport, on both kinds of runtime, and with a secret and a limit.

use std::sync::Arc;

use pcdn_core::conformance;
use pcdn_core::id::Identity;
use pcdn_core::transport::Provider;
use pcdn_core::unit::Rate;
use pcdn_transport::quic::{Quic, QuicConfig, SwarmSecret};

async fn holds_with(config: QuicConfig) {
    let bind = async |me: &Identity, provider: Arc<dyn Provider>| {
        Quic::bind("127.0.0.1:0".parse().unwrap(), me, provider, config.clone()).await.unwrap()
    };
    conformance::transport::transport(bind).await;
}

#[tokio::test]
async fn on_one_thread() {
    holds_with(QuicConfig::default()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_several_threads() {
    holds_with(QuicConfig::default()).await;
}

#[tokio::test]
async fn in_a_private_swarm_with_a_limit() {
    let secret = SwarmSecret::new(b"sixteen bytes or more");
    holds_with(QuicConfig { secret, upload_limit: Rate(20_000_000), ..QuicConfig::default() }).await;
}
