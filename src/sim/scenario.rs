//! What a simulated world is made of, as a TOML file says it.
//!
//! ```
//! let scenario: pcdn::sim::Scenario = pcdn::sim::Scenario::parse(r#"
//!     name = "three"
//!     about = "three homes, one film"
//!     content = { size = "8MiB" }
//!     origin = { rate = "2MB/s" }
//!     [[viewers]]
//!     count = 3
//!     join = { every = "1s" }
//!     task = { play = { bitrate = "500KB/s" } }
//! "#)?;
//! assert_eq!(scenario.viewers[0].count, 3);
//! # Ok::<(), pcdn::sim::ScenarioError>(())
//! ```

mod builtin;
mod group;

use std::time::Duration;

use pcdn_core::schedule::Policy;
use pcdn_core::unit::{ByteSize, Rate, Span};
use pcdn_core::verify::Integrity;
use serde::{Deserialize, Serialize};

pub use group::{After, Behaviour, Group, Join, Killed, NatKind, PlayerSpec, Task};

/// Peers of one world at most: about 40 KB each with their engine.
pub const PEERS_MAX: usize = 200_000;
/// Bytes of a simulated content at most: it is in memory once (twice with liars).
pub(super) const CONTENT_BYTES_MAX: u64 = 2 << 30;

/// A world to be simulated.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// Its name.
    pub name: String,
    /// What it shows, in one line.
    pub about: String,
    /// Seed of all dice. Default 1.
    #[serde(default = "one")]
    pub seed: u64,
    /// Simulated time at which it is given up. Default 10 minutes.
    #[serde(default = "ten_minutes")]
    pub duration: Span,
    /// How bytes from peers are proven. Default signed: a manifest lies beside the content.
    #[serde(default = "signed")]
    pub integrity: Integrity,
    /// Witnesses a piece needs on the witnessed rung. Default 2.
    #[serde(default = "two")]
    pub witnesses: u8,
    /// How much the origin may be used. Default balanced.
    #[serde(default)]
    pub policy: Policy,
    /// Memory of each peer for pieces; the rest is loaded from its store. Default 32 MiB.
    #[serde(default = "mib_32")]
    pub cache: ByteSize,
    /// Whether downloads are also read and compared byte for byte, not only as they are kept. Default yes.
    #[serde(default = "yes")]
    pub read_back: bool,
    /// What is delivered.
    pub content: ContentSpec,
    /// The CDN.
    pub origin: OriginSpec,
    /// The tracker.
    #[serde(default)]
    pub tracker: TrackerSpec,
    /// The viewers, group by group.
    pub viewers: Vec<Group>,
}

/// What is delivered.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct ContentSpec {
    /// Length of the file.
    pub size: ByteSize,
}

/// The CDN.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct OriginSpec {
    /// What it sends at most, shared equally by its transfers.
    pub rate: Rate,
    /// From a request's arrival to the first byte of its answer. Default 2 ms.
    #[serde(default = "two_ms")]
    pub think: Span,
    /// Its part of the one-way delay to a viewer. Default 0: all delay is at the viewers' ends.
    #[serde(default)]
    pub latency: Span,
    /// When it does not work.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub outages: Vec<Outage>,
}

/// A time at which the CDN answers with an error, and transfers under way break.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Outage {
    /// From here.
    pub from: Span,
    /// To here.
    pub until: Span,
    /// The HTTP status it answers. Default 503.
    #[serde(default = "unavailable")]
    pub status: u16,
}

/// The tracker.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct TrackerSpec {
    /// Peers in one answer at most. Default 50.
    #[serde(default = "fifty")]
    pub answer: usize,
    /// Its part of the one-way delay. Default 10 ms.
    #[serde(default = "ten_ms")]
    pub latency: Span,
    /// From here on it is silent. Default: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub silent_from: Option<Span>,
}

impl Default for TrackerSpec {
    fn default() -> Self {
        Self { answer: 50, latency: ten_ms(), silent_from: None }
    }
}

/// Why a scenario cannot be run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScenarioError {
    /// No built-in one has that name.
    #[error("there is no built-in scenario {name:?}; there are: {known}")]
    Unknown {
        /// The name asked for.
        name: String,
        /// All there are.
        known: String,
    },
    /// The text is no scenario.
    #[error("{0}")]
    Toml(String),
    /// A number is out of bounds.
    #[error("scenario {name}: {what}")]
    Bounds {
        /// Of which scenario.
        name: String,
        /// What is wrong, with the bound.
        what: String,
    },
}

impl Scenario {
    /// From TOML.
    ///
    /// # Errors
    /// Says what is wrong and where.
    pub fn parse(text: &str) -> Result<Self, ScenarioError> {
        let scenario: Scenario = toml::from_str(text).map_err(|e| ScenarioError::Toml(e.to_string()))?;
        scenario.check()?;
        Ok(scenario)
    }

    /// One of the built-in ones, by name.
    ///
    /// # Errors
    /// If there is none of that name; the error lists all.
    pub fn builtin(name: &str) -> Result<Self, ScenarioError> {
        builtin::all().into_iter().find(|scenario| scenario.name == name).ok_or_else(|| {
            ScenarioError::Unknown {
                name: name.chars().take(80).collect(),
                known: Self::builtins().map(|scenario| scenario.name).collect::<Vec<_>>().join(", "),
            }
        })
    }

    /// All built-in ones.
    pub fn builtins() -> impl Iterator<Item = Self> {
        builtin::all().into_iter()
    }

    /// As a complete TOML file.
    pub fn to_toml(&self) -> String {
        toml::to_string(self).expect("a scenario has only strings, numbers, tables and lists")
    }

    /// Viewers in all.
    pub fn peers(&self) -> usize {
        self.viewers.iter().map(|group| group.count).sum()
    }

    /// The same with `peers` viewers in all, the groups keeping their parts (every group keeps one, if there is room).
    pub fn with_peers(mut self, peers: usize) -> Self {
        let (before, peers) = (self.peers().max(1), peers.max(1));
        let mut left = peers;
        let groups = self.viewers.len();
        for (at, group) in self.viewers.iter_mut().enumerate().rev() {
            // The first group takes what rounding leaves: it is the largest in every built-in scenario.
            let share = (group.count * peers).div_ceil(before).min(left.saturating_sub(at.min(groups)));
            group.count = if at == 0 { left } else { share };
            left -= group.count;
        }
        self.viewers.retain(|group| group.count > 0);
        self
    }

    /// Whether it can be run.
    ///
    /// # Errors
    /// Names the number that is out of bounds.
    pub fn check(&self) -> Result<(), ScenarioError> {
        let bad = |what: String| Err(ScenarioError::Bounds { name: self.name.clone(), what });
        if self.peers() == 0 || self.peers() > PEERS_MAX {
            return bad(format!("{} viewers; want 1 to {PEERS_MAX}", self.peers()));
        }
        if self.content.size.0 == 0 || self.content.size.0 > CONTENT_BYTES_MAX {
            return bad(format!(
                "a content of {}; want 1 byte to {}",
                self.content.size,
                ByteSize(CONTENT_BYTES_MAX)
            ));
        }
        if self.origin.rate.0 == 0 {
            return bad("an origin without a rate".to_owned());
        }
        for group in &self.viewers {
            let part = |value: f64| (0.0..=1.0).contains(&value);
            if group.up.0 == 0 || group.down.0 == 0 {
                return bad(format!("group {}: links need a rate", group.name));
            }
            if !(0.0..0.5).contains(&group.loss) {
                return bad(format!("group {}: loss must be below 0.5", group.name));
            }
            if group.killed.is_some_and(|killed| !part(killed.part) || !part(killed.at)) {
                return bad(format!("group {}: killed takes parts of 1", group.name));
            }
            if matches!(group.task, Task::Play(player) if player.bitrate.0 == 0) {
                return bad(format!("group {}: a player needs a bitrate", group.name));
            }
        }
        Ok(())
    }
}

fn one() -> u64 {
    1
}
fn two() -> u8 {
    2
}
fn yes() -> bool {
    true
}
fn fifty() -> usize {
    50
}
fn unavailable() -> u16 {
    503
}
fn signed() -> Integrity {
    Integrity::Signed
}
fn ten_minutes() -> Span {
    Span(Duration::from_secs(600))
}
fn two_ms() -> Span {
    Span(Duration::from_millis(2))
}
fn ten_ms() -> Span {
    Span(Duration::from_millis(10))
}
fn mib_32() -> ByteSize {
    ByteSize::mib(32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_builtin_is_sound_and_survives_its_own_toml() {
        let mut names = Vec::new();
        for scenario in Scenario::builtins() {
            scenario.check().unwrap();
            assert_eq!(Scenario::parse(&scenario.to_toml()).unwrap(), scenario);
            assert!(!scenario.about.contains('\n') && scenario.about.len() < 120, "{}", scenario.name);
            names.push(scenario.name);
        }
        names.sort();
        names.dedup();
        assert_eq!(names.len(), Scenario::builtins().count());
    }

    #[test]
    fn another_number_of_peers_keeps_the_parts() {
        let counts = |peers| -> Vec<usize> {
            Scenario::builtin("liars")
                .unwrap()
                .with_peers(peers)
                .viewers
                .iter()
                .map(|group| group.count)
                .collect()
        };
        assert_eq!(counts(8), [5, 3]);
        assert_eq!(counts(80), [50, 30]);
        assert_eq!(counts(1), [1]);
        (1..40).for_each(|peers| assert_eq!(counts(peers).iter().sum::<usize>(), peers));
    }

    #[test]
    fn mistakes_are_named() {
        assert!(Scenario::builtin("crowd").unwrap_err().to_string().contains("crowd8"));
        let text = Scenario::builtin("crowd8").unwrap().to_toml();
        let error = Scenario::parse(&text.replace("rate =", "rat =")).unwrap_err();
        assert!(error.to_string().contains("rat"), "{error}");
        assert!(Scenario::builtin("crowd8").unwrap().with_peers(PEERS_MAX + 1).check().is_err());
    }
}
