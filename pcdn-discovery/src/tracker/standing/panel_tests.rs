//! The life of a superpeer where no auditor is named: those who hold the same films are drawn to audit, and some of them lie.
//! Virtual time.

use std::collections::BTreeSet;

use pcdn_core::superpeer::Gate;

use super::life_tests::{CRITERIA, FILM_BYTES, GOOD, Holders, PEERS, Shown, World, rules};

/// Most minutes that a good one needs: its fifty audits are two a minute, and it must have been reached and have given before.
const MOST: usize = 60;

fn holders() -> Holders {
    Holders { audit: true, ..Holders::default() }
}

/// Three of the eleven others: more than a quarter.
fn liars() -> BTreeSet<usize> {
    BTreeSet::from([9, 10, 11])
}

fn shut(world: &World) -> Vec<Gate> {
    world.standings.report(world.wall(), &world.id(0)).unwrap().judgement.shut
}

#[test]
fn who_holds_the_same_promotes_a_peer_and_nobody_else_is_needed() {
    let mut world = World::of(rules(), PEERS, holders());
    let took = world.rise(GOOD, MOST).expect("it is good");
    let report = world.standings.report(world.wall(), &world.id(0)).unwrap();
    println!(
        "promoted after {took} minutes with a score of {:.2}: {:?}",
        report.judgement.score, report.facts
    );
    assert!(report.facts.proven >= 8 << 30 && report.facts.audits.0 >= 50);
    assert!(!world.standing(5).is_super(), "nobody signed for it");
    assert!(world.fall(GOOD, 60).is_none(), "and it stays one");
}

#[test]
fn each_criterion_decides_who_rises() {
    for (name, gate, spoil) in CRITERIA {
        let mut world = World::of(rules(), PEERS, holders());
        for minute in 0..MOST as u8 {
            let mut shown = GOOD;
            spoil(&mut shown, minute);
            assert_eq!(world.rise(shown, 1), None, "{name}");
        }
        assert!(shut(&world).contains(&gate), "{name}");
        assert!(world.standing(1).is_super(), "{name}: its equal has risen");
    }
}

#[test]
fn who_holds_nothing_any_more_falls_whether_it_says_so_or_not() {
    for frank in [false, true] {
        let mut world = World::of(rules(), PEERS, Holders { frank, ..holders() });
        world.rise(GOOD, MOST).unwrap();
        let fell = world.fall(Shown { audits: false, ..GOOD }, 30);
        println!("frank: {frank}, fell after {fell:?} minutes");
        assert!(fell.is_some() && shut(&world).contains(&Gate::Storage), "{:?}", shut(&world));
        assert!(world.standing(1).is_super(), "its equal stays");
    }
}

#[test]
fn who_leaves_a_swarm_owes_nothing_of_it() {
    let mut world = World::of(rules(), PEERS, holders());
    world.rise(GOOD, MOST).unwrap();
    let facts = |world: &World| world.standings.report(world.wall(), &world.id(0)).unwrap().facts;
    let before = facts(&world);
    world.leave(0, 3);
    // Nobody asks it for that film, though it holds nothing of it any more.
    (0..30).for_each(|_| world.minute(GOOD));
    let after = facts(&world);
    assert_eq!(after.proven, before.proven - FILM_BYTES, "{after:?}");
    assert!(
        after.audits.0 > before.audits.0 && after.audits.0 == after.audits.1 && after.lost == 0,
        "{after:?}"
    );
    assert!(world.standing(0).is_super(), "four films are enough");
}

#[test]
fn a_minority_that_lies_promotes_nobody_who_holds_nothing() {
    for frank in [false, true] {
        let mut world = World::of(rules(), PEERS, Holders { liars: liars(), frank, ..holders() });
        assert_eq!(world.rise(Shown { audits: false, ..GOOD }, 3 * MOST), None);
        // Whose stake does not matter yet is not asked for it.
        assert_eq!(shut(&world), [Gate::Storage, Gate::Stake], "all else is good");
    }
}

#[test]
fn a_minority_that_slanders_keeps_nobody_down() {
    let mut world = World::of(rules(), PEERS, Holders { liars: liars(), ..holders() });
    let took = world.rise(GOOD, 2 * MOST).expect("it is good");
    println!("slandered by three of eleven, promoted after {took} minutes");
    assert!(world.fall(GOOD, 60).is_none());
}

#[test]
fn fifty_keys_of_one_rack_promote_nobody() {
    // Among honest holders they have one seat at most; without them they are too few networks to be asked at all.
    for honest in [PEERS, 2] {
        let liars = (honest..honest + 50).collect();
        let world = Holders { liars, rack: Some(honest), frank: true, ..holders() };
        let mut world = World::of(rules(), honest + 50, world);
        assert_eq!(world.rise(Shown { audits: false, ..GOOD }, 2 * MOST), None, "{honest} are honest");
        assert_eq!(world.standing(1).is_super(), honest == PEERS);
    }
}
