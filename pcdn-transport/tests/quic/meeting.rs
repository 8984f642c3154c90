//! A peer at none of its addresses is dialled where it comes through.

use std::net::UdpSocket;
use std::sync::Arc;
use std::time::Duration;

use pcdn_core::id::Identity;
use pcdn_core::peer::{PeerAddr, PeerRecord, Scheme};
use pcdn_core::transport::Transport;
use pcdn_transport::limit::Limits;
use pcdn_transport::quic::{Quic, QuicConfig};
use pcdn_transport::shared;
use pcdn_transport::udp::{Udp, UdpConfig};

use crate::shared::Nothing;

pub(crate) async fn quic_alone(n: u8) -> Quic {
    let (any, me) = ("127.0.0.1:0".parse().unwrap(), Identity::from_secret([n; 32]));
    shared::bind_quic(any, &me, Arc::new(Nothing), QuicConfig::default(), Limits::default()).await.unwrap()
}

pub(crate) fn id(n: u8) -> pcdn_core::id::PeerId {
    Identity::from_secret([n; 32]).peer_id()
}

#[tokio::test]
async fn two_that_are_called_together_meet_where_they_come_through() {
    // Whichever of them calls.
    for (caller, called) in [(1, 2), (2, 1)] {
        let (quic, theirs) = (quic_alone(caller).await, quic_alone(called).await);
        // Nobody answers at the address that was told.
        let nobody = UdpSocket::bind("127.0.0.1:0").unwrap();
        let told = PeerAddr { scheme: Scheme::Quic, addr: nobody.local_addr().unwrap() };
        let record = PeerRecord { id: id(called), addrs: vec![told], seed: false };
        let token = [7; 8];
        let at = quic.local()[0].addr;
        assert!(theirs.meetings().unwrap().introduced(id(caller), token, Duration::ZERO, at));
        let there = theirs.local()[0].addr;
        assert!(quic.meetings().unwrap().introduced(id(called), token, Duration::ZERO, there));
        let session = quic.connect(&record).await.unwrap();
        assert_eq!(session.peer(), id(called));
        assert_eq!(session.path().remote.map(|remote| remote.addr), Some(there));
        assert_eq!(theirs.accept().await.unwrap().peer(), id(caller));
    }
}

#[tokio::test]
async fn what_meets_for_quic_alone_answers_no_hello_of_the_udp_transport() {
    let quic = quic_alone(1).await;
    let config = UdpConfig { handshake_timeout: Duration::from_millis(300), ..UdpConfig::default() };
    let me = Identity::from_secret([2; 32]);
    let udp = Udp::bind("127.0.0.1:0".parse().unwrap(), &me, Arc::new(Nothing), config).await.unwrap();
    let at = PeerAddr { scheme: Scheme::Udp, ..quic.local()[0] };
    assert!(udp.connect(&PeerRecord { id: id(1), addrs: vec![at], seed: false }).await.is_err());
}
