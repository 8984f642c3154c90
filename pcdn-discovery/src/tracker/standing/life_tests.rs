//! The life of a superpeer, through the tracker's door: what is announced, dialled, signed, audited and staked promotes it, and
//! whatever fails demotes it. Virtual time.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use pcdn_core::audit::{Audit, Challenge, Verdict};
use pcdn_core::dice::Dice;
use pcdn_core::id::{Identity, PeerId, SwarmKey};
use pcdn_core::peer::Scheme;
use pcdn_core::range::ByteRange;
use pcdn_core::receipt::{Receipt, Tally};
use pcdn_core::superpeer::{Gate, Rules, Sighting, Standing};
use pcdn_core::unit::Time;

use super::{Probe, Setup, Standings};
use crate::tracker::service::Service;
use crate::tracker::table::Limits;
use crate::tracker::wire::report::{Change, Entry};
use crate::tracker::wire::{Announce, Answer, Event, Find, InfoHash, Ports, Report, Request, Traits};

const START: Time = Time::from_secs(20_000 * 24 * 3_600);
const SWARM: SwarmKey = SwarmKey([4; 32]);
const MINUTE: Duration = Duration::from_secs(60);
/// Swarms that everyone is in, [`SWARM`] and others: films of 3 GiB.
const FILMS: u8 = 5;
pub(super) const FILM_BYTES: u64 = 3 << 30;
/// The candidate is the first of so many peers, and the second is its equal in all but what the test spoils.
pub(super) const PEERS: usize = 12;

fn film(n: u8) -> SwarmKey {
    SwarmKey([SWARM.0[0] + n; 32])
}

/// Short times; what must be shown is what the defaults want.
pub(super) fn rules() -> Rules {
    Rules {
        stake: Some(100),
        window: MINUTE,
        slot: MINUTE / 2,
        address: MINUTE * 10,
        probation: MINUTE * 30,
        cool_down: MINUTE * 30,
        ..Rules::default()
    }
}

/// What the world shows of the candidate each minute.
#[derive(Clone, Copy)]
pub(super) struct Shown {
    pub(super) reached: bool,
    pub(super) mbit: u64,
    pub(super) audits: bool,
    pub(super) stake: u64,
    pub(super) metered: bool,
    pub(super) bad: bool,
    /// The last part of its address.
    pub(super) address: u8,
}

pub(super) const GOOD: Shown =
    Shown { reached: true, mbit: 40, audits: true, stake: 100, metered: false, bad: false, address: 1 };

pub(super) struct World {
    /// Since the tracker's start.
    now: Time,
    service: Service,
    pub(super) standings: Arc<Standings>,
    dice: Dice,
    keys: Vec<Identity>,
    auditor: Identity,
    sessions: u64,
    nonces: u64,
    announced: bool,
    /// Who left which film.
    left: BTreeSet<(usize, u8)>,
    pub(super) holders: Holders,
}

/// How those who hold the same films audit, where they do and no auditor is named.
#[derive(Debug, Default)]
pub(super) struct Holders {
    pub(super) audit: bool,
    /// Of the peers, those that tell the contrary of what the candidate shows.
    pub(super) liars: BTreeSet<usize>,
    /// The candidate says that it does not hold what it does not hold; else it is silent.
    pub(super) frank: bool,
    /// From here on, peers sit in one /24.
    pub(super) rack: Option<usize>,
}

impl World {
    pub(super) fn new(rules: Rules) -> Self {
        Self::of(rules, PEERS, Holders::default())
    }

    /// With `count` peers, and `holders` that audit, if they do.
    pub(super) fn of(rules: Rules, count: usize, holders: Holders) -> Self {
        let auditor = Identity::from_secret([250; 32]);
        let key = Identity::from_secret([200; 32]);
        let auditors = if holders.audit { BTreeSet::new() } else { BTreeSet::from([auditor.peer_id()]) };
        let setup = Setup { key, rules, auditors };
        let standings = Arc::new(Standings::new(START, setup));
        let service = Service::new(Limits::default(), [7; 32], None);
        service.tell(standings.clone(), START);
        let keys = (1..=count as u8).map(|n| Identity::from_secret([n; 32])).collect();
        let (dice, now) = (Dice::new(1), Time::ZERO);
        let (sessions, nonces, announced, left) = Default::default();
        Self { now, service, standings, dice, keys, auditor, sessions, nonces, announced, left, holders }
    }

    pub(super) fn wall(&self) -> Time {
        START + self.now.since(Time::ZERO)
    }

    pub(super) fn id(&self, n: usize) -> PeerId {
        self.keys[n].peer_id()
    }

    /// Everyone announces once and reports from then on, as nodes do.
    fn announce(&mut self, n: usize, shown: Shown) {
        let mut ports = Ports::default();
        ports.push(Scheme::Udp, 4_000);
        let address = if n == 0 { shown.address } else { 1 };
        let ip = match self.holders.rack {
            Some(rack) if n >= rack => [198, 51, 100, n as u8],
            _ => [10, n as u8 + 1, 0, address],
        };
        let from = SocketAddr::from((ip, 5_000));
        let traits = Traits { metered: n == 0 && shown.metered, ..Traits::default() };
        let peer = self.id(n);
        let request = match self.announced {
            false => Request::Announce(Announce {
                swarm: SWARM,
                peer,
                ports,
                seed: true,
                event: Event::Started,
                progress: None,
                want: 0,
                traits,
            }),
            true => {
                let entry = |of: u8| {
                    let change = if self.left.contains(&(n, of)) { Change::Left } else { Change::Hold };
                    Entry { hash: InfoHash::of(&film(of)), change, have: u8::MAX, position: None }
                };
                Request::Report(Report { peer, ports, traits, entries: (0..FILMS).map(entry).collect() })
            }
        };
        self.service.serve(self.now, &mut self.dice, from, &request).unwrap();
    }

    /// A minute in which the candidate shows `shown`, and its equal what is good.
    pub(super) fn minute(&mut self, shown: Shown) {
        self.now += MINUTE / 2;
        if self.holders.audit {
            self.ask(shown);
        }
        self.now += MINUTE / 2;
        (0..self.keys.len()).for_each(|n| self.announce(n, shown));
        self.announced = true;
        self.ask(shown);
        let wall = self.wall();
        for (n, shown) in [(0, shown), (1, GOOD)] {
            self.give(n, shown);
            if !self.holders.audit {
                (0..FILMS).for_each(|content| self.audit(n, content, shown.audits));
            }
            if self.standings.stakes_wanted(wall).contains(&self.id(n)) {
                self.standings.stake(wall, self.id(n), shown.stake);
            }
        }
        self.service.table().prefer(&self.standings.shares(wall));
        self.service.table().expire(self.now);
    }

    /// Whoever was drawn dials, or asks for a piece, and tells.
    fn ask(&mut self, shown: Shown) {
        let wall = self.wall();
        self.standings.tick(wall, &mut self.dice);
        for n in 0..self.keys.len() {
            for probe in self.standings.probes(wall, &self.id(n)) {
                if let Some(swarm) = probe.audit {
                    let verdict = self.asked(n, shown, &probe, swarm);
                    assert_eq!(self.standings.verdicts(wall, &[verdict]), [Ok(())]);
                    continue;
                }
                let at = format!("udp://10.1.0.{}:4000", shown.address);
                let found = shown.reached && probe.about.addrs[0].to_string() == at;
                let reached = found || probe.about.id != self.id(0);
                let sighting = Sighting::sign(&self.keys[n], probe.draw, probe.about.id, reached, 60, 1);
                assert!(self.standings.sighting(wall, sighting));
            }
        }
    }

    /// What came of the question of a member of a panel, or what it says of it.
    fn asked(&self, member: usize, shown: Shown, probe: &Probe, swarm: InfoHash) -> Verdict {
        let of = (0..FILMS).find(|of| InfoHash::of(&film(*of)) == swarm).unwrap();
        let key = film(of);
        assert!(probe.about.id != self.id(0) || !self.left.contains(&(0, of)), "it has left");
        let challenge = Challenge { nonce: [1; 16], range: ByteRange::new(0, 4).unwrap() };
        let audit = Audit::of(probe.about.id, key, FILM_BYTES, challenge, b"film");
        let candidate = probe.about.id == self.id(0);
        let lies = candidate && self.holders.liars.contains(&member);
        let audited = if lies == (candidate && !shown.audits) {
            audit.judge(Some(&challenge.answer(b"film")))
        } else if self.holders.frank && !lies {
            audit.declined()
        } else {
            audit.judge(None)
        };
        let minute = (self.wall().0 / 60_000_000) as u32;
        Verdict::of_panel(&self.keys[member], probe.draw, &audited, minute)
    }

    /// A peer leaves a film's swarm, and reports that.
    pub(super) fn leave(&mut self, n: usize, film: u8) {
        self.left.insert((n, film));
        self.announce(n, GOOD);
    }

    /// Three viewers sign for what they got.
    fn give(&mut self, n: usize, shown: Shown) {
        for down in 2..5 {
            self.sessions += 1;
            let mut session = [0; 16];
            session[..8].copy_from_slice(&self.sessions.to_be_bytes());
            let bytes = shown.mbit * 125_000 * 60 / 3;
            let pieces = bytes.div_ceil(1 << 16) as u32 + 1;
            let tally = Tally { bytes, pieces, bad: u32::from(shown.bad) };
            let minute = (self.wall().0 / 60_000_000) as u32;
            let receipt = Receipt::sign(&self.keys[down], session, self.id(n), SWARM, minute, tally);
            assert_eq!(self.standings.receipts(self.wall(), &[receipt]), [Ok(())]);
        }
    }

    fn audit(&mut self, n: usize, content: u8, passes: bool) {
        self.nonces += 1;
        let mut nonce = [0; 16];
        nonce[..8].copy_from_slice(&self.nonces.to_be_bytes());
        let challenge = Challenge { nonce, range: ByteRange::new(0, 4).unwrap() };
        let audit = Audit::of(self.id(n), film(content), FILM_BYTES, challenge, b"film");
        let answer = challenge.answer(if passes { b"film" } else { b"none" });
        let minute = (self.wall().0 / 60_000_000) as u32;
        let verdict = Verdict::sign(&self.auditor, &audit.judge(Some(&answer)), minute);
        assert_eq!(self.standings.verdicts(self.wall(), &[verdict]), [Ok(())]);
    }

    /// Minutes until the candidate is a superpeer, or `None` within `most`.
    pub(super) fn rise(&mut self, shown: Shown, most: usize) -> Option<usize> {
        (1..=most).find(|_| {
            self.minute(shown);
            self.standing(0).is_super()
        })
    }

    /// Minutes until it is none any more.
    pub(super) fn fall(&mut self, shown: Shown, most: usize) -> Option<usize> {
        (1..=most).find(|_| {
            self.minute(shown);
            !self.standing(0).is_super()
        })
    }

    pub(super) fn standing(&self, n: usize) -> Standing {
        self.standings.report(self.wall(), &self.id(n)).map_or(Standing::Ordinary, |report| report.standing)
    }

    /// How often each of both is among the four of twelve that are told, in ten answers a minute.
    fn told(&mut self, minutes: u8, shown: Shown) -> [usize; 2] {
        let mut told = [0; 2];
        for n in 0..minutes * 10 {
            if n % 10 == 0 {
                self.minute(shown);
            }
            let traits = Traits::default();
            let find = Find { swarm: SWARM, asker: None, seed: false, want: 4, traits, rich: false };
            let from = SocketAddr::from(([172, 16, n, 1], 5_000));
            let answer = self.service.serve(self.now, &mut self.dice, from, &Request::Find(find)).unwrap();
            let Answer::Found { peers, .. } = answer else { panic!("{answer:?}") };
            (0..2).for_each(|n| told[n] += peers.iter().filter(|one| one.id == self.id(n)).count());
        }
        told
    }
}

#[test]
fn third_parties_alone_promote_a_peer_that_reports() {
    let mut world = World::new(rules());
    let took = world.rise(GOOD, 60).expect("it is good");
    let report = world.standings.report(world.wall(), &world.id(0)).unwrap();
    println!("promoted after {took} minutes with a score of {:.2}", report.judgement.score);
    assert!(took >= 10, "its address must have held");
    assert_eq!(report.share, 0.25, "on probation");
    let standing = world.standing(0);
    assert!(world.fall(GOOD, 31).is_none());
    assert_eq!(world.standing(0), standing);
    let report = world.standings.report(world.wall(), &world.id(0)).unwrap();
    assert_eq!(report.share, 1.0);
    assert!(!world.standing(5).is_super(), "nobody signed for it");
}

/// Spoils what is shown in a minute.
pub(super) type Spoil = fn(&mut Shown, u8);

/// Each criterion, how it is spoilt, and what it shuts.
pub(super) const CRITERIA: [(&str, Gate, Spoil); 8] = [
    ("network: witnesses", Gate::Reached, |shown, _| shown.reached = false),
    ("network: upload", Gate::Upload, |shown, _| shown.mbit = 10),
    ("storage", Gate::Storage, |shown, _| shown.audits = false),
    ("stake", Gate::Stake, |shown, _| shown.stake = 99),
    ("default history", Gate::Honest, |shown, _| shown.bad = true),
    ("its owner's will", Gate::Willing, |shown, _| shown.metered = true),
    ("long-term online: address", Gate::Address, |shown, minute| shown.address = 2 + minute / 8),
    ("long-term online: availability", Gate::Availability, |shown, minute| shown.reached = minute % 2 == 0),
];

#[test]
fn each_criterion_decides_who_rises() {
    for (name, gate, spoil) in CRITERIA {
        let mut world = World::new(rules());
        for minute in 0..60 {
            let mut shown = GOOD;
            spoil(&mut shown, minute);
            assert_eq!(world.rise(shown, 1), None, "{name}");
        }
        let shut = world.standings.report(world.wall(), &world.id(0)).unwrap().judgement.shut;
        assert!(shut.contains(&gate), "{name}: {shut:?}");
        assert!(world.standing(1).is_super(), "{name}: its equal has risen");
    }
}

#[test]
fn each_criterion_decides_who_falls_and_after_how_long() {
    for (name, gate, spoil) in CRITERIA {
        let mut world = World::new(rules());
        world.rise(GOOD, 60).unwrap();
        // Lost rounds and defaults demote at once; the median of an hour's uploads and the share of a week's probes take as long
        // to turn as they took to form.
        let most = if matches!(gate, Gate::Upload | Gate::Availability) { 90 } else { 8 };
        let fell = (0..most).find(|minute| {
            let mut shown = GOOD;
            spoil(&mut shown, *minute);
            world.fall(shown, 1).is_some()
        });
        println!("{name}: fell after {fell:?} minutes");
        assert!(fell.is_some(), "{name}");
        assert!(world.standing(1).is_super(), "{name}: its equal stays");
        assert!(world.rise(GOOD, 20).is_none(), "{name}: it waits");
    }
}

#[test]
fn one_bad_minute_demotes_nobody() {
    let mut world = World::new(rules());
    world.rise(GOOD, 60).unwrap();
    for shown in [Shown { reached: false, ..GOOD }, Shown { metered: true, ..GOOD }] {
        for _ in 0..3 {
            assert!(world.fall(shown, 2).is_none());
            assert!(world.fall(GOOD, 2).is_none());
        }
    }
}

#[test]
fn superpeers_are_told_of_more_often_than_their_equals() {
    let mut world = World::new(rules());
    // The second shows the same and has too little at stake.
    world.rise(Shown { stake: 99, ..GOOD }, 25);
    assert!(!world.standing(0).is_super() && world.standing(1).is_super());
    let shown = Shown { stake: 99, ..GOOD };
    let probation = world.told(20, shown);
    (0..30).for_each(|_| world.minute(shown));
    let full = world.told(20, shown);
    println!(
        "told of in 200 answers: an equal and a superpeer on probation {probation:?}, a full one {full:?}"
    );
    assert_eq!(full[1], 200);
    assert!(full[1] >= 3 * full[0], "{full:?}");
    assert!(probation[0] < probation[1] && probation[1] < full[1], "{probation:?}");
}
