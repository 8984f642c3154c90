//! What happens to a swarm.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::Expected;
use crate::fragment::{Cut, Segment};
use crate::id::PeerId;
use crate::layout::{PieceKey, SegmentId};
use crate::origin::OriginError;
use crate::peer::{Appearance, PeerAddr, PeerRecord};
use crate::schedule::Handle;
use crate::store::Held;
use crate::transport::FetchError;
use crate::unit::Rate;
use crate::verify::Manifest;
use crate::wire::{Message, SliceNote};

/// Names a request of a peer to this node, chosen by the shell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AskId(pub u64);

/// Names a reader, chosen by the shell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReaderId(pub u64);

/// What happens to a swarm.
#[derive(Debug)]
pub enum Input {
    /// A link to a peer of this swarm is up. `dialled`: by this node. The engine greets.
    LinkUp {
        /// Chosen by the shell, rising, never used twice.
        link: Handle,
        /// Proven by the transport.
        peer: PeerId,
        /// The address at the other end, if it has one.
        remote: Option<PeerAddr>,
        /// Round trip so far.
        rtt: Duration,
    },
    /// It is gone.
    LinkDown {
        /// Which.
        link: Handle,
    },
    /// The transport has measured it anew.
    Path {
        /// Which.
        link: Handle,
        /// Round trip.
        rtt: Duration,
    },
    /// A message came.
    Message {
        /// Over which link.
        link: Handle,
        /// What.
        message: Message,
    },
    /// A requested piece came, whole.
    Piece {
        /// Which request.
        flight: u64,
        /// Its bytes, of the length asked for.
        bytes: Bytes,
    },
    /// A requested piece did not come.
    Failed {
        /// Which request.
        flight: u64,
        /// Why.
        why: FetchError,
    },
    /// Bytes of an origin run, in order.
    OriginBytes {
        /// Which run.
        run: u64,
        /// The bytes.
        bytes: Bytes,
    },
    /// An origin run is over.
    OriginEnd {
        /// Which run.
        run: u64,
        /// How.
        result: Result<(), OriginError>,
    },
    /// A peer asks for a piece.
    Ask {
        /// Which link.
        link: Handle,
        /// The request's name.
        ask: AskId,
        /// The piece, as numbers of the wire.
        piece: PieceKey,
    },
    /// A granted request is done with, or a waiting one was taken back.
    AskGone {
        /// Which.
        ask: AskId,
    },
    /// Discovery answered: these peers were found, or none.
    Found(Vec<PeerRecord>),
    /// The transports found out how this node appears to others.
    Appears(Appearance),
    /// A peer could not be reached.
    NotReached(PeerId),
    /// The fragmenter cut.
    Cut(Cut),
    /// A slice that neighbours told of is wanted.
    Follow(Segment, SliceNote),
    /// Players are expected to read these, in place of those expected before.
    Expect(Vec<Expected>),
    /// The resource is media, and plays so many bytes a second in the mean: players of it are paced by that. A hint; who reads
    /// faster is soon seen to.
    Plays(Rate),
    /// All of the resource is wanted, or no longer.
    Whole(bool),
    /// The origin is sending the first bytes of a segment already: what there is of them is asked for by the next
    /// [`Output::Fetch`](super::Output::Fetch), whatever neighbours have. None follows if it is here, or on its way.
    OriginBegun {
        /// Which segment, that was cut.
        segment: SegmentId,
        /// How many.
        bytes: u64,
    },
    /// Whatever nobody reads is wanted in the background only, with so many bytes from the origin since this was first said;
    /// `None`: as usual.
    Background(Option<u64>),
    /// The node takes in no more than `rate` for this swarm, from neighbours and the origin, and no more than `neighbour` of each
    /// neighbour: the shell holds back what is beyond. As long as either is bounded it also says when a request goes out
    /// ([`Sent`](Self::Sent)): one that waits for the node's own bound says nothing of its neighbour. To be said again when it changes.
    Limit {
        /// Bytes per second in all; [`Rate::UNLIMITED`] at first.
        rate: Rate,
        /// Likewise of each neighbour.
        neighbour: Rate,
    },
    /// A request to a neighbour was held back by the node's own bound and goes out now.
    Sent {
        /// Which.
        flight: u64,
    },
    /// A reader wants bytes of the resource from `at` to `end` in order.
    Read {
        /// Its name.
        reader: ReaderId,
        /// First byte.
        at: u64,
        /// One past the last.
        end: u64,
        /// Whether a player is behind it, which must not wait; else it follows a download.
        playing: bool,
        /// How many bytes before `at` it was given by the shell, which had them when the swarm was made.
        had: u64,
    },
    /// A reader is ready for more.
    Pull {
        /// Which.
        reader: ReaderId,
    },
    /// A reader is gone.
    ReadEnd {
        /// Which.
        reader: ReaderId,
    },
    /// What the store holds already.
    Held(Vec<Held>),
    /// A loaded piece, unchecked, or that it is not there.
    Loaded {
        /// Which.
        key: PieceKey,
        /// Its bytes.
        bytes: Option<Bytes>,
    },
    /// A manifest was found beside the content on the origin, or under a pinned key: it is to be trusted.
    Manifest(Arc<Manifest>, Option<Bytes>),
    /// Peers on or off.
    P2p {
        /// Take pieces.
        take: bool,
        /// Give pieces.
        give: bool,
    },
    /// These are superpeers, as the node's trackers say, and no others. At most 64 are kept.
    Prefer(Vec<PeerId>),
    /// This node leaves: everybody is told what was not said yet, and goodbye.
    Leave,
    /// Nothing but that time has passed.
    Wake,
}
