//! When a player has its first byte: through the gateway, and from the same server without it.
//!
//! `cargo bench --bench start`; `PCDN_BENCH_ROUNDS=9` for a quick look. The binary runs as a viewer's does, with its defaults and
//! a tracker on this machine; the origin is a thread here, reached directly or through a relay that holds every byte back for half
//! the distance each way. Both ways are asked in turn, each over a new connection, and medians are compared. A row says
//!
//! - `plain`, `node`: the first byte of the body, after the request was sent;
//! - `later`: the median of the differences within a round;
//! - `to origin`: when the node's first request came to the origin (`-`: none came), of which half the distance is the way;
//! - `back`: from there to the player's first byte, the distance's other half included;
//! - `64 KiB`: what a player begins to play with, both ways.
//!
//! `PCDN_BENCH_TRACE=1` prints what the node asked for in each round, `PCDN_BENCH_BIN=FILE` measures another build.

#![allow(missing_docs, clippy::print_stderr, clippy::print_stdout, clippy::unwrap_used)]

#[path = "start/origin.rs"]
mod origin;
#[path = "start/player.rs"]
mod player;
#[path = "start/process.rs"]
mod process;
#[path = "start/relay.rs"]
mod relay;

use std::net::SocketAddr;
use std::time::Duration;

use origin::Origin;
use player::{Seen, get};
use process::Process;

/// An odd number, so that a median is one of them.
const ROUNDS: usize = 31;
/// No way at all, and an edge of a CDN that is near.
const DISTANCES: [Duration; 2] = [Duration::ZERO, Duration::from_millis(25)];
/// Between two requests: what the one before left to do is done.
const REST: Duration = Duration::from_millis(30);

fn main() {
    let rounds = std::env::var("PCDN_BENCH_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(ROUNDS);
    let only = std::env::args().skip(1).find(|argument| !argument.starts_with("--"));
    let tracker = Process::start(&["tracker", "--listen", "127.0.0.1:0"]);
    let tracker_at = tracker.addr("tracker");
    println!(
        "{:<28} {:>7} {:>7} {:>7} {:>9} {:>7} {:>15}",
        "ms", "plain", "node", "later", "to origin", "back", "64 KiB"
    );
    for away in DISTANCES {
        let origin = Origin::start();
        let at = if away.is_zero() { origin.addr() } else { relay::start(origin.addr(), away) };
        let allowed = at.to_string();
        let viewer = ["peer", "--listen", "127.0.0.1:0", "--gateway", "127.0.0.1:0", "--admin", "off"];
        let more = ["--tracker", &tracker_at, "--origin", &allowed];
        let node = Process::start(&[&viewer[..], &more].concat());
        let signed = Process::start(&[&viewer[..], &more, &["--manifest", "sidecar"]].concat());
        let mut world = World { origin, at, away, rounds, only: only.clone(), gateway: node.gateway() };
        world.rows();
        world.gateway = signed.gateway();
        world.row("cold, with a manifest", |n| Ask::of(format!("/film/signed{n}")));
    }
}

/// One distance.
struct World {
    origin: Origin,
    at: SocketAddr,
    away: Duration,
    rounds: usize,
    only: Option<String>,
    gateway: SocketAddr,
}

/// What is asked for in one round.
struct Ask {
    path: String,
    /// The first byte wanted, to the end.
    from: Option<usize>,
    /// What the node is asked for before.
    before: Option<String>,
}

impl Ask {
    fn of(path: String) -> Self {
        Self { path, from: None, before: None }
    }
}

impl World {
    fn rows(&self) {
        self.row("cold", |n| Ask::of(format!("/film/cold{n}")));
        self.row("cold, an image", |n| Ask::of(format!("/image/cold{n}")));
        self.through("/long/known", Some(0));
        self.row("known, a seek", |n| Ask {
            from: Some(origin::LONG - (n + 1) * (1 << 20)),
            ..Ask::of("/long/known".into())
        });
        self.through("/film/held", None);
        self.row("held", |_| Ask::of("/film/held".into()));
        self.through("/image/held", None);
        self.row("held, an image", |_| Ask::of("/image/held".into()));
        self.row("playlist", |n| Ask::of(format!("/hls/{n}/list.m3u8")));
        self.row("its first segment", |n| Ask {
            before: Some(format!("/hls/s{n}/list.m3u8")),
            ..Ask::of(format!("/hls/s{n}/0.ts"))
        });
    }

    /// Takes all of `path` through the node (or as much as makes it known).
    fn through(&self, path: &str, from: Option<usize>) {
        let _ = get(self.gateway, &self.mirrored(path), from, from.map_or(usize::MAX, |_| 1));
        std::thread::sleep(REST * 3);
    }

    fn mirrored(&self, path: &str) -> String {
        format!("/http/{}{path}", self.at)
    }

    fn row(&self, name: &str, ask: impl Fn(usize) -> Ask) {
        let name = format!("{name}, {} ms", self.away.as_millis());
        if self.only.as_ref().is_some_and(|only| !name.contains(only.as_str())) {
            return;
        }
        let (mut plain, mut node, mut asked, mut back) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for round in 0..self.rounds {
            let ask = ask(round);
            if let Some(before) = &ask.before {
                let _ = get(self.gateway, &self.mirrored(before), None, usize::MAX);
                std::thread::sleep(REST);
            }
            plain.push(get(self.at, &ask.path, ask.from, 64 << 10));
            std::thread::sleep(REST);
            self.origin.forget();
            let seen = get(self.gateway, &self.mirrored(&ask.path), ask.from, 64 << 10);
            if let Some(at) = self.origin.first_asked() {
                asked.push(at.saturating_duration_since(seen.sent));
                back.push((seen.sent + seen.first).saturating_duration_since(at));
            }
            node.push(seen);
            std::thread::sleep(REST);
        }
        let later = plain.iter().zip(&node).map(|(plain, node)| ms(node.first) - ms(plain.first)).collect();
        let of = |seen: &[Seen], what: fn(&Seen) -> Duration| {
            median(seen.iter().map(|seen| ms(what(seen))).collect())
        };
        let told = |times: Vec<Duration>| match times.len() * 2 > self.rounds {
            true => format!("{:.2}", median(times.into_iter().map(ms).collect())),
            false => "-".to_owned(),
        };
        println!(
            "{name:<28} {:>7.2} {:>7.2} {:>7.2} {:>9} {:>7} {:>7.2} {:>7.2}",
            of(&plain, |seen| seen.first),
            of(&node, |seen| seen.first),
            median(later),
            told(asked),
            told(back),
            of(&plain, |seen| seen.begun),
            of(&node, |seen| seen.begun),
        );
    }
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

fn median(mut all: Vec<f64>) -> f64 {
    all.sort_by(f64::total_cmp);
    all[all.len() / 2]
}
