//! A home whose line is thinner than what its neighbours give, where nobody said how thin: the node finds out, asks for no more than
//! comes soon, blames no neighbour for the rest, and plays as from the CDN alone, whatever its neighbours are.

use std::time::Duration;

use pcdn::sim::{
    After, Behaviour, Comparison, Group, Outcome, PlayerSpec, Scenario, Simulation, Task, ViewerOutcome,
};
use pcdn_core::unit::{ByteSize, Rate, Span};

/// Seconds in which the line carries all of it.
const SECONDS: u64 = 24;

/// Neighbours on fast lines that have it all, and then one viewer on a thin line, with peers and without.
fn home(mbit: u64, neighbours: usize, task: Task, seed: u64) -> Comparison {
    beside(mbit, neighbours, 0, task, seed)
}

/// The same where `dead` of the neighbours never answer.
fn beside(mbit: u64, neighbours: usize, dead: usize, task: Task, seed: u64) -> Comparison {
    let mut scenario = Scenario::builtin("crowd8").expect("built in");
    scenario.seed = seed;
    scenario.content.size = ByteSize(Rate::from_mbit(mbit).0 * SECONDS);
    scenario.viewers[0].after = After::Stay;
    let alive = scenario.viewers[0].clone();
    scenario.viewers[0].count = neighbours - dead;
    scenario.viewers.push(Group { count: dead, behaviour: Behaviour::Dead, ..alive });
    scenario.viewers.retain(|group| group.count > 0);
    scenario.viewers.push(Group {
        name: "thin".into(),
        down: Rate::from_mbit(mbit),
        up: Rate::from_mbit(1),
        start: Span(Duration::from_secs(120)),
        task,
        ..Group::default()
    });
    let comparison = Simulation::of(scenario).expect("sound").compare();
    assert!(comparison.with_peers.is_right(), "{comparison}");
    comparison
}

/// A film at `part` of the line.
fn film(mbit: u64, part: f64, told: bool) -> Task {
    Task::Play(PlayerSpec {
        bitrate: Rate((Rate::from_mbit(mbit).0 as f64 * part) as u64),
        start: ByteSize::kib(256),
        ahead: Span(Duration::from_secs(30)),
        told,
    })
}

fn thin(outcome: &Outcome) -> &ViewerOutcome {
    outcome.viewers.last().expect("it is there")
}

/// Part of what the thin home got that came from peers.
fn share(viewer: &ViewerOutcome) -> f64 {
    viewer.from_peers as f64 / (viewer.from_peers + viewer.from_origin) as f64
}

/// The thin home plays without a stall, and starts when it would have started.
fn plays_as_alone(comparison: &Comparison, case: &str) {
    let (with, alone) = (thin(&comparison.with_peers), thin(&comparison.origin_only));
    assert_eq!(with.stalls, 0, "{case}\n{comparison}");
    let [start, at_best] = [with, alone].map(|viewer| viewer.start_s.expect("it started"));
    assert!(start <= at_best + 0.02, "{start} s instead of {at_best} s: {case}\n{comparison}");
}

/// At 2 Mbit/s beside eight fast neighbours a film at four fifths of the line stood still four times for 8.7 s, 40 requests timed
/// out, and all of it came from the CDN.
#[test]
fn a_film_on_a_thin_line_never_waits_and_comes_from_peers() {
    for (mbit, neighbours) in [(2, 8), (2, 16), (4, 8), (4, 16)] {
        for (part, told) in [(0.4, true), (0.8, true), (0.8, false)] {
            for seed in [1, 2] {
                let comparison = home(mbit, neighbours, film(mbit, part, told), seed);
                let (with, alone) = (thin(&comparison.with_peers), thin(&comparison.origin_only));
                let case =
                    format!("{mbit} Mbit/s, {neighbours} neighbours, {part}, {told}, {seed}\n{comparison}");
                assert_eq!((with.stalls, with.timeouts), (0, 0), "{case}");
                let (start, at_best) =
                    (with.start_s.expect("it started"), alone.start_s.expect("it started"));
                assert!(start <= at_best + 0.02, "{start} s instead of {at_best} s: {case}");
                assert!(share(with) > 0.8, "{} from peers: {case}", share(with));
                // Each neighbour that is tried may bring its piece when another has been asked for it: sixteen pieces are a sixth of
                // the smallest film.
                assert!(with.wasted < comparison.with_peers.content_bytes / 6, "{}: {case}", with.wasted);
            }
        }
    }
}

/// One neighbour alone, or 8 Mbit/s: pieces came from the origin out of turn, as a neighbour that had given nothing yet was believed in.
/// Each of these cases had one to five stalls.
#[test]
fn a_film_near_what_the_line_carries_never_waits() {
    for (mbit, neighbours, part) in [(2, 1, 0.8), (4, 1, 0.9), (6, 2, 0.8), (8, 1, 0.9), (8, 8, 0.8)] {
        for (told, seed) in [(true, 1), (false, 2)] {
            let comparison = home(mbit, neighbours, film(mbit, part, told), seed);
            let case = format!("{mbit} Mbit/s, {neighbours} neighbours, {part}, {told}, {seed}");
            plays_as_alone(&comparison, &case);
            assert!(share(thin(&comparison.with_peers)) > 0.8, "{case}\n{comparison}");
        }
    }
}

/// Neighbours that never answer: at 8 Mbit/s beside one and seven of them the film stood still forty times, for 16 s in all.
#[test]
fn beside_dead_neighbours_a_film_plays_as_from_the_cdn_alone() {
    for (mbit, neighbours, dead, part) in
        [(2, 1, 1, 0.8), (4, 4, 3, 0.8), (6, 8, 7, 0.8), (8, 8, 7, 0.8), (8, 8, 8, 0.9)]
    {
        for (told, seed) in [(true, 1), (false, 2)] {
            let comparison = beside(mbit, neighbours, dead, film(mbit, part, told), seed);
            let case =
                format!("{mbit} Mbit/s, {dead} of {neighbours} neighbours dead, {part}, {told}, {seed}");
            plays_as_alone(&comparison, &case);
        }
    }
}

/// Half of what came had been asked for twice, and it took a third longer than from the CDN alone.
#[test]
fn a_download_on_a_thin_line_is_hardly_slower_than_from_the_cdn_and_comes_from_peers() {
    for (mbit, neighbours) in [(4, 8), (8, 8), (8, 16)] {
        for seed in [1, 2] {
            let comparison = home(mbit, neighbours, Task::Download, seed);
            let (with, alone) = (thin(&comparison.with_peers), thin(&comparison.origin_only));
            let (took, at_best) = (with.seconds.expect("it finished"), alone.seconds.expect("it finished"));
            // A piece costs a peer 2 % more on the wire than the CDN.
            assert!(took <= at_best * 1.06, "{took} s instead of {at_best} s\n{comparison}");
            assert!(share(with) > 0.8, "{} from peers\n{comparison}", share(with));
            assert!(with.wasted < comparison.with_peers.content_bytes / 20, "{}\n{comparison}", with.wasted);
        }
    }
}
