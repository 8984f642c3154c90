//! Frames round trip, and arbitrary bytes do no harm.

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
        Frame::Got { fetch: 6, ask: 7, sent: 8 },
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
