//! What a swarm's task is told, and what it answers.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use pcdn_core::fragment::{Segment, Slice};
use pcdn_core::id::PeerId;
use pcdn_core::layout::{PieceKey, SegmentId};
use pcdn_core::origin::OriginError;
use pcdn_core::peer::PeerRecord;
use pcdn_core::resource::Url;
use pcdn_core::swarm::{AskId, Expected, ReaderId, Source};
use pcdn_core::transport::{FetchError, Refuse};
use pcdn_core::unit::Rate;
use pcdn_core::verify::{Manifest, Verified};
use pcdn_core::wire::{Message, SliceNote};
use tokio::sync::{mpsc, oneshot};

use crate::node::OpenError;
use crate::node::links::Link;
use crate::node::open::Begun;
use crate::node::status::SwarmStatus;
use crate::node::stream::track::Told;

/// What a swarm's task is told.
#[derive(Debug)]
pub(crate) enum ToSwarm {
    Message(Link, Message),
    Joined(Link),
    NotReached(PeerId),
    Gone(u64),
    Ask {
        peer: PeerId,
        ask: AskId,
        piece: PieceKey,
        answer: oneshot::Sender<Result<Verified<Bytes>, Refuse>>,
    },
    AskGone(AskId),
    /// Somebody audits this node: the bytes of a piece, if it is here and given to others.
    Show {
        segment: SegmentId,
        piece: u32,
        answer: oneshot::Sender<Option<Bytes>>,
    },
    Piece {
        flight: u64,
        result: Result<Bytes, FetchError>,
    },
    /// The node's own bounds have let a request go out.
    Sent(u64),
    OriginBytes {
        run: u64,
        bytes: Bytes,
    },
    OriginEnd {
        run: u64,
        result: Result<(), OriginError>,
    },
    Loaded {
        key: PieceKey,
        bytes: Option<Bytes>,
    },
    Found(Vec<PeerRecord>),
    /// A search has ended.
    Searched,
    /// A stream's next segment, and what is known of the resource at its URL.
    Cut(Segment, Told),
    /// What the segments that a playlist lists, as far as they are cut, are called in the store.
    Shelved(oneshot::Sender<BTreeMap<SegmentId, SegmentId>>),
    /// The origin is sending the first bytes of the segment at `url` already: to who asks `begun` for them.
    Begun {
        segment: SegmentId,
        url: Url,
        begun: Arc<Begun>,
    },
    Sliced(Slice),
    Follow(Segment, SliceNote),
    Retire(SegmentId),
    /// Another resource has taken the place of a segment, the one that lies at this offset.
    Outdated(SegmentId, u64),
    /// What others stand for: see [`Backing`].
    Backing {
        of: Vec<SegmentId>,
        doubted: Vec<SegmentId>,
        awaited: Vec<SegmentId>,
        reach: Option<(SegmentId, SegmentId)>,
        answer: oneshot::Sender<Backing>,
    },
    Expect(Vec<Expected>),
    Manifest(Arc<Manifest>, Bytes),
    Read {
        reader: ReaderId,
        at: u64,
        end: u64,
        playing: bool,
        had: u64,
        to: mpsc::Sender<Delivery>,
    },
    Pull(ReaderId),
    ReadEnd(ReaderId),
    Whole(bool),
    /// Bytes more from the origin and bytes a second in all, for what nobody reads; `None`: as usual.
    Background(Option<(u64, Rate)>),
    P2p {
        take: bool,
        give: bool,
    },
    /// Who is a superpeer.
    Prefer(Vec<PeerId>),
    Status(oneshot::Sender<SwarmStatus>),
    /// Another content takes this one's place: to be left as soon as nobody reads any more.
    Outlived(oneshot::Sender<()>),
    Close(oneshot::Sender<()>),
}

/// What the neighbours of a swarm stand for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Backing {
    /// Of each segment asked for: who could give it and vouch for it.
    pub(crate) of: Vec<Vec<PeerId>>,
    /// Of the doubted ones, how many cannot be proven.
    pub(crate) unproven: usize,
    /// The same of those that are awaited.
    pub(crate) unwitnessed: usize,
    /// Of two segments asked for: how many have the first from others, and how many of them do not have the second.
    pub(crate) reach: Option<(usize, usize)>,
    /// Who is there.
    pub(crate) peers: Vec<PeerId>,
}

/// What a reader is given.
pub(crate) type Delivery = Result<(Bytes, Source), OpenError>;
