//! Seam 3: links between peers, at the level of pieces.
//!
//! A [`Transport`] opens [`Session`]s. A session [fetches](Session::fetch) pieces and carries small reliable control
//! messages. Everything below that (sub-pieces, windows, repair, pacing, streams) is the transport's own business: it is the
//! one level at which a UDP pull protocol, QUIC and a channel in memory are all native.
//!
//! The serving side is a [`Provider`], given to the transport when it is built.

use std::fmt::Debug;
use std::ops::Range;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use crate::discovery::BoxStream;
use crate::error::{Blame, BoxError, Judged};
use crate::id::{PeerId, SwarmKey};
use crate::layout::PieceKey;
use crate::peer::{PeerAddr, PeerRecord, Scheme};
use crate::verify::Verified;

use std::sync::Arc;

/// The largest control message, 64 KiB: a full piece list of 2,000 pieces fits.
pub const MESSAGE_BYTES_MAX: usize = 64 * 1024;

/// Opens and accepts links to peers.
#[cfg_attr(any(test, feature = "mock"), mockall::automock)]
#[async_trait]
pub trait Transport: Send + Sync + Debug + 'static {
    /// Which addresses it understands.
    fn scheme(&self) -> Scheme;
    /// Where it listens.
    fn local(&self) -> Vec<PeerAddr>;
    /// Opens a session and proves that the other end holds `peer.id`. Cancel-safe. Tries the record's addresses of its own
    /// scheme; gives up after about ten seconds.
    async fn connect(&self, peer: &PeerRecord) -> Result<Arc<dyn Session>, TransportError>;
    /// The next session a peer opened, proven likewise. Cancel-safe. [`TransportError::Closed`] once closed.
    async fn accept(&self) -> Result<Arc<dyn Session>, TransportError>;
    /// Says goodbye on every session and stops within `grace`.
    async fn close(&self, grace: Duration);
}

/// A link to one peer.
#[cfg_attr(any(test, feature = "mock"), mockall::automock)]
#[async_trait]
pub trait Session: Send + Sync + Debug + 'static {
    /// Who is at the other end, proven by the handshake.
    fn peer(&self) -> PeerId;
    /// What is known of the path.
    fn path(&self) -> PathStats;
    /// Asks for a piece. Never blocks: it queues. Dropping the [`Fetching`] cancels on the wire.
    fn fetch(&self, want: Fetch) -> Fetching;
    /// Sends a message of at most [`MESSAGE_BYTES_MAX`] bytes; messages arrive whole, in order, once. Waits for room.
    async fn send(&self, message: Bytes) -> Result<(), TransportError>;
    /// The next message. Cancel-safe; one caller at a time. [`TransportError::Closed`] once the session is over.
    async fn recv(&self) -> Result<Bytes, TransportError>;
    /// Ends the session; pending fetches fail with [`FetchError::Closed`].
    fn close(&self);
}

/// Serves what this node holds. One per node: admission is in one place, whatever the transport.
#[cfg_attr(any(test, feature = "mock"), mockall::automock)]
#[async_trait]
pub trait Provider: Send + Sync + Debug + 'static {
    /// A piece for `from`. May wait for an upload slot; a transport drops the future when the asker cancels or leaves.
    async fn open(&self, from: &PeerId, want: &Fetch) -> Result<Grant, Refuse>;
}

/// A request for one piece.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetch {
    /// Of which swarm.
    pub swarm: SwarmKey,
    /// Which piece.
    pub piece: PieceKey,
    /// The piece's whole length in bytes, by the asker's layout.
    pub len: u32,
    /// The bytes of it that are missing; empty means all.
    pub want: Vec<Range<u32>>,
    /// How pressing it is.
    pub class: Class,
    /// After this long the answer is of no use and may be dropped unsent.
    pub within: Duration,
}

/// How pressing a request is; senders serve urgent first and never starve background wholly.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// Push and prefetch far ahead.
    Background,
    /// Everything else.
    Normal,
    /// A player waits.
    Urgent,
}

/// Some bytes of a piece: unordered, never overlapping, a slice of the receive buffer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// Where in the piece.
    pub offset: u32,
    /// The bytes.
    pub bytes: Bytes,
}

/// A piece on its way. Concrete, so that a chunk costs no dynamic call and a test makes one from a `Vec`.
///
/// It is a stream of chunks that ends once every wanted byte has come, or after one error. Dropping it cancels.
pub struct Fetching {
    chunks: BoxStream<Result<Chunk, FetchError>>,
}

impl Fetching {
    /// From a stream whose drop cancels the request on the wire.
    pub fn new(chunks: BoxStream<Result<Chunk, FetchError>>) -> Self {
        Self { chunks }
    }

    /// A finished answer, for fakes and mocks.
    pub fn scripted(steps: Vec<Result<Chunk, FetchError>>) -> Self {
        Self { chunks: Box::pin(Scripted(steps.into_iter())) }
    }

    /// The next chunk; `None` once all wanted bytes have come. Cancel-safe.
    pub async fn next(&mut self) -> Option<Result<Chunk, FetchError>> {
        std::future::poll_fn(|cx| self.chunks.as_mut().poll_next(cx)).await
    }
}

impl Debug for Fetching {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Fetching")
    }
}

struct Scripted(std::vec::IntoIter<Result<Chunk, FetchError>>);

impl futures_core::Stream for Scripted {
    type Item = Result<Chunk, FetchError>;
    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Self::Item>> {
        std::task::Poll::Ready(self.0.next())
    }
}

/// A piece to be served. The upload slot is held until it is dropped.
pub struct Grant {
    bytes: Verified<Bytes>,
    _slot: Option<Box<dyn Send + Sync>>,
}

impl Grant {
    /// `bytes`, with `slot` dropped when the transport has sent (or given up) them.
    pub fn new(bytes: Verified<Bytes>, slot: Option<Box<dyn Send + Sync>>) -> Self {
        Self { bytes, _slot: slot }
    }

    /// The piece's bytes, all of them; the transport sends those that were wanted.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }
}

impl Debug for Grant {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Grant({} bytes)", self.bytes.len())
    }
}

/// What a transport knows of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct PathStats {
    /// Smoothed round trip; zero if not yet measured.
    pub rtt: Duration,
    /// Smallest round trip seen.
    pub rtt_min: Duration,
    /// Bytes per second received lately.
    pub rate: u64,
    /// Datagrams lost of a thousand, where the transport knows.
    pub loss_permille: u16,
    /// Where the other end is.
    pub remote: Option<PeerAddr>,
}

/// Why a request is not served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refuse {
    /// No slot; ask again after this.
    #[error("busy, retry in {0:?}")]
    Busy(Duration),
    /// The piece is not here (any more).
    #[error("the piece is not here")]
    NotHere,
    /// This node does not take part in the swarm.
    #[error("not in this swarm")]
    NoSwarm,
    /// The request is against the rules.
    #[error("bad request")]
    Bad,
}

/// Why a piece did not come.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FetchError {
    /// The peer refused.
    #[error("refused: {0}")]
    Refused(Refuse),
    /// Nothing came for too long.
    #[error("timed out")]
    Timeout,
    /// The session is over.
    #[error("the session is closed")]
    Closed,
    /// The peer broke the protocol.
    #[error("protocol violation: {0}")]
    Violation(String),
}

impl Judged for FetchError {
    fn blame(&self) -> Blame {
        Blame::Peer
    }
    fn transient(&self) -> bool {
        !matches!(self, Self::Violation(_))
    }
}

/// Why a link could not be opened or used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TransportError {
    /// Closed by either side.
    #[error("closed")]
    Closed,
    /// No address of this transport's scheme.
    #[error("the peer has no {} address", .0.as_str())]
    NoAddress(Scheme),
    /// Nobody answered.
    #[error("no answer from {0}")]
    Silent(PeerAddr),
    /// Somebody else answered.
    #[error("{0} is not the peer it should be")]
    Impostor(PeerAddr),
    /// A message above [`MESSAGE_BYTES_MAX`].
    #[error("a message of {0} bytes is above the limit of {MESSAGE_BYTES_MAX}")]
    TooLong(usize),
    /// The socket said no.
    #[error("{what}: {source}")]
    Io {
        /// What was tried.
        what: String,
        /// The system's words.
        source: std::io::Error,
    },
    /// Of an implementation outside this framework.
    #[error("{by}: {source}")]
    Other {
        /// Who says so.
        by: &'static str,
        /// Its error.
        source: BoxError,
    },
}

impl Judged for TransportError {
    fn blame(&self) -> Blame {
        match self {
            Self::Io { .. } => Blame::Local,
            Self::NoAddress(_) | Self::TooLong(_) => Blame::Config,
            _ => Blame::Peer,
        }
    }
    fn transient(&self) -> bool {
        matches!(self, Self::Silent(_) | Self::Io { .. } | Self::Other { .. })
    }
}
