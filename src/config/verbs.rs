//! What single verbs take beside what their node does.

use pcdn_core::unit::{ByteSize, Rate, Span};
use serde::{Deserialize, Serialize};

use super::blank;

/// `pcdn get`.
#[derive(Clone, Debug, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GetConfig {
    /// The file written; `-` is standard output; not set: named like the URL.
    #[serde(with = "blank")]
    pub out: Option<String>,
    /// Goes on serving peers until stopped.
    pub seed: bool,
    /// `A-B`, first and last byte.
    #[serde(with = "blank")]
    pub range: Option<String>,
    /// The hash the file must have.
    #[serde(with = "blank")]
    pub sha256: Option<String>,
}

/// `pcdn peer`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PeerConfig {
    /// No gateway.
    pub seed_only: bool,
    /// Contents fetched whole and served.
    pub seed: Vec<url::Url>,
    /// Push nodes that are asked for contents to hold before their release.
    pub push: Vec<url::Url>,
    /// Room lent to push nodes, of that for pieces.
    pub push_disk: ByteSize,
    /// Bytes a second taken in for push nodes while nobody watches here.
    pub push_rate: Rate,
}

impl Default for PeerConfig {
    fn default() -> Self {
        let lends = crate::push::HolderConfig::default();
        Self {
            seed_only: false,
            seed: Vec::new(),
            push: Vec::new(),
            push_disk: lends.disk,
            push_rate: lends.rate,
        }
    }
}

/// `pcdn play`.
#[derive(Clone, Debug, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PlayConfig {
    /// The program that is opened.
    #[serde(with = "blank")]
    pub player: Option<String>,
}

/// `pcdn demo`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DemoConfig {
    /// Viewers.
    pub peers: u32,
    /// Length of the generated content.
    pub size: ByteSize,
    /// What is generated.
    pub media: String,
    /// What peers speak.
    pub transport: String,
    /// How they find one another.
    pub discovery: String,
    /// Bytes a second the origin gives, in all.
    pub origin_rate: Rate,
    /// Bytes a second each viewer gives.
    pub peer_up: Rate,
    /// Goes on after the result.
    pub keep_running: bool,
}

impl Default for DemoConfig {
    fn default() -> Self {
        Self {
            peers: 8,
            size: ByteSize::mib(64),
            media: "file".into(),
            transport: "udp".into(),
            discovery: "tracker".into(),
            origin_rate: Rate(5_000_000),
            peer_up: Rate(4_000_000),
            keep_running: false,
        }
    }
}

/// `pcdn sign`.
#[derive(Clone, Debug, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SignConfig {
    /// The file with the publisher's secret key.
    #[serde(with = "blank")]
    pub key: Option<String>,
    /// The manifest written; not set: beside the input, with `.pcdn` added.
    #[serde(with = "blank")]
    pub out: Option<String>,
    /// Stays, and signs what changes.
    pub follow: bool,
    /// Where the directory or playlist is served.
    #[serde(with = "blank")]
    pub base_url: Option<url::Url>,
}

/// `pcdn inspect`.
#[derive(Clone, Debug, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct InspectConfig {
    /// The kind it is cut as; not set: found out.
    #[serde(rename = "as", with = "blank")]
    pub kind: Option<String>,
    /// Tells each segment's hash.
    pub hash: bool,
    /// The URL a file would have.
    #[serde(with = "blank")]
    pub base_url: Option<url::Url>,
    /// Which rendition's segments are told.
    #[serde(with = "blank")]
    pub rendition: Option<u32>,
    /// A live stream is followed so long.
    #[serde(with = "blank")]
    pub follow: Option<Span>,
}

/// `pcdn sim`.
#[derive(Clone, Debug, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SimConfig {
    /// Peers; 0 is the scenario's own number.
    pub peers: u32,
    /// The seed of all dice; same seed, same run.
    pub seed: u64,
    /// Simulated time; not set: the scenario's own.
    #[serde(with = "blank")]
    pub duration: Option<Span>,
    /// A drawing of the run.
    #[serde(with = "blank")]
    pub svg: Option<String>,
    /// Lists the built-in scenarios.
    pub list: bool,
}
