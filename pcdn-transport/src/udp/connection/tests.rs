//! A proven peer may still be hostile: whatever it writes into its packets, nothing panics and nothing grows.

use pcdn_core::transport::Class;

use super::*;
use crate::udp::cipher::Cipher;
use crate::udp::frame::{Data, Feedback, Req};
use crate::udp::subs::SubSet;
use pcdn_core::id::SwarmKey;
use pcdn_core::layout::{Layout, PieceKey, SegmentId};
use pcdn_core::transport::{Fetch, Grant};
use pcdn_core::verify::Verified;
use proptest::prelude::*;

fn keyed() -> Keyed {
    Keyed { sealer: Sealer::new([1; 32], Cipher::Aes128Gcm), opener: Opener::new([2; 32], Cipher::Aes128Gcm) }
}

fn fetch() -> Fetch {
    let piece = Layout::new(65_536, 16).unwrap().piece(0).unwrap();
    Fetch {
        swarm: SwarmKey([1; 32]),
        piece: PieceKey { segment: SegmentId(1), piece },
        len: 65_536,
        want: vec![],
        class: Class::Normal,
        within: Duration::from_secs(3),
    }
}

/// Frames with small numbers, so that they hit something.
fn frame() -> impl Strategy<Value = Vec<u8>> {
    let small = 0u32..4;
    let encode = |frame: Frame<'_>| {
        let mut out = Vec::new();
        frame.encode(&mut out);
        out
    };
    let req = (small.clone(), any::<u16>(), 0u16..60, 0u16..60, any::<u32>(), 0u32..70_000);
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..60),
        (0u8..0x60, prop::collection::vec(any::<u8>(), 0..80))
            .prop_map(|(kind, body)| [&[kind][..], &body].concat()),
        (small.clone(), 0u16..4, any::<u16>(), any::<bool>(), 0usize..1290).prop_map(
            move |(fetch, ask, sub, last, len)| {
                encode(Frame::Data(Data {
                    fetch,
                    ask,
                    sub: sub % 60,
                    last,
                    stamp: 0,
                    content: &vec![0; len],
                }))
            }
        ),
        req.prop_map(move |(fetch, ask, first, count, within_ms, len)| {
            let Some(subs) = SubSet::run(first, count) else { return vec![] };
            let (swarm, class) = (SwarmKey([1; 32]), Class::Urgent);
            encode(Frame::Req(Req {
                fetch,
                ask,
                swarm,
                segment: 1,
                piece: 0,
                len,
                class,
                within_ms,
                sub_bytes: 1280,
                subs,
            }))
        }),
        (any::<[u32; 6]>()).prop_map(move |[highest, received, stamp, waited, delay, clock]| {
            let highest = highest % 40;
            encode(Frame::Feedback(Feedback { highest, received, stamp, waited, delay, clock }))
        }),
        (small.clone(), any::<u16>()).prop_map(move |(fetch, ask)| encode(Frame::Done { fetch, ask })),
        (small.clone(), any::<u16>(), any::<u16>()).prop_map(move |(fetch, ask, sent)| encode(Frame::Got {
            fetch,
            ask,
            sent
        })),
        (small.clone(), any::<u8>()).prop_map(move |(fetch, code)| encode(Frame::Refuse {
            fetch,
            code,
            retry_ms: 1
        })),
        small.clone().prop_map(move |fetch| encode(Frame::Cancel(fetch))),
        (0u32..70, any::<(bool, bool)>(), 0usize..1200).prop_map(move |(number, (first, last), len)| {
            encode(Frame::Msg { number, first, last, bytes: &vec![0; len] })
        }),
        (small, any::<u64>(), any::<u16>())
            .prop_map(move |(next, later, room)| { encode(Frame::MsgAck { next, later, room }) }),
    ]
}

proptest! {
    #[test]
    fn a_hostile_peer_breaks_nothing(packets in prop::collection::vec((frame(), 0u64..300), 0..120)) {
        let from: SocketAddr = "192.0.2.1:9".parse().unwrap();
        let mut now = Time::from_secs(1);
        let mut me = Connection::new(now, PeerId([3; 32]), from, 7, keyed(), Duration::from_secs(20));
        let mut theirs = Sealer::new([2; 32], Cipher::Aes128Gcm);
        (0..2).for_each(|_| _ = me.pull.begin(now, fetch(), 1280));
        me.send(&vec![1; 5000].into());
        for (frames, millis) in packets {
            let mut packet = Vec::new();
            let number = theirs.next_number() as u32;
            theirs.begin(now, 9, &mut packet);
            packet.extend_from_slice(&frames);
            theirs.finish(0, &mut packet);
            prop_assert!(me.handle(now, from, number, &mut packet, Company::ALONE, || [0; 8]));
            let demands: Vec<_> = me.serve.drain_demands().collect();
            for demand in demands {
                if let super::super::serve::Demand::Open(id, want) = demand {
                    let bytes = Verified::for_test(vec![5; want.len as usize]);
                    me.serve.granted(now, id, Grant::new(bytes, None));
                }
            }
            me.pull.drain_progress().for_each(drop);
            while me.talk.take_arrived().is_some() {}
            let mut written = 0;
            let mut out = Vec::new();
            while me.control_due(now) {
                me.write_control(now, &mut out);
                written += 1;
                prop_assert!(written < 100, "endless control packets");
            }
            for class in [Class::Urgent, Class::Normal] {
                while me.serve.next_data(class).is_some() && me.data_allowance(now, 1280, class).is_ok() {
                    out.clear();
                    prop_assert!(me.write_data(now, class, &mut out).is_some());
                }
            }
            now += Duration::from_millis(millis);
            if now >= me.next_wake() {
                me.wake(now);
            }
        }
    }
}

#[test]
fn an_idle_session_is_small() {
    // With the handle and the endpoint's tables 4 KiB: `cargo bench --bench transport -- idle`.
    let bytes = size_of::<Connection>();
    assert!(bytes <= 2800, "{bytes} bytes");
}

#[test]
fn a_session_ends_when_too_much_was_forged() {
    let from: SocketAddr = "192.0.2.1:9".parse().unwrap();
    let now = Time::from_secs(1);
    let mut me = Connection::new(now, PeerId([3; 32]), from, 7, keyed(), Duration::from_secs(20));
    let forge = |me: &mut Connection| {
        let mut packet = vec![0x28; 40];
        assert!(!me.handle(now, from, 1, &mut packet, Company::ALONE, || [0; 8]));
        me.ended
    };
    assert_eq!(forge(&mut me), None);
    me.opener.wear();
    assert_eq!(forge(&mut me), Some(Ended::Here));
}
