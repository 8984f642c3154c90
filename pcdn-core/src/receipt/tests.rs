use proptest::prelude::*;

use super::*;

const MINUTE: u32 = 29_000_000;
const SWARM: SwarmKey = SwarmKey([7; 32]);
const GIB: u64 = 1 << 30;

fn key(n: u16) -> Identity {
    let mut secret = [3; 32];
    secret[..2].copy_from_slice(&n.to_be_bytes());
    Identity::from_secret(secret)
}

fn receipt(down: &Identity, up: PeerId, session: u8, bytes: u64) -> Receipt {
    let pieces = bytes.div_ceil(1 << 16) as u32;
    Receipt::sign(down, [session; 16], up, SWARM, MINUTE, Tally { bytes, pieces, bad: 0 })
}

fn at(ip: [u8; 4], network: u32, could: u64) -> Downloader {
    Downloader { subnet: Subnet::of(ip.into()), network: NetworkId(network), could, proof: Proof::Token }
}

/// A viewer somewhere, able to consume `could`.
fn viewer(could: u64) -> Downloader {
    at([192, 0, 2, 1], 1, could)
}

/// A receipt of key [1; 32] for uploader [2; 32] in swarm [3; 32]: what another implementation must make of the same fields.
const VECTOR: &str = concat!(
    "abababababababababababababababab0202020202020202020202020202020202020202020202020202020202020202",
    "8a88e3dd7409f195fd52db2d3cba5d72ca6709bf1d94121bf3748801b40f6f5c03030303030303030303030303030303",
    "0303030303030303030303030303030301ba814000000000001000000000001000000001c2ef1e8e1db526c6da839241",
    "b7859a8aa29062d3415d9ab9e3b71f1e397db759ac68b1ea0896885b36d7afc94069e1f1dac17958ecc1e8122b0faeaa",
    "474c5c02",
);

#[test]
fn the_wire_form_is_fixed() {
    let down = Identity::from_secret([1; 32]);
    let tally = Tally { bytes: 0x0010_0000, pieces: 16, bad: 1 };
    let receipt = Receipt::sign(&down, [0xab; 16], PeerId([2; 32]), SwarmKey([3; 32]), MINUTE, tally);
    let hex: String = receipt.encode().iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex, VECTOR);
    assert_eq!(Receipt::decode(&receipt.encode()), Some(receipt));
}

#[test]
fn every_single_changed_byte_is_noticed() {
    let good = receipt(&key(1), key(2).peer_id(), 1, 1 << 20).encode();
    for at in 0..good.len() {
        let mut changed = good.clone();
        changed[at] ^= 1;
        assert!(Receipt::decode(&changed).is_none_or(|receipt| !receipt.is_signed()), "byte {at}");
    }
}

#[test]
fn only_the_last_of_a_session_counts() {
    let (down, up) = (key(1), key(2).peer_id());
    let mut book = Book::default();
    for mib in [1, 3, 8] {
        let counted = book.take(MINUTE, &receipt(&down, up, 1, mib << 20), &viewer(GIB)).unwrap();
        assert_eq!((counted.up(), counted.down()), (up, down.peer_id()));
    }
    assert_eq!(book.earned_by(MINUTE, &up).bytes, 8 << 20);
}

#[test]
fn forged_doubled_replayed_and_absurd_ones_are_refused_and_change_nothing() {
    let (down, up, other) = (key(1), key(2).peer_id(), key(3).peer_id());
    let mut book = Book::default();
    let first = receipt(&down, up, 1, 4 << 20);
    let second = receipt(&down, up, 1, 8 << 20);
    book.take(MINUTE, &first, &viewer(GIB)).unwrap();
    book.take(MINUTE, &second, &viewer(GIB)).unwrap();
    let forged = Receipt { tally: Tally { bytes: 16 << 20, pieces: 256, bad: 0 }, ..second.clone() };
    let absurd = Tally { bytes: 9 << 20, pieces: 2, bad: 0 };
    let cases = [
        (second.clone(), Refused::Replayed),
        (first, Refused::Replayed),
        (forged, Refused::Forged),
        (receipt(&down, other, 1, 16 << 20), Refused::Reused),
        (Receipt::sign(&down, [2; 16], down.peer_id(), SWARM, MINUTE, second.tally), Refused::Own),
        (Receipt::sign(&down, [2; 16], up, SWARM, MINUTE - 1_441, second.tally), Refused::Old),
        (Receipt::sign(&down, [2; 16], up, SWARM, MINUTE + 6, second.tally), Refused::Early),
        (Receipt::sign(&down, [2; 16], up, SWARM, MINUTE, absurd), Refused::Absurd),
    ];
    for (receipt, why) in cases {
        assert_eq!(book.take(MINUTE, &receipt, &viewer(GIB)), Err(why));
    }
    assert_eq!(book.earned_by(MINUTE, &up).bytes, 8 << 20);
    assert_eq!(book.earned_by(MINUTE, &other), Earned::default());
}

#[test]
fn a_session_that_is_forgotten_cannot_be_replayed() {
    let (down, up) = (key(1), key(2).peer_id());
    let mut book = Book::default();
    let old = receipt(&down, up, 1, 1 << 20);
    book.take(MINUTE, &old, &viewer(GIB)).unwrap();
    for later in MINUTE..MINUTE + 2 * 1_440 {
        book.expire(later);
        let again = book.take(later, &old, &viewer(GIB));
        assert!(matches!(again, Err(Refused::Replayed | Refused::Old)), "{again:?} after {}", later - MINUTE);
    }
}

#[test]
fn nobody_signs_for_much_more_than_it_could_consume() {
    let down = key(1);
    let mut book = Book::default();
    // A film of 100 MiB, signed for ten uploaders, each for all of it.
    for n in 10..20 {
        let all = receipt(&down, key(n).peer_id(), n as u8, 100 << 20);
        book.take(MINUTE, &all, &viewer(100 << 20)).unwrap();
    }
    let bytes: u64 = book.earned(MINUTE).map(|(_, earned)| earned.bytes).sum();
    assert_eq!(bytes, (100 << 20) * 11 / 10);
}

#[test]
fn an_unproven_key_earns_no_money_and_a_tenth_of_rank() {
    let up = key(2).peer_id();
    let mut books = [Proof::Token, Proof::Key].map(|proof| {
        let mut book = Book::default();
        for n in 100..200 {
            let from = Downloader { proof, ..at([10, n as u8, 0, 1], u32::from(n), GIB) };
            book.take(MINUTE, &receipt(&key(n), up, 1, 64 << 20), &from).unwrap();
        }
        book
    });
    let [proven, unproven] = books.each_mut().map(|book| book.earned_by(MINUTE, &up));
    assert_eq!((proven.money, proven.rank), (6_400 << 20, 6_400 << 20));
    assert_eq!((unproven.money, unproven.rank), (0, 640 << 20));
}

/// The money of an uploader whom `count` downloaders sign for, each for `bytes` it could have consumed.
fn money(count: u16, bytes: u64, place: impl Fn(u16) -> ([u8; 4], u32)) -> u64 {
    let up = key(9_999).peer_id();
    let mut book = Book::default();
    for n in 0..count {
        let (ip, network) = place(n);
        book.take(MINUTE, &receipt(&key(n), up, 1, bytes), &at(ip, network, bytes)).unwrap();
    }
    book.earned_by(MINUTE, &up).money
}

#[test]
fn fifty_colluding_keys_in_one_subnet_gain_less_than_one_honest_group() {
    let film = 700 << 20;
    let colluding = money(50, film, |n| ([198, 51, 100, n as u8], 64_500));
    // As many viewers where viewers are: a few in each of many subnets of four providers.
    let honest = money(50, film, |n| ([10, n as u8 % 16, n as u8, 1], 1 + u32::from(n % 4)));
    assert_eq!(colluding, 50 * film / 10, "one subnet is a tenth");
    assert_eq!(honest, 50 * film);
    // Ten honest viewers are worth as much as the fifty: each is a fiftieth of what fifty would be.
    let few = money(10, film * 50, |n| ([10, n as u8, 0, 1], 1 + u32::from(n % 4)));
    assert!(few > colluding, "{few} {colluding}");
}

#[test]
fn a_pair_a_subnet_and_a_network_count_for_their_share_at_most() {
    let all = 1_000 << 20;
    assert_eq!(money(1, all, |_| ([10, 0, 0, 1], 1)), all / 50);
    assert_eq!(money(100, all / 100, |n| ([10, 0, 0, n as u8], 1)), all / 100 * 100 / 10);
    let network = money(100, all / 100, |n| ([10, 0, n as u8, 1], 1));
    assert_eq!(network, all / 100 * 100 / 10 * 3);
}

#[test]
fn a_superpeer_and_a_scarce_region_earn_more() {
    let earned = Earned { money: 1_000, ..Earned::default() };
    assert_eq!(earned.credit(1_000, false), 1_000);
    assert_eq!(earned.credit(1_000, true), 1_250);
    assert_eq!(earned.credit(2_000, true), 2_500);
}

#[test]
fn a_week_is_closed_when_the_next_begins() {
    let (down, up) = (key(1), key(2).peer_id());
    let mut book = Book::default();
    let first = MINUTE / account::WINDOW * account::WINDOW;
    let signed = |bucket, session| {
        let tally = Tally { bytes: 1 << 20, pieces: 16, bad: 0 };
        Receipt::sign(&down, [session; 16], up, SWARM, bucket, tally)
    };
    book.take(first, &signed(first, 1), &viewer(GIB)).unwrap();
    let next = first + account::WINDOW;
    book.take(next, &signed(next, 2), &viewer(GIB)).unwrap();
    assert_eq!([first, next].map(|minute| book.earned_by(minute, &up).bytes), [1 << 20; 2]);
    book.expire(next + 2 * account::WINDOW);
    assert_eq!(book.earned_by(next, &up), Earned::default());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    /// Whatever the order and the repetitions, what counts of a session is its largest sum.
    #[test]
    fn order_and_repetition_change_nothing(sums in proptest::collection::vec(1u64..200, 1..12)) {
        let (down, up) = (key(1), key(2).peer_id());
        let mut book = Book::default();
        for mib in &sums {
            // Refusals are the point.
            let _ = book.take(MINUTE, &receipt(&down, up, 1, mib << 20), &viewer(u64::MAX / 16));
        }
        let most = sums.iter().max().copied().unwrap_or_default();
        prop_assert_eq!(book.earned_by(MINUTE, &up).bytes, most << 20);
    }

    #[test]
    fn any_bytes_are_read_in_peace(junk in proptest::collection::vec(any::<u8>(), 0..220)) {
        let _ = Receipt::decode(&junk);
    }
}
