//! A router forgets its mappings in the middle of a download.

use std::time::Duration;

use bytes::Bytes;
use pcdn_core::id::SwarmKey;
use pcdn_core::layout::{Layout, PieceKey, SegmentId};
use pcdn_core::transport::{Class, Fetch, Grant};
use pcdn_core::verify::Verified;
use pcdn_transport::udp::{Event, SessionId};

use crate::world::{Router, World};

const PIECE: u32 = 65_536;

struct Download {
    world: World,
    /// Of the asking node 0 and the serving node 1.
    sessions: [SessionId; 2],
    asked: u64,
    whole: u64,
    seen: [usize; 2],
    longest_pause: Duration,
}

impl Download {
    fn new(routers: [Router; 2]) -> Self {
        let mut world = World::new(routers);
        world.run_for(Duration::from_secs(5));
        world.connect(0, 1);
        world.run_for(Duration::from_secs(2));
        let connected = |event: &Event| match event {
            Event::Connected { session, .. } | Event::Accepted { session, .. } => Some(*session),
            _ => None,
        };
        let sessions = [0, 1].map(|node| world.took(node, connected).expect("a link"));
        let (asked, whole, longest_pause) = Default::default();
        Self { world, sessions, asked, whole, seen: [0, 0], longest_pause }
    }

    fn ask(&mut self) {
        let piece = Layout::new(PIECE.into(), 16).unwrap().piece(0).unwrap();
        let piece = PieceKey { segment: SegmentId(self.asked), piece };
        self.asked += 1;
        let fetch = Fetch {
            swarm: SwarmKey([1; 32]),
            piece,
            len: PIECE,
            want: Vec::new(),
            class: Class::Normal,
            within: Duration::from_secs(20),
        };
        let now = self.world.now;
        self.world.nodes[0].fetch(now, self.sessions[0], fetch).expect("the link is there");
        self.world.settle(0);
    }

    /// Pieces one after another, four at a time, for so long.
    fn run(&mut self, time: Duration) {
        let until = self.world.now + time;
        let mut last = self.world.now;
        while self.world.now < until {
            while self.asked < self.whole + 4 {
                self.ask();
            }
            let seen = self.seen;
            let next = until.min(self.world.now + Duration::from_millis(5));
            self.world
                .run_until(next, |world| [0, 1].iter().any(|node| world.events[*node].len() > seen[*node]));
            if self.react() {
                last = self.world.now;
            }
            self.longest_pause = self.longest_pause.max(self.world.now.since(last));
        }
    }

    /// Whether bytes came.
    fn react(&mut self) -> bool {
        let mut came = false;
        let now = self.world.now;
        let begun = std::mem::take(&mut self.seen);
        for node in [0, 1] {
            let events = self.world.events[node].len();
            for at in begun[node]..events {
                match &self.world.events[node][at] {
                    Event::Open { session, fetch, .. } => {
                        let (session, fetch) = (*session, *fetch);
                        let bytes = Verified::for_test(Bytes::from(vec![7; PIECE as usize]));
                        self.world.nodes[node].granted(now, session, fetch, Grant::new(bytes, None));
                    }
                    Event::Chunk { .. } => came = true,
                    Event::Fetched { .. } => self.whole += 1,
                    Event::FetchFailed { why, .. } => panic!("a fetch failed: {why:?}"),
                    Event::Closed { why, .. } => panic!("the link broke: {why:?}"),
                    _ => {}
                }
            }
            self.seen[node] = events;
            self.world.settle(node);
        }
        came
    }
}

/// Both sides, each in turn, get other ports while bytes flow.
fn heals(routers: [Router; 2]) {
    for rebound in [0, 1] {
        let mut download = Download::new(routers);
        download.run(Duration::from_secs(2));
        let before = download.whole;
        assert!(before > 10, "{before} pieces");
        download.longest_pause = Duration::ZERO;
        download.world.rebind(rebound);
        download.run(Duration::from_secs(4));
        let pause = download.longest_pause;
        assert!(pause <= Duration::from_secs(1), "{routers:?}, {rebound} rebound: {pause:?} without a byte");
        assert!(download.whole > before + 10);
    }
}

#[test]
fn a_rebinding_heals_by_itself_where_the_other_side_lets_it_in() {
    heals([Router::Symmetric, Router::None]);
    heals([Router::Port, Router::Full]);
}

#[test]
fn a_rebinding_heals_by_way_of_the_tracker_where_both_sides_filter() {
    heals([Router::Port, Router::Port]);
    heals([Router::Symmetric, Router::Address]);
}
