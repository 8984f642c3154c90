use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

const KEY: Key = [1; 32];
const LATER: Time = Time(1_000);

fn provider(id: u32, host: [u8; 4]) -> Provider {
    let mut key = [0; 32];
    key[..4].copy_from_slice(&id.to_be_bytes());
    let addr = format!("udp://{}.{}.{}.{}:4000", host[0], host[1], host[2], host[3]).parse().unwrap();
    Provider { id: PeerId(key), addrs: vec![addr], contact: None, expires: LATER }
}

/// The provider `id` in a network of its own.
fn stranger(id: u32) -> Provider {
    provider(id, [20 + (id >> 16) as u8, (id >> 8) as u8, id as u8, 1])
}

fn ids(found: &[&Provider]) -> BTreeSet<PeerId> {
    found.iter().map(|provider| provider.id).collect()
}

#[test]
fn a_few_samples_together_know_nearly_all() {
    let (mut table, mut dice) = (Providers::default(), Dice::new(1));
    for id in 0..60 {
        assert!(table.add(Time::ZERO, KEY, stranger(id), &mut dice));
    }
    let mut known = BTreeSet::new();
    for _ in 0..20 {
        let found = table.sample(Time::ZERO, &KEY, 20, &mut dice);
        assert_eq!(ids(&found).len(), 20, "each once");
        known.extend(ids(&found));
    }
    assert!(known.len() >= 57, "20 nodes of whom each tells 20 of 60 know {} together", known.len());
}

#[test]
fn one_network_cannot_take_a_key_over() {
    let (mut table, mut dice) = (Providers::default(), Dice::new(2));
    for id in 0..20 {
        table.add(Time::ZERO, KEY, stranger(id), &mut dice);
    }
    for id in 1_000..3_000 {
        table.add(Time::ZERO, KEY, provider(id, [9, 9, 9, id as u8]), &mut dice);
    }
    let found = table.sample(Time::ZERO, &KEY, 512, &mut dice);
    assert_eq!(found.len(), 24);
    assert!((0..20).all(|id| ids(&found).contains(&stranger(id).id)), "nobody honest was pushed out");
}

#[test]
fn one_network_cannot_fill_the_table() {
    let limits = Limits { per_network: 10, ..Limits::default() };
    let (mut table, mut dice) = (Providers::new(limits), Dice::new(3));
    let took =
        (0..50).filter(|id| table.add(Time::ZERO, [*id as u8; 32], provider(*id, [9, 9, 9, 9]), &mut dice));
    assert_eq!(took.count(), 10);
    assert!(table.add(Time::ZERO, KEY, stranger(1), &mut dice), "others have room");
    table.sweep(LATER);
    assert_eq!(table.len(), (0, 0));
    assert!(table.networks.is_empty(), "and what has expired no longer counts");
}

#[test]
fn what_has_expired_is_not_told() {
    let (mut table, mut dice) = (Providers::default(), Dice::new(4));
    table.add(Time::ZERO, KEY, stranger(1), &mut dice);
    assert_eq!(table.sample(Time(999), &KEY, 9, &mut dice).len(), 1);
    assert!(table.sample(LATER, &KEY, 9, &mut dice).is_empty());
    assert!(!table.add(LATER, KEY, stranger(2), &mut dice), "nor taken in");
}

#[test]
fn private_hosts_are_not_counted_as_one_network() {
    let (mut table, mut dice) = (Providers::default(), Dice::new(5));
    (0..60).for_each(|id| assert!(table.add(Time::ZERO, KEY, provider(id, [127, 0, 0, 1]), &mut dice)));
    assert_eq!(table.len(), (60, 1));
}

proptest! {
    #[test]
    fn bounds_and_counts_hold_whatever_is_told(
        acts in prop::collection::vec((0u8..12, 0u32..40, 0u8..6, any::<bool>(), 1u64..40), 1..300),
    ) {
        let limits = Limits { per_key: 5, per_key_and_network: 2, per_network: 9, keys: 4, records: 12 };
        let (mut table, mut dice) = (Providers::new(limits), Dice::new(6));
        for (now, (key, id, network, add, until)) in acts.into_iter().enumerate() {
            let now = Time(now as u64);
            let told = Provider { expires: Time(now.0 + until), ..provider(id, [9, 9, network, 1]) };
            if add { table.add(now, [key; 32], told, &mut dice); } else { table.remove(&[key; 32], &told.id); }
            if until == 7 { table.sweep(now); }
            let shelves = &table.shelves;
            prop_assert!(shelves.len() <= limits.keys && table.records <= limits.records);
            prop_assert_eq!(shelves.iter().map(|(_, all)| all.len()).sum::<usize>(), table.records);
            prop_assert_eq!(shelves.len(), table.places.len());
            let mut networks = BTreeMap::new();
            for (at, (key, all)) in shelves.iter().enumerate() {
                prop_assert_eq!(table.places[key], at);
                prop_assert!(!all.is_empty() && all.len() <= limits.per_key);
                for provider in all {
                    *networks.entry(provider.network().unwrap()).or_insert(0u32) += 1;
                    let like = all.iter().filter(|other| other.network() == provider.network());
                    prop_assert!(like.count() <= limits.per_key_and_network);
                }
            }
            prop_assert!(networks.values().all(|count| *count <= limits.per_network));
            prop_assert_eq!(&networks, &table.networks);
        }
    }
}
