//! Datagrams of the UDP transport.

use pcdn_core::dice::Dice;
use pcdn_core::id::PeerId;
use pcdn_core::unit::Time;
use pcdn_core::wire::meet::{self, AnswerFrom, Call, Here, Meet, Where, Word};
use pcdn_discovery::tracker::meet::{MeetingPoint, Members, Points};
use pcdn_transport::nat::Nat;
use pcdn_transport::udp::{frame, packet};

use super::MODEST;
use super::wire::SWARM;
use crate::Target;

pub fn targets() -> Vec<Target> {
    vec![
        Target::new("udp packet", packets(), udp_packet, MODEST),
        Target::new("udp frames", frames(), udp_frames, MODEST),
        Target::new("meet words", words(), meet_words, MODEST),
        // A table grows with whoever asks, so only panics are looked for.
        Target::new("meeting point", words(), meeting_point, (0, usize::MAX)),
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

/// One of each word.
fn words() -> Vec<Vec<u8>> {
    let at: std::net::SocketAddr = "198.51.100.7:4000".parse().expect("valid");
    let (txid, ticket, id, wanted) = ([7; 12], [8; 8], PeerId([1; 32]), PeerId([2; 32]));
    let private = vec![at; meet::PRIVATE_MAX];
    let words = [
        Word::Where(Where { txid, answer_from: AnswerFrom::OtherPort, ticket, id, private: private.clone(), rtt_ms: 40 }),
        Word::Here(Here {
            txid,
            ticket,
            registered: true,
            seen: at,
            other_port: Some(at),
            other_address: None,
        }),
        Word::Call(Call { txid, ticket, id, wanted, at, private, rtt_ms: 0 }),
        Word::Meet(Meet { txid, ticket, token: Some([9; 8]), in_ms: 1, peer: wanted, addrs: vec![at] }),
        Word::Punch([9; 8]),
    ];
    words.iter().map(meet::encode).collect()
}

fn meet_words(input: &[u8]) -> bool {
    let Some(word) = meet::decode(input) else { return false };
    let again = meet::encode(&word);
    assert!(again.len() <= meet::WORD_MAX);
    assert_eq!(meet::decode(&again), Some(word), "what is read must be written the same");
    true
}

/// A tracker never answers with more than it got, and a node takes any word in peace.
fn meeting_point(input: &[u8]) -> bool {
    struct All;
    impl Members for All {
        fn has(&self, _: std::net::IpAddr, _: &PeerId) -> bool {
            true
        }
        fn may_ask(&self, _: Time, _: std::net::IpAddr) -> bool {
            true
        }
    }
    let (now, from) = (Time::from_secs(1), "198.51.100.7:4000".parse().expect("valid"));
    let point = MeetingPoint::new([3; 32], Points::default());
    let sent = point.handle(now, &mut Dice::new(1), &All, from, input);
    assert!(sent.iter().all(|send| send.bytes.len() <= input.len()), "no amplification");
    let mut node = Nat::new(PeerId([1; 32]));
    node.meet_at(now, &[from], &[]);
    node.wake(now, || [5; 32]);
    node.handle(now, from, input);
    node.wake(now, || [6; 32]);
    meet::decode(input).is_some()
}
