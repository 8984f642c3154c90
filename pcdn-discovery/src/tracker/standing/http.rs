//! Standings over HTTP, beside the tracker's other calls.
//!
//! | request | answer |
//! |---|---|
//! | `POST /v1/receipts` `{"receipts":["hex"]}` | `{"taken":n,"refused":["why"]}` |
//! | `GET /v1/probes?peer=HEX` | whom this peer was drawn to dial: `{"probes":[{"draw","about"}]}` |
//! | `POST /v1/sightings` `{"sightings":["hex"]}` | `{"taken":n}` |
//! | `GET /v1/superpeers` | what the tracker signs for each: `{"tracker","superpeers":["hex"]}` |
//! | `GET /v1/earned?peer=HEX` | this week's sums of one peer, or of all |
//!
//! Receipts and sightings are signed by those they come from, so it does not matter who brings them.

use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::{DefaultBodyLimit, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use pcdn_core::dice::Dice;
use pcdn_core::id::PeerId;
use pcdn_core::ledger::Entry;
use pcdn_core::peer::PeerRecord;
use pcdn_core::receipt::Receipt;
use pcdn_core::superpeer::Sighting;
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

/// The answer to both.
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
    /// Dials the peer was drawn for.
    pub probes: Vec<ProbeBody>,
}

/// One dial.
#[derive(Debug, Serialize, Deserialize)]
pub struct ProbeBody {
    /// Hex, to be signed.
    pub draw: String,
    /// Whom.
    pub about: PeerRecord,
}

/// `GET /v1/superpeers`.
#[derive(Debug, Serialize, Deserialize)]
pub struct SuperpeersBody {
    /// Who signs.
    pub tracker: PeerId,
    /// Statuses in their wire form, as hex.
    pub superpeers: Vec<String>,
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
    Router::new().route("/v1/earned", get(earned)).with_state(Desk { standings, clock })
}

/// Keeps standings going until it is dropped: a tick every few seconds.
pub async fn run(standings: Arc<Standings>, clock: fn() -> Time, dice: Dice) {
    let dice = Mutex::new(dice);
    let mut ticks = tokio::time::interval(std::time::Duration::from_secs(2));
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        standings.tick(clock(), &mut dice.lock().unwrap_or_else(PoisonError::into_inner));
    }
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
    let body = |probe: super::Probe| ProbeBody { draw: hex(&probe.draw), about: probe.about };
    Json(ProbesBody { probes: probes.into_iter().map(body).collect() }).into_response()
}

async fn superpeers(State(desk): State<Desk>) -> Json<SuperpeersBody> {
    let statuses = desk.standings.statuses((desk.clock)());
    let superpeers = statuses.iter().map(|status| hex(&status.encode())).collect();
    Json(SuperpeersBody { tracker: desk.standings.tracker(), superpeers })
}

async fn earned(State(desk): State<Desk>, Query(of): Query<Of>) -> Json<Vec<Entry>> {
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
