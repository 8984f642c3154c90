//! The bodies of the push node's HTTP API, for both sides.
//!
//! Whoever orders (`/v1/pushes`) shows the operator's token. Peers (`/v1/leases`) show who they are: the header
//! `X-Pcdn-Signature` is the hex Ed25519 signature over `pcdn-push-1\0`, the path, a zero byte and the body, by the key that
//! the body names; a body is good for two minutes around its `time`.

mod convert;

use std::time::Duration;

use pcdn_core::id::{Digest, PeerId};
use pcdn_core::resource::Url;
use pcdn_core::unit::{ByteSize, Rate};
use serde::{Deserialize, Serialize};

/// The header with a peer's signature.
pub const SIGNATURE_HEADER: &str = "x-pcdn-signature";
const DOMAIN: &[u8] = b"pcdn-push-1\0";
/// How old or how far ahead a signed body may be, in seconds: clocks of homes are that wrong.
pub(super) const CLOCK_TOLERANCE_S: u64 = 120;

/// What a peer signs.
pub fn signed_bytes(path: &str, body: &[u8]) -> Vec<u8> {
    [DOMAIN, path.as_bytes(), &[0], body].concat()
}

/// `POST /v1/pushes`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PushBody {
    /// What to hold. Of a playlist, all that it lists.
    pub urls: Vec<Url>,
    /// Renditions of playlists, as `pcdn inspect` numbers them; none is all.
    #[serde(default)]
    pub renditions: Vec<u32>,
    /// How many copies of each, in each region.
    pub target: TargetBody,
    /// Names of regions the push node knows; none is anywhere.
    #[serde(default)]
    pub regions: Vec<String>,
    /// Seconds from now to the release.
    pub by_s: u64,
    /// Seconds it is held beyond the release.
    pub hold_s: u64,
    /// What it may cost.
    #[serde(default)]
    pub budget: BudgetBody,
    /// Bytes viewers are expected to take; decides between jobs of one deadline.
    #[serde(default)]
    pub forecast: u64,
}

/// How many copies.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TargetBody {
    /// So many.
    Copies(u32),
    /// So many per cent of the peers that offer.
    Percent(f64),
    /// As many as these viewers need.
    Viewers {
        /// Viewers within 60 s of the release.
        arrivals: u32,
        /// What each plays.
        bitrate: Rate,
        /// The part that shall come from peers, 0 to 1.
        from_peers: f64,
    },
}

/// What a push may cost.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BudgetBody {
    /// Bytes from the CDN, all peers together; left out: two and a half times the contents, as without a manifest two peers
    /// must have fetched each piece before others can check it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cdn_bytes: Option<ByteSize>,
    /// Bytes a second one peer takes in for it; left out: what its owner allows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer_rate: Option<Rate>,
}

/// The answer to `POST /v1/pushes`.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct PushedBody {
    /// Names the job.
    pub id: u64,
}

/// `GET /v1/pushes/{id}`; `GET /v1/pushes` is a list of them.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct StatusBody {
    /// The job.
    pub id: u64,
    /// What is to be held.
    pub urls: Vec<Url>,
    /// The highest wave any content is in, from 0.
    pub wave: u32,
    /// Copies by region.
    pub regions: Vec<RegionBody>,
    /// Who holds what.
    pub holders: Vec<HolderBody>,
    /// Bytes read from the CDN.
    pub from_cdn: u64,
    /// Bytes given by peers.
    pub from_peers: u64,
    /// Whether it was cancelled.
    pub cancelled: bool,
    /// Whether it is over.
    pub over: bool,
    /// Seconds until all copies are there at the present rate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub eta_s: Option<u64>,
}

/// Copies of a region.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RegionBody {
    /// Which; left out: anywhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// Copies wanted.
    pub planned: u32,
    /// Copies whose peers say they hold everything, proven ones included.
    pub placed: u32,
    /// Copies that passed their last audit.
    pub proven: u32,
}

/// A copy.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct HolderBody {
    /// Who.
    pub peer: PeerId,
    /// What.
    pub url: Url,
    /// Which rendition of the playlist there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rendition: Option<u32>,
    /// `granted`, `placed` or `proven`.
    pub stage: String,
    /// Bytes held.
    pub held: u64,
}

/// `POST /v1/leases`: a peer asks for work.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OfferBody {
    /// Who.
    pub node: PeerId,
    /// Seconds since 1970.
    pub time: u64,
    /// Bytes it lends and has free.
    pub free: u64,
    /// Bytes a second of upload that nobody uses.
    pub spare: u64,
    /// Whether nobody watches anything there.
    pub idle: bool,
    /// Whether more than half of its upload is in use.
    pub busy: bool,
}

/// The answer: work, and when to ask again.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LeasesBody {
    /// Ask again after so many milliseconds.
    pub ask_ms: u64,
    /// Tell how a lease goes so often, in milliseconds.
    pub report_ms: u64,
    /// The work.
    pub tasks: Vec<TaskBody>,
}

/// One lease.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TaskBody {
    /// Its name.
    pub lease: u64,
    /// What to hold.
    pub url: Url,
    /// Which rendition of the playlist there: all its segments. Left out: the resource itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rendition: Option<u32>,
    /// How long that is.
    pub len: u64,
    /// For so many milliseconds.
    pub hold_ms: u64,
    /// How pressing: always `background`.
    pub class: String,
    /// Bytes that may be read from the CDN.
    pub cdn_bytes: u64,
    /// Bytes a second that may be taken in; left out: what the owner allows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<u64>,
}

/// `POST /v1/leases/{id}`: how it goes.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProgressBody {
    /// Who.
    pub node: PeerId,
    /// Seconds since 1970.
    pub time: u64,
    /// Bytes held.
    pub held: u64,
    /// Bytes that came from the CDN for it.
    pub from_cdn: u64,
    /// Bytes that came from peers for it.
    pub from_peers: u64,
    /// The answer to the last challenge.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer: Option<Digest>,
    /// Gives the lease back.
    #[serde(default)]
    pub given_up: bool,
}

/// The answer: what to do next.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct NextBody {
    /// Drop it, at once.
    pub drop: bool,
    /// Hold it for so many milliseconds more.
    pub hold_ms: u64,
    /// A question to be answered with the next report.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub challenge: Option<ChallengeBody>,
}

/// Which bytes to show.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ChallengeBody {
    /// 32 hex digits.
    pub nonce: String,
    /// First byte.
    pub start: u64,
    /// One past the last.
    pub end: u64,
}

/// Any answer that is no success.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ProblemBody {
    /// In words.
    pub error: String,
}

pub(super) fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

/// Seconds since 1970, by this machine's clock.
pub(super) fn unix_now() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}
