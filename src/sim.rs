//! A whole swarm on one machine, the same on every run.
//!
//! The simulator runs the real engine ([`pcdn_core::swarm::Swarm`]) and the real schedulers in a world of access links, a
//! CDN, a tracker, players and misfortunes, all in virtual time. What a scheduler does to eight homes takes less than a second
//! to see, to ten thousand a few minutes; and since seed and commit fix everything, what went wrong once goes wrong again.
//!
//! ```
//! use pcdn::sim::Simulation;
//! use pcdn_core::schedule::Hybrid;
//!
//! let outcome = Simulation::builtin("crowd8")?
//!     .size(2_000_000)
//!     .seed(7)
//!     .scheduler(|| Box::new(Hybrid::default()))
//!     .run();
//! assert!(outcome.is_right());
//! println!("{outcome}");
//! # Ok::<(), pcdn::sim::ScenarioError>(())
//! ```
//!
//! **Grain.** Messages and whole pieces, not datagrams: what congestion control does inside a round trip is not seen; who
//! waits for whose uplink is. Bottlenecks are access links and the CDN, the network between them is not. Every byte that
//! comes out of an engine is compared with the content.
//!
//! **Memory** is about 180 KB a peer with fifty neighbours, and the content once; time about 10 µs an event (`flash10k`:
//! 1.8 GB, 21 million events, three to four minutes of one core; a sixth of it is BLAKE3, for every piece is verified).

mod cdn;
mod content;
mod net;
mod player;
mod report;
mod scenario;
pub mod wheel;
mod world;

use std::time::{Duration, Instant};

use pcdn_core::schedule::{Hybrid, OriginOnly, Policy, Scheduler};
use pcdn_core::unit::{ByteSize, Span};
use pcdn_core::verify::Integrity;

pub use report::{Bar, Comparison, Outcome, Spread, ViewerOutcome, bars};
pub use scenario::{
    After, Behaviour, ContentSpec, Group, Join, Killed, NatKind, OriginSpec, Outage, PlayerSpec, Scenario,
    ScenarioError, Task, TrackerSpec,
};

type Factory = Box<dyn Fn() -> Box<dyn Scheduler>>;

/// A scenario and what was changed of it.
pub struct Simulation {
    scenario: Scenario,
    scheduler: Factory,
}

impl std::fmt::Debug for Simulation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Simulation").field("scenario", &self.scenario).finish_non_exhaustive()
    }
}

impl Simulation {
    /// A built-in scenario; [`Scenario::builtins`] lists them.
    ///
    /// # Errors
    /// If there is none of that name.
    pub fn builtin(name: &str) -> Result<Self, ScenarioError> {
        Self::of(Scenario::builtin(name)?)
    }

    /// Your own scenario.
    ///
    /// # Errors
    /// If a number in it is out of bounds.
    pub fn of(scenario: Scenario) -> Result<Self, ScenarioError> {
        scenario.check()?;
        Ok(Self { scenario, scheduler: Box::new(|| Box::new(Hybrid::default())) })
    }

    /// With so many viewers, the groups keeping their parts. At least 1, at most [`PEERS_MAX`].
    pub fn peers(mut self, peers: usize) -> Self {
        self.scenario = self.scenario.with_peers(peers.min(PEERS_MAX));
        self
    }

    /// With another seed. Default: the scenario's.
    pub fn seed(mut self, seed: u64) -> Self {
        self.scenario.seed = seed;
        self
    }

    /// Given up after so much simulated time. Default: the scenario's.
    pub fn duration(mut self, duration: Duration) -> Self {
        self.scenario.duration = Span(duration);
        self
    }

    /// With a content of `bytes` bytes, at least 1 and at most 2 GiB. Default: the scenario's.
    pub fn size(mut self, bytes: u64) -> Self {
        self.scenario.content.size = ByteSize(bytes.clamp(1, scenario::CONTENT_BYTES_MAX));
        self
    }

    /// With another rung of integrity. Default: the scenario's.
    pub fn integrity(mut self, integrity: Integrity) -> Self {
        self.scenario.integrity = integrity;
        self
    }

    /// With another policy. Default: the scenario's.
    pub fn policy(mut self, policy: Policy) -> Self {
        self.scenario.policy = policy;
        self
    }

    /// With another scheduler, made once for each peer. Default: [`Hybrid`].
    pub fn scheduler(mut self, factory: impl Fn() -> Box<dyn Scheduler> + 'static) -> Self {
        self.scheduler = Box::new(factory);
        self
    }

    /// What will be run.
    pub fn scenario(&self) -> &Scenario {
        &self.scenario
    }

    /// Runs it to its end.
    pub fn run(&self) -> Outcome {
        self.run_with(&self.scheduler, true)
    }

    /// Runs the same world without peers: the baseline that must never be better.
    pub fn run_origin_only(&self) -> Outcome {
        self.run_with(&|| Box::new(OriginOnly), false)
    }

    /// Both.
    pub fn compare(&self) -> Comparison {
        Comparison { with_peers: self.run(), origin_only: self.run_origin_only() }
    }

    fn run_with(&self, scheduler: &dyn Fn() -> Box<dyn Scheduler>, p2p: bool) -> Outcome {
        let began = Instant::now();
        let mut world = world::World::new(self.scenario.clone(), world::Rules { scheduler, p2p });
        world.run();
        Outcome::of(&world, began.elapsed().as_secs_f64())
    }
}

pub use scenario::PEERS_MAX;
