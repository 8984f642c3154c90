//! The contract of every transport, on both kinds of runtime, with a secret and a limit, and in early data.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use pcdn_core::conformance;
use pcdn_core::id::Identity;
use pcdn_core::peer::{PeerAddr, PeerRecord, Scheme};
use pcdn_core::transport::{Provider, Session, Transport, TransportError};
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

/// Meets a peer, and gives the session with which it is met again.
#[derive(Debug)]
struct Again(Quic, Mutex<Vec<Arc<dyn Session>>>);

#[pcdn_core::async_trait]
impl Transport for Again {
    fn scheme(&self) -> Scheme {
        self.0.scheme()
    }

    fn local(&self) -> Vec<PeerAddr> {
        self.0.local()
    }

    async fn connect(&self, peer: &PeerRecord) -> Result<Arc<dyn Session>, TransportError> {
        let first = self.0.connect(peer).await?;
        loop {
            // Tickets come right behind the proof.
            if let Some(again) = self.0.resume(peer) {
                // Closed now, it might never be accepted.
                self.1.lock().unwrap().push(first);
                return Ok(again);
            }
            tokio::task::yield_now().await;
        }
    }

    async fn accept(&self) -> Result<Arc<dyn Session>, TransportError> {
        let first = self.0.accept().await?;
        self.1.lock().unwrap().push(first);
        self.0.accept().await
    }

    async fn close(&self, grace: Duration) {
        self.0.close(grace).await;
    }
}

#[tokio::test]
async fn with_peers_met_before() {
    let bind = async |me: &Identity, provider: Arc<dyn Provider>| {
        let any = "127.0.0.1:0".parse().unwrap();
        Again(Quic::bind(any, me, provider, QuicConfig::default()).await.unwrap(), Mutex::default())
    };
    conformance::transport::transport(bind).await;
}
