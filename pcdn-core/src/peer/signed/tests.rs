use super::*;
use proptest::prelude::*;

const SWARM: SwarmKey = SwarmKey([7; 32]);

fn facts(addrs: &[&str]) -> Facts {
    Facts {
        id: Identity::from_secret([1; 32]).peer_id(),
        seq: 1_700_000_000_000,
        lifetime_s: 1_800,
        flags: Facts::SEED,
        nat: 2,
        up: 14,
        addrs: addrs.iter().map(|text| text.parse().unwrap()).collect(),
    }
}

fn signed(facts: Facts) -> Option<SignedRecord> {
    facts.sign(&Identity::from_secret([1; 32]), &SWARM)
}

fn bytes(record: &SignedRecord) -> Vec<u8> {
    let mut out = Vec::new();
    record.encode_to(&mut out);
    out
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Other versions and other languages must read and write the same bytes.
#[test]
fn the_binary_form_stands() {
    let record = signed(facts(&["udp://192.0.2.1:4000", "quic://[2001:db8::1]:4001"])).unwrap();
    assert_eq!(
        hex(&bytes(&record)),
        concat!(
            "8a88e3dd7409f195fd52db2d3cba5d72ca6709bf1d94121bf3748801b40f6f5c",
            "0000018bcfe568000708",
            "01020e02",
            "0104c00002010fa0",
            "020620010db80000000000000000000000010fa1",
            "191e13e555c55df6b504f4730b029f13506c1da8c4477604083a56cb189d1c50",
            "a40d5acfa225ec5369d6d193a7d8b352207f4e026374d7931bceb7f811ab0404",
        )
    );
}

#[test]
fn a_record_comes_back_as_it_was_and_holds_for_its_swarm_only() {
    let record = signed(facts(&["udp://192.0.2.1:4000", "quic://[2001:db8::1]:4001"])).unwrap();
    let mut wire = bytes(&record);
    assert_eq!(wire.len(), record.bytes());
    wire.push(9);
    let (back, len) = SignedRecord::decode(&wire).unwrap();
    assert_eq!((&back, len), (&record, wire.len() - 1));
    assert!(back.clone().verified(&SWARM).is_some());
    assert!(back.verified(&SwarmKey([8; 32])).is_none());
    // What was made here is not believed elsewhere either.
    assert!(record.verified(&SwarmKey([8; 32])).is_none());
    for cut in 0..len {
        assert!(SignedRecord::decode(&wire[..cut]).is_err(), "{cut} bytes");
    }
}

#[test]
fn no_bit_of_it_can_be_changed() {
    let wire = bytes(&signed(facts(&["udp://192.0.2.1:4000"])).unwrap());
    for bit in 0..wire.len() * 8 {
        let mut forged = wire.clone();
        forged[bit / 8] ^= 1 << (bit % 8);
        let believed = SignedRecord::decode(&forged).ok().and_then(|(record, _)| record.verified(&SWARM));
        assert_eq!(believed, None, "bit {bit}");
    }
}

#[test]
fn addresses_that_nobody_may_be_sent_to_are_refused() {
    for bad in [
        &[][..],
        &["udp://192.0.2.1:53"],
        &["udp://192.168.0.1:80"],
        &["udp://0.0.0.0:4000"],
        &["udp://224.0.0.1:4000"],
        &["udp://255.255.255.255:4000"],
        &["udp://[ff02::1]:4000"],
        &["udp://[::ffff:192.0.2.1]:4000"],
        &["mem://0.0.0.0:0"],
        &["udp://192.0.2.1:4000", "udp://192.0.2.1:4000"],
        &[
            "udp://192.0.2.1:4000",
            "udp://192.0.2.2:4000",
            "udp://192.0.2.3:4000",
            "udp://192.0.2.4:4000",
            "udp://192.0.2.5:4000",
        ],
    ] {
        assert_eq!(signed(facts(bad)), None, "{bad:?}");
    }
    for good in ["udp://127.0.0.1:53", "mem://0.0.0.0:1", "quic://[fd00::1]:4000"] {
        assert!(signed(facts(&[good])).is_some(), "{good}");
    }
    for lifetime_s in [0, 1_801] {
        assert_eq!(signed(Facts { lifetime_s, ..facts(&["udp://192.0.2.1:4000"]) }), None);
    }
    let others = Facts { id: PeerId([3; 32]), ..facts(&["udp://192.0.2.1:4000"]) };
    assert_eq!(signed(others), None, "nobody signs for another");
}

/// The rules hold for who reads as for who signs: a stranger's hand may have signed anything.
#[test]
fn what_is_against_the_rules_is_not_read_even_if_it_is_signed() {
    let sound = bytes(&signed(facts(&["udp://192.0.2.1:4000"])).unwrap());
    let port = HEAD + 6;
    for (at, byte) in [(port, 0), (HEAD - 1, 0), (HEAD - 1, 5), (HEAD - 1, 255), (40, 0xff), (HEAD + 1, 5)] {
        let mut bad = sound.clone();
        bad[at] = byte;
        assert!(SignedRecord::decode(&bad).is_err(), "byte {at} = {byte}");
    }
}

/// A transport that a later version knows keeps its code on the way through this one.
#[test]
fn an_unknown_scheme_is_passed_on_unchanged() {
    let key = Identity::from_secret([1; 32]);
    let mut body = facts(&["udp://192.0.2.1:4000"]).encode();
    body[HEAD] = 77;
    let mut wire = body.clone();
    wire.extend_from_slice(&key.sign(&digest(&SWARM, &body)));
    let (record, _) = SignedRecord::decode(&wire).unwrap();
    let record = record.verified(&SWARM).unwrap();
    assert_eq!(record.facts().addrs[0].scheme, Scheme::Other);
    assert_eq!(bytes(&record), wire);
}

#[test]
fn it_holds_for_its_lifetime_and_a_wrong_clock() {
    let record = signed(facts(&["udp://192.0.2.1:4000"])).unwrap();
    let (from, skew) = (record.facts().seq, 300_000);
    assert!(record.holds_at(from) && record.holds_at(from - skew) && record.holds_at(from + 1_800_000));
    assert!(!record.holds_at(from - skew - 1) && !record.holds_at(record.ends_ms() + skew));
}

proptest! {
    #[test]
    fn any_bytes_are_read_in_peace(junk in proptest::collection::vec(any::<u8>(), 0..250), count in 0u8..7) {
        let mut junk = junk;
        if let Some(byte) = junk.get_mut(HEAD - 1) {
            *byte = count;
        }
        if let Ok((record, len)) = SignedRecord::decode(&junk) {
            prop_assert_eq!(bytes(&record), &junk[..len]);
        }
    }
}
