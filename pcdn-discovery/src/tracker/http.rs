//! The HTTP API, for people, scripts, scrapers, and nodes behind firewalls.
//!
//! | request | answer |
//! |---|---|
//! | `POST /v1/announce` | as over UDP; bodies in [`json`] |
//! | `POST /v1/find` | as over UDP |
//! | `GET /v1/swarms?limit=100` | the largest swarms |
//! | `GET /v1/swarms/{key}` | one swarm, with up to 50 peers |
//! | `GET /v1/stats` | counts and sizes |
//! | `GET /announce`, `GET /scrape` | bencoded, for BitTorrent clients: BEP 3, 7, 23, 48 |
//! | `GET /metrics` | the same, as OpenMetrics text |
//! | `/v1/receipts`, `/v1/sightings`, `/v1/audits`, `/v1/probes`, `/v1/superpeers`, `/v1/earned`, `/v1/standing` | see [`standing`](super::standing::http) |
//! | `GET /healthz`, `/readyz` | `ok` |
//! | `GET /` | a page for people |
//!
//! A private tracker wants the tag of every POST body in `X-Pcdn-Mac`, with the body's `time` within two minutes, and
//! `Authorization: Bearer` + [`Secret::reading_token`] for every GET but the health checks.
//!
//! The source address of the connection is the peer's address. Behind a reverse proxy all peers would seem to sit at the proxy:
//! do not put one in front of `/v1/announce`.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, Query, RawQuery, Request as HttpRequest, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Json, Router};
use pcdn_core::dice::Dice;
use serde::de::DeserializeOwned;

use super::secret::{Secret, same};
use super::server::Watch;
use super::service::{Refusal, Service};
use super::standing::{Standings, http as standing};
use super::store::{Elsewhere, Told};
use super::wire::{Answer, Find, InfoHash, Request, Traits, records};
use json::{AnnounceBody, Answered, FindBody, MAC_HEADER, Problem, StatsBody, SwarmBody, SwarmsBody};

mod bencode;
pub mod json;
mod metrics;
mod page;

/// Longest request body: an announce is below 500 bytes.
const BODY_MAX: usize = 4096;
/// Swarms listed at most.
const LISTED_MAX: usize = 1000;
/// How old or how far ahead a private tracker's body may be, seconds.
const CLOCK_TOLERANCE_S: u64 = 120;

/// The peer address of a connection, put into every request by the server.
#[derive(Clone, Copy, Debug)]
pub(crate) struct From(pub(crate) SocketAddr);

#[derive(Clone)]
struct Desk {
    service: Arc<Service>,
    watch: Watch,
    dice: Arc<Mutex<Dice>>,
    metrics: Arc<metrics::Metrics>,
    elsewhere: Option<Arc<dyn Elsewhere>>,
}

/// All routes. Every request must carry a [`From`] extension.
pub(crate) fn router(
    service: Arc<Service>,
    watch: Watch,
    dice: Dice,
    elsewhere: Option<Arc<dyn Elsewhere>>,
    standings: &Arc<Standings>,
) -> Router {
    let metrics = Arc::new(metrics::Metrics::new(service.clone()));
    let desk = Desk { service, watch, dice: Arc::new(Mutex::new(dice)), metrics, elsewhere };
    let reading = Router::new()
        .route("/", get(home))
        .route("/v1/swarms", get(swarms))
        .route("/v1/swarms/{key}", get(swarm))
        .route("/v1/stats", get(stats))
        .route("/metrics", get(exposition))
        .merge(standing::reading(standings.clone(), standing::wall_clock).with_state(()))
        .layer(from_fn_with_state(desk.clone(), readers_only));
    Router::new()
        .route("/v1/announce", post(announce))
        .route("/v1/find", post(find))
        .route("/announce", get(plain_announce))
        .route("/scrape", get(plain_scrape))
        .merge(reading)
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(|| async { "ok\n" }))
        .layer(DefaultBodyLimit::max(BODY_MAX))
        .merge(standing::asking(standings.clone(), standing::wall_clock).with_state(()))
        .merge(standing::writing(standings.clone(), standing::wall_clock).with_state(()))
        .with_state(desk)
}

async fn announce(
    State(desk): State<Desk>,
    Extension(From(from)): Extension<From>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Json<Answered>, Trouble> {
    let body: AnnounceBody = desk.read(&headers, &body, |body: &AnnounceBody| body.time)?;
    let request = Request::Announce(body.request());
    desk.service.allow(desk.watch.now(), bearer(&headers), &request)?;
    desk.look(&[InfoHash::of(&body.swarm)]).await;
    desk.serve(from, request)
}

async fn find(
    State(desk): State<Desk>,
    Extension(From(from)): Extension<From>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Json<Answered>, Trouble> {
    let body: FindBody = desk.read(&headers, &body, |body: &FindBody| body.time)?;
    let request = Request::Find(body.request());
    desk.service.allow(desk.watch.now(), bearer(&headers), &request)?;
    desk.look(&[InfoHash::of(&body.swarm)]).await;
    desk.serve(from, request)
}

/// The token that came with a request.
fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    headers.get(header::AUTHORIZATION)?.as_bytes().strip_prefix(b"Bearer ")
}

async fn plain_announce(
    State(desk): State<Desk>,
    Extension(From(from)): Extension<From>,
    RawQuery(query): RawQuery,
) -> Response {
    let asked = match bencode::read_announce(&query.unwrap_or_default()) {
        Ok(asked) => asked,
        Err(why) => return bencoded(bencode::failure(why)),
    };
    desk.look(&[asked.announce.hash]).await;
    let v6 = from.ip().to_canonical().is_ipv6();
    let (mut addresses, mut names) = (Vec::new(), Vec::new());
    let mut told = if asked.compact { Told::Addresses(&mut addresses) } else { Told::Named(&mut names) };
    let announced = {
        let mut dice = desk.dice.lock().unwrap_or_else(PoisonError::into_inner);
        let token = asked.token.as_deref();
        desk.service.announce_plain(desk.watch.now(), &mut dice, from.ip(), &asked.announce, token, &mut told)
    };
    bencoded(match announced {
        Ok(it) if asked.compact => bencode::compact(&it, v6, &addresses),
        Ok(it) => bencode::named(&it, &names),
        Err(why) => bencode::failure(&why.to_string()),
    })
}

async fn plain_scrape(
    State(desk): State<Desk>,
    Extension(From(from)): Extension<From>,
    RawQuery(query): RawQuery,
) -> Response {
    let asked = bencode::read_scrape(&query.unwrap_or_default());
    if asked.is_empty() {
        return bencoded(bencode::failure("name the swarms with info_hash, 20 bytes each"));
    }
    desk.look(&asked).await;
    bencoded(match desk.service.sizes(desk.watch.now(), from.ip(), asked.into_iter()) {
        Ok(sizes) => bencode::scraped(sizes),
        Err(why) => bencode::failure(&why.to_string()),
    })
}

/// BitTorrent clients read the body, whatever its type; this one is what other trackers send.
fn bencoded(body: Vec<u8>) -> Response {
    ([(header::CONTENT_TYPE, "text/plain; charset=iso-8859-1")], body).into_response()
}

#[derive(serde::Deserialize)]
struct Page {
    limit: Option<usize>,
}

async fn swarms(State(desk): State<Desk>, Query(page): Query<Page>) -> Json<SwarmsBody> {
    let table = desk.service.table();
    let largest = table.largest(page.limit.unwrap_or(100).min(LISTED_MAX));
    let swarms = largest.into_iter().map(|(key, counts)| SwarmBody::of(key, counts)).collect();
    Json(SwarmsBody { total: table.swarms(), swarms })
}

async fn swarm(
    State(desk): State<Desk>,
    Extension(From(from)): Extension<From>,
    Path(key): Path<String>,
) -> Result<Json<SwarmBody>, Trouble> {
    let swarm = bencode::swarm_key(&key).map_err(|error| Trouble::bad_request(&error))?;
    desk.look(&[InfoHash::of(&swarm)]).await;
    let counts = desk.service.table().counts(&swarm);
    let counts =
        counts.ok_or_else(|| Trouble(StatusCode::NOT_FOUND, "nobody takes part in this swarm".into()))?;
    let Json(answer) = desk.serve(
        from,
        Request::Find(Find {
            swarm,
            asker: None,
            seed: false,
            want: 50,
            traits: Traits::default(),
            rich: false,
        }),
    )?;
    Ok(Json(SwarmBody { peers: Some(answer.peers), ..SwarmBody::of(swarm, counts) }))
}

async fn stats(State(desk): State<Desk>) -> Json<StatsBody> {
    Json(desk.stats())
}

async fn exposition(State(desk): State<Desk>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], desk.metrics.text())
}

async fn home(State(desk): State<Desk>) -> impl IntoResponse {
    let page = page::html(&desk.stats(), &desk.service.table().largest(50));
    ([(header::CONTENT_SECURITY_POLICY, "default-src 'none'; style-src 'unsafe-inline'")], Html(page))
}

/// Lets only those read a private tracker's pages who know the reading token.
async fn readers_only(State(desk): State<Desk>, request: HttpRequest, next: Next) -> Response {
    let shown = request.headers().get(header::AUTHORIZATION).map_or(&b""[..], |value| value.as_bytes());
    let may = |secret: &Secret| same(shown, format!("Bearer {}", secret.reading_token()).as_bytes());
    if desk.service.secret().is_none_or(may) {
        next.run(request).await
    } else {
        let challenge = [(header::WWW_AUTHENTICATE, "Bearer")];
        (challenge, Trouble(StatusCode::UNAUTHORIZED, Refusal::Secret.to_string())).into_response()
    }
}

impl Desk {
    /// Lets a shared store fetch what it knows too little of.
    async fn look(&self, swarms: &[InfoHash]) {
        let Some(elsewhere) = &self.elsewhere else { return };
        let now = self.watch.now();
        let store = self.service.table().store();
        let stale: Vec<InfoHash> =
            swarms.iter().filter(|swarm| store.is_stale(now, swarm)).copied().collect();
        if !stale.is_empty() {
            elsewhere.look(now, &stale).await;
        }
    }

    /// Reads a body, after its proof on a private tracker.
    fn read<B: DeserializeOwned>(
        &self,
        headers: &HeaderMap,
        body: &[u8],
        time: impl Fn(&B) -> Option<u64>,
    ) -> Result<B, Trouble> {
        // A page in a browser can send this type only after asking, and is never answered.
        let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        if !kind.starts_with("application/json") {
            let why = "say Content-Type: application/json".to_owned();
            return Err(Trouble(StatusCode::UNSUPPORTED_MEDIA_TYPE, why));
        }
        let parsed: B = serde_json::from_slice(body).map_err(|error| Trouble::bad_request(&error))?;
        let Some(secret) = self.service.secret() else { return Ok(parsed) };
        let shown = headers.get(MAC_HEADER).map_or(&b""[..], |value| value.as_bytes());
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let timely = time(&parsed).is_some_and(|time| time.abs_diff(now) <= CLOCK_TOLERANCE_S);
        if !timely || !same(shown, secret.tag_body(body).as_bytes()) {
            self.service.counters().count(Err(Refusal::Secret));
            return Err(Refusal::Secret.into());
        }
        Ok(parsed)
    }

    fn serve(&self, from: SocketAddr, request: Request) -> Result<Json<Answered>, Trouble> {
        let answer = {
            let mut dice = self.dice.lock().unwrap_or_else(PoisonError::into_inner);
            self.service.serve(self.watch.now(), &mut dice, from, &request)?
        };
        let (interval_s, observed, counts, peers) = match answer {
            Answer::Announced { interval_s, observed, counts, peers } => {
                (Some(interval_s), Some(observed.to_string()), counts, peers)
            }
            Answer::Found { counts, peers, .. } => (None, None, counts, peers),
            _ => return Err(Refusal::Malformed.into()),
        };
        let (seeds, others, peers) = (counts.seeds, counts.others, records(&peers));
        Ok(Json(Answered { interval_s, observed, seeds, others, peers }))
    }

    fn stats(&self) -> StatsBody {
        use std::sync::atomic::Ordering::Relaxed;
        let (table, counters) = (self.service.table(), self.service.counters());
        StatsBody {
            uptime_s: self.watch.now().0 / 1_000_000,
            swarms: table.swarms(),
            peers: table.entries(),
            announces: counters.announces.load(Relaxed),
            finds: counters.finds.load(Relaxed),
            reports: counters.reports.load(Relaxed),
            scrapes: counters.scrapes.load(Relaxed),
            load_factor: table.load_factor(),
            connects: counters.connects.load(Relaxed),
            refused: Refusal::ALL.iter().map(|why| counters.refused(*why)).sum(),
            dropped: counters.dropped.load(Relaxed),
            private: self.service.secret().is_some(),
        }
    }
}

/// An answer that is no success.
#[derive(Debug)]
struct Trouble(StatusCode, String);

impl Trouble {
    fn bad_request(error: &dyn std::error::Error) -> Self {
        Self(StatusCode::BAD_REQUEST, error.to_string())
    }
}

impl std::convert::From<Refusal> for Trouble {
    fn from(why: Refusal) -> Self {
        let status = match why {
            Refusal::TooFast => StatusCode::TOO_MANY_REQUESTS,
            Refusal::Secret | Refusal::Cookie | Refusal::Token(_) => StatusCode::UNAUTHORIZED,
            Refusal::TooManyIds | Refusal::TooManySwarms => StatusCode::FORBIDDEN,
            Refusal::NoPort | Refusal::Malformed => StatusCode::BAD_REQUEST,
            Refusal::Full => StatusCode::SERVICE_UNAVAILABLE,
        };
        Self(status, why.to_string())
    }
}

impl IntoResponse for Trouble {
    fn into_response(self) -> Response {
        (self.0, Json(Problem { error: self.1 })).into_response()
    }
}
