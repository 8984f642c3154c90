//! Frames on the stream: length 4 (of what follows), kind 1, fields (all integers big-endian).

use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use pcdn_core::transport::{Chunk, Fetch, MESSAGE_BYTES_MAX, Refuse};

use crate::request::{get_fetch, put_fetch};

/// Bytes of a frame at most: the largest message and its kind.
pub(super) const FRAME_MAX: usize = MESSAGE_BYTES_MAX + 1;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Frame {
    Fetch {
        id: u32,
        want: Fetch,
    },
    Cancel {
        id: u32,
    },
    Chunk {
        id: u32,
        chunk: Chunk,
    },
    Whole {
        id: u32,
    },
    Refused {
        id: u32,
        why: Refuse,
    },
    Message(Bytes),
    /// One message was read.
    Read,
    Close,
}

impl Frame {
    pub(super) fn encode(&self, out: &mut BytesMut) {
        let start = out.len();
        out.put_u32(0);
        match self {
            Frame::Fetch { id, want } => {
                out.put_u8(1);
                out.put_u32(*id);
                put_fetch(want, out);
            }
            Frame::Cancel { id } => put_id(2, *id, out),
            Frame::Chunk { id, chunk } => {
                put_id(3, *id, out);
                out.put_u32(chunk.offset);
                out.put_slice(&chunk.bytes);
            }
            Frame::Whole { id } => put_id(4, *id, out),
            Frame::Refused { id, why } => {
                put_id(5, *id, out);
                let (code, retry) = match why {
                    Refuse::Busy(retry) => (1, *retry),
                    Refuse::NotHere => (2, Duration::ZERO),
                    Refuse::NoSwarm => (3, Duration::ZERO),
                    Refuse::Bad => (4, Duration::ZERO),
                };
                out.put_u8(code);
                out.put_u32(u32::try_from(retry.as_millis()).unwrap_or(u32::MAX));
            }
            Frame::Message(message) => {
                out.put_u8(6);
                out.put_slice(message);
            }
            Frame::Read => out.put_u8(7),
            Frame::Close => out.put_u8(8),
        }
        let len = (out.len() - start - 4) as u32;
        out[start..start + 4].copy_from_slice(&len.to_be_bytes());
    }

    /// Reads what follows the length; `None` if it makes no sense.
    pub(super) fn decode(mut body: Bytes) -> Option<Self> {
        let kind = body.try_get_u8().ok()?;
        let id = if kind <= 5 { body.try_get_u32().ok()? } else { 0 };
        Some(match kind {
            1 => Frame::Fetch { id, want: get_fetch(&mut body)? },
            2 => Frame::Cancel { id },
            3 => Frame::Chunk { id, chunk: Chunk { offset: body.try_get_u32().ok()?, bytes: body } },
            4 => Frame::Whole { id },
            5 => {
                let (code, retry) = (body.try_get_u8().ok()?, body.try_get_u32().ok()?);
                let why = match code {
                    1 => Refuse::Busy(Duration::from_millis(retry.into())),
                    2 => Refuse::NotHere,
                    3 => Refuse::NoSwarm,
                    _ => Refuse::Bad,
                };
                Frame::Refused { id, why }
            }
            6 => Frame::Message(body),
            7 => Frame::Read,
            8 => Frame::Close,
            _ => return None,
        })
    }
}

fn put_id(kind: u8, id: u32, out: &mut BytesMut) {
    out.put_u8(kind);
    out.put_u32(id);
}

#[cfg(test)]
mod tests {
    use pcdn_core::id::SwarmKey;
    use pcdn_core::layout::{Layout, PieceKey, SegmentId};
    use pcdn_core::transport::Class;

    use super::*;

    proptest::proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(kind in 0u8..10, body: Vec<u8>) {
            Frame::decode([&[kind][..], &body].concat().into());
            Frame::decode(body.into());
        }
    }

    #[test]
    fn frames_round_trip() {
        let piece = Layout::new(65_536, 16).unwrap().piece(0).unwrap();
        let want = Fetch {
            swarm: SwarmKey([1; 32]),
            piece: PieceKey { segment: SegmentId(7), piece },
            len: 65_536,
            want: vec![3..9, 100..200],
            class: Class::Urgent,
            within: Duration::from_millis(250),
        };
        let frames = [
            Frame::Fetch { id: 1, want },
            Frame::Cancel { id: 2 },
            Frame::Chunk { id: 3, chunk: Chunk { offset: 4, bytes: "abc".into() } },
            Frame::Whole { id: 5 },
            Frame::Refused { id: 6, why: Refuse::Busy(Duration::from_secs(1)) },
            Frame::Refused { id: 6, why: Refuse::NotHere },
            Frame::Message("hello".into()),
            Frame::Read,
            Frame::Close,
        ];
        for frame in frames {
            let mut out = BytesMut::new();
            frame.encode(&mut out);
            assert_eq!(out.get_u32() as usize, out.len());
            assert_eq!(Frame::decode(out.freeze()), Some(frame));
        }
    }
}
