//! What an endpoint tells its shell.

use std::net::SocketAddr;

use bytes::Bytes;
use pcdn_core::id::PeerId;
use pcdn_core::transport::{Chunk, Fetch, FetchError};

use crate::nat::survey::Found;
use crate::udp::connection::Ended;

/// Names a session of this endpoint; never reused while it lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub(crate) u32);

/// Names a call under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DialId(pub(crate) u32);

/// Something happened.
#[derive(Debug, PartialEq, Eq)]
pub enum Event {
    /// A call was answered.
    Connected {
        /// Which call.
        dial: DialId,
        /// The session it became.
        session: SessionId,
        /// The peer, as called.
        peer: PeerId,
    },
    /// The peer did not answer a call in time.
    Unreachable {
        /// Which call.
        dial: DialId,
        /// The peer, as called.
        peer: PeerId,
        /// Somebody answered who is not the peer, or who does not have our swarm's secret.
        stranger: bool,
        /// It answered that it speaks versions of the protocol up to this, and not ours.
        version: Option<u8>,
    },
    /// A peer called.
    Accepted {
        /// The new session.
        session: SessionId,
        /// The peer, proven.
        peer: PeerId,
    },
    /// Trackers see this node otherwise than before.
    Appears(Found),
    /// A peer that another protocol dials came through from there.
    Reached {
        /// Who.
        peer: PeerId,
        /// From where.
        at: SocketAddr,
    },
    /// A session is over; everything that waited on it has failed before this.
    Closed {
        /// Which session.
        session: SessionId,
        /// Why.
        why: Ended,
    },
    /// The peer wants a piece: answer with `granted` or `refused`.
    Open {
        /// Which session.
        session: SessionId,
        /// Who.
        peer: PeerId,
        /// The peer's number for it.
        fetch: u32,
        /// What.
        want: Fetch,
    },
    /// The peer does not want it any more; nothing need be answered.
    Abandon {
        /// Which session.
        session: SessionId,
        /// The peer's number for it.
        fetch: u32,
    },
    /// Bytes of a piece came.
    Chunk {
        /// Which session.
        session: SessionId,
        /// Which fetch.
        fetch: u32,
        /// The bytes.
        chunk: Chunk,
    },
    /// A fetch is complete.
    Fetched {
        /// Which session.
        session: SessionId,
        /// Which fetch.
        fetch: u32,
    },
    /// A fetch failed.
    FetchFailed {
        /// Which session.
        session: SessionId,
        /// Which fetch.
        fetch: u32,
        /// Why.
        why: FetchError,
    },
    /// A message came; say `message_read` when it was taken.
    Message {
        /// Which session.
        session: SessionId,
        /// The message.
        message: Bytes,
    },
    /// The oldest messages sent have arrived.
    Delivered {
        /// Which session.
        session: SessionId,
        /// How many.
        count: usize,
    },
}

/// Datagrams to send: the bytes are in the buffer given to `poll_transmit`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transmit {
    /// Where to.
    pub to: SocketAddr,
    /// Bytes of each datagram; the last may be shorter.
    pub segment: usize,
}

impl Transmit {
    pub(super) fn one(to: SocketAddr, datagram: &[u8]) -> Self {
        debug_assert!(datagram.len() <= crate::udp::packet::DATAGRAM_MAX);
        Self { to, segment: datagram.len() }
    }
}

/// What was counted since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Datagrams that were not ours, not for us, forged, damaged or repeated.
    pub dropped: u64,
    /// Frames that proven peers got wrong.
    pub malformed: u64,
    /// Content bytes sent.
    pub content_sent: u64,
    /// Sub-pieces that came more than once.
    pub duplicates: u64,
}
