//! Who gets in, and as whom.

use std::net::SocketAddr;

use pcdn_core::unit::Time;

use super::*;
use crate::udp::packet::{Datagram, decode};

const PUBLIC: [u8; 32] = [0; 32];
const AES: Cipher = Cipher::Aes128Gcm;

fn id(n: u8) -> Identity {
    Identity::from_secret([n; 32])
}

fn noise_of(hello: &[u8]) -> &[u8] {
    let Some(Datagram::Hello { noise, .. }) = decode(hello) else { panic!("not a hello") };
    noise
}

#[test]
fn both_sides_learn_the_other_and_share_keys() {
    let (mut a, mut b) = (Secrets::new([1; 32]), Secrets::new([2; 32]));
    let mut calling = Calling::new(&id(1), &id(2).peer_id(), 5, &PUBLIC, AES, &mut a).unwrap();
    let (peer, back, mut theirs) = answer(&id(2), noise_of(calling.hello()), &PUBLIC, AES, &mut b).unwrap();
    assert_eq!(peer, id(1).peer_id());
    let mut ours = calling.finish(&back).unwrap();
    let mut packet = Vec::new();
    ours.sealer.begin(Time::ZERO, 1, &mut packet);
    packet.extend_from_slice(b"hi");
    ours.sealer.finish(0, &mut packet);
    assert_eq!(theirs.opener.open(Time::ZERO, 0, &mut packet).unwrap().plain, b"hi");
}

#[test]
fn who_claims_anothers_name_is_refused() {
    let mut secrets = Secrets::new([1; 32]);
    let victim = id(9).peer_id();
    // The impostor runs the handshake with its own key but writes the victim's name into the payload.
    let (secret, theirs) = (id(1).x25519_secret(), id(2).peer_id().x25519_public().unwrap());
    let mut state = builder(&mut secrets)
        .local_private_key(&secret)
        .and_then(|b| b.remote_public_key(&theirs))
        .and_then(|b| b.prologue(PROLOGUE))
        .and_then(|b| b.psk(PSK_AT, &PUBLIC))
        .and_then(Builder::build_initiator)
        .unwrap();
    let mut payload = [0; HELLO_PAYLOAD_LEN];
    payload[..32].copy_from_slice(&victim.0);
    let mut noise = [0; NOISE_1_LEN];
    state.write_message(&payload, &mut noise).unwrap();
    assert!(answer(&id(2), &noise, &PUBLIC, AES, &mut secrets).is_none());
}

#[test]
fn only_the_called_peer_can_answer() {
    let mut secrets = Secrets::new([1; 32]);
    let mut calling = Calling::new(&id(1), &id(2).peer_id(), 5, &PUBLIC, AES, &mut secrets).unwrap();
    assert!(answer(&id(3), noise_of(calling.hello()), &PUBLIC, AES, &mut secrets).is_none());
    assert!(calling.finish(&[7; NOISE_2_LEN]).is_none());
    let (_, back, _) = answer(&id(2), noise_of(calling.hello()), &PUBLIC, AES, &mut secrets).unwrap();
    assert!(calling.finish(&back).is_some(), "a forged answer does not end the handshake");
}

#[test]
fn without_the_secret_neither_side_gets_through() {
    let mut secrets = Secrets::new([1; 32]);
    for (callers, nodes) in [(PUBLIC, [1; 32]), ([1; 32], PUBLIC), ([1; 32], [2; 32])] {
        let mut calling = Calling::new(&id(1), &id(2).peer_id(), 5, &callers, AES, &mut secrets).unwrap();
        let (_, back, mut theirs) =
            answer(&id(2), noise_of(calling.hello()), &nodes, AES, &mut secrets).unwrap();
        assert!(calling.finish(&back).is_none());
        // Nor does the node take what a caller seals that goes on regardless.
        let (out, _) = calling.state.dangerously_get_raw_split();
        let (mut sealer, mut packet) = (Sealer::new(out, AES), Vec::new());
        sealer.begin(Time::ZERO, 1, &mut packet);
        sealer.finish(0, &mut packet);
        assert!(theirs.opener.open(Time::ZERO, 0, &mut packet).is_none());
        let (_, back, _) = answer(&id(2), noise_of(calling.hello()), &callers, AES, &mut secrets).unwrap();
        assert!(calling.finish(&back).is_some(), "with the caller's secret it opens, also afterwards");
    }
}

#[test]
fn a_busy_node_demands_cookies_that_hold_for_one_address() {
    let mut secrets = Secrets::new([1; 32]);
    let mut gate = Gate::new(2, &mut secrets);
    let (a, b): (SocketAddr, SocketAddr) = ("192.0.2.1:1".parse().unwrap(), "192.0.2.2:1".parse().unwrap());
    let mut judge = |from, cookie| gate.judge(Time::from_secs(5), from, cookie, &mut secrets);
    assert_eq!(judge(a, &[0; 16]), Entry::Answer);
    assert_eq!(judge(a, &[0; 16]), Entry::Answer);
    let Entry::Demand(cookie) = judge(a, &[0; 16]) else { panic!("no cookie demanded") };
    assert_eq!(judge(a, &cookie), Entry::Answer);
    assert!(matches!(judge(b, &cookie), Entry::Demand(_)));
}

#[test]
fn who_prefers_chacha_gets_it() {
    let chacha = Cipher::ChaCha20Poly1305;
    for (caller, called, sealed_with) in [(AES, AES, AES), (AES, chacha, chacha), (chacha, AES, chacha)] {
        let mut secrets = Secrets::new([1; 32]);
        let mut calling = Calling::new(&id(1), &id(2).peer_id(), 5, &PUBLIC, caller, &mut secrets).unwrap();
        let (_, back, mut theirs) =
            answer(&id(2), noise_of(calling.hello()), &PUBLIC, called, &mut secrets).unwrap();
        calling.finish(&back).unwrap();
        let (mut sealer, mut packet) =
            (Sealer::new(calling.state.dangerously_get_raw_split().0, sealed_with), Vec::new());
        sealer.begin(Time::ZERO, 1, &mut packet);
        sealer.finish(0, &mut packet);
        assert!(theirs.opener.open(Time::ZERO, 0, &mut packet).is_some());
    }
}
