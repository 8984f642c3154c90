//! Frames from bytes. Never panics, and allocates nothing but a set of sub-pieces of fixed size.

use pcdn_core::id::SwarmKey;
use pcdn_core::transport::Class;

use super::{Data, Feedback, Frame, Malformed, Req};
use crate::udp::subs::SubSet;

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
            0x13 => Frame::Got { fetch: self.u32()?, ask: self.u16()?, sent: self.u16()? },
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

fn class_of(code: u8) -> Option<Class> {
    Some(match code {
        0 => Class::Background,
        1 => Class::Normal,
        2 => Class::Urgent,
        _ => return None,
    })
}
