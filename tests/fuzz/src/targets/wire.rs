//! What peers say, and manifests.

use bytes::Bytes;
use pcdn_core::bitmap::Bitmap;
use pcdn_core::id::{Digest, Identity, PeerId, RuleId, SwarmKey};
use pcdn_core::layout::{Layout, SegmentId};
use pcdn_core::peer::{Facts, Scheme, SignedRecord};
use pcdn_core::receipt::{Receipt, Tally};
use pcdn_core::verify::Manifest;
use pcdn_core::verify::witness::Statement;
use pcdn_core::wire::{self, HaveSegment, Message, Status};

use super::MODEST;
use crate::{Target, engine};

pub const SWARM: SwarmKey = SwarmKey([0x11; 32]);

pub fn targets() -> Vec<Target> {
    vec![
        Target::new("wire", messages(), wire, MODEST),
        // Whole pieces' worth of state may be touched, so only panics are looked for.
        Target::new("engine", messages(), engine::run, (0, usize::MAX)),
        Target::new("manifest", vec![manifest()], manifest_laws, MODEST),
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
        Message::Hello {
            ports: vec![(Scheme::Udp, 4000), (Scheme::Quic, 4001)],
            answer: true,
            appears: Some("udp://192.0.2.9:4000".parse().expect("valid")),
        },
        Message::Have { status, segments: vec![have(0), have(2)] },
        Message::Claim { segment: SegmentId(1), first: 2, count: 3, within_ms: 500 },
        Message::Witness(statement),
        Message::AskWitness(SegmentId(1)),
        Message::Record(record(1, "udp://192.0.2.1:4000")),
        Message::Peers {
            hungry: true,
            added: vec![record(1, "udp://192.0.2.1:4000"), record(2, "quic://[2001:db8::1]:4001")],
            dropped: vec![PeerId([7; 32])],
        },
        Message::AskManifest { at: 0 },
        Message::ManifestPart { at: 0, total: manifest().len() as u32, bytes: manifest().into() },
        Message::Receipt(Receipt::sign(&key, [6; 16], PeerId([8; 32]), SWARM, 29_000_000, tally)),
        Message::Call { wanted: PeerId([6; 32]) },
        Message::Meet {
            peer: PeerId([6; 32]),
            token: [7; 8],
            in_ms: 40,
            at: "udp://192.0.2.1:4000".parse().expect("an address"),
        },
        Message::Bye,
    ];
    messages.iter().map(|message| wire::encode(&SWARM, message).to_vec()).collect()
}

fn record(key: u8, addr: &str) -> SignedRecord {
    let key = Identity::from_secret([key; 32]);
    let addrs = vec![addr.parse().expect("valid")];
    let facts = Facts { id: key.peer_id(), seq: 1, lifetime_s: 1_800, flags: 0, nat: 0, up: 0, addrs };
    facts.sign(&key, &SWARM).expect("sound")
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
