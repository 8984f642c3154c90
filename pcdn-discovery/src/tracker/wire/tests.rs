use proptest::prelude::*;

use super::*;
use crate::tracker::secret::Secret;

fn ports(list: &[(Scheme, u16)]) -> Ports {
    let mut ports = Ports::default();
    list.iter().for_each(|(scheme, port)| assert!(ports.push(*scheme, *port)));
    ports
}

fn announce() -> Request {
    Request::Announce(Announce {
        swarm: SwarmKey([0x11; 32]),
        peer: PeerId([0x22; 32]),
        ports: ports(&[(Scheme::Udp, 4000), (Scheme::Quic, 4001)]),
        seed: false,
        event: Event::Started,
        progress: Some(Progress { downloaded: 1, left: 2 }),
        want: 25,
        traits: Traits::default(),
    })
}

fn listed(n: u8, ip: &str) -> Listed {
    Listed {
        id: PeerId([n; 32]),
        ip: ip.parse().unwrap(),
        ports: ports(&[(Scheme::Udp, 4000)]),
        seed: n == 1,
        traits: Traits::default(),
    }
}

fn secret() -> Secret {
    Secret::new(b"a secret of sixteen bytes or more").unwrap()
}

fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

/// The frames of other versions of this code and of other programs: a change here is a change of the protocol.
#[test]
fn golden_frames() {
    assert_eq!(encode_connect(0xaabb_ccdd), unhex("0000041727101980 00000000 aabbccdd"));
    let golden = unhex(&format!(
        "0102030405060708 00504301 aabbccdd 01 010020{} 020020{} 030006 010fa0 020fa1 040001 00 050001 01 \
         060010 0000000000000001 0000000000000002 070002 0019",
        "11".repeat(32),
        "22".repeat(32)
    ));
    let frame = encode_request(0x0102_0304_0506_0708, 0xaabb_ccdd, &announce(), None);
    assert_eq!(frame.len(), REQUEST_PADDED);
    assert_eq!(&frame[..golden.len()], golden);
    assert!(frame[golden.len()..].iter().all(|byte| *byte == 0));

    let find = Request::Find(Find {
        swarm: SwarmKey([0x11; 32]),
        asker: Some(PeerId([0x22; 32])),
        seed: true,
        want: 9,
        traits: Traits::default(),
        rich: false,
    });
    let golden = unhex(&format!(
        "0102030405060708 00504302 00000001 01 010020{} 020020{} 040001 01 070002 0009",
        "11".repeat(32),
        "22".repeat(32)
    ));
    assert_eq!(&encode_request(0x0102_0304_0506_0708, 1, &find, None)[..golden.len()], golden);

    let mut out = Vec::new();
    encode_answer(7, &Answer::Connected { connection: 9 }, 16, None, &mut out);
    assert_eq!(out, unhex("00000000 00000007 0000000000000009"));
    encode_answer(7, &Answer::Refused { why: "no".into() }, 16, None, &mut out);
    assert_eq!(out, unhex("00000003 00000007 6e6f"));
    let answer = Answer::Announced {
        interval_s: 60,
        observed: "192.0.2.1:5000".parse().unwrap(),
        counts: Counts { seeds: 1, others: 2 },
        peers: vec![listed(1, "192.0.2.7"), listed(2, "2001:db8::7")],
    };
    encode_answer(7, &answer, DATAGRAM_MAX, None, &mut out);
    let golden = unhex(&format!(
        "00504301 00000007 01 210004 0000003c 220006 c0000201 1388 230008 00000001 00000002 \
         24005e {} 01 01 c0000207 010fa0 {} 02 01 20010db8000000000000000000000007 010fa0",
        "01".repeat(32),
        "02".repeat(32)
    ));
    assert_eq!(out, golden);
}

#[test]
fn messages_round_trip_with_and_without_a_secret() {
    let find = Request::Find(Find {
        swarm: SwarmKey([3; 32]),
        asker: None,
        seed: false,
        want: 0,
        traits: Traits::default(),
        rich: false,
    });
    for secret in [None, Some(&secret())] {
        for request in [&announce(), &find] {
            let frame = encode_request(5, 6, request, secret);
            assert_eq!(&decode_request(&frame, secret).unwrap(), request);
            assert_eq!(decode_head(&frame).unwrap().connection, 5);
        }
        let peers = vec![listed(1, "192.0.2.7"), listed(2, "2001:db8::7")];
        let answer = Answer::Found { counts: Counts { seeds: 1, others: 1 }, peers, rich: false };
        let mut out = Vec::new();
        encode_answer(6, &answer, DATAGRAM_MAX, secret, &mut out);
        assert_eq!(decode_answer(&out, secret).unwrap(), (6, answer));
    }
}

#[test]
fn without_the_secret_nothing_is_believed() {
    let secret = secret();
    let plain = encode_request(5, 6, &announce(), None);
    assert_eq!(decode_request(&plain, Some(&secret)), Err(WireError::Tag));
    let mut tagged = encode_request(5, 6, &announce(), Some(&secret));
    tagged[0] ^= 1;
    assert_eq!(decode_request(&tagged, Some(&secret)), Err(WireError::Tag), "the connection id is covered");
    let other = Secret::new(b"another secret of enough length").unwrap();
    let frame = encode_request(5, 6, &announce(), Some(&other));
    assert_eq!(decode_request(&frame, Some(&secret)), Err(WireError::Tag));
}

#[test]
fn unknown_fields_and_transports_are_skipped_other_versions_refused() {
    let mut frame = encode_request(5, 6, &announce(), None);
    // Field 0x70 of two bytes in front of all others, as a later version might send it.
    let later = [0x70, 0, 2, 0xde, 0xad];
    frame.splice(17..17, later);
    assert_eq!(decode_request(&frame, None).unwrap(), announce());
    frame[16] = 2;
    assert_eq!(decode_request(&frame, None), Err(WireError::Version(2)));

    let mut frame = encode_request(5, 6, &announce(), None);
    let first_port = 17 + 35 + 35 + 3;
    frame[first_port] = 99;
    let Ok(Request::Announce(read)) = decode_request(&frame, None) else { panic!("still an announce") };
    assert_eq!(read.ports, ports(&[(Scheme::Quic, 4001)]));
}

#[test]
fn an_answer_holds_what_its_limit_allows() {
    let count = |ip: &str, ports: Ports, secret: Option<&Secret>| {
        let one = |n| Listed { ports, ..listed(n, ip) };
        let answer = Answer::Announced {
            interval_s: 60,
            observed: "192.0.2.1:1".parse().unwrap(),
            counts: Counts::default(),
            peers: (0..60).map(one).collect(),
        };
        let mut out = Vec::new();
        encode_answer(1, &answer, 9_999, secret, &mut out);
        assert!(out.len() <= DATAGRAM_MAX);
        let Ok((_, Answer::Announced { peers, .. })) = decode_answer(&out, secret) else { panic!("decodes") };
        peers.len()
    };
    let (one, two) = (ports(&[(Scheme::Udp, 4000)]), ports(&[(Scheme::Udp, 4000), (Scheme::Quic, 4001)]));
    assert_eq!(count("192.0.2.7", one, None), 28);
    assert_eq!(count("192.0.2.7", two, None), 26);
    assert_eq!(count("2001:db8::7", one, None), 21);
    assert_eq!(count("192.0.2.7", one, Some(&secret())), 27);
}

#[test]
fn two_families_of_one_peer_become_one_record() {
    let all = [listed(1, "192.0.2.7"), listed(2, "192.0.2.8"), listed(1, "2001:db8::7")];
    let records = records(&all);
    assert_eq!(records.len(), 2);
    let addrs: Vec<_> = records[0].addrs.iter().map(|addr| addr.to_string()).collect();
    assert_eq!(addrs, ["udp://192.0.2.7:4000", "udp://[2001:db8::7]:4000"]);
}

#[test]
fn ports_refuse_what_could_hurt() {
    let mut ports = Ports::default();
    assert!(!ports.push(Scheme::Udp, 53));
    assert!(!ports.push(Scheme::Mem, 4000));
    assert!(ports.push(Scheme::Udp, 4000));
    assert!(!ports.push(Scheme::Udp, 4000), "twice");
    (0..10).for_each(|n| _ = ports.push(Scheme::Quic, 5000 + n));
    assert_eq!(ports.iter().count(), PORTS_MAX);
}

proptest! {
    #[test]
    fn any_bytes_decode_or_fail_but_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        let _ = decode_request(&bytes, None);
        let _ = decode_answer(&bytes, Some(&secret()));
        let _ = decode_answer(&bytes, None);
    }

    #[test]
    fn damaged_frames_never_panic(at in 0usize..400, value: u8, cut in 0usize..400) {
        let mut frame = encode_request(5, 6, &announce(), None);
        frame[at] = value;
        let _ = decode_request(&frame, None);
        let _ = decode_request(&frame[..cut], None);
        let mut out = Vec::new();
        let peers = (0..20).map(|n| listed(n, "192.0.2.7")).collect();
        encode_answer(6, &Answer::Found { counts: Counts::default(), peers, rich: false }, DATAGRAM_MAX, None, &mut out);
        out[at] = value;
        let _ = decode_answer(&out, None);
        let _ = decode_answer(&out[..cut], None);
    }
}
