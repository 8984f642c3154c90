//! The victim, its content, and a peer that says what a test wants.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use pcdn::core::async_trait;
use pcdn::core::fragment::Fragmenter;
use pcdn::core::id::{Identity, PeerId, SwarmKey};
use pcdn::core::layout::{Layout, SegmentId};
use pcdn::core::mapping::Mapper;
use pcdn::core::peer::PeerRecord;
use pcdn::core::resource::Url;
use pcdn::core::transport::{Fetch, Grant, Provider, Refuse, Session, Transport};
use pcdn::core::unit::ByteSize;
use pcdn::core::verify::Verified;
use pcdn::core::wire::{self, Message};
use pcdn::media::File;
use pcdn::node::{Builder, Settings};
use pcdn::testing::{ScriptedOrigin, content};
use pcdn::transport::memory::{Hub, Memory};
use pcdn::{Asset, Node, discovery, mapping, store};

/// Three segments and a bit, in small pieces.
pub(crate) const LEN: usize = 3_400_001;
pub(crate) const SEGMENT_BYTES: u64 = 1 << 20;
pub(crate) const PIECE_LOG2: u8 = 14;
/// However hostile its neighbours are, a download of this size from an origin in memory ends within this time: a claim that
/// nobody fulfils may cost its 30 s once.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) fn url() -> Url {
    Url::parse("http://cdn.example/film").unwrap()
}

pub(crate) fn cut() -> File {
    File::with(SEGMENT_BYTES, PIECE_LOG2).unwrap()
}

/// The first segment's layout.
pub(crate) fn layout() -> Layout {
    Layout::new(SEGMENT_BYTES, PIECE_LOG2).unwrap()
}

/// Every segment with its layout.
pub(crate) fn segments() -> impl Iterator<Item = (SegmentId, Layout)> {
    (0..4).map(|n| {
        let len = SEGMENT_BYTES.min(LEN as u64 - n * SEGMENT_BYTES);
        (SegmentId(n), Layout::new(len, PIECE_LOG2).unwrap())
    })
}

/// Where the film's peers meet.
pub(crate) async fn swarm() -> SwarmKey {
    let rid = mapping::UrlHash::default().map(&url()).await.unwrap().rid;
    SwarmKey::of(&rid, &cut().rule())
}

pub(crate) fn origin() -> ScriptedOrigin {
    ScriptedOrigin::new().with(&url(), content(LEN, 1))
}

/// The node that `builder` begins, with everything but a transport: it knows `peers`.
pub(crate) fn node_of(builder: Builder, origin: &ScriptedOrigin, peers: Vec<PeerRecord>) -> Node {
    builder
        .discovery(discovery::Fixed::new(peers))
        .mapper(mapping::UrlHash::default())
        .fragmenter(cut())
        .store(store::Memory::of(ByteSize::mib(16)))
        .origin(origin.clone())
        .build()
        .unwrap()
}

/// A node in a hub.
pub(crate) fn in_hub(hub: &Hub, settings: Settings) -> Node {
    let me = Identity::from_secret([1; 32]);
    let builder = Node::builder(me.clone()).settings(settings);
    let link = hub.join(me.peer_id(), builder.provider());
    node_of(builder.transport(link), &origin(), Vec::new())
}

/// Downloads everything, checks every byte.
pub(crate) async fn delivered(asset: &Asset) {
    let work = async {
        asset.complete().await.unwrap();
        let mut reader = asset.read(0..asset.len());
        let mut all = Vec::new();
        while let Some(bytes) = reader.next().await {
            all.extend_from_slice(&bytes.unwrap());
        }
        assert!(all == content(LEN, 1), "every byte must be the content's");
    };
    tokio::time::timeout(PATIENCE, work).await.expect("a download must end");
}

/// Waits until `found` says yes.
pub(crate) async fn until(what: &str, mut found: impl AsyncFnMut() -> bool) {
    let looking = async {
        while !found().await {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, looking).await.unwrap_or_else(|_| panic!("never: {what}"));
}

/// Gives whoever asks for a piece wrong bytes of the right length.
#[derive(Debug)]
pub(crate) struct Liar;

#[async_trait]
impl Provider for Liar {
    async fn open(&self, _: &PeerId, want: &Fetch) -> Result<Grant, Refuse> {
        Ok(Grant::new(Verified::for_test(vec![0; want.len as usize]), None))
    }
}

/// A peer with no manners, linked to the victim.
pub(crate) struct Rogue {
    pub(crate) me: Identity,
    session: Arc<dyn Session>,
    swarm: SwarmKey,
    _memory: Memory,
}

impl Rogue {
    /// Number `number` calls `victim` and greets, so that it is a neighbour.
    pub(crate) async fn calls(hub: &Hub, number: u16, victim: &Node) -> Self {
        let mut secret = [9; 32];
        secret[..2].copy_from_slice(&number.to_be_bytes());
        let me = Identity::from_secret(secret);
        let memory = hub.join(me.peer_id(), Arc::new(Liar));
        let session = memory.connect(&victim.record()).await.unwrap();
        let rogue = Self { me, session, swarm: swarm().await, _memory: memory };
        rogue.says(&Message::Hello { ports: Vec::new(), answer: true, appears: None }).await;
        rogue
    }

    pub(crate) async fn says(&self, message: &Message) {
        self.sends(self.encoded(message)).await;
    }

    pub(crate) fn encoded(&self, message: &Message) -> Bytes {
        wire::encode(&self.swarm, message)
    }

    /// Sends bytes as they are. That the victim has closed the link is for the test to find out.
    pub(crate) async fn sends(&self, bytes: Bytes) {
        let _ = self.session.send(bytes).await;
    }

    /// Reads whatever the victim says until it closes the link.
    pub(crate) async fn is_shown_the_door(&self) {
        let reading = async { while self.session.recv().await.is_ok() {} };
        tokio::time::timeout(PATIENCE, reading).await.expect("the victim must close the link");
    }

    /// Throws away what the victim says, for as long as it says something.
    pub(crate) fn listens(&self) -> tokio::task::JoinHandle<()> {
        let session = self.session.clone();
        tokio::spawn(async move { while session.recv().await.is_ok() {} })
    }
}
