use super::*;
use crate::audit::{Audit, Challenge};
use crate::dice::Dice;
use crate::id::{Identity, SwarmKey};
use crate::layout::{Layout, SegmentId};
use crate::range::ByteRange;
use crate::receipt::{Book, Downloader, NetworkId, Proof, Receipt, Subnet, Tally};
use crate::verify::witness::Statement;

const HOUR: Duration = Duration::from_secs(3_600);

/// A candidate that just qualifies with room to spare.
fn good() -> Facts {
    Facts {
        reached: true,
        address_age: DAY * 3,
        week: (1_000, 950),
        fortnight: (2_000, 1_900),
        opted_out: false,
        upload: Rate::from_mbit(50),
        proven: 16 << 30,
        audits: (100, 100),
        lost: 10,
        pieces: (10_000, 1),
        latency_ms: 120,
        lost_permille: 5,
        lied: false,
        defaults: 0.0,
        stake: 100,
    }
}

type Spoil = fn(&mut Facts);

fn ledger() -> Rules {
    Rules { stake: Some(100), ..Rules::default() }
}

/// Whether it may rise: the gates are open and the score is high enough.
fn rises(facts: &Facts) -> bool {
    let judgement = judge(facts, &ledger());
    judgement.shut.is_empty() && judgement.score >= 0.70
}

#[test]
fn every_gate_flips_the_outcome() {
    assert!(rises(&good()), "{:?}", judge(&good(), &ledger()));
    let cases: [(Gate, Spoil); 11] = [
        (Gate::Reached, |facts| facts.reached = false),
        (Gate::Address, |facts| facts.address_age = HOUR * 23),
        (Gate::Availability, |facts| facts.week = (1_000, 590)),
        (Gate::Willing, |facts| facts.opted_out = true),
        (Gate::Upload, |facts| facts.upload = Rate::from_mbit(19)),
        (Gate::Storage, |facts| facts.proven = 7 << 30),
        (Gate::Storage, |facts| facts.audits = (49, 49)),
        (Gate::Storage, |facts| facts.audits = (100, 97)),
        (Gate::Storage, |facts| facts.lost = 11),
        (Gate::Honest, |facts| facts.lied = true),
        (Gate::Stake, |facts| facts.stake = 99),
    ];
    for (gate, spoil) in cases {
        let mut facts = good();
        spoil(&mut facts);
        assert_eq!(judge(&facts, &ledger()).shut, [gate]);
    }
    let mut poor = good();
    poor.stake = 0;
    assert_eq!(judge(&poor, &Rules::default()).shut, [], "without a ledger nobody asks for stake");
}

#[test]
fn every_part_of_the_score_flips_the_outcome() {
    // Each of these candidates passes all gates and stands just above the bar by the other parts.
    let edge = Facts { upload: Rate::from_mbit(24), latency_ms: 200, proven: 10 << 30, ..good() };
    assert!(rises(&edge), "{:?}", judge(&edge, &ledger()));
    let cases: [(&str, Spoil); 6] = [
        ("availability", |facts| facts.fortnight = (2_000, 1_300)),
        ("fulfilment", |facts| facts.pieces = (10_000, 4_000)),
        ("few pieces prove little", |facts| facts.pieces = (2, 0)),
        ("latency", |facts| facts.latency_ms = 700),
        ("loss", |facts| facts.lost_permille = 900),
        ("defaults", |facts| facts.defaults = 0.5),
    ];
    for (name, spoil) in cases {
        let mut facts = edge;
        spoil(&mut facts);
        let judgement = judge(&facts, &ledger());
        assert!(judgement.shut.is_empty() && judgement.score < 0.70, "{name}: {judgement:?}");
    }
    let better = |improve: fn(&mut Facts)| {
        let mut facts = edge;
        improve(&mut facts);
        judge(&facts, &ledger()).score > judge(&edge, &ledger()).score
    };
    assert!(better(|facts| facts.upload = Rate::from_mbit(100)));
    assert!(better(|facts| facts.proven = 64 << 30));
    let half = |stake| judge(&Facts { stake, ..edge }, &Rules { stake: Some(200), ..Rules::default() }).score;
    assert!(half(200) > half(100), "stake counts up to what is demanded");
}

/// A candidate, those around it, and virtual time.
struct World {
    now: Time,
    superpeers: Superpeers,
    dice: Dice,
    book: Book,
    about: Witness,
    witnesses: Vec<Identity>,
    session: u64,
    needs: BTreeMap<Region, Need>,
}

const REGION: Region = Region(1);
const SWARM: SwarmKey = SwarmKey([9; 32]);

fn at(peer: PeerId, a: u8, network: u32) -> Witness {
    Witness { peer, subnet: Subnet::of([a, 0, 2, 1].into()), network: NetworkId(network) }
}

impl World {
    fn new() -> Self {
        let now = Time::from_secs(20_000 * 24 * 3_600);
        let need = Need { peers: 100, demand: 0, spare: 0 };
        Self {
            now,
            superpeers: Superpeers::new(Rules::default(), now),
            dice: Dice::new(1),
            book: Book::default(),
            about: at(PeerId([1; 32]), 1, 1),
            witnesses: (10..17).map(|n| Identity::from_secret([n; 32])).collect(),
            session: 0,
            needs: BTreeMap::from([(REGION, need)]),
        }
    }

    /// Ten minutes in which the candidate answers or not, and gives `mbit` or nothing.
    fn window(&mut self, answers: bool, mbit: u64) -> Vec<Change> {
        self.now += self.superpeers.rules().window;
        if answers {
            self.superpeers.seen(self.now, self.about.peer, [1, 0, 2, 1].into(), REGION);
        }
        let mut changes: Vec<Change> = self.probe(answers).into_iter().collect();
        if mbit > 0 {
            self.receipt(mbit);
        }
        for n in 0..2 {
            self.audit(n, answers);
        }
        changes.extend(self.superpeers.review(self.now, &self.needs));
        changes
    }

    fn probe(&mut self, answers: bool) -> Option<Change> {
        let pool: Vec<Witness> =
            self.witnesses.iter().zip(10..).map(|(key, n)| at(key.peer_id(), n, u32::from(n))).collect();
        let mut draw = Draw::among(self.now, &mut self.dice, &self.about, &pool).unwrap();
        let drawn: Vec<PeerId> = draw.open().collect();
        for key in self.witnesses.iter().filter(|key| drawn.contains(&key.peer_id())) {
            assert!(draw.report(Sighting::sign(key, draw.nonce(), draw.about(), answers, 80, 2)));
        }
        assert!(draw.is_over(self.now));
        self.superpeers.handle(self.now, &draw.close().unwrap())
    }

    fn receipt(&mut self, mbit: u64) {
        self.session += 1;
        let mut session = [0; 16];
        session[..8].copy_from_slice(&self.session.to_be_bytes());
        let down = Identity::from_secret([200; 32]);
        let bytes = Rate::from_mbit(mbit).0 * 60;
        let tally = Tally { bytes, pieces: bytes.div_ceil(1 << 16) as u32, bad: 0 };
        let minute = (self.now.0 / 60_000_000) as u32;
        let receipt = Receipt::sign(&down, session, self.about.peer, SWARM, minute, tally);
        let place = Subnet::of([5, 5, 5, 5].into());
        let from =
            Downloader { subnet: place, network: NetworkId(5), could: u64::MAX / 16, proof: Proof::Token };
        let counted = self.book.take(minute, &receipt, &from).unwrap();
        self.superpeers.handle(self.now, &Evidence::receipt(&counted));
    }

    fn audit(&mut self, content: u8, holds: bool) {
        let challenge = Challenge { nonce: [content; 16], range: ByteRange::new(0, 4).unwrap() };
        let swarm = SwarmKey([content; 32]);
        let audit = Audit::of(self.about.peer, swarm, 6 << 30, challenge, b"film");
        let answer = challenge.answer(if holds { b"film" } else { b"none" });
        self.superpeers.handle(self.now, &Evidence::audit(&audit.judge(Some(&answer))));
    }

    /// Good windows until it rises; how long that took.
    fn rise(&mut self) -> Duration {
        let start = self.now;
        while !self.standing().is_super() {
            assert!(self.now.since(start) < DAY * 35, "{:?}", self.judgement());
            self.window(true, 50);
        }
        self.now.since(start)
    }

    fn standing(&self) -> Standing {
        self.superpeers.standing(&self.about.peer)
    }

    fn judgement(&self) -> (Facts, Judgement) {
        self.superpeers.judgement(self.now, &self.about.peer).unwrap()
    }

    fn share(&self) -> f64 {
        self.superpeers.share(self.now, &self.about.peer)
    }
}

#[test]
fn a_steady_peer_rises_after_a_day_and_an_hour_and_serves_a_day_of_probation() {
    let mut world = World::new();
    let took = world.rise();
    assert!((DAY..DAY + HOUR * 2).contains(&took), "{took:?}: the address must be a day old first");
    assert_eq!(world.share(), 0.25);
    world.now += DAY;
    assert_eq!(world.share(), 1.0);
    assert_eq!(world.superpeers.all().count(), 1);
}

#[test]
fn one_bad_window_changes_nothing_and_three_in_a_row_demote() {
    let mut world = World::new();
    world.rise();
    for answers in [false, false, true, false, true] {
        world.window(answers, 50);
        assert!(world.standing().is_super());
    }
    let mut facts = world.judgement().0;
    facts.opted_out = true;
    assert_eq!(judge(&facts, &Rules::default()).shut, [Gate::Willing]);
    world.superpeers.opt_out(&world.about.peer.clone(), true);
    world.window(true, 50);
    world.window(true, 50);
    assert!(world.standing().is_super());
    let changes = world.window(true, 50);
    assert!(matches!(changes[..], [Change { to: Standing::Cooling { .. }, .. }]), "{changes:?}");
}

#[test]
fn between_the_two_bars_nothing_changes() {
    let middling =
        Facts { fortnight: (2_000, 1_150), latency_ms: 300, upload: Rate::from_mbit(22), ..good() };
    let judgement = judge(&middling, &Rules::default());
    assert!((0.55..0.70).contains(&judgement.score), "{judgement:?}");
    let mut low = track::Track::default();
    let mut high = track::Track::default();
    high.promote(Time::ZERO, &Rules::default());
    for n in 0..1_000 {
        assert_eq!(low.window(Time::from_secs(n * 600), &judgement, &Rules::default()), None);
        assert_eq!(high.window(Time::from_secs(n * 600), &judgement, &Rules::default()), None);
        assert!(!low.is_ready(Time::from_secs(n * 600)));
    }
    assert!(high.standing().is_super());
}

#[test]
fn three_lost_rounds_demote_at_once_and_the_wait_doubles() {
    let mut world = World::new();
    let mut waits = Vec::new();
    for _ in 0..3 {
        world.rise();
        let fell = (0..3).find_map(|_| {
            world.now += Duration::from_secs(60);
            world.probe(false)
        });
        let Some(Change { to: Standing::Cooling { until }, .. }) = fell else { panic!("{fell:?}") };
        waits.push(until.since(world.now));
        world.window(true, 50);
        assert!(!world.standing().is_super(), "no way back before the wait is over");
    }
    assert_eq!(waits, [DAY, DAY * 2, DAY * 4]);
}

#[test]
fn a_proven_lie_demotes_at_once_and_bars_for_a_week() {
    let mut world = World::new();
    // It must be able to sign: the candidate's own key.
    let liar = Identity::from_secret([77; 32]);
    world.about = at(liar.peer_id(), 1, 1);
    world.rise();
    let layout = Layout::new(1 << 16, 16).unwrap();
    let say = |byte: u8| {
        let piece = crate::bitmap::Bitmap::full(1);
        Statement::sign(&liar, SWARM, SegmentId(1), layout, piece, vec![crate::id::Digest([byte; 32])])
    };
    assert_eq!(Evidence::lie(&say(1), &say(1)), None, "saying it twice is no lie");
    let forged = Statement { signature: [0; 64], ..say(2) };
    assert_eq!(Evidence::lie(&say(1), &forged), None, "nobody can be framed");
    let lie = Evidence::lie(&say(1), &say(2)).unwrap();
    let change = world.superpeers.handle(world.now, &lie).unwrap();
    assert!(matches!(change.to, Standing::Cooling { .. }));
    assert_eq!(world.judgement().1.shut, [Gate::Honest]);
    let back = world.rise();
    assert!(back >= DAY * 7, "{back:?}");
}

#[test]
fn a_new_address_is_a_new_day() {
    let mut world = World::new();
    for _ in 0..140 {
        world.window(true, 50);
    }
    world.superpeers.seen(world.now, world.about.peer, [1, 0, 2, 99].into(), REGION);
    world.superpeers.seen(world.now, world.about.peer, [1, 0, 2, 1].into(), REGION);
    let took = world.rise();
    assert!(took >= DAY, "{took:?}");
}

#[test]
fn a_region_has_no_more_than_its_quota_and_the_best_come_first() {
    let need = |peers, demand, spare| Need { peers, demand, spare };
    assert_eq!(need(10, 0, 0).quota(0), 2, "two at least");
    assert_eq!(need(1_000, 0, 0).quota(0), 50, "5 %");
    assert_eq!(need(1_000, 100, 30).quota(10), 10, "no more once there is enough to spare");
    assert_eq!(need(1_000, 100, 29).quota(10), 50);
    assert_eq!(need(1_000, 100, 30).quota(0), 2);

    let mut superpeers = Superpeers::new(Rules::default(), Time::ZERO);
    let mut ready = track::Track::default();
    let judgement = Judgement { shut: Vec::new(), score: 0.9 };
    (0..6).for_each(|_| assert_eq!(ready.window(Time::ZERO, &judgement, &Rules::default()), None));
    assert!(ready.is_ready(Time::ZERO));
    for n in 0..5 {
        let mut track = track::Track::default();
        track.promote(Time::ZERO, &Rules::default());
        let candidate = Candidate { region: REGION, track, ..Candidate::default() };
        superpeers.candidates.0.insert(PeerId([n; 32]), candidate);
    }
    superpeers
        .candidates
        .0
        .insert(PeerId([9; 32]), Candidate { region: REGION, track: ready, ..Candidate::default() });
    let needs = BTreeMap::from([(REGION, need(100, 0, 0))]);
    superpeers.review(superpeers.next_review(), &needs);
    assert!(!superpeers.standing(&PeerId([9; 32])).is_super(), "five of a hundred are there");
}

#[test]
fn witnesses_are_never_the_candidate_nor_near_it_nor_near_one_another() {
    let mut dice = Dice::new(4);
    let about = at(PeerId([1; 32]), 1, 1);
    let mut pool = vec![about, at(PeerId([2; 32]), 1, 8), at(PeerId([3; 32]), 3, 1)];
    pool.extend((20..40).map(|n| at(PeerId([n; 32]), n / 2, u32::from(n))));
    for _ in 0..200 {
        let draw = Draw::among(Time::ZERO, &mut dice, &about, &pool).unwrap();
        let drawn: Vec<Witness> =
            draw.open().map(|peer| *pool.iter().find(|witness| witness.peer == peer).unwrap()).collect();
        assert_eq!(drawn.len(), 5);
        assert!(drawn.iter().all(|w| w.peer.0[0] >= 20), "{drawn:?}");
        let subnets: std::collections::BTreeSet<Subnet> = drawn.iter().map(|w| w.subnet).collect();
        assert_eq!(subnets.len(), 5);
    }
    assert!(Draw::among(Time::ZERO, &mut dice, &about, &pool[..3]).is_none(), "nobody is left to ask");
}

#[test]
fn a_draw_takes_one_signed_report_from_each_it_drew() {
    let mut dice = Dice::new(4);
    let keys: Vec<Identity> = (10..16).map(|n| Identity::from_secret([n; 32])).collect();
    let pool: Vec<Witness> = keys.iter().zip(10..).map(|(key, n)| at(key.peer_id(), n, 0)).collect();
    let about = at(PeerId([1; 32]), 1, 1);
    let mut draw = Draw::among(Time::ZERO, &mut dice, &about, &pool[..5]).unwrap();
    let see = |key: &Identity, reached| Sighting::sign(key, draw.nonce(), about.peer, reached, 100, 0);
    let (yes, no): (Vec<Sighting>, Vec<Sighting>) =
        keys.iter().map(|key| (see(key, true), see(key, false))).unzip();
    let replayed = Sighting::sign(&keys[0], [0; 16], about.peer, true, 1, 0);
    let forged = Sighting { latency_ms: 1, ..yes[0].clone() };
    for bad in [yes[5].clone(), replayed, forged] {
        assert!(!draw.report(bad));
    }
    assert!(draw.close().is_none(), "nobody has said anything");
    assert!(draw.report(yes[0].clone()) && !draw.report(no[0].clone()), "once each");
    assert!(draw.report(yes[1].clone()) && draw.report(no[2].clone()));
    assert!(draw.close().is_none(), "two of three is not three of five");
    assert!(!draw.is_over(Time::ZERO) && draw.is_over(Time::from_secs(60)));
    assert!(draw.report(yes[3].clone()) && draw.report(yes[4].clone()));
    assert!(draw.is_over(Time::ZERO) && draw.close().is_some());
    assert_eq!(draw.outvoted(), [keys[2].peer_id()]);
}

#[test]
fn a_status_holds_for_an_hour_and_for_its_tracker() {
    let (tracker, other) = (Identity::from_secret([1; 32]), Identity::from_secret([2; 32]));
    let status = Status::sign(&tracker, PeerId([3; 32]), 0.25, 1_000_000);
    let back = Status::decode(&status.encode()).unwrap();
    assert_eq!((back.share, &back), (25, &status));
    assert!(back.holds(&tracker.peer_id(), 1_000_000) && back.holds(&tracker.peer_id(), 4_599_999));
    assert!(!back.holds(&tracker.peer_id(), 4_600_001) && !back.holds(&other.peer_id(), 1_000_000));
    assert!(!Status { share: 100, ..status.clone() }.holds(&tracker.peer_id(), 1_000_000));
    let sighting = Sighting::sign(&tracker, [1; 16], PeerId([4; 32]), true, 80, 3);
    assert_eq!(Sighting::decode(&sighting.encode()), Some(sighting.clone()));
    for len in 0..Sighting::BYTES {
        assert_eq!(Sighting::decode(&sighting.encode()[..len]), None);
    }
    for len in 0..Status::BYTES {
        assert_eq!(Status::decode(&status.encode()[..len]), None);
    }
}
