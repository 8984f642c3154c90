use proptest::prelude::*;

use super::*;
use crate::resource::Url;

const MIB: u64 = 1 << 20;
const LEN: u64 = 64 * MIB;
const MINUTE: Duration = Duration::from_secs(60);

fn content(name: &str) -> Content {
    Content { url: format!("http://cdn.example/{name}").parse::<Url>().unwrap(), rendition: None, len: LEN }
}

fn order(copies: u32) -> Order {
    Order {
        contents: vec![content("film")],
        regions: Vec::new(),
        target: Target::Copies(copies),
        deadline: Time::ZERO + MINUTE * 10,
        hold: MINUTE * 60,
        budget: Budget { cdn_bytes: 2 * LEN, peer_rate: Rate::UNLIMITED },
        forecast: 0,
    }
}

fn offer(n: u8) -> Offer {
    Offer {
        peer: PeerId([n; 32]),
        free: 1 << 30,
        spare: Rate::from_mbit(20),
        idle: true,
        busy: false,
        subnet: Subnet::of([10, n, 0, 1].into()),
        network: NetworkId(u32::from(n)),
        region: Region(1),
        superpeer: 0.0,
        availability: 0.5,
    }
}

/// Peers that ask every second, fetch at a rate, tell every second, and may be switched off.
struct World {
    now: Time,
    planner: Planner,
    peers: Vec<Peer>,
}

struct Peer {
    offer: Offer,
    on: bool,
    /// Says it holds what it does not.
    lies: bool,
    /// Bytes a second.
    speed: u64,
    tasks: Vec<Held>,
}

struct Held {
    task: Task,
    progress: Progress,
    until: Time,
}

fn bytes_of(content: &Content, range: &ByteRange) -> Bytes {
    format!("{} {range:?}", content.url).into()
}

impl World {
    fn new(count: u8) -> Self {
        let pace = Pace { ask: Duration::from_secs(1), report: Duration::from_secs(1) };
        let peer = |n| Peer { offer: offer(n), on: true, lies: false, speed: 4 * MIB, tasks: Vec::new() };
        Self {
            now: Time::ZERO,
            planner: Planner::new(pace, Dice::new(1)),
            peers: (1..=count).map(peer).collect(),
        }
    }

    fn run(&mut self, seconds: u32) {
        for _ in 0..seconds {
            self.second();
        }
    }

    fn second(&mut self) {
        self.now += Duration::from_secs(1);
        self.planner.tick(self.now);
        for (id, content) in self.planner.wants_samples(self.now) {
            let at = self.now.0 % LEN;
            let range = ByteRange::new(at, at + 1).unwrap();
            let sample = Sample { swarm: SwarmKey([1; 32]), range, bytes: bytes_of(&content, &range) };
            self.planner.sample(self.now, id, &content, sample);
        }
        for peer in self.peers.iter_mut().filter(|peer| peer.on) {
            peer.work(self.now, &mut self.planner);
        }
    }

    fn status(&self, id: JobId) -> Status {
        self.planner.status(self.now, id).unwrap()
    }

    fn proven(&self, id: JobId) -> u32 {
        self.status(id).regions.iter().map(|region| region.proven).sum()
    }
}

impl Peer {
    fn work(&mut self, now: Time, planner: &mut Planner) {
        let (id, lies, speed) = (self.offer.peer, self.lies, self.speed);
        self.tasks.retain_mut(|held| {
            let fetched = speed.min(LEN - held.progress.held);
            let from_cdn = fetched.min(held.task.cdn_bytes - held.progress.from_cdn);
            held.progress.held += fetched;
            held.progress.from_cdn += from_cdn;
            held.progress.from_peers += fetched - from_cdn;
            match planner.progress(now, &id, held.task.lease, &held.progress) {
                Next::Drop => false,
                Next::Hold { hold, challenge } => {
                    held.until = now + hold;
                    let answer = |c: Challenge| c.answer(&bytes_of(&held.task.content, &c.range));
                    held.progress.answer = challenge.map(|c| if lies { c.answer(b"?") } else { answer(c) });
                    true
                }
            }
        });
        let mut offer = self.offer;
        offer.free -= LEN * self.tasks.len() as u64;
        for task in planner.offer(now, offer) {
            let until = now + task.hold;
            self.tasks.push(Held { task, progress: Progress::default(), until });
        }
    }
}

#[test]
fn eight_of_thirty_are_warmed_proven_and_cost_the_cdn_no_more_than_the_budget() {
    let mut world = World::new(30);
    world.run(3);
    let id = world.planner.push(world.now, order(8)).unwrap();
    world.run(80);
    let status = world.status(id);
    assert_eq!(status.regions, [RegionStatus { region: None, planned: 8, placed: 8, proven: 8 }]);
    assert!(status.from_cdn <= 2 * LEN, "{}", status.from_cdn);
    assert_eq!(status.from_cdn + status.from_peers, 8 * LEN);
    assert_eq!(status.holders.len(), 8);
    assert!(status.holders.iter().all(|holder| holder.stage == Stage::Proven));
    assert_eq!(world.planner.audited().iter().filter(|audited| audited.passed()).count(), 8);
    // They hold to the end, and no longer.
    let holding = |world: &World| world.peers.iter().filter(|peer| !peer.tasks.is_empty()).count();
    world.run(600);
    assert_eq!(holding(&world), 8);
    world.run(4_000);
    assert!(holding(&world) == 0 && world.status(id).over);
}

#[test]
fn later_waves_wait_for_half_of_the_one_before_and_take_from_peers() {
    let mut world = World::new(30);
    world.run(3);
    let id = world.planner.push(world.now, order(16)).unwrap();
    world.run(2);
    let granted = |world: &World| world.status(id).holders.len();
    assert_eq!(granted(&world), 4, "a quarter of sixteen begins");
    world.run(4);
    assert_eq!(granted(&world), 4, "nobody holds half of 64 MiB after 6 s of 4 MiB/s");
    world.run(6);
    assert_eq!((granted(&world), world.status(id).wave), (12, 1), "twice as many follow");
    world.run(12);
    assert_eq!(granted(&world), 16);
    let later = world.peers.iter().flat_map(|peer| &peer.tasks).filter(|held| held.task.lease.0 > 4);
    assert!(later.clone().count() == 12 && later.into_iter().all(|held| held.task.cdn_bytes <= LEN / 20));
}

#[test]
fn cancelled_is_dropped_by_all_and_given_to_nobody() {
    let mut world = World::new(10);
    world.run(1);
    let id = world.planner.push(world.now, order(4)).unwrap();
    world.run(10);
    assert!(world.planner.cancel(world.now, id) && !world.planner.cancel(world.now, JobId(99)));
    world.run(2);
    assert!(world.peers.iter().all(|peer| peer.tasks.is_empty()));
    let status = world.status(id);
    assert!(status.cancelled && status.over && status.holders.is_empty(), "{status:?}");
}

#[test]
fn copies_are_repaired_below_four_fifths_and_not_before() {
    let mut world = World::new(30);
    world.run(1);
    let id = world.planner.push(world.now, order(10)).unwrap();
    world.run(90);
    assert_eq!(world.proven(id), 10);
    let switch_off = |world: &mut World, count: usize| {
        let holders = world.peers.iter_mut().filter(|peer| peer.on && !peer.tasks.is_empty());
        holders.take(count).for_each(|peer| peer.on = false);
        world.run(60);
    };
    switch_off(&mut world, 2);
    assert_eq!(world.proven(id), 8, "four fifths do");
    switch_off(&mut world, 1);
    assert_eq!(world.proven(id), 10, "the rest is made good");
    assert!(world.status(id).from_cdn <= 2 * LEN);
}

#[test]
fn a_liar_is_caught_and_replaced() {
    let mut world = World::new(12);
    world.peers[0].lies = true;
    world.peers[0].offer.superpeer = 1.0;
    world.run(1);
    let id = world.planner.push(world.now, order(4)).unwrap();
    world.run(60);
    assert!(world.status(id).holders.iter().all(|holder| holder.peer != world.peers[0].offer.peer));
    assert_eq!(world.proven(id), 4);
    let failed: Vec<PeerId> =
        world.planner.audited().iter().filter(|a| !a.passed()).map(Audited::peer).collect();
    assert_eq!(failed, [world.peers[0].offer.peer]);
}

#[test]
fn a_copy_is_audited_again() {
    let mut world = World::new(4);
    world.run(1);
    let id = world.planner.push(world.now, order(3)).unwrap();
    world.run(30);
    assert_eq!((world.proven(id), world.planner.audited().len()), (3, 3));
    world.peers.iter_mut().for_each(|peer| peer.lies = true);
    world.run(400);
    assert_eq!(world.proven(id), 0);
}

#[test]
fn the_nearest_deadline_is_served_first_and_room_is_obeyed() {
    let mut world = World::new(3);
    world.peers.iter_mut().for_each(|peer| peer.offer.free = LEN + 1);
    let late = Order { contents: vec![content("late")], ..order(3) };
    let soon = Order { deadline: Time::ZERO + MINUTE, contents: vec![content("soon")], ..order(3) };
    let [late, soon] = [late, soon].map(|order| world.planner.push(world.now, order).unwrap());
    world.run(30);
    assert_eq!((world.proven(soon), world.status(late).holders.len()), (3, 0));
}

#[test]
fn regions_have_copies_of_their_own() {
    let mut world = World::new(12);
    world.peers.iter_mut().skip(6).for_each(|peer| peer.offer.region = Region(2));
    world.run(1);
    let wanted = Order { regions: vec![Region(1), Region(2)], ..order(3) };
    let id = world.planner.push(world.now, wanted).unwrap();
    world.run(40);
    let proven = |region| RegionStatus { region: Some(Region(region)), planned: 3, placed: 3, proven: 3 };
    assert_eq!(world.status(id).regions, [proven(1), proven(2)]);
}

#[test]
fn the_target_may_be_a_share_of_the_peers_or_follow_from_viewers() {
    let mut world = World::new(20);
    world.run(1);
    let planned = |world: &mut World, target| {
        let id = world.planner.push(world.now, Order { target, ..order(1) }).unwrap();
        world.status(id).regions[0].planned
    };
    assert_eq!(planned(&mut world, Target::Percent(25.0)), 5);
    let demand = Demand { arrivals: 60, bitrate: Rate::from_mbit(2), from_peers: 0.7 };
    // 84 Mbit/s from peers of 20 Mbit/s that are there every other time.
    assert_eq!(planned(&mut world, Target::Viewers(demand)), 9);
}

#[test]
fn orders_that_make_no_sense_are_refused() {
    let mut planner = Planner::new(Pace::default(), Dice::new(1));
    let now = Time::ZERO + MINUTE * 5;
    let cases = [
        (Order { contents: Vec::new(), ..order(3) }, RefusedOrder::Empty),
        (Order { contents: vec![content("x"); 2_000], ..order(3) }, RefusedOrder::TooManyContents),
        (order(0), RefusedOrder::Copies),
        (Order { target: Target::Percent(f64::NAN), ..order(3) }, RefusedOrder::Copies),
        (Order { deadline: now, ..order(3) }, RefusedOrder::Late),
        (Order { hold: MINUTE * 3_000, ..order(3) }, RefusedOrder::Hold),
    ];
    for (order, why) in cases {
        assert_eq!(planner.push(now, order), Err(why));
    }
    let many: Vec<_> = (0..300).map(|_| planner.push(now, order(3))).collect();
    assert_eq!(many.iter().filter(|made| made.is_ok()).count(), JOBS_MAX);
    assert_eq!(many.last(), Some(&Err(RefusedOrder::TooManyJobs)));
}

#[test]
fn nobody_reports_for_another_and_unknown_leases_are_dropped() {
    let mut world = World::new(3);
    world.run(1);
    let id = world.planner.push(world.now, order(3)).unwrap();
    world.run(2);
    let lease = world.status(id).holders[0].lease;
    let whole = Progress { held: LEN, ..Progress::default() };
    assert_eq!(world.planner.progress(world.now, &PeerId([9; 32]), lease, &whole), Next::Drop);
    assert_eq!(world.planner.progress(world.now, &PeerId([1; 32]), LeaseId(999), &whole), Next::Drop);
    assert!(world.status(id).holders.iter().all(|holder| holder.stage == Stage::Granted));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Whatever peers come, go and lie: no more copies than wanted, no more CDN bytes than allowed, nobody over its room, and
    /// all copies in the end if there are honest peers enough.
    #[test]
    fn no_run_breaks_a_bound(
        copies in 1u32..12,
        budget in 1u64..4,
        switches in proptest::collection::vec((0usize..24, any::<bool>(), 0u8..20), 0..30),
    ) {
        let mut world = World::new(24);
        let order = Order { budget: Budget { cdn_bytes: budget * LEN, peer_rate: Rate::UNLIMITED }, ..order(copies) };
        world.run(1);
        let id = world.planner.push(world.now, order).unwrap();
        for (at, on, wait) in switches {
            // Six are left alone, so that the job can be done.
            if at >= 12 {
                world.peers[at].on = on;
                world.peers[at].lies = wait % 3 == 0;
            }
            world.run(u32::from(wait));
            let status = world.status(id);
            prop_assert!(status.holders.len() <= copies as usize);
            prop_assert!(status.from_cdn <= budget * LEN);
            for peer in &world.peers {
                prop_assert!(peer.tasks.len() <= 1, "one copy of one content");
            }
        }
        world.run(120);
        let proven = world.proven(id);
        prop_assert!(proven * 10 >= copies * 8 || world.now >= Time::ZERO + MINUTE * 9, "{} of {}", proven, copies);
    }
}
