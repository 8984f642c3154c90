//! Viewers: their lines, when they come, what they want, and how they treat others.

use std::time::Duration;

use pcdn_core::unit::{ByteSize, Rate, Span};
use serde::{Deserialize, Serialize};

/// Viewers that are alike.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct Group {
    /// Its name in reports. Default `home`.
    pub name: String,
    /// How many.
    pub count: usize,
    /// What the access link carries from the viewer. Default 30 Mbit/s.
    pub up: Rate,
    /// What it carries to the viewer. Default 100 Mbit/s.
    pub down: Rate,
    /// What the node itself takes in at most, from peers and the CDN together. Default unlimited.
    pub download_limit: Rate,
    /// Fetches in the background only, with so many bytes from the CDN at most, as who holds a content for others. Default no.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub background: Option<ByteSize>,
    /// One-way delay of the access link: the round trip of two homes is four times this. Default 10 ms.
    pub latency: Span,
    /// Part of the datagrams lost on the access link, each way. Default 0.
    pub loss: f64,
    /// What the access link's queue holds, in time. Default 100 ms.
    pub queue: Span,
    /// When the first of them may join. Default at once.
    pub start: Span,
    /// How the others follow. Default all at once.
    pub join: Join,
    /// What they want. Default the whole file.
    pub task: Task,
    /// How they treat others. Default honest.
    pub behaviour: Behaviour,
    /// What they do when they have it all. Default leave.
    pub after: After,
    /// Whether trackers have made them superpeers. Default no.
    pub superpeer: bool,
    /// What stands before them. Pairs that no punch joins have no link. Default open.
    pub nat: NatKind,
    /// Those killed on the way. Default none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub killed: Option<Killed>,
}

impl Default for Group {
    fn default() -> Self {
        Self {
            name: "home".to_owned(),
            count: 1,
            up: Rate::from_mbit(30),
            down: Rate::from_mbit(100),
            download_limit: Rate::UNLIMITED,
            background: None,
            latency: super::ten_ms(),
            loss: 0.0,
            queue: Span(Duration::from_millis(100)),
            start: Span::default(),
            join: Join::AtOnce,
            task: Task::Download,
            behaviour: Behaviour::Honest,
            after: After::Leave,
            superpeer: false,
            nat: NatKind::Open,
            killed: None,
        }
    }
}

/// What stands before a viewer, in the words of RFC 4787; see [`Nat::meets`](pcdn_core::peer::Nat::meets).
#[derive(Clone, Copy, Debug, Serialize, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum NatKind {
    /// Nothing that keeps anybody out.
    Open,
    /// A NAT with one mapping that lets in what was written to, by address.
    AddressRestricted,
    /// The same, by address and port.
    PortRestricted,
    /// A NAT with another mapping for each other.
    Symmetric,
}

impl From<NatKind> for pcdn_core::peer::Nat {
    fn from(kind: NatKind) -> Self {
        match kind {
            NatKind::Open => Self::Open,
            NatKind::AddressRestricted => Self::Restricted,
            NatKind::PortRestricted => Self::Cone,
            NatKind::Symmetric => Self::Symmetric,
        }
    }
}

/// When the viewers of a group come.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, PartialEq)]
#[serde(rename_all = "kebab-case")]
pub enum Join {
    /// All together.
    AtOnce,
    /// One each so often.
    Every(Span),
    /// At random moments of this time.
    Within(Span),
    /// At random, one each so often in the mean.
    Poisson(Span),
}

/// What a viewer wants.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, PartialEq)]
#[serde(rename_all = "kebab-case")]
pub enum Task {
    /// All of the file, in any order.
    Download,
    /// To watch it from its start.
    Play(PlayerSpec),
}

/// A video player.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct PlayerSpec {
    /// Bytes it shows a second.
    pub bitrate: Rate,
    /// Bytes it wants before it starts, and after a stall. Default 256 KiB.
    #[serde(default = "kib_256")]
    pub start: ByteSize,
    /// How far ahead it reads. Default 30 s.
    #[serde(default = "thirty_s")]
    pub ahead: Span,
    /// Whether the content's first bytes say how long it plays, as an MP4's and an FLV's do. Default no.
    #[serde(default)]
    pub told: bool,
}

/// How a viewer treats others.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, PartialEq, Eq, Default)]
#[serde(rename_all = "kebab-case")]
pub enum Behaviour {
    /// Runs the engine.
    #[default]
    Honest,
    /// Runs the engine behind a poisoned CDN: what it fetches itself, its manifest and its witness statements are false, and
    /// all liars tell the same lie.
    Lying,
    /// Runs the engine, says what it has, and never answers a request for a piece.
    Dead,
}

/// What a viewer does when it has it all.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, PartialEq, Eq, Default)]
#[serde(rename_all = "kebab-case")]
pub enum After {
    /// Says goodbye at once.
    #[default]
    Leave,
    /// Goes on serving.
    Stay,
}

/// Viewers killed on the way, without a goodbye.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Killed {
    /// Which part of the group.
    pub part: f64,
    /// Once they have this part of the file. Default half.
    #[serde(default = "half")]
    pub at: f64,
}

pub(super) fn half() -> f64 {
    0.5
}
pub(super) fn thirty_s() -> Span {
    Span(Duration::from_secs(30))
}
pub(super) fn kib_256() -> ByteSize {
    ByteSize::kib(256)
}
