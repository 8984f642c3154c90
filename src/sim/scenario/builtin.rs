//! The scenarios everyone can run by name.
//!
//! The homes of the first four are those other systems were measured in: 100 Mbit/s down, 30 up, 20 ms to the origin, queues
//! of 100 ms. With all uplinks full, makespan T and CDN share s of `crowd8` obey T ≥ 26.7 s · (1 − s).

use super::group::{half, kib_256, thirty_s};
use super::*;

pub(super) fn all() -> Vec<Scenario> {
    vec![
        crowd8(),
        crowd8_witnessed(),
        staggered8(),
        play8(),
        film4(),
        flash10k(),
        liars(),
        liars_witnessed(),
        churn(),
        slow_peers(),
        dead_peers(),
        dead_tracker(),
        origin_outage(),
        lossy(),
        nats(),
    ]
}

/// Eight homes, one file, an origin of 100 Mbit/s: the base of all others.
fn base(name: &str, about: &str, size: &str) -> Scenario {
    Scenario {
        name: name.to_owned(),
        about: about.to_owned(),
        seed: one(),
        duration: ten_minutes(),
        integrity: signed(),
        witnesses: two(),
        policy: Policy::Balanced,
        cache: mib_32(),
        read_back: true,
        content: ContentSpec { size: size.parse().expect("a size written here") },
        origin: OriginSpec {
            rate: Rate::from_mbit(100),
            think: two_ms(),
            latency: Span::default(),
            outages: Vec::new(),
        },
        tracker: TrackerSpec::default(),
        viewers: vec![Group { count: 8, ..Group::default() }],
    }
}

fn seconds(seconds: u64) -> Span {
    Span(Duration::from_secs(seconds))
}

fn crowd8() -> Scenario {
    base("crowd8", "eight homes fetch 100 MB at once; the publisher signed it", "100MB")
}

fn crowd8_witnessed() -> Scenario {
    let about =
        "the same where the publisher did nothing: two must fetch a piece before others take it from them";
    Scenario { integrity: Integrity::Witnessed, ..base("crowd8-witnessed", about, "100MB") }
}

fn staggered8() -> Scenario {
    let mut scenario =
        base("staggered8", "one more home every two seconds fetches 60 MB and goes on serving", "60MB");
    scenario.viewers[0].join = Join::Every(seconds(2));
    scenario.viewers[0].after = After::Stay;
    scenario
}

fn play8() -> Scenario {
    let about = "a viewer a second plays at 8 Mbit/s from an origin that has room for three of the eight";
    let mut scenario = base("play8", about, "40MB");
    scenario.origin.rate = Rate::from_mbit(24);
    let player = PlayerSpec { bitrate: Rate(1_000_000), start: kib_256(), ahead: thirty_s(), told: false };
    let group = &mut scenario.viewers[0];
    (group.join, group.after, group.task) = (Join::Every(seconds(1)), After::Stay, Task::Play(player));
    scenario
}

fn film4() -> Scenario {
    let about = "one more viewer every five seconds plays a minute of 2 Mbit/s; the CDN has room for all";
    let mut scenario = base("film4", about, "15MB");
    // Two seconds of it are a start.
    let start = ByteSize(500_000);
    let player = PlayerSpec { bitrate: Rate::from_mbit(2), start, ahead: thirty_s(), told: true };
    let group = &mut scenario.viewers[0];
    (group.count, group.join, group.after) = (4, Join::Every(seconds(5)), After::Stay);
    group.task = Task::Play(player);
    scenario
}

fn flash10k() -> Scenario {
    let about = "ten thousand homes fetch 16 MiB within ten seconds of its release; origin 1 Gbit/s";
    let mut scenario = base("flash10k", about, "16MiB");
    scenario.origin.rate = Rate::from_mbit(1_000);
    scenario.read_back = false;
    let group = &mut scenario.viewers[0];
    (group.count, group.join, group.after) = (10_000, Join::Within(seconds(10)), After::Stay);
    scenario
}

fn liars() -> Scenario {
    let mut scenario =
        base("liars", "three of eight homes serve false bytes and a false manifest in good faith", "60MB");
    let honest = Group { count: 5, ..Group::default() };
    let liar = Group {
        name: "liar".to_owned(),
        count: 3,
        behaviour: Behaviour::Lying,
        after: After::Stay,
        ..honest.clone()
    };
    scenario.viewers = vec![honest, liar];
    scenario
}

fn liars_witnessed() -> Scenario {
    let about = "the same where nobody has a manifest: three tell the same lie";
    Scenario {
        name: "liars-witnessed".to_owned(),
        about: about.to_owned(),
        integrity: Integrity::Witnessed,
        ..liars()
    }
}

fn churn() -> Scenario {
    let mut scenario = base(
        "churn",
        "sixty homes come two a second, leave when done, and a third is killed half-way",
        "30MB",
    );
    let group = &mut scenario.viewers[0];
    (group.count, group.join) = (60, Join::Poisson(Span(Duration::from_millis(500))));
    group.killed = Some(Killed { part: 0.33, at: half() });
    scenario
}

fn slow_peers() -> Scenario {
    let about = "six of eight homes give only 1 Mbit/s: peers must not slow down what the origin gives";
    let mut scenario = base("slow-peers", about, "60MB");
    let slow = Group { name: "slow".to_owned(), count: 6, up: Rate::from_mbit(1), ..Group::default() };
    scenario.viewers = vec![slow, Group { count: 2, ..Group::default() }];
    scenario
}

fn dead_peers() -> Scenario {
    let about = "four of eight homes say what they have and never answer";
    let mut scenario = base("dead-peers", about, "60MB");
    let honest = Group { count: 4, ..Group::default() };
    let dead =
        Group { name: "dead".to_owned(), behaviour: Behaviour::Dead, after: After::Stay, ..honest.clone() };
    scenario.viewers = vec![honest, dead];
    scenario
}

fn dead_tracker() -> Scenario {
    let mut scenario =
        base("dead-tracker", "the tracker never answers: everyone gets the file from the origin", "60MB");
    scenario.tracker.silent_from = Some(Span::default());
    scenario
}

fn origin_outage() -> Scenario {
    let about =
        "the origin answers 503 from second 4 to second 9; who plays must not notice more than it has to";
    let mut scenario = base("origin-outage", about, "60MB");
    scenario.origin.outages = vec![Outage { from: seconds(4), until: seconds(9), status: 503 }];
    scenario
}

/// Port-restricted and symmetric NATs are two thirds and a quarter of the homes that have one, roughly as surveys find them.
fn nats() -> Scenario {
    let about = "twenty homes watch a film that nobody signed; twelve are behind port-restricted NATs, six behind symmetric ones";
    let mut scenario = base("nats", about, "32MB");
    scenario.integrity = Integrity::Witnessed;
    let player = PlayerSpec { bitrate: Rate(500_000), start: kib_256(), ahead: thirty_s(), told: false };
    let home = Group {
        join: Join::Within(seconds(5)),
        task: Task::Play(player),
        after: After::Stay,
        ..Group::default()
    };
    let behind = |name: &str, count, nat| Group { name: name.to_owned(), count, nat, ..home.clone() };
    scenario.viewers = vec![
        behind("open", 2, NatKind::Open),
        behind("port-restricted", 12, NatKind::PortRestricted),
        behind("symmetric", 6, NatKind::Symmetric),
    ];
    scenario
}

fn lossy() -> Scenario {
    let mut scenario =
        base("lossy", "eight homes behind lines of 80 ms that lose one datagram of a hundred", "24MB");
    let group = &mut scenario.viewers[0];
    (group.loss, group.latency) = (0.01, Span(Duration::from_millis(20)));
    scenario
}
