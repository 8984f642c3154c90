//! Standings over HTTP, beside the tracker's other calls.
//!
//! | request | answer |
//! |---|---|
//! | `POST /v1/receipts` `{"receipts":["hex"]}` | `{"taken":n,"refused":["why"]}` |
//! | `GET /v1/probes?peer=HEX` | whom this peer was drawn to dial, or to audit: `{"probes":[{"draw","about","audit"}]}` |
//! | `POST /v1/sightings` `{"sightings":["hex"]}` | `{"taken":n}` |
//! | `POST /v1/audits` `{"verdicts":["hex"]}` | `{"taken":n,"refused":["why"]}` |
//! | `GET /v1/superpeers` | what the tracker signs for each: `{"tracker","superpeers":["hex"]}` |
//! | `GET /v1/superpeers?among=HEX,HEX` | the same of those among 64 peers at most |
//! | `GET /v1/earned?peer=HEX` | this week's sums of one peer, or of all |
//! | `GET /v1/standing?peer=HEX` | how a peer is judged, by what, and which conditions it fails |
//!
//! Receipts, sightings and verdicts are signed by those they come from, so it does not matter who brings them.

use std::sync::Arc;

use axum::extract::{DefaultBodyLimit, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use pcdn_core::audit::Verdict;
use pcdn_core::id::PeerId;
use pcdn_core::ledger::Entry;
use pcdn_core::peer::PeerRecord;
use pcdn_core::receipt::Receipt;
use pcdn_core::superpeer::{Facts, Judgement, Sighting, Standing, Status};
use pcdn_core::unit::Time;
use serde::{Deserialize, Serialize};

use super::Standings;

/// Receipts or sightings in one call: a busy peer's minute. Each costs a signature check of 50 µs.
pub const BATCH_MAX: usize = 64;
/// Longest body: 64 receipts in hex and their quotes.
const BODY_MAX: usize = 32 << 10;

/// `POST /v1/receipts`.
#[derive(Debug, Serialize, Deserialize)]
pub struct ReceiptsBody {
    /// In their wire form, as hex; [`BATCH_MAX`] at most.
    pub receipts: Vec<String>,
}

/// `POST /v1/sightings`.
#[derive(Debug, Serialize, Deserialize)]
pub struct SightingsBody {
    /// In their wire form, as hex; [`BATCH_MAX`] at most.
    pub sightings: Vec<String>,
}

/// `POST /v1/audits`.
#[derive(Debug, Serialize, Deserialize)]
pub struct AuditsBody {
    /// Verdicts in their wire form, as hex; [`BATCH_MAX`] at most.
    pub verdicts: Vec<String>,
}

/// The answer to all three.
#[derive(Debug, Serialize, Deserialize)]
pub struct TakenBody {
    /// How many counted.
    pub taken: usize,
    /// Why each of the others did not.
    #[serde(default)]
    pub refused: Vec<String>,
}

/// `GET /v1/probes`.
#[derive(Debug, Serialize, Deserialize)]
pub struct ProbesBody {
    /// Dials and audits the peer was drawn for.
    pub probes: Vec<ProbeBody>,
}

/// One dial, or one audit.
#[derive(Debug, Serialize, Deserialize)]
pub struct ProbeBody {
    /// Hex, to be signed.
    pub draw: String,
    /// Whom.
    pub about: PeerRecord,
    /// Of an audit, hex: the first 20 bytes of the key of the swarm it is about. It is told as a verdict, a dial as a sighting.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audit: Option<String>,
}

/// `GET /v1/superpeers`.
#[derive(Debug, Serialize, Deserialize)]
pub struct SuperpeersBody {
    /// Who signs.
    pub tracker: PeerId,
    /// Statuses in their wire form, as hex.
    pub superpeers: Vec<String>,
}

/// `GET /v1/standing`.
#[derive(Debug, Serialize, Deserialize)]
pub struct StandingBody {
    /// Who.
    pub peer: PeerId,
    /// Where it stands.
    pub standing: Standing,
    /// Its part of a superpeer's priority, 0 to 1.
    pub share: f64,
    /// What others showed of it.
    pub facts: Facts,
    /// What follows: conditions that fail, and the score.
    pub judgement: Judgement,
}

/// `GET /v1/earned`: what each has earned this week.
pub type EarnedBody = Vec<Entry>;

/// The parameters of `GET /v1/superpeers`.
#[derive(Debug, Deserialize)]
struct Among {
    among: Option<String>,
}

/// The parameters of reading calls.
#[derive(Debug, Deserialize)]
struct Of {
    peer: Option<PeerId>,
}

/// The calls that bring something; `clock` gives the time since 1970.
pub fn writing(standings: Arc<Standings>, clock: fn() -> Time) -> Router {
    Router::new()
        .route("/v1/receipts", post(receipts))
        .route("/v1/sightings", post(sightings))
        .route("/v1/audits", post(audits))
        .layer(DefaultBodyLimit::max(BODY_MAX))
        .with_state(Desk { standings, clock })
}

/// The calls that peers read: what they tell is signed, or is a question to the peer itself.
pub fn asking(standings: Arc<Standings>, clock: fn() -> Time) -> Router {
    Router::new()
        .route("/v1/probes", get(probes))
        .route("/v1/superpeers", get(superpeers))
        .with_state(Desk { standings, clock })
}

/// The calls of the operator, who has a private tracker's reading token.
pub fn reading(standings: Arc<Standings>, clock: fn() -> Time) -> Router {
    Router::new()
        .route("/v1/earned", get(earned))
        .route("/v1/standing", get(standing))
        .with_state(Desk { standings, clock })
}

/// Time since 1970, by this machine's clock.
pub fn wall_clock() -> Time {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Time(u64::try_from(since.as_micros()).unwrap_or(u64::MAX))
}

#[derive(Clone)]
struct Desk {
    standings: Arc<Standings>,
    clock: fn() -> Time,
}

async fn receipts(State(desk): State<Desk>, Json(body): Json<ReceiptsBody>) -> Response {
    let Some(receipts) = decoded(&body.receipts, Receipt::decode) else { return malformed() };
    let answers = desk.standings.receipts((desk.clock)(), &receipts);
    let refused: Vec<String> =
        answers.iter().filter_map(|answer| answer.as_ref().err()).map(ToString::to_string).collect();
    Json(TakenBody { taken: answers.len() - refused.len(), refused }).into_response()
}

async fn sightings(State(desk): State<Desk>, Json(body): Json<SightingsBody>) -> Response {
    let Some(sightings) = decoded(&body.sightings, Sighting::decode) else { return malformed() };
    let now = (desk.clock)();
    let taken =
        sightings.into_iter().filter(|sighting| desk.standings.sighting(now, sighting.clone())).count();
    Json(TakenBody { taken, refused: Vec::new() }).into_response()
}

async fn probes(State(desk): State<Desk>, Query(of): Query<Of>) -> Response {
    let Some(peer) = of.peer else { return malformed() };
    let probes = desk.standings.probes((desk.clock)(), &peer);
    let body = |probe: super::Probe| ProbeBody {
        draw: hex(&probe.draw),
        about: probe.about,
        audit: probe.audit.map(|swarm| hex(&swarm.0)),
    };
    Json(ProbesBody { probes: probes.into_iter().map(body).collect() }).into_response()
}

async fn audits(State(desk): State<Desk>, Json(body): Json<AuditsBody>) -> Response {
    let Some(verdicts) = decoded(&body.verdicts, Verdict::decode) else { return malformed() };
    let answers = desk.standings.verdicts((desk.clock)(), &verdicts);
    let refused: Vec<String> =
        answers.iter().filter_map(|answer| answer.as_ref().err()).map(ToString::to_string).collect();
    Json(TakenBody { taken: answers.len() - refused.len(), refused }).into_response()
}

async fn superpeers(State(desk): State<Desk>, Query(among): Query<Among>) -> Response {
    let now = (desk.clock)();
    let statuses: Vec<Status> = match among.among {
        None => desk.standings.statuses(now),
        Some(among) => {
            let named: Option<Vec<PeerId>> = among.split(',').map(|id| id.parse().ok()).collect();
            let Some(named) = named.filter(|named| named.len() <= BATCH_MAX) else { return malformed() };
            named.iter().filter_map(|peer| desk.standings.status(now, peer)).collect()
        }
    };
    let superpeers = statuses.iter().map(|status| hex(&status.encode())).collect();
    Json(SuperpeersBody { tracker: desk.standings.tracker(), superpeers }).into_response()
}

async fn standing(State(desk): State<Desk>, Query(of): Query<Of>) -> Response {
    let Some(peer) = of.peer else { return malformed() };
    let Some(report) = desk.standings.report((desk.clock)(), &peer) else {
        let error = "this peer never announced itself here".to_owned();
        return (StatusCode::NOT_FOUND, Json(crate::tracker::http::json::Problem { error })).into_response();
    };
    let super::Report { standing, share, facts, judgement } = report;
    Json(StandingBody { peer, standing, share, facts, judgement }).into_response()
}

async fn earned(State(desk): State<Desk>, Query(of): Query<Of>) -> Json<EarnedBody> {
    let entries = desk.standings.entries((desk.clock)());
    Json(entries.into_iter().filter(|entry| of.peer.is_none_or(|peer| peer == entry.peer)).collect())
}

fn malformed() -> Response {
    let error = format!("malformed: hex of the wire form, {BATCH_MAX} at most");
    (StatusCode::BAD_REQUEST, Json(crate::tracker::http::json::Problem { error })).into_response()
}

/// All of them, or none if one is not what it should be.
fn decoded<T>(texts: &[String], decode: impl Fn(&[u8]) -> Option<T>) -> Option<Vec<T>> {
    if texts.len() > BATCH_MAX {
        return None;
    }
    texts.iter().map(|text| decode(&from_hex(text)?)).collect()
}

/// Lower-case hex.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The bytes of hex text; `None` if it is none.
pub fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes();
    if !digits.len().is_multiple_of(2) {
        return None;
    }
    let nibble = |digit: u8| (digit as char).to_digit(16).map(|value| value as u8);
    digits.chunks_exact(2).map(|pair| Some(nibble(pair[0])? << 4 | nibble(pair[1])?)).collect()
}
