//! Configuration: one tree of values, whoever sets them.
//!
//! Every value has one key (`gateway.listen`), and with it one environment variable (`PCDN_GATEWAY__LISTEN`) and one long
//! option (`--gateway`); [`options`] is the table that ties the three together, and the command line, the help texts, the
//! commented file of `pcdn config` and the checks for unknown keys are all made from it.
//!
//! Precedence: defaults < what a verb changes of them < `--config` file < environment < command line. Whoever asks where a value came from gets
//! the answer ([`Loaded::origin_of`]), because "which of my four places set this" is the first question of a bad night.
//!
//! In a file, an empty string means "not set" for values that have no default.

mod blank;
mod check;
mod load;
mod nearest;
mod node;
pub mod options;
mod print;
mod servers;
mod surface;
mod verbs;

use serde::{Deserialize, Serialize};

pub use load::{ConfigError, Loaded, Sources, load};
pub use nearest::nearest;
pub use node::NodeConfig;
pub use print::{default_file, effective};
pub use servers::{MappingNodeConfig, PushConfig, TrackerConfig};
pub use surface::{AdminConfig, GatewayConfig};
pub use verbs::{DemoConfig, GetConfig, InspectConfig, PeerConfig, PlayConfig, SignConfig, SimConfig};

/// Everything that can be configured.
#[derive(Clone, Debug, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Standard output is JSON and nothing else.
    pub json: bool,
    /// What is told on standard error.
    pub log: LogConfig,
    /// The node of `get`, `peer`, `play` and `push`.
    pub node: NodeConfig,
    /// The local gateway.
    pub gateway: GatewayConfig,
    /// Dashboard, metrics and API.
    pub admin: AdminConfig,
    /// The tracker node.
    pub tracker: TrackerConfig,
    /// The mapping node.
    pub mapping: MappingNodeConfig,
    /// `pcdn get`.
    pub get: GetConfig,
    /// `pcdn peer`.
    pub peer: PeerConfig,
    /// `pcdn play`.
    pub play: PlayConfig,
    /// `pcdn push`.
    pub push: PushConfig,
    /// `pcdn demo`.
    pub demo: DemoConfig,
    /// `pcdn sign`.
    pub sign: SignConfig,
    /// `pcdn inspect`.
    pub inspect: InspectConfig,
    /// `pcdn sim`.
    pub sim: SimConfig,
}

/// What is told on standard error.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LogConfig {
    /// `off`, `error`, `warn`, `info`, `debug`, `trace`, or a filter such as `pcdn_transport=debug`.
    pub level: String,
    /// Text or JSON lines.
    pub format: LogFormat,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self { level: "warn".into(), format: LogFormat::Text }
    }
}

/// Yes or no.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnOff {
    /// Yes.
    On,
    /// No.
    Off,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Text,
    /// One object a line.
    Json,
}
