//! The test vectors beside the wire format's description: this code still says, byte for byte, what `vectors.json` says.

use std::collections::BTreeMap;

use pcdn_core::id::{Identity, SwarmKey};
use pcdn_core::transport::Class;
use pcdn_core::unit::Time;
use serde_json::{Value, json};

use super::cipher::Cipher;
use super::frame::{self, Data, Feedback, Frame, Req};
use super::noise::{Calling, Secrets, answer};
use super::packet::{self, Datagram};
use super::seal::{Opener, Sealer};
use super::subs::SubSet;
use crate::secret::SwarmSecret;

const SAID: &str = include_str!("vectors.json");

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn bytes(hex: &Value) -> Vec<u8> {
    let text = hex.as_str().unwrap();
    (0..text.len() / 2).map(|at| u8::from_str_radix(&text[2 * at..2 * at + 2], 16).unwrap()).collect()
}

/// As this code has it.
fn made() -> Value {
    json!({ "about": ABOUT, "handshake": handshake(), "packets": packets(), "frames": frames() })
}

const ABOUT: &str = "Hexadecimal; see wire.md. `ephemeral` are X25519 secrets. A session's secrets are Noise's two raw outputs. `turns` are the keys before a packet's own; who opens one has opened those before.";

fn handshake() -> Value {
    let (caller, called) = (Identity::from_secret([1; 32]), Identity::from_secret([2; 32]));
    let secret = SwarmSecret::new(b"0123456789abcdef").unwrap();
    let each = [None, Some(&secret)].map(|secret| {
        let psk = SwarmSecret::key_of(secret);
        let mut secrets = [Secrets::new([3; 32]), Secrets::new([4; 32])];
        let ephemerals = [Secrets::new([3; 32]).first_ephemeral(), Secrets::new([4; 32]).first_ephemeral()];
        let aes = Cipher::Aes128Gcm;
        let mut calling =
            Calling::new(&caller, &called.peer_id(), 0x0a0b_0c0d, &psk, aes, &mut secrets[0]).unwrap();
        let hello = calling.hello().to_vec();
        let Some(Datagram::Hello { index, noise, mac, .. }) = packet::decode(&hello) else { panic!("no hello") };
        let (_, back, mut theirs) =
            answer(&called, noise, &psk, Cipher::ChaCha20Poly1305, &mut secrets[1]).unwrap();
        let mut ours = calling.finish(&back).unwrap();
        let seal = |sealer: &mut Sealer, to| {
            let mut out = Vec::new();
            sealer.begin(Time::ZERO, to, &mut out);
            Frame::Ping(7).encode(&mut out);
            sealer.finish(0, &mut out);
            hex(&out)
        };
        json!({
            "pre_shared_key": hex(&psk),
            "caller": { "secret": hex(&[1; 32]), "peer_id": hex(&caller.peer_id().0), "ephemeral": hex(&ephemerals[0]) },
            "called": { "secret": hex(&[2; 32]), "peer_id": hex(&called.peer_id().0), "ephemeral": hex(&ephemerals[1]) },
            "hello": hex(&hello),
            "cookie": hex(&packet::encode_cookie(index, &mac, &[5; 16])),
            "versions": hex(&packet::encode_versions(index, &mac)),
            "welcome": hex(&packet::encode_welcome(index, 0x1a1b_1c1d, &back)),
            "first_packet_of_caller": seal(&mut ours.sealer, 0x1a1b_1c1d),
            "first_packet_of_called": seal(&mut theirs.sealer, index),
        })
    });
    json!({ "public_swarm": each[0], "private_swarm": each[1] })
}

fn packets() -> Value {
    let ciphers = [(Cipher::Aes128Gcm, "aes-128-gcm"), (Cipher::ChaCha20Poly1305, "chacha20-poly1305")];
    let each = ciphers.iter().flat_map(|(cipher, name)| {
        // Each is opened by who has opened those before it.
        [(0u64, 0), (1, 0), (70, 1), (71, 2), ((1 << 22) - 1, 3), (1 << 22, 4)].map(|(number, turns)| {
            let mut sealer = Sealer::at([6; 32], *cipher, number, turns);
            let mut out = Vec::new();
            sealer.begin(Time::ZERO, 0x0102_0304, &mut out);
            Frame::Ping(7).encode(&mut out);
            sealer.finish(0, &mut out);
            json!({ "cipher": name, "secret": hex(&[6; 32]), "turns": turns, "number": number, "plain": "0100000007", "sealed": hex(&out) })
        })
    });
    each.collect()
}

fn frames() -> Value {
    let run = SubSet::run(0, 52).unwrap();
    let mut holes = SubSet::run(3, 1).unwrap();
    [5, 6, 20].iter().for_each(|sub| holes.insert(*sub));
    let req = |ask, class, subs| {
        let (swarm, within_ms, sub_bytes) = (SwarmKey([0xaa; 32]), 20_000, 1280);
        Frame::Req(Req {
            fetch: 9,
            ask,
            swarm,
            segment: 1 << 33,
            piece: 4,
            len: 65_536,
            class,
            within_ms,
            sub_bytes,
            subs,
        })
    };
    let all = [
        ("PING", Frame::Ping(0x0102_0304)),
        ("PONG", Frame::Pong(0x0102_0304)),
        ("REQ of a run", req(1, Class::Normal, run)),
        ("REQ of a bitmap", req(2, Class::Urgent, holes)),
        ("CANCEL", Frame::Cancel(9)),
        ("REFUSE", Frame::Refuse { fetch: 9, code: 1, retry_ms: 100 }),
        ("GOT", Frame::Got { fetch: 9, ask: 1, sent: 3 }),
        ("DONE", Frame::Done { fetch: 9, ask: 2 }),
        ("DATA", Frame::Data(Data { fetch: 9, ask: 1, sub: 51, last: false, stamp: 5, content: b"content" })),
        (
            "last DATA",
            Frame::Data(Data { fetch: 9, ask: 1, sub: 51, last: true, stamp: 5, content: b"content" }),
        ),
        ("MSG", Frame::Msg { number: 1, first: true, last: true, bytes: b"message" }),
        ("MSGACK", Frame::MsgAck { next: 2, later: 0b101, room: 64 }),
        (
            "FEEDBACK",
            Frame::Feedback(Feedback { highest: 1, received: 2, stamp: 3, waited: 4, delay: 5, clock: 6 }),
        ),
        ("PATH?", Frame::PathAsk(*b"question")),
        ("PATH!", Frame::PathProof(*b"question")),
        ("CLOSE", Frame::Close),
    ];
    let each = all.iter().map(|(name, frame)| {
        let mut out = Vec::new();
        frame.encode(&mut out);
        json!({ "frame": name, "bytes": hex(&out) })
    });
    each.collect()
}

#[test]
fn what_this_code_sends_is_what_the_vectors_say() {
    let (said, made): (Value, Value) = (serde_json::from_str(SAID).unwrap(), made());
    assert!(said == made, "vectors.json should be\n{}", serde_json::to_string_pretty(&made).unwrap());
}

#[test]
fn what_the_vectors_say_is_understood() {
    let said: Value = serde_json::from_str(SAID).unwrap();
    for vector in said["frames"].as_array().unwrap() {
        let wire = bytes(&vector["bytes"]);
        let read: Vec<_> = frame::decode(&wire).collect::<Result<_, _>>().unwrap();
        let mut again = Vec::new();
        read.iter().for_each(|frame| frame.encode(&mut again));
        assert_eq!((read.len(), &again), (1, &wire), "{}", vector["frame"]);
    }
    let mut openers = BTreeMap::new();
    for vector in said["packets"].as_array().unwrap() {
        let cipher =
            if vector["cipher"] == "aes-128-gcm" { Cipher::Aes128Gcm } else { Cipher::ChaCha20Poly1305 };
        let number = vector["number"].as_u64().unwrap();
        let secret = bytes(&vector["secret"]).try_into().unwrap();
        let opener = openers.entry(cipher.code()).or_insert_with(|| Opener::new(secret, cipher));
        let mut wire = bytes(&vector["sealed"]);
        assert_eq!(opener.open(Time::ZERO, number as u32, &mut wire).unwrap().plain, bytes(&vector["plain"]));
    }
}
