//! What a swarm wants done.

use std::time::Duration;

use bytes::Bytes;

use super::report::Event;
use super::{AskId, ReaderId};
use crate::id::PeerId;
use crate::layout::{Layout, PieceKey, SegmentId};
use crate::origin::OriginError;
use crate::peer::{PeerAddr, PeerRecord, Scheme};
use crate::range::ByteRange;
use crate::resource::Url;
use crate::schedule::Handle;
use crate::store::Kept;
use crate::transport::{Fetch, Refuse};
use crate::verify::Verified;
use crate::wire::{Message, SliceNote};

/// What a swarm wants done.
#[derive(Debug)]
pub enum Output {
    /// Dial this peer.
    Connect(PeerRecord),
    /// A neighbour of both calls this node and a peer together.
    Meet(Introduction),
    /// Close a link (for this swarm).
    Close(Handle),
    /// Send a message.
    Send {
        /// Over which link.
        link: Handle,
        /// What.
        message: Message,
    },
    /// Ask a peer for a piece.
    Ask {
        /// The request's number, for `Piece` and `Failed`.
        flight: u64,
        /// Over which link.
        link: Handle,
        /// What.
        fetch: Fetch,
    },
    /// Give up a request: drop its `Fetching`.
    Cancel {
        /// Which.
        flight: u64,
    },
    /// Fetch a run of bytes from the origin.
    Fetch {
        /// The run's number, for `OriginBytes` and `OriginEnd`.
        run: u64,
        /// Where.
        url: Url,
        /// Which bytes of that URL.
        range: ByteRange,
    },
    /// Stop an origin run.
    Abort {
        /// Which.
        run: u64,
    },
    /// A neighbour tells of a slice of the stream.
    Heard {
        /// Who.
        link: Handle,
        /// What.
        note: SliceNote,
    },
    /// A segment left the window: the store may drop it.
    Forget(SegmentId),
    /// What the store has of a segment is of another content: it must drop it. The segment stays.
    Discard(SegmentId),
    /// Keep a piece in the store.
    Keep {
        /// Which.
        key: PieceKey,
        /// Its segment's layout.
        layout: Layout,
        /// Bytes and digest.
        kept: Kept,
    },
    /// Load a piece from the store.
    Load(PieceKey),
    /// Serve a peer's request.
    Serve {
        /// Which.
        ask: AskId,
        /// The whole piece.
        bytes: Verified<Bytes>,
    },
    /// Refuse it.
    Refuse {
        /// Which.
        ask: AskId,
        /// Why.
        why: Refuse,
    },
    /// The next bytes for a reader that pulled.
    Deliver {
        /// Which.
        reader: ReaderId,
        /// They begin where the last ended.
        bytes: Verified<Bytes>,
        /// Where they came from.
        source: Source,
    },
    /// A reader's bytes cannot be had: the origin failed for good.
    Broken {
        /// Which.
        reader: ReaderId,
        /// Why.
        why: OriginError,
    },
    /// Look for more peers.
    Find {
        /// About how many.
        want: usize,
    },
    /// Close every link to this peer and accept no more for a day: it lied, and this is proven.
    Ban(PeerId),
    /// Everything wanted is here.
    Complete,
    /// For logs, counters and the simulator.
    Note(Event),
}

/// Two peers behind NATs are to punch to each other at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Introduction {
    /// The transport whose socket is to punch: the neighbour has seen that one.
    pub over: Scheme,
    /// The other.
    pub peer: PeerId,
    /// What both show.
    pub token: crate::wire::meet::Token,
    /// When to begin, from now.
    pub begin_in: Duration,
    /// Where the neighbour sees the other.
    pub at: PeerAddr,
}

/// Where a piece came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// It was in the store when the swarm was opened.
    Cache,
    /// The origin.
    Origin,
    /// A peer.
    Peer,
}
