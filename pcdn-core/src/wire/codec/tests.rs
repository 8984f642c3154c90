use super::super::{HaveSegment, Status};
use super::*;
use crate::bitmap::Bitmap;
use crate::id::Identity;
use crate::layout::Layout;
use crate::peer::Scheme;
use crate::verify::witness::Statement;
use proptest::prelude::*;

fn examples() -> Vec<Message> {
    let layout = Layout::new(300_000, 16).unwrap();
    let mut bitmap = Bitmap::new(5);
    bitmap.set(0);
    bitmap.set(4);
    let digests = vec![Digest([1; 32]), Digest([2; 32])];
    let key = Identity::from_secret([1; 32]);
    let statement = Statement::sign(&key, SwarmKey([7; 32]), SegmentId(3), layout, bitmap.clone(), digests);
    let tally = crate::receipt::Tally { bytes: 3 << 20, pieces: 48, bad: 1 };
    let facts = crate::peer::Facts {
        id: key.peer_id(),
        seq: 1_700_000_000_000,
        lifetime_s: 1_800,
        flags: 0,
        nat: 0,
        up: 0,
        addrs: vec!["udp://192.0.2.1:4000".parse().unwrap(), "quic://[2001:db8::1]:4001".parse().unwrap()],
    };
    let record = facts.sign(&key, &SwarmKey([7; 32])).unwrap();
    vec![
        Message::Hello { ports: vec![(Scheme::Udp, 9)], answer: true, appears: None },
        Message::Hello {
            ports: vec![(Scheme::Udp, 9)],
            answer: true,
            appears: Some("udp://[2001:db8::1]:5".parse().unwrap()),
        },
        Message::Have {
            status: Status { origin_rate: 1, peer_rate: 2, complete: true },
            segments: vec![HaveSegment { segment: SegmentId(3), layout, bitmap }],
        },
        Message::Claim { segment: SegmentId(1), first: 2, count: 3, within_ms: 4 },
        Message::Witness(statement),
        Message::AskWitness(SegmentId(9)),
        Message::Record(record.clone()),
        Message::Peers { hungry: true, added: vec![record], dropped: vec![PeerId([3; 32])] },
        Message::Peers { hungry: false, added: Vec::new(), dropped: Vec::new() },
        Message::AskManifest { at: 5 },
        Message::ManifestPart { at: 5, total: 9, bytes: Bytes::from_static(b"abcd") },
        Message::Slice(SliceNote {
            segment: SegmentId(8),
            layout,
            before: Some(SegmentId(7)),
            duration_ms: 1_040,
            offset_ms: 400,
            discontinuity: true,
            setup: Bytes::from_static(b"avcC"),
        }),
        Message::Receipt(Receipt::sign(&key, [4; 16], PeerId([5; 32]), SwarmKey([7; 32]), 29_000_000, tally)),
        Message::Call { wanted: PeerId([6; 32]) },
        Message::Meet {
            peer: PeerId([6; 32]),
            token: [7; 8],
            in_ms: 40,
            at: "udp://192.0.2.1:4000".parse().unwrap(),
        },
        Message::Challenge { nonce: [8; 16], segment: SegmentId(9), piece: 10 },
        Message::Answer { nonce: [8; 16], shown: Some(Digest([11; 32])) },
        Message::Answer { nonce: [8; 16], shown: None },
        Message::Bye,
    ]
}

#[test]
fn every_message_round_trips_and_no_prefix_panics() {
    let swarm = SwarmKey([7; 32]);
    for message in examples() {
        let bytes = encode(&swarm, &message);
        assert_eq!(decode(&bytes).unwrap(), Envelope { swarm, message: Some(message) });
        for cut in 0..bytes.len() {
            let _ = decode(&bytes.slice(..cut));
        }
    }
}

#[test]
fn a_hello_of_before_the_address_is_read() {
    let bytes = encode(
        &SwarmKey([7; 32]),
        &Message::Hello { ports: vec![(Scheme::Udp, 9)], answer: true, appears: None },
    );
    let old = bytes.slice(..bytes.len() - 1);
    assert_eq!(decode(&old).unwrap(), decode(&bytes).unwrap());
}

/// Other versions must read these very bytes.
#[test]
fn the_frame_of_an_exchange_stands() {
    let dropped = vec![PeerId([3; 32])];
    let bytes = encode(&SwarmKey([7; 32]), &Message::Peers { hungry: true, added: Vec::new(), dropped });
    let mut want = vec![1, 13];
    want.extend([7; 32]);
    want.extend([1, 0, 1]);
    want.extend([3; 32]);
    assert_eq!(bytes, want);
}

#[test]
fn an_unknown_kind_or_version_is_no_error() {
    let mut bytes = vec![VERSION, 200];
    bytes.extend([0; 40]);
    assert_eq!(decode(&bytes.clone().into()).unwrap().message, None);
    bytes[0] = 9;
    assert_eq!(decode(&bytes.into()).unwrap().message, None);
}

proptest! {
    #[test]
    fn any_bytes_are_read_in_peace(mut junk in proptest::collection::vec(any::<u8>(), 0..300), kind in 0u8..15) {
        if junk.len() > 2 {
            junk[0] = VERSION;
            junk[1] = kind;
        }
        let _ = decode(&junk.into());
    }
}
