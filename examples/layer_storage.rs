//! Learn: the lowest layer alone. A peer lends its store and its line to another: no CDN, no swarm, no scheduler; only a
//! `Store`, a `Transport` and its `Session`. What is kept is proven by the piece list that the owner keeps.
//!
//! Run: `cargo run --example layer_storage`
#![allow(clippy::print_stdout)] // An example talks to its reader.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use pcdn::core::async_trait;
use pcdn::core::id::{Identity, PeerId, SwarmKey};
use pcdn::core::layout::{Layout, PieceKey, SegmentId};
use pcdn::core::peer::PeerRecord;
use pcdn::core::store::{Kept, Store};
use pcdn::core::transport::{Class, Fetch, Grant, Provider, Refuse, Transport};
use pcdn::core::unit::ByteSize;
use pcdn::core::verify::PieceList;
use pcdn::store::Memory;
use pcdn::transport::udp::{Udp, UdpConfig};

/// What both ends call the one thing that is kept here.
const BOX: SwarmKey = SwarmKey([0xb0; 32]);
const SEGMENT: SegmentId = SegmentId(0);

/// The lender: its store, and the list that says what each piece must be.
#[derive(Debug)]
struct Shelf {
    store: Memory,
    list: PieceList,
}

impl Shelf {
    fn key(&self, index: u32) -> Option<PieceKey> {
        Some(PieceKey { segment: SEGMENT, piece: self.list.layout().piece(index)? })
    }

    /// Keeps a piece that came as a message: its number, then its bytes. A wrong one is not kept.
    fn put(&self, message: &[u8]) -> Option<()> {
        let (index, bytes) = message.split_first_chunk::<4>()?;
        let key = self.key(u32::from_be_bytes(*index))?;
        let bytes = self.list.prove(key.piece, bytes.to_vec().into())?;
        let kept = Kept { digest: self.list.get(key.piece)?, bytes, own: false };
        self.store.put(&BOX, &key, self.list.layout(), &kept).ok()
    }
}

#[async_trait]
impl Provider for Shelf {
    async fn open(&self, _from: &PeerId, want: &Fetch) -> Result<Grant, Refuse> {
        let bytes = self.store.get(&BOX, &want.piece).ok().flatten().ok_or(Refuse::NotHere)?;
        // A damaged store gives nothing rather than something wrong.
        let proven = self.list.prove(want.piece.piece, bytes).ok_or(Refuse::NotHere)?;
        Ok(Grant::new(proven, None))
    }
}

async fn udp(me: &Identity, provider: Arc<dyn Provider>) -> Result<Udp, Box<dyn Error>> {
    Ok(Udp::bind("127.0.0.1:0".parse()?, me, provider, UdpConfig::default()).await?)
}

/// Puts a photo album at a peer and gets it back; the bytes that came back.
async fn lend(album: &[u8]) -> Result<Vec<u8>, Box<dyn Error>> {
    let layout = Layout::new(album.len() as u64, 14)?;
    let list = PieceList::of(&layout, album);
    let (lender, owner) = (Identity::from_secret([1; 32]), Identity::from_secret([2; 32]));
    let shelf = Arc::new(Shelf { store: Memory::of(ByteSize::mib(4)), list: list.clone() });
    let listening = udp(&lender, shelf.clone()).await?;
    let at = PeerRecord { id: lender.peer_id(), addrs: listening.local(), seed: true };

    // The lender takes one peer and keeps what it sends.
    let keeping = shelf.clone();
    let keeper = tokio::spawn(async move {
        let session = listening.accept().await?;
        for _ in 0..keeping.list.layout().pieces() {
            keeping.put(&session.recv().await?);
        }
        session.send("kept".into()).await?;
        // The transport serves fetches by itself for as long as it lives.
        session.recv().await.map(drop).or_else(|_| Ok(()))?;
        Ok::<_, pcdn::core::transport::TransportError>(listening)
    });

    let mine = udp(&owner, Arc::new(Shelf { store: Memory::of(ByteSize(0)), list: list.clone() })).await?;
    let session = mine.connect(&at).await?;
    for piece in layout.iter() {
        let range = layout.bytes_of(piece);
        let bytes = &album[range.start as usize..range.end as usize];
        session.send([&piece.get().to_be_bytes(), bytes].concat().into()).await?;
    }
    session.recv().await?;
    println!("{} pieces are kept by {}", shelf.store.held(&BOX)?.len(), lender.peer_id().short());

    let mut back = Vec::new();
    for piece in layout.iter() {
        let want = Fetch {
            swarm: BOX,
            piece: PieceKey { segment: SEGMENT, piece },
            len: layout.piece_len(piece),
            want: Vec::new(),
            class: Class::Normal,
            within: Duration::from_secs(5),
        };
        let mut bytes = vec![0; want.len as usize];
        let mut fetching = session.fetch(want);
        while let Some(chunk) = fetching.next().await {
            let chunk = chunk?;
            bytes[chunk.offset as usize..][..chunk.bytes.len()].copy_from_slice(&chunk.bytes);
        }
        back.extend_from_slice(&list.prove(piece, bytes.into()).ok_or("a wrong piece")?);
    }
    session.close();
    mine.close(Duration::from_millis(100)).await;
    keeper.await??.close(Duration::from_millis(100)).await;
    Ok(back)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let album: Vec<u8> = (0..200_000u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    println!("what came back is what was put: {}", lend(&album).await? == album);
    Ok(())
}

#[tokio::test]
async fn what_is_put_comes_back() {
    let album = pcdn::testing::content(100_000, 1);
    assert!(lend(&album).await.expect("loopback works") == album);
}
