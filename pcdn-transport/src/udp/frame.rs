//! The frames inside a sealed packet. A packet carries one or more; DATA is always the last.
//!
//! | type | frame | layout (big-endian) |
//! |---|---|---|
//! | 0x00 | PAD | nothing more |
//! | 0x01 / 0x02 | PING / PONG | stamp 4 |
//! | 0x10 | REQ | fetch 4, ask 2, swarm 32, segment 8, piece 4, length 4, class 1, within 4 (ms), sub-piece bytes 2, set |
//! | 0x11 | CANCEL | fetch 4 |
//! | 0x12 | REFUSE | fetch 4, code 1, retry 4 (ms) |
//! | 0x13 | GOT | fetch 4, ask 2: the request is queued |
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

use pcdn_core::id::SwarmKey;
use pcdn_core::transport::Class;

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

/// Reads the frames of an opened packet one by one; ends after the first malformed one.
#[derive(Clone, Debug)]
pub struct Frames<'a> {
    rest: &'a [u8],
}

/// The frames in `plain`. Never panics; a bitmap is the only thing copied, and it is bounded by the packet.
pub fn decode(plain: &[u8]) -> Frames<'_> {
    Frames { rest: plain }
}

impl<'a> Iterator for Frames<'a> {
    type Item = Result<Frame<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        while self.rest.first() == Some(&0) {
            self.rest = &self.rest[1..];
        }
        if self.rest.is_empty() {
            return None;
        }
        let frame = self.frame().ok_or(Malformed);
        if frame.is_err() {
            self.rest = &[];
        }
        Some(frame)
    }
}

impl<'a> Frames<'a> {
    fn frame(&mut self) -> Option<Frame<'a>> {
        Some(match self.u8()? {
            0x01 => Frame::Ping(self.u32()?),
            0x02 => Frame::Pong(self.u32()?),
            0x10 => Frame::Req(self.req()?),
            0x11 => Frame::Cancel(self.u32()?),
            0x12 => Frame::Refuse { fetch: self.u32()?, code: self.u8()?, retry_ms: self.u32()? },
            0x13 => Frame::Got { fetch: self.u32()?, ask: self.u16()? },
            0x14 => Frame::Done { fetch: self.u32()?, ask: self.u16()? },
            kind @ (0x20 | 0x21) => Frame::Data(Data {
                fetch: self.u32()?,
                ask: self.u16()?,
                sub: self.u16()?,
                last: kind == 0x21,
                stamp: self.u32()?,
                content: std::mem::take(&mut self.rest),
            }),
            0x30 => {
                let (number, flags) = (self.u32()?, self.u8()?);
                let len = self.u16()?;
                Frame::Msg {
                    number,
                    first: flags & 1 != 0,
                    last: flags & 2 != 0,
                    bytes: self.take(len.into())?,
                }
            }
            0x31 => Frame::MsgAck {
                next: self.u32()?,
                later: u64::from_be_bytes(self.array()?),
                room: self.u16()?,
            },
            0x40 => Frame::Feedback(Feedback {
                highest: self.u32()?,
                received: self.u32()?,
                stamp: self.u32()?,
                waited: self.u32()?,
                delay: self.u32()?,
                clock: self.u32()?,
            }),
            0x50 => Frame::PathAsk(self.array()?),
            0x51 => Frame::PathProof(self.array()?),
            0x5f => Frame::Close,
            _ => return None,
        })
    }

    fn req(&mut self) -> Option<Req> {
        Some(Req {
            fetch: self.u32()?,
            ask: self.u16()?,
            swarm: SwarmKey(self.array()?),
            segment: u64::from_be_bytes(self.array()?),
            piece: self.u32()?,
            len: self.u32()?,
            class: class_of(self.u8()?)?,
            within_ms: self.u32()?,
            sub_bytes: self.u16()?,
            subs: self.set()?,
        })
    }

    fn set(&mut self) -> Option<SubSet> {
        let (first, count) = (self.u16()?, self.u16()?);
        if count & 0x8000 == 0 {
            return SubSet::run(first, count);
        }
        let bitmap = self.take(usize::from(count & 0x7fff))?;
        SubSet::bitmap(first, bitmap)
    }

    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (head, tail) = self.rest.split_at_checked(len)?;
        self.rest = tail;
        Some(head)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    fn u8(&mut self) -> Option<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_be_bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_be_bytes)
    }
}

impl Frame<'_> {
    /// Appends the frame's wire form.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Frame::Ping(stamp) => put(out, 0x01, &[&stamp.to_be_bytes()]),
            Frame::Pong(stamp) => put(out, 0x02, &[&stamp.to_be_bytes()]),
            Frame::Req(req) => encode_req(req, out),
            Frame::Cancel(fetch) => put(out, 0x11, &[&fetch.to_be_bytes()]),
            Frame::Refuse { fetch, code, retry_ms } => {
                put(out, 0x12, &[&fetch.to_be_bytes(), &[*code], &retry_ms.to_be_bytes()]);
            }
            Frame::Got { fetch, ask } => put(out, 0x13, &[&fetch.to_be_bytes(), &ask.to_be_bytes()]),
            Frame::Done { fetch, ask } => put(out, 0x14, &[&fetch.to_be_bytes(), &ask.to_be_bytes()]),
            Frame::Data(data) => {
                let (fetch, ask, sub, stamp) = (data.fetch, data.ask, data.sub, data.stamp);
                let head: [&[u8]; 4] =
                    [&fetch.to_be_bytes(), &ask.to_be_bytes(), &sub.to_be_bytes(), &stamp.to_be_bytes()];
                put(out, if data.last { 0x21 } else { 0x20 }, &head);
                out.extend_from_slice(data.content);
            }
            Frame::Msg { number, first, last, bytes } => {
                let flags = u8::from(*first) | u8::from(*last) << 1;
                put(
                    out,
                    0x30,
                    &[&number.to_be_bytes(), &[flags], &(bytes.len() as u16).to_be_bytes(), bytes],
                );
            }
            Frame::MsgAck { next, later, room } => {
                put(out, 0x31, &[&next.to_be_bytes(), &later.to_be_bytes(), &room.to_be_bytes()]);
            }
            Frame::Feedback(f) => {
                out.push(0x40);
                for word in [f.highest, f.received, f.stamp, f.waited, f.delay, f.clock] {
                    out.extend_from_slice(&word.to_be_bytes());
                }
            }
            Frame::PathAsk(challenge) => put(out, 0x50, &[challenge]),
            Frame::PathProof(challenge) => put(out, 0x51, &[challenge]),
            Frame::Close => out.push(0x5f),
        }
    }
}

fn encode_req(req: &Req, out: &mut Vec<u8>) {
    put(out, 0x10, &[&req.fetch.to_be_bytes(), &req.ask.to_be_bytes(), &req.swarm.0]);
    out.extend_from_slice(&req.segment.to_be_bytes());
    out.extend_from_slice(&req.piece.to_be_bytes());
    out.extend_from_slice(&req.len.to_be_bytes());
    out.push(match req.class {
        Class::Background => 0,
        Class::Normal => 1,
        Class::Urgent => 2,
    });
    out.extend_from_slice(&req.within_ms.to_be_bytes());
    out.extend_from_slice(&req.sub_bytes.to_be_bytes());
    match req.subs.as_run() {
        Some((first, count)) => {
            out.extend_from_slice(&first.to_be_bytes());
            out.extend_from_slice(&count.to_be_bytes());
        }
        None => {
            let (first, bitmap) = req.subs.as_bitmap();
            out.extend_from_slice(&first.to_be_bytes());
            out.extend_from_slice(&(0x8000 | bitmap.len() as u16).to_be_bytes());
            out.extend_from_slice(&bitmap);
        }
    }
}

fn put(out: &mut Vec<u8>, kind: u8, parts: &[&[u8]]) {
    out.push(kind);
    parts.iter().for_each(|part| out.extend_from_slice(part));
}

fn class_of(code: u8) -> Option<Class> {
    Some(match code {
        0 => Class::Background,
        1 => Class::Normal,
        2 => Class::Urgent,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes: Vec<u8>) {
            decode(&bytes).count();
        }

        #[test]
        fn arbitrary_bodies_of_every_frame_never_panic(kind in 0u8..0x60, body: Vec<u8>) {
            decode(&[&[kind][..], &body].concat()).count();
        }

        #[test]
        fn requests_round_trip(fetch: u32, ask: u16, first in 0u16..600, count in 1u16..400, holes: Vec<u16>) {
            let mut subs = SubSet::run(first, count).unwrap();
            for hole in holes {
                subs.remove(first + hole % count);
            }
            if subs.is_empty() { return Ok(()) }
            let (swarm, class) = (SwarmKey([5; 32]), Class::Normal);
            let req = Req { fetch, ask, swarm, segment: 1 << 40, piece: 3, len: 65_536, class, within_ms: 9, sub_bytes: 1280, subs };
            let mut bytes = Vec::new();
            Frame::Req(req.clone()).encode(&mut bytes);
            prop_assert!(bytes.len() <= REQ_LEN_MAX);
            prop_assert_eq!(decode(&bytes).collect::<Vec<_>>(), vec![Ok(Frame::Req(req))]);
        }
    }

    #[test]
    fn small_frames_round_trip_together() {
        let frames = [
            Frame::Ping(1),
            Frame::Pong(2),
            Frame::Cancel(3),
            Frame::Refuse { fetch: 4, code: 1, retry_ms: 5 },
            Frame::Got { fetch: 6, ask: 7 },
            Frame::Done { fetch: 8, ask: 9 },
            Frame::Msg { number: 1, first: true, last: false, bytes: b"half" },
            Frame::MsgAck { next: 1, later: 6, room: 9 },
            Frame::Feedback(Feedback { highest: 1, received: 2, stamp: 3, waited: 4, delay: 5, clock: 6 }),
            Frame::PathAsk([1; 8]),
            Frame::PathProof([2; 8]),
            Frame::Close,
            Frame::Data(Data { fetch: 1, ask: 2, sub: 3, last: true, stamp: 4, content: b"bytes" }),
        ];
        let mut bytes = Vec::new();
        frames.iter().for_each(|frame| frame.encode(&mut bytes));
        assert_eq!(decode(&bytes).collect::<Result<Vec<_>, _>>().unwrap(), frames);
    }
}
