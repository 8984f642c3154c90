//! Each packet opens once, whatever comes between, and none that was not sealed.

use proptest::prelude::*;

use super::*;

const AES: Cipher = Cipher::Aes128Gcm;
const NOW: Time = Time::ZERO;

fn sealed(sealer: &mut Sealer, now: Time, plain: &[u8]) -> (u32, Vec<u8>) {
    let mut out = Vec::new();
    let low = sealer.next_number() as u32;
    sealer.begin(now, 7, &mut out);
    out.extend_from_slice(plain);
    sealer.finish(0, &mut out);
    (low, out)
}

fn packet(sealer: &mut Sealer, plain: &[u8]) -> (u32, Vec<u8>) {
    sealed(sealer, NOW, plain)
}

fn opened(opener: &mut Opener, now: Time, (low, bytes): &(u32, Vec<u8>)) -> Option<Vec<u8>> {
    opener.open(now, *low, &mut bytes.clone()).map(|opened| opened.plain.to_vec())
}

fn open(opener: &mut Opener, packet: &(u32, Vec<u8>)) -> Option<Vec<u8>> {
    opened(opener, NOW, packet)
}

fn pair() -> (Sealer, Opener) {
    (Sealer::new([1; 32], AES), Opener::new([1; 32], AES))
}

#[test]
fn each_packet_opens_once_and_only_whole() {
    let (mut sealer, mut opener) = pair();
    let first = packet(&mut sealer, b"first");
    for at in [0, 2, 7, 12] {
        let mut damaged = first.clone();
        damaged.1[at] ^= 1;
        assert_eq!(open(&mut opener, &damaged), None, "byte {at}");
    }
    assert_eq!(open(&mut opener, &first).as_deref(), Some(&b"first"[..]));
    assert_eq!(open(&mut opener, &first), None, "a replay");
    assert_eq!(open(&mut Opener::new([2; 32], AES), &first), None, "another key");
}

#[test]
fn both_ciphers_open_what_they_seal_and_not_what_the_other_did() {
    for cipher in [Cipher::Aes128Gcm, Cipher::ChaCha20Poly1305] {
        let sealed = packet(&mut Sealer::new([1; 32], cipher), b"hi");
        for other in [Cipher::Aes128Gcm, Cipher::ChaCha20Poly1305] {
            let opened = open(&mut Opener::new([1; 32], other), &sealed);
            assert_eq!(opened.is_some(), cipher == other);
        }
    }
}

#[test]
fn a_key_seals_so_many_packets_and_for_so_long() {
    let (mut sealer, mut opener) = pair();
    let phase_at = |sealer: &mut Sealer, opener: &mut Opener, now| {
        let packet = sealed(sealer, now, b"x");
        assert!(opened(opener, now, &packet).is_some());
        packet.1[0] - PACKET
    };
    assert_eq!(phase_at(&mut sealer, &mut opener, NOW), 0);
    sealer.left = 2;
    let phases: Vec<u8> = (0..4).map(|_| phase_at(&mut sealer, &mut opener, NOW)).collect();
    assert_eq!(phases, [0, 0, 1, 1]);
    let almost = Time::ZERO + (KEY_LIFE - Duration::from_micros(1));
    assert_eq!(phase_at(&mut sealer, &mut opener, almost), 1);
    // Round once and on: two minutes each.
    for turn in 1..10u8 {
        let now = Time::ZERO + KEY_LIFE * u32::from(turn);
        assert_eq!(phase_at(&mut sealer, &mut opener, now), (turn + 1) % PHASES);
    }
}

#[test]
fn late_packets_of_the_last_key_open_for_a_while() {
    let (mut sealer, mut opener) = pair();
    let before: Vec<_> = (0..3).map(|_| packet(&mut sealer, b"before")).collect();
    sealer.turn();
    let turned = packet(&mut sealer, b"turned");
    assert!(open(&mut opener, &before[0]).is_some() && open(&mut opener, &turned).is_some());
    let late = NOW + (OVERLAP - Duration::from_micros(1));
    assert!(opened(&mut opener, late, &before[1]).is_some());
    assert!(opened(&mut opener, NOW + OVERLAP, &before[2]).is_none());
    assert!(opener.before.is_none(), "and then the key is gone");
}

#[test]
fn who_has_a_key_that_is_given_up_seals_nothing_with_it() {
    let (mut sealer, mut opener) = pair();
    // Somebody has got hold of the first key, and of no secret.
    let mut stolen = Sealer::at([1; 32], AES, 100, 0);
    open(&mut opener, &packet(&mut sealer, b"first")).unwrap();
    sealer.turn();
    open(&mut opener, &packet(&mut sealer, b"turned")).unwrap();
    assert_eq!(open(&mut opener, &packet(&mut stolen, b"forged")), None);
}

#[test]
fn a_forged_change_of_key_changes_nothing() {
    let (mut sealer, mut opener) = pair();
    open(&mut opener, &packet(&mut sealer, b"first")).unwrap();
    for phase in 0..PHASES {
        let mut forged = packet(&mut Sealer::at([9; 32], AES, 50, usize::from(phase)), b"forged");
        forged.1[0] = PACKET | phase;
        assert_eq!(open(&mut opener, &forged), None);
    }
    // With the phase that neither this key nor the last has, it was not even tried.
    assert_eq!((opener.keys.phase(), opener.forged), (0, 2));
    assert!(open(&mut opener, &packet(&mut sealer, b"second")).is_some());
}

#[test]
fn so_many_forgeries_wear_a_session_out() {
    let (mut sealer, mut opener) = pair();
    opener.wear();
    let genuine = packet(&mut sealer, b"genuine");
    let mut forged = packet(&mut sealer, b"forged");
    forged.1[12] ^= 1;
    assert!(open(&mut opener, &genuine).is_some() && open(&mut opener, &genuine).is_none());
    assert!(!opener.is_worn(), "repeats are no forgeries");
    assert!(open(&mut opener, &forged).is_none() && opener.is_worn());
}

proptest! {
    #[test]
    fn any_order_delivers_each_packet_at_most_once(order in prop::collection::vec(0usize..300, 0..600)) {
        let (mut sealer, mut opener) = pair();
        let packets: Vec<_> = (0..300).map(|_| packet(&mut sealer, b"x")).collect();
        let mut seen = std::collections::BTreeSet::new();
        for at in order {
            prop_assert_eq!(open(&mut opener, &packets[at]).is_some(), seen.insert(at));
        }
    }

    /// A key holds for 20 to 40 packets. A third is lost, each may be overtaken by up to 19 others or come twice.
    #[test]
    fn what_arrives_opens_once_however_keys_change_under_loss_and_reordering(
        lives in prop::collection::vec(20usize..40, 1..12),
        fates in prop::collection::vec((0u8..100, 0usize..20, any::<bool>()), 12 * 40),
    ) {
        let (mut sealer, mut opener) = pair();
        let mut now = NOW;
        let mut way = Vec::new();
        let mut fates = fates.into_iter().enumerate();
        for life in lives {
            for (at, (luck, late, twice)) in fates.by_ref().take(life) {
                now += Duration::from_millis(10);
                let packet = sealed(&mut sealer, now, &[at as u8]);
                // The first of each key arrives: a session of which nothing arrives for so long is over.
                let lost = luck < 33 && !way.is_empty();
                way.extend((0..=usize::from(twice)).filter(|_| !lost).map(|copy| (at + late * (copy + 1), packet.clone())));
            }
            sealer.turn();
        }
        way.sort_by_key(|(at, _)| *at);
        let mut seen = std::collections::BTreeSet::new();
        for (at, packet) in way {
            let now = NOW + Duration::from_millis(10) * at as u32;
            prop_assert_eq!(opened(&mut opener, now, &packet).is_some(), seen.insert(packet.0), "packet {}", packet.0);
        }
        prop_assert_eq!(opener.forged, 0);
    }

    #[test]
    fn arbitrary_bytes_never_panic(low: u32, mut bytes in prop::collection::vec(any::<u8>(), 1..80)) {
        let (_, mut opener) = pair();
        prop_assert!(opener.open(NOW, low, &mut bytes).is_none());
    }
}
