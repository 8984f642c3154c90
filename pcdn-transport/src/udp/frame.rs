//! The frames inside a sealed packet. A packet carries one or more; DATA is always the last.
//!
//! | type | frame | layout (big-endian) |
//! |---|---|---|
//! | 0x00 | PAD | nothing more |
//! | 0x01 / 0x02 | PING / PONG | stamp 4 |
//! | 0x10 | REQ | fetch 4, ask 2, swarm 32, segment 8, piece 4, length 4, class 1, within 4 (ms), sub-piece bytes 2, set |
//! | 0x11 | CANCEL | fetch 4 |
//! | 0x12 | REFUSE | fetch 4, code 1, retry 4 (ms) |
//! | 0x13 | GOT | fetch 4, ask 2, sent 2: the request is known, so many of its sub-pieces have been sent |
//! | 0x14 | DONE | fetch 4, ask 2: everything asked for has been sent |
//! | 0x20 / 0x21 | DATA / last DATA | fetch 4, ask 2, sub-piece 2, stamp 4, content to the end of the packet |
//! | 0x30 | MSG | number 4, flags 1 (1 = begins, 2 = ends a message), length 2, bytes |
//! | 0x31 | MSGACK | next 4, bitmap of those after it 8, room 2 |
//! | 0x40 | FEEDBACK | highest 4, received 4, stamp 4, waited 4, one-way delay 4, clock 4 |
//! | 0x50 / 0x51 | PATH? / PATH! | challenge 8 |
//! | 0x5f | CLOSE | nothing more |
//!
//! A *set* of sub-pieces is: first 2, count 2, and if the top bit of count is set, that many bytes of bitmap (lowest bit
//! first) instead of a plain run. Stamps and clocks are microseconds of the writer's own clock, wrapping.

mod read;
mod write;

use pcdn_core::id::SwarmKey;
use pcdn_core::transport::Class;

pub use read::{Frames, decode};

use super::subs::{SUBS_MAX, SubSet};

/// One frame, borrowed from the packet.
#[derive(Clone, Debug, PartialEq)]
pub enum Frame<'a> {
    /// Answer with a PONG.
    Ping(u32),
    /// The answer to the PING with this stamp.
    Pong(u32),
    /// A request.
    Req(Req),
    /// The fetch is not wanted any more.
    Cancel(u32),
    /// The fetch is refused.
    Refuse {
        /// Which fetch.
        fetch: u32,
        /// Why, as on the wire.
        code: u8,
        /// When to ask again.
        retry_ms: u32,
    },
    /// The request is here and waits.
    Got {
        /// Which fetch.
        fetch: u32,
        /// The latest ask seen.
        ask: u16,
        /// Sub-pieces of it that have been sent.
        sent: u16,
    },
    /// All sub-pieces asked for have been sent.
    Done {
        /// Which fetch.
        fetch: u32,
        /// The latest ask seen.
        ask: u16,
    },
    /// A sub-piece.
    Data(Data<'a>),
    /// A fragment of the message stream.
    Msg {
        /// Its number in the session.
        number: u32,
        /// Whether it begins a message.
        first: bool,
        /// Whether it ends one.
        last: bool,
        /// The bytes.
        bytes: &'a [u8],
    },
    /// What came of the message stream.
    MsgAck {
        /// The first fragment still missing.
        next: u32,
        /// Which of the 64 after it are here.
        later: u64,
        /// How many fragments from `next` on there is room for.
        room: u16,
    },
    /// What arrived, and how late.
    Feedback(Feedback),
    /// Prove that you are at this address.
    PathAsk([u8; 8]),
    /// The proof.
    PathProof([u8; 8]),
    /// Goodbye.
    Close,
}

/// A request for sub-pieces of a piece. It says everything, so that the server need remember nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Req {
    /// The asker's number for the fetch.
    pub fetch: u32,
    /// Counts the asks of this fetch; one is handled once, however often it is said.
    pub ask: u16,
    /// Of which swarm.
    pub swarm: SwarmKey,
    /// Of which segment.
    pub segment: u64,
    /// Which piece.
    pub piece: u32,
    /// The piece's length.
    pub len: u32,
    /// How pressing.
    pub class: Class,
    /// For how long the answer is of use.
    pub within_ms: u32,
    /// Bytes of a sub-piece.
    pub sub_bytes: u16,
    /// Which sub-pieces.
    pub subs: SubSet,
}

/// A sub-piece on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Data<'a> {
    /// The asker's number for the fetch.
    pub fetch: u32,
    /// The latest ask the sender had seen.
    pub ask: u16,
    /// Which sub-piece.
    pub sub: u16,
    /// Whether nothing more is to be sent for this fetch.
    pub last: bool,
    /// When it was sent, by the sender's clock.
    pub stamp: u32,
    /// The bytes.
    pub content: &'a [u8],
}

/// What a receiver tells a sender of DATA, every few packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Feedback {
    /// Low half of the highest packet number received.
    pub highest: u32,
    /// Packets received so far, wrapping.
    pub received: u32,
    /// Stamp of the latest DATA received.
    pub stamp: u32,
    /// How long ago it came, microseconds.
    pub waited: u32,
    /// Smallest (arrival − stamp) since the last feedback; the clocks differ, so only changes mean anything.
    pub delay: u32,
    /// When this was written, by the receiver's clock.
    pub clock: u32,
}

/// Bytes that DATA adds to its content.
pub const DATA_OVERHEAD: usize = 13;
/// Bytes that MSG adds to its content.
pub(crate) const MSG_OVERHEAD: usize = 8;
/// Bytes of a REQ at most.
pub(crate) const REQ_LEN_MAX: usize = 66 + SUBS_MAX as usize / 8;

/// Bytes that are no frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

#[cfg(test)]
mod tests;
