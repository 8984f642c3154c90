//! Frames to bytes.

use pcdn_core::transport::Class;

use super::{Frame, Req};

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
            Frame::Got { fetch, ask, sent } => {
                put(out, 0x13, &[&fetch.to_be_bytes(), &ask.to_be_bytes(), &sent.to_be_bytes()]);
            }
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
