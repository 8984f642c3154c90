//! A node that bounds what it takes in: its line is used, its neighbours are not blamed for it, and the origin pays nothing for it.

use std::time::Duration;

use pcdn::sim::{After, Behaviour, Group, Outcome, PlayerSpec, Scenario, Simulation, Task, ViewerOutcome};
use pcdn_core::unit::{ByteSize, Rate, Span};

const LIMIT: Rate = Rate::from_mbit(2);
const SIZE: u64 = 6_000_000;

/// Eight neighbours on fast lines that have it all, and then one viewer with a bound.
fn scenario(task: Task, limit: Rate) -> Scenario {
    let mut scenario = Scenario::builtin("crowd8").expect("built in");
    scenario.content.size = ByteSize(SIZE);
    scenario.viewers[0].after = After::Stay;
    let start = Span(Duration::from_secs(30));
    scenario.viewers.push(Group {
        name: "bounded".into(),
        download_limit: limit,
        start,
        task,
        ..Group::default()
    });
    scenario
}

fn run(task: Task, limit: Rate) -> (Outcome, ViewerOutcome) {
    let outcome = Simulation::of(scenario(task, limit)).expect("sound").run();
    assert!(outcome.is_right(), "{outcome}");
    let bounded = outcome.viewers.last().expect("it is there").clone();
    (outcome, bounded)
}

/// Requests waited for the node's own bound until they timed out: its neighbours were asked less and less, and the origin more.
#[test]
fn nobody_is_blamed_for_a_nodes_own_bound_and_nine_tenths_of_it_are_used() {
    let (outcome, bounded) = run(Task::Download, LIMIT);
    assert_eq!(bounded.timeouts, 0, "{bounded:?}");
    let seconds = bounded.seconds.expect("it finished");
    let used = SIZE as f64 / seconds / LIMIT.0 as f64;
    assert!((0.9..1.05).contains(&used), "{used} of the bound in {seconds} s\n{outcome}");
    let (free, unbounded) = run(Task::Download, Rate::UNLIMITED);
    assert!(
        bounded.from_origin <= unbounded.from_origin,
        "{} {}",
        bounded.from_origin,
        unbounded.from_origin
    );
    assert!(outcome.origin_amplification <= free.origin_amplification + 0.001, "{outcome}\n{free}");
    assert!(bounded.wasted < SIZE / 50, "{bounded:?}");
}

/// A film that fits the bound plays as without one: what is due first comes first. The first half megabyte is the origin's: until a
/// neighbour has given something, it is not left to one.
#[test]
fn a_player_within_the_bound_never_waits() {
    let (outcome, bounded) = run(film(), LIMIT);
    assert_eq!((bounded.stalls, bounded.timeouts), (0, 0), "{bounded:?}\n{outcome}");
    assert!(bounded.from_origin < SIZE / 10, "{bounded:?}");
}

/// Some or all of the neighbours never answer: a bounded player starts and plays as it would from the CDN alone. Where seven of eight
/// did not, it stood still once.
#[test]
fn a_bounded_player_is_never_worse_than_from_the_cdn_alone() {
    for dead in [0, 4, 7, 8] {
        let mut scenario = scenario(film(), LIMIT);
        scenario.viewers[0].count -= dead;
        let home = scenario.viewers[0].clone();
        scenario.viewers.insert(1, Group { count: dead, behaviour: Behaviour::Dead, ..home });
        scenario.viewers.retain(|group| group.count > 0);
        let comparison = Simulation::of(scenario).expect("sound").compare();
        let starts = [&comparison.with_peers, &comparison.origin_only].map(|outcome| {
            assert!(outcome.is_right() && outcome.stalls == 0, "{dead}\n{comparison}");
            outcome.viewers.last().and_then(|viewer| viewer.start_s).expect("it started")
        });
        assert!(starts[0] <= starts[1] + 0.02, "{dead}: {starts:?}\n{comparison}");
    }
}

/// Who holds a content for others takes it slowly by order, and that is nobody's fault either.
#[test]
fn a_holder_at_a_low_rate_sees_no_time_outs_and_keeps_to_its_budget() {
    let mut scenario = scenario(Task::Download, LIMIT);
    let budget = SIZE / 20;
    scenario.viewers[1].background = Some(ByteSize(budget));
    let outcome = Simulation::of(scenario).expect("sound").run();
    assert!(outcome.is_right(), "{outcome}");
    let holder = outcome.viewers.last().expect("it is there");
    assert_eq!(holder.timeouts, 0, "{holder:?}");
    assert!(holder.from_origin <= budget, "{holder:?}");
    let used = SIZE as f64 / holder.seconds.expect("it finished") / LIMIT.0 as f64;
    assert!(used >= 0.9, "{used} of the rate\n{outcome}");
}

/// A film at four fifths of the bound.
fn film() -> Task {
    Task::Play(PlayerSpec {
        bitrate: Rate(LIMIT.0 * 8 / 10),
        start: ByteSize::kib(256),
        ahead: Span(Duration::from_secs(30)),
        told: true,
    })
}
