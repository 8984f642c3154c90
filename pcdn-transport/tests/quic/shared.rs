//! Both transports on one socket hold the contract, each beside the other.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use pcdn_core::conformance;
use pcdn_core::id::Identity;
use pcdn_core::transport::{Provider, Transport};
use pcdn_transport::limit::Limits;
use pcdn_transport::quic::{Quic, QuicConfig};
use pcdn_transport::shared;
use pcdn_transport::udp::{Udp, UdpConfig};

async fn both(me: &Identity, provider: Arc<dyn Provider>) -> (Udp, Quic) {
    let any = "127.0.0.1:0".parse().unwrap();
    shared::bind(any, me, provider, UdpConfig::default(), QuicConfig::default(), Limits::default())
        .await
        .unwrap()
}

#[tokio::test]
async fn quic_holds_its_contract_beside_udp() {
    let beside = Mutex::new(Vec::new());
    let bind = async |me: &Identity, provider: Arc<dyn Provider>| {
        let (udp, quic) = both(me, provider).await;
        assert_eq!(udp.local()[0].addr, quic.local()[0].addr);
        beside.lock().unwrap().push(udp);
        quic
    };
    conformance::transport::transport(bind).await;
}

#[tokio::test]
async fn udp_holds_its_contract_beside_quic() {
    let beside = Mutex::new(Vec::new());
    let bind = async |me: &Identity, provider: Arc<dyn Provider>| {
        let (udp, quic) = both(me, provider).await;
        beside.lock().unwrap().push(quic);
        udp
    };
    conformance::transport::transport(bind).await;
}

#[tokio::test]
async fn quic_says_goodbye_though_udp_is_closed() {
    let (a, b) = (Identity::from_secret([1; 32]), Identity::from_secret([2; 32]));
    let provider: Arc<dyn Provider> = Arc::new(Nothing);
    let ((_, asker), (udp, quic)) = (both(&a, provider.clone()).await, both(&b, provider).await);
    let record = pcdn_core::peer::PeerRecord { id: b.peer_id(), addrs: quic.local(), seed: false };
    // `asker` has lost the task that read its socket with its own UDP transport: nobody is reached.
    let hurry = Duration::from_millis(300);
    assert!(tokio::time::timeout(hurry, asker.connect(&record)).await.is_err());
    let (_udp, asker) = both(&a, Arc::new(Nothing)).await;
    let session = asker.connect(&record).await.unwrap();
    udp.close(Duration::from_secs(1)).await;
    quic.close(Duration::from_secs(1)).await;
    assert!(session.recv().await.is_err());
}

#[derive(Debug)]
pub(crate) struct Nothing;

#[pcdn_core::async_trait]
impl Provider for Nothing {
    async fn open(
        &self,
        _: &pcdn_core::id::PeerId,
        _: &pcdn_core::transport::Fetch,
    ) -> Result<pcdn_core::transport::Grant, pcdn_core::transport::Refuse> {
        Err(pcdn_core::transport::Refuse::NotHere)
    }
}
