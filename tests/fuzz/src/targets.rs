//! Every decoder of bytes from outside, with its seeds and its laws.

use std::net::SocketAddr;

use bytes::Bytes;
use pcdn_core::bitmap::Bitmap;
use pcdn_core::dice::Dice;
use pcdn_core::id::{Digest, Identity, PeerId, RuleId, SwarmKey};
use pcdn_core::layout::{Layout, SegmentId};
use pcdn_core::peer::{PeerAddr, PeerRecord, Scheme};
use pcdn_core::receipt::{Receipt, Tally};
use pcdn_core::resource::Url;
use pcdn_core::unit::{ByteSize, Rate, Span, Time};
use pcdn_core::verify::Manifest;
use pcdn_core::verify::witness::Statement;
use pcdn_core::wire::{self, HaveSegment, Message, Status};
use pcdn_discovery::tracker::service::Service;
use pcdn_discovery::tracker::table::Limits;
use pcdn_discovery::tracker::wire as tracker;
use pcdn_transport::udp::{frame, packet};

use crate::{Target, engine};

pub const SWARM: SwarmKey = SwarmKey([0x11; 32]);

pub fn all() -> Vec<Target> {
    // Decoded forms hold ids and ranges where the wire has bits, so a byte may become several; never a claimed gigabyte.
    let modest = (32, 4_096);
    let target = |name, seeds, run, allocation| Target { name, seeds, run, allocation };
    vec![
        target("wire", messages(), wire, modest),
        // Whole pieces' worth of state may be touched, so only panics are looked for.
        target("engine", messages(), engine::run, (0, usize::MAX)),
        target("manifest", vec![manifest()], manifest_laws, modest),
        target("tracker ask", requests(), tracker_request, modest),
        target("tracker say", answers(), tracker_answer, modest),
        target("tracker", requests(), tracker_service, (1_024, 1 << 20)),
        target("udp packet", packets(), udp_packet, modest),
        target("udp frames", frames(), udp_frames, modest),
        target("url", urls(), url, (256, 64 * 1_024)),
        target("text", texts(), text, (32, 4_096)),
    ]
}

/// One of each kind of message.
pub fn messages() -> Vec<Vec<u8>> {
    let key = Identity::from_secret([5; 32]);
    let layout = Layout::new(1 << 20, 16).expect("valid");
    let mut some = Bitmap::new(layout.pieces());
    [0, 3, 7].iter().for_each(|piece| {
        some.set(*piece);
    });
    let digests = vec![Digest([4; 32]); 3];
    let statement = Statement::sign(&key, SWARM, SegmentId(1), layout, some.clone(), digests);
    let tally = Tally { bytes: 1 << 20, pieces: 16, bad: 0 };
    let status = Status { origin_rate: 1, peer_rate: 2, complete: false };
    let have = |segment| HaveSegment { segment: SegmentId(segment), layout, bitmap: some.clone() };
    let messages = [
        Message::Hello { ports: vec![(Scheme::Udp, 4000), (Scheme::Quic, 4001)], answer: true },
        Message::Have { status, segments: vec![have(0), have(2)] },
        Message::Claim { segment: SegmentId(1), first: 2, count: 3, within_ms: 500 },
        Message::Witness(statement),
        Message::AskWitness(SegmentId(1)),
        Message::Peers(vec![record("udp://192.0.2.1:4000"), record("quic://[2001:db8::1]:4001")]),
        Message::AskManifest { at: 0 },
        Message::ManifestPart { at: 0, total: manifest().len() as u32, bytes: manifest().into() },
        Message::Receipt(Receipt::sign(&key, [6; 16], PeerId([8; 32]), SWARM, 29_000_000, tally)),
        Message::Bye,
    ];
    messages.iter().map(|message| wire::encode(&SWARM, message).to_vec()).collect()
}

fn record(addr: &str) -> PeerRecord {
    PeerRecord { id: PeerId([7; 32]), addrs: vec![addr.parse().expect("valid")], seed: false }
}

fn wire(input: &[u8]) -> bool {
    let Ok(envelope) = wire::decode(&Bytes::copy_from_slice(input)) else { return false };
    let Some(message) = &envelope.message else { return true };
    let again = wire::encode(&envelope.swarm, message);
    assert_eq!(wire::decode(&again).as_ref(), Ok(&envelope), "what is read must be written the same");
    true
}

pub fn manifest() -> Vec<u8> {
    let content = pcdn_core::testing::content(3 << 20, 1);
    let key = Identity::from_secret([9; 32]);
    pcdn_core::testing::manifest_of(&content, RuleId([1; 8]), 1 << 20, 16, &key).to_vec()
}

fn manifest_laws(input: &[u8]) -> bool {
    let signed = signed_again(input.to_vec());
    for bytes in [input, &signed] {
        if let Ok(manifest) = Manifest::parse(bytes) {
            for number in 0..manifest.len() as u64 {
                let segment = SegmentId(manifest.first.0.saturating_add(number));
                let Some((layout, root)) = manifest.segment(segment) else { continue };
                if let Some(list) = manifest.list(segment) {
                    assert_eq!((list.root(), *list.layout()), (root, layout), "a list must be its segment's");
                }
            }
        }
    }
    Manifest::parse(&signed).is_ok()
}

/// The signature made right again, so that damage reaches what lies behind its check.
fn signed_again(mut bytes: Vec<u8>) -> Vec<u8> {
    const HEAD: usize = 112;
    let Some(count) = bytes.get(64..68) else { return bytes };
    let count = u32::from_be_bytes(count.try_into().expect("four bytes")) as usize;
    let end = HEAD.saturating_add(count.saturating_mul(40));
    if bytes.len() < end.saturating_add(64) {
        return bytes;
    }
    let key = Identity::from_secret([9; 32]);
    bytes[80..112].copy_from_slice(&key.peer_id().0);
    let signature = key.sign(&[b"pcdn-psm-1\0", &bytes[..end]].concat());
    bytes[end..end + 64].copy_from_slice(&signature);
    bytes
}

fn ports() -> tracker::Ports {
    let mut ports = tracker::Ports::default();
    ports.push(Scheme::Udp, 4_000);
    ports.push(Scheme::Quic, 4_001);
    ports
}

fn requests() -> Vec<Vec<u8>> {
    let announce = tracker::Announce {
        swarm: SWARM,
        peer: PeerId([2; 32]),
        ports: ports(),
        seed: false,
        event: tracker::Event::Started,
        progress: Some(tracker::Progress { downloaded: 1, left: 2 }),
        want: 25,
        traits: tracker::Traits::default(),
    };
    let find = tracker::Find {
        swarm: SWARM,
        asker: Some(PeerId([2; 32])),
        seed: true,
        want: 5,
        traits: tracker::Traits::default(),
        rich: false,
    };
    let requests = [tracker::Request::Announce(announce), tracker::Request::Find(find)];
    requests.iter().map(|request| tracker::encode_request(7, 8, request, None)).collect()
}

fn tracker_request(input: &[u8]) -> bool {
    let Ok(request) = tracker::decode_request(input, None) else { return false };
    let again = tracker::encode_request(1, 2, &request, None);
    assert_eq!(tracker::decode_request(&again, None), Ok(request), "what is read must be written the same");
    true
}

fn answers() -> Vec<Vec<u8>> {
    let listed = |n: u8, ip: &str| tracker::Listed {
        id: PeerId([n; 32]),
        ip: ip.parse().expect("valid"),
        ports: ports(),
        seed: n == 1,
        traits: tracker::Traits::default(),
    };
    let peers = vec![listed(1, "192.0.2.1"), listed(2, "2001:db8::1")];
    let counts = tracker::Counts { seeds: 1, others: 1 };
    let observed = "192.0.2.9:4000".parse().expect("valid");
    let answers = [
        tracker::Answer::Connected { connection: 7 },
        tracker::Answer::Announced { interval_s: 60, observed, counts, peers: peers.clone() },
        tracker::Answer::Found { counts, peers, rich: false },
        tracker::Answer::Refused { why: "full".to_owned() },
    ];
    let encode = |answer| {
        let mut out = Vec::new();
        tracker::encode_answer(8, answer, tracker::DATAGRAM_MAX, None, &mut out);
        out
    };
    answers.iter().map(encode).collect()
}

fn tracker_answer(input: &[u8]) -> bool {
    let Ok((txn, answer)) = tracker::decode_answer(input, None) else { return false };
    if let tracker::Answer::Announced { peers, .. } | tracker::Answer::Found { peers, .. } = &answer {
        tracker::records(peers);
    }
    let mut again = Vec::new();
    tracker::encode_answer(txn, &answer, tracker::DATAGRAM_MAX, None, &mut again);
    // What was longer than a datagram, and words above their limit, come back shorter; the rest must come back as it was.
    let cut = matches!(&answer, tracker::Answer::Refused { why } if why.len() > tracker::WHY_MAX);
    if !cut && input.len() <= tracker::DATAGRAM_MAX / 2 {
        assert_eq!(
            tracker::decode_answer(&again, None),
            Ok((txn, answer)),
            "what is read must be written the same"
        );
    }
    true
}

/// A whole tracker: its answers must never be worth a forged source address.
fn tracker_service(input: &[u8]) -> bool {
    let (now, from) = (Time(1_000_000), SocketAddr::from(([192, 0, 2, 7], 4_000)));
    let service = Service::new(Limits::default(), [3; 32], None);
    let mut dice = Dice::new(1);
    let mut out = Vec::new();
    service.datagram(now, &mut dice, from, input, &mut out);
    assert!(
        out.len() <= input.len(),
        "without a connection id an answer must not be longer than what was sent"
    );
    // The same with a right connection id.
    service.datagram(now, &mut dice, from, &tracker::encode_connect(1), &mut out);
    let Ok((_, tracker::Answer::Connected { connection })) = tracker::decode_answer(&out, None) else {
        panic!("a tracker must answer a connect");
    };
    let mut asked = input.to_vec();
    if let Some(id) = asked.get_mut(..8) {
        id.copy_from_slice(&connection.to_be_bytes());
    }
    service.datagram(now, &mut dice, from, &asked, &mut out);
    assert!(
        out.len() <= tracker::AMPLIFICATION_MAX * asked.len(),
        "no answer may be longer than thrice its request"
    );
    !out.is_empty()
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

fn urls() -> Vec<Vec<u8>> {
    let urls = [
        "https://cdn.example/film.mp4?token=x&cut=long&utm_source=y#t=3",
        "http://user:pw@h.example:8080/a/%7Eb/../c;jsessionid=1?b=2&a=%20",
        "https://h.example/v?X-Amz-Signature=1&Policy=2&lang=de",
        "http://[2001:db8::1]/?",
    ];
    urls.iter().map(|url| url.as_bytes().to_vec()).collect()
}

/// A canonical form, read as a URL, is its own canonical form.
fn url(input: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(input) else { return false };
    let Ok(url) = Url::parse(text) else { return false };
    let Ok(canonical) = pcdn_mapping::canonical(&url) else { return false };
    let text = canonical.text.replacen("http(s)", url.scheme(), 1);
    let again = Url::parse(&text).unwrap_or_else(|error| panic!("{text}: {error}"));
    let again = pcdn_mapping::canonical(&again).unwrap_or_else(|error| panic!("{text}: {error}"));
    assert_eq!(again.text, canonical.text, "a canonical form must be its own");
    true
}

fn texts() -> Vec<Vec<u8>> {
    let texts = ["udp://192.0.2.1:4000", "64KiB", "2.5MB/s", "250ms", "unlimited", "1h"];
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}

/// Units and addresses as people write them.
fn text(input: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(input) else { return false };
    let mut taken = false;
    if let Ok(addr) = text.parse::<PeerAddr>() {
        assert_eq!(addr.to_string().parse::<PeerAddr>(), Ok(addr));
        taken = true;
    }
    taken |= text.parse::<ByteSize>().is_ok_and(|size| {
        assert_eq!(size.to_string().parse::<ByteSize>().ok(), Some(size), "{text}");
        true
    });
    taken |= text.parse::<Rate>().is_ok_and(|rate| {
        assert_eq!(rate.to_string().parse::<Rate>().ok(), Some(rate), "{text}");
        true
    });
    taken |= text.parse::<Span>().is_ok_and(|span| {
        assert_eq!(span.to_string().parse::<Span>().ok(), Some(span), "{text}");
        true
    });
    taken
}
