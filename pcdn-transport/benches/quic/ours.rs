//! The transport, as a node uses it.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use pcdn_core::id::{Identity, PeerId, SwarmKey};
use pcdn_core::layout::{Layout, PieceKey, SegmentId};
use pcdn_core::peer::PeerRecord;
use pcdn_core::transport::{Class, Fetch, Grant, Provider, Refuse, Session, Transport};
use pcdn_core::verify::Verified;
use pcdn_transport::quic::{Quic, QuicConfig};

use super::{PEERS, PIECE, measure, next, piece};

#[derive(Debug)]
struct Shelf(Bytes);

#[async_trait]
impl Provider for Shelf {
    async fn open(&self, _: &PeerId, _: &Fetch) -> Result<Grant, Refuse> {
        Ok(Grant::new(Verified::for_test(self.0.clone()), None))
    }
}

async fn node(n: u8) -> Quic {
    let (any, me) = ("127.0.0.1:0".parse().expect("an address"), Identity::from_secret([n; 32]));
    Quic::bind(any, &me, Arc::new(Shelf(piece())), QuicConfig::default()).await.expect("a socket")
}

pub(crate) async fn round() -> f64 {
    let asker = node(1).await;
    let (mut givers, mut sessions) = (Vec::new(), Vec::<Arc<dyn Session>>::new());
    for n in 0..PEERS as u8 {
        let giver = node(10 + n).await;
        let id = Identity::from_secret([10 + n; 32]).peer_id();
        let record = PeerRecord { id, addrs: giver.local(), seed: false };
        sessions.push(asker.connect(&record).await.expect("it is reached"));
        givers.push((giver.accept().await.expect("it is called"), giver));
    }
    measure(|peer, taken| {
        let session = Arc::clone(&sessions[peer]);
        async move {
            while let Some(number) = next(&taken) {
                let mut fetching = session.fetch(fetch(number));
                let mut len = 0;
                while let Some(chunk) = fetching.next().await {
                    len += chunk.expect("a chunk").bytes.len();
                }
                assert_eq!(len, PIECE);
            }
        }
    })
    .await
}

fn fetch(number: usize) -> Fetch {
    let piece = Layout::new(PIECE as u64, 16).expect("a layout").piece(0).expect("its piece");
    Fetch {
        swarm: SwarmKey([3; 32]),
        piece: PieceKey { segment: SegmentId(number as u64), piece },
        len: PIECE as u32,
        want: Vec::new(),
        class: Class::Normal,
        within: Duration::from_secs(20),
    }
}
