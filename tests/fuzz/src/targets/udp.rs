//! Datagrams of the UDP transport.

use pcdn_transport::udp::{frame, packet};

use super::MODEST;
use super::wire::SWARM;
use crate::Target;

pub fn targets() -> Vec<Target> {
    vec![
        Target::new("udp packet", packets(), udp_packet, MODEST),
        Target::new("udp frames", frames(), udp_frames, MODEST),
    ]
}

fn packets() -> Vec<Vec<u8>> {
    let padded = |kind: u8, len: usize| {
        let mut bytes = vec![0; len];
        bytes[..2].copy_from_slice(&[kind, packet::VERSION]);
        bytes
    };
    vec![
        padded(0x20, packet::HELLO_LEN),
        padded(0x21, packet::WELCOME_LEN),
        padded(0x22, packet::COOKIE_LEN),
        padded(0x28, packet::HEADER_LEN + packet::TAG_LEN + 100),
    ]
}

fn udp_packet(input: &[u8]) -> bool {
    packet::decode(input).is_some()
}

fn frames() -> Vec<Vec<u8>> {
    let subs = pcdn_transport::udp::subs::SubSet::run(0, 52).expect("valid");
    let req = frame::Req {
        fetch: 1,
        ask: 0,
        swarm: SWARM,
        segment: 3,
        piece: 4,
        len: 65_536,
        class: pcdn_core::transport::Class::Normal,
        within_ms: 500,
        sub_bytes: 1_280,
        subs,
    };
    let frames = [
        frame::Frame::Req(req),
        frame::Frame::Cancel(1),
        frame::Frame::Refuse { fetch: 1, code: 0, retry_ms: 250 },
        frame::Frame::Data(frame::Data {
            fetch: 1,
            ask: 0,
            sub: 2,
            last: true,
            stamp: 9,
            content: &[7; 100],
        }),
        frame::Frame::Msg { number: 1, first: true, last: true, bytes: b"hello" },
        frame::Frame::MsgAck { next: 1, later: 0, room: 16 },
        frame::Frame::PathAsk([1; 8]),
        frame::Frame::Close,
    ];
    let encode = |frame: &frame::Frame<'_>| {
        let mut out = Vec::new();
        frame.encode(&mut out);
        out
    };
    frames.iter().map(encode).collect()
}

fn udp_frames(input: &[u8]) -> bool {
    let input = &input[..input.len().min(packet::DATAGRAM_MAX)];
    let mut all = true;
    for frame in frame::decode(input) {
        let Ok(frame) = frame else {
            all = false;
            continue;
        };
        let mut again = Vec::new();
        frame.encode(&mut again);
        let back = frame::decode(&again).next();
        assert_eq!(back, Some(Ok(frame)), "what is read must be written the same");
    }
    all
}
