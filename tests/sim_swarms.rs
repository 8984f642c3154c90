//! Whole swarms in virtual time: what must hold of every scenario, at sizes that a debug build runs in seconds. The full sizes
//! and their bars are run by `pcdn sim`.

use std::time::Duration;

use pcdn::sim::{Comparison, Join, Outcome, Scenario, Simulation, Task};
use pcdn_core::unit::{ByteSize, Rate, Span};
use pcdn_core::verify::Integrity;

fn small(name: &str) -> Simulation {
    Simulation::builtin(name).expect("built in").size(6_000_000)
}

fn right(outcome: &Outcome) {
    assert!(outcome.is_right(), "{outcome}");
    assert_eq!(outcome.honest_banned, 0, "{outcome}");
}

#[test]
fn a_crowd_costs_the_origin_little_more_than_a_copy() {
    let outcome = small("crowd8").run();
    right(&outcome);
    assert!(outcome.origin_amplification < 2.5, "{outcome}");
    assert!(outcome.waste < 0.05, "{outcome}");
}

#[test]
fn witnesses_are_enough_where_nobody_signs() {
    let outcome = small("crowd8-witnessed").run();
    right(&outcome);
    assert!(outcome.p2p_ratio > 0.3, "{outcome}");
}

#[test]
fn liars_reach_no_reader() {
    for integrity in [Integrity::Signed, Integrity::Witnessed] {
        let outcome = small("liars").integrity(integrity).run();
        right(&outcome);
    }
}

/// Who cannot reach most of the others hears their witnesses by way of those who reach both. Without that the origin gives
/// 37 % of this, for everybody has to prove by own copies what it takes from the two that it does reach; with it, 29 to 30 %.
#[test]
fn witnesses_are_heard_through_nats() {
    let outcome = Simulation::builtin("nats").expect("built in").run();
    right(&outcome);
    assert!(outcome.origin_share < 0.32, "{outcome}");
    assert_eq!(outcome.stalls, 0, "{outcome}");
}

#[test]
fn killed_peers_are_survived() {
    let outcome = small("churn").peers(16).run();
    right(&outcome);
    assert!(outcome.killed > 0, "{outcome}");
}

#[test]
fn an_outage_of_the_origin_is_survived() {
    right(&small("origin-outage").run());
}

#[test]
fn equal_bytes_are_counted_at_both_ends() {
    let outcome = small("crowd8").run();
    let uploaded: u64 = outcome.viewers.iter().map(|viewer| viewer.uploaded).sum();
    assert!(uploaded >= outcome.peer_bytes, "{outcome}");
    assert!(uploaded - outcome.peer_bytes < outcome.delivered_bytes / 20, "{outcome}");
}

/// The same world with and without peers.
fn never_worse(name: &str, slack: f64) -> Comparison {
    let comparison = small(name).compare();
    assert!(comparison.never_worse(slack), "{name}\n{comparison}");
    assert_eq!(comparison.origin_only.peer_bytes, 0);
    comparison
}

#[test]
fn peers_never_make_it_worse() {
    let crowd = never_worse("crowd8", 0.0);
    assert!(crowd.makespan_ratio() < 0.8, "{crowd}");
    never_worse("dead-tracker", 0.01);
    never_worse("play8", 0.05);
    // A request that is never answered costs its time-out once; of the four seconds that this size takes, that is a part.
    never_worse("slow-peers", 0.15);
    never_worse("dead-peers", 0.15);
    never_worse("lossy", 0.1);
}

/// A film that starts no later and stalls no more than from the CDN alone, whatever the neighbours are; with the ratio.
fn watched(scenario: Scenario) -> f64 {
    let comparison = Simulation::of(scenario).expect("sound").compare();
    let (with, alone) = (&comparison.with_peers, &comparison.origin_only);
    right(with);
    assert_eq!(with.stalls, 0, "{comparison}");
    // The first request is short, as others may have the rest: a second one costs a round trip and begins as slowly. That is
    // 110 ms where two seconds of media are 2 MB.
    for (with, alone) in with.viewers.iter().zip(&alone.viewers) {
        let (with, alone) = (with.start_s.expect("it started"), alone.start_s.expect("it started"));
        assert!(with <= alone + 0.15, "{with} s instead of {alone} s\n{comparison}");
    }
    with.p2p_ratio
}

fn film(viewers: usize) -> Scenario {
    Scenario::builtin("film4").expect("built in").with_peers(viewers)
}

/// The best is 1 - 1/N: each byte is read once.
#[test]
fn viewers_of_a_film_share_it_though_they_come_seconds_apart() {
    for (viewers, ratio) in [(2, 0.46), (4, 0.68)] {
        let got = watched(film(viewers));
        assert!(got >= ratio, "{viewers} viewers: {got}");
    }
}

#[test]
fn viewers_that_come_nearly_together_share_as_well() {
    let mut scenario = film(4);
    scenario.viewers[0].join = Join::Every(Span(Duration::from_millis(100)));
    let got = watched(scenario);
    assert!(got >= 0.65, "{got}");
}

/// The faster the CDN, the more of it a viewer took that fills its buffer: 72 % of this film before what it plays at was known.
#[test]
fn a_cdn_much_faster_than_uplinks_is_not_asked_for_what_they_bring_in_time() {
    let mut scenario = film(4);
    scenario.content.size = ByteSize(40_000_000);
    let Task::Play(player) = &mut scenario.viewers[0].task else { panic!("a film is played") };
    (player.bitrate, player.start) = (Rate::from_mbit(8), ByteSize(2_000_000));
    let got = watched(scenario);
    assert!(got >= 0.65, "{got}");
}

#[test]
fn neighbours_with_hardly_an_uplink_delay_no_start() {
    let mut scenario = film(4);
    scenario.viewers[0].up = Rate(100_000);
    watched(scenario);
}

#[test]
fn a_tracker_that_never_answers_delays_no_start() {
    let mut scenario = film(2);
    scenario.tracker.silent_from = Some(Span::default());
    assert_eq!(watched(scenario), 0.0);
}

#[test]
fn charts_and_json_say_what_the_outcome_says() {
    let outcome = small("crowd8").peers(3).run();
    let back: Outcome = serde_json::from_str(&outcome.to_json()).expect("own JSON");
    assert_eq!(back.trace, outcome.trace);
    let svg = outcome.to_svg();
    assert!(svg.starts_with("<svg") && svg.contains("home 2") && svg.trim_end().ends_with("</svg>"));
}

#[test]
fn a_superpeer_gives_more_than_its_equal() {
    let world = |superpeer: bool| {
        let text = format!(
            r#"
            name = "superpeer"
            about = "two seeds of one line, one of them a superpeer, and players that give little"
            content = {{ size = "24MB" }}
            origin = {{ rate = "20MB/s" }}
            [[viewers]]
            name = "first"
            up = "12MB/s"
            after = "stay"
            superpeer = {superpeer}
            [[viewers]]
            name = "second"
            up = "12MB/s"
            after = "stay"
            [[viewers]]
            name = "player"
            count = 8
            up = "50KB/s"
            start = "60s"
            join = {{ every = "3s" }}
            task = {{ play = {{ bitrate = "100KB/s" }} }}
            "#
        );
        let outcome = Simulation::of(Scenario::parse(&text).unwrap()).unwrap().run();
        right(&outcome);
        let gave = |name: &str| {
            let viewers = outcome.viewers.iter().filter(|viewer| viewer.name.starts_with(name));
            viewers.map(|viewer| viewer.uploaded).sum::<u64>()
        };
        let stalls: u32 = outcome.viewers.iter().map(|viewer| viewer.stalls).sum();
        ([gave("first"), gave("second")], stalls)
    };
    let (equals, _) = world(false);
    let (preferred, stalls) = world(true);
    println!("given by two equals: {equals:?} bytes; by a superpeer and its equal: {preferred:?}");
    assert_eq!(stalls, 0, "nobody pays for it");
    let share = |[one, other]: [u64; 2]| one as f64 / (one + other) as f64;
    assert!(share(preferred) > share(equals) + 0.05, "{:.2} {:.2}", share(preferred), share(equals));
}
