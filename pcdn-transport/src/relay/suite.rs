//! What must hold for any transport over a bad network.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use pcdn_core::dice::Dice;
use pcdn_core::id::{Identity, PeerId, SwarmKey};
use pcdn_core::layout::{Layout, PieceKey, SegmentId};
use pcdn_core::peer::{PeerAddr, PeerRecord};
use pcdn_core::transport::{Class, Fetch, FetchError, Grant, Provider, Refuse, Session, Transport};
use pcdn_core::verify::Verified;

use super::{Fault, Relay};

/// Asserts that the transport brings every byte right, once, and keeps its sessions, under everything a [`Relay`] does: losses, copies,
/// reordering and damage together; a NAT that changes its mapping; pauses; a path too narrow for full datagrams. About ten seconds of
/// real time. `make` is as in `pcdn_core::conformance::transport`; the transport must listen on the loopback interface.
///
/// # Panics
/// With the clause that is broken.
pub async fn bears_faults<T: Transport>(make: impl AsyncFn(&Identity, Arc<dyn Provider>) -> T) {
    rough_handling(&make).await;
    a_new_mapping_loses_no_piece(&make).await;
    a_pause_of_the_network_costs_time_only(&make).await;
    a_narrow_path_is_used(&make).await;
}

const PIECE: u32 = 65_536;

/// Has every segment, each with bytes of its own.
#[derive(Debug)]
struct Shelf;

fn content(segment: u64) -> Bytes {
    let mut dice = Dice::new(segment);
    (0..PIECE / 8).flat_map(|_| dice.next_u64().to_le_bytes()).collect()
}

#[async_trait]
impl Provider for Shelf {
    async fn open(&self, _: &PeerId, want: &Fetch) -> Result<Grant, Refuse> {
        Ok(Grant::new(Verified::for_test(content(want.piece.segment.0)), None))
    }
}

/// Two nodes and the bad network between them.
struct Between<T> {
    relay: Relay,
    _asker: T,
    _server: T,
    session: Arc<dyn Session>,
    other: Arc<dyn Session>,
}

async fn between<T: Transport>(
    fault: Fault,
    make: &impl AsyncFn(&Identity, Arc<dyn Provider>) -> T,
) -> Between<T> {
    let (asker, server) = (Identity::from_secret([1; 32]), Identity::from_secret([2; 32]));
    let (a, b) = (make(&asker, Arc::new(Shelf)).await, make(&server, Arc::new(Shelf)).await);
    let relay = Relay::new(fault, 1);
    let at = b.local()[0];
    let door =
        PeerAddr { scheme: at.scheme, addr: relay.door(at.addr).await.expect("a port of loopback is free") };
    let record = PeerRecord { id: server.peer_id(), addrs: vec![door], seed: true };
    let (session, other) = tokio::join!(a.connect(&record), b.accept());
    Between {
        relay,
        _asker: a,
        _server: b,
        session: session.expect("connect must succeed through a bad network"),
        other: other.expect("accept must succeed through a bad network"),
    }
}

/// A whole piece, each byte once.
async fn piece(session: &dyn Session, segment: u64) -> Result<(), FetchError> {
    let piece = Layout::new(PIECE.into(), 16).ok().and_then(|layout| layout.piece(0)).expect("a whole piece");
    let mut fetching = session.fetch(Fetch {
        swarm: SwarmKey([3; 32]),
        piece: PieceKey { segment: SegmentId(segment), piece },
        len: PIECE,
        want: vec![],
        class: Class::Normal,
        within: Duration::from_secs(60),
    });
    let (mut bytes, mut came) = (vec![0; PIECE as usize], 0);
    while let Some(chunk) = fetching.next().await {
        let chunk = chunk?;
        bytes[chunk.offset as usize..][..chunk.bytes.len()].copy_from_slice(&chunk.bytes);
        came += chunk.bytes.len();
    }
    assert_eq!(came, bytes.len(), "each byte once");
    assert!(bytes == content(segment), "a wrong byte");
    Ok(())
}

async fn rough_handling<T: Transport>(make: &impl AsyncFn(&Identity, Arc<dyn Provider>) -> T) {
    let world = between(Fault::rough(), make).await;
    let pieces = (0..4u64).map(|lane| {
        let session = Arc::clone(&world.session);
        async move {
            for n in 0..6 {
                piece(&*session, lane * 100 + n).await.expect("losses are repaired");
            }
        }
    });
    let talk = async {
        for n in 0..20u8 {
            world.session.send(vec![n; 500 * usize::from(n)].into()).await.expect("the session lives on");
        }
    };
    let listen = async {
        for n in 0..20u8 {
            assert_eq!(
                world.other.recv().await.expect("the session lives on"),
                vec![n; 500 * usize::from(n)]
            );
        }
    };
    tokio::join!(futures_util::future::join_all(pieces), talk, listen);
    let did = world.relay.counters();
    assert!(did.lost > 20 && did.repeated > 20 && did.reordered > 20 && did.damaged > 5, "too kind: {did:?}");
}

async fn a_new_mapping_loses_no_piece<T: Transport>(make: &impl AsyncFn(&Identity, Arc<dyn Provider>) -> T) {
    let fault = Fault { delay: Duration::from_millis(5), ..Fault::default() };
    let world = between(fault, make).await;
    for n in 0..30 {
        if n % 10 == 5 {
            world.relay.rebind();
        }
        piece(&*world.session, n).await.expect("the session lives on");
    }
}

async fn a_pause_of_the_network_costs_time_only<T: Transport>(
    make: &impl AsyncFn(&Identity, Arc<dyn Provider>) -> T,
) {
    let world = between(Fault::default(), make).await;
    let pulling = async {
        for n in 0..300 {
            piece(&*world.session, n).await.expect("the session lives on");
        }
    };
    let pausing = async {
        for _ in 0..3 {
            tokio::time::sleep(Duration::from_millis(20)).await;
            world.relay.set(Fault { blackhole: true, ..Fault::default() });
            tokio::time::sleep(Duration::from_millis(150)).await;
            world.relay.set(Fault::default());
        }
    };
    tokio::join!(pulling, pausing);
    assert!(world.relay.counters().lost > 0);
}

async fn a_narrow_path_is_used<T: Transport>(make: &impl AsyncFn(&Identity, Arc<dyn Provider>) -> T) {
    let world = between(Fault { mtu: 1240, ..Fault::default() }, make).await;
    for n in 0..10 {
        piece(&*world.session, n).await.expect("the session lives on");
    }
}
