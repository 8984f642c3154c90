//! A session whose way is gone at both ends goes on where both are called together.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use pcdn_core::peer::{PeerAddr, PeerRecord, Scheme};
use pcdn_core::transport::Transport;
use tokio::net::UdpSocket;

use crate::meeting::{id, quic_alone};

/// Two routers in one: what comes to either side goes out at the other, until they forget who that was.
async fn routers(to: SocketAddr, forgotten: Arc<AtomicBool>) -> SocketAddr {
    let (near, far) = tokio::join!(UdpSocket::bind("127.0.0.1:0"), UdpSocket::bind("127.0.0.1:0"));
    let (near, far) = (near.unwrap(), far.unwrap());
    let addr = near.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut up, mut down, mut caller) = ([0; 65_536], [0; 65_536], None);
        loop {
            let open = || !forgotten.load(Ordering::Relaxed);
            tokio::select! {
                Ok((len, from)) = near.recv_from(&mut up) => {
                    caller = Some(from);
                    if open() {
                        far.send_to(&up[..len], to).await.unwrap();
                    }
                }
                Ok(len) = far.recv(&mut down) => {
                    if let Some(caller) = caller.filter(|_| open()) {
                        near.send_to(&down[..len], caller).await.unwrap();
                    }
                }
            }
        }
    });
    addr
}

#[tokio::test]
async fn two_whose_routers_forgot_them_go_on_where_they_come_through() {
    // Whichever of them has something to say when it happens.
    for dialler_speaks in [true, false] {
        let (dialler, dialled) = (quic_alone(1).await, quic_alone(2).await);
        let (here, there) = (dialler.local()[0].addr, dialled.local()[0].addr);
        let forgotten = Arc::<AtomicBool>::default();
        let addr = routers(there, Arc::clone(&forgotten)).await;
        let addrs = vec![PeerAddr { scheme: Scheme::Quic, addr }];
        let ours = dialler.connect(&PeerRecord { id: id(2), addrs, seed: false }).await.unwrap();
        let theirs = dialled.accept().await.unwrap();
        ours.send("before".into()).await.unwrap();
        assert_eq!(theirs.recv().await.unwrap(), "before");
        forgotten.store(true, Ordering::Relaxed);
        // As a tracker does once it sees where they are now.
        let token = [7; 8];
        assert!(dialler.meetings().unwrap().introduced(id(2), token, Duration::ZERO, there));
        assert!(dialled.meetings().unwrap().introduced(id(1), token, Duration::ZERO, here));
        let (speaks, hears) = if dialler_speaks { (&ours, &theirs) } else { (&theirs, &ours) };
        speaks.send("after".into()).await.unwrap();
        assert_eq!(hears.recv().await.unwrap(), "after");
        hears.send("and back".into()).await.unwrap();
        assert_eq!(speaks.recv().await.unwrap(), "and back");
        assert_eq!(theirs.path().remote.map(|remote| remote.addr), Some(here));
    }
}
