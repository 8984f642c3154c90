//! The HTTP API. Bodies are in [`answer`](crate::answer); each answer that others may believe is signed in its headers
//! ([`signed`](crate::signed)), so it may be cached and carried by anybody. `openapi.json` is served at `/v1/openapi.json`.
//!
//! | request | answer |
//! |---|---|
//! | `GET /v1/rules` | the rule file, signed |
//! | `GET /v1/map?url=` | what is known of the content; 202 while it is read; 404 if nothing |
//! | `POST /v1/map:batch` | the same for up to 100 URLs |
//! | `GET /v1/rid/{rid}` | the same by its name: the URLs back |
//! | `GET /v1/manifest/{rid}/{generation}` | the signed manifest, for ever |
//! | `GET /v1/manifest/{rid}` | the newest one; 202 while it is made |
//! | `PUT /v1/map`, `PUT /v1/rules`, `POST /v1/purge` | a publisher's changes, with `Authorization: Bearer TOKEN` |
//! | `GET /.well-known/pcdn.json` | the file with which an origin names this node |
//! | `GET /metrics`, `/healthz`, `/readyz` | for operators |

use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use axum::{Json, Router};
use pcdn_core::resource::Url;

use super::desk::{Desk, DeskError, Said};
use crate::answer::{BatchAnswer, BatchBody, PublishBody, PurgeBody, WELL_KNOWN};
use crate::signed::Kind;
use crate::template::FILE_BYTES_MAX;
use reply::{
    Trouble, bearer, cached, etag_of, later, octets, parse, problem, signed, told, unknown, value, within,
};

mod metrics;
mod reply;

/// Rules are believed so long: a change is everywhere within it.
const RULES_AGE_S: u64 = 300;
/// "Newest" is believed so long.
const NEWEST_AGE_S: u64 = 30;
/// A year: the longest that caches are told.
const FOR_EVER_S: u64 = 31_536_000;

/// All routes.
pub fn router(desk: Desk) -> Router {
    Router::new()
        .route("/v1/rules", get(rules).put(put_rules))
        .route("/v1/map", get(map).merge(put(publish)))
        .route("/v1/map:batch", post(batch))
        .route("/v1/rid/{rid}", get(by_rid))
        .route("/v1/manifest/{rid}", get(newest))
        .route("/v1/manifest/{rid}/{generation}", get(manifest))
        .route("/v1/purge", post(purge))
        .route("/v1/openapi.json", get(openapi))
        .route(WELL_KNOWN, get(authority))
        .route("/metrics", get(exposition))
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .layer(DefaultBodyLimit::max(FILE_BYTES_MAX as usize))
        .with_state(desk)
}

async fn rules(State(desk): State<Desk>, headers: HeaderMap) -> Result<Response, Trouble> {
    let rules = desk.rules().await?;
    let kind = if rules.text.trim_start().starts_with('{') { "application/json" } else { "application/toml" };
    let body = Bytes::from(rules.text.clone());
    let mut response = signed(body, kind, &rules.signature);
    cached(&mut response, &headers, &rules.etag, &format!("public, max-age={RULES_AGE_S}"));
    Ok(response)
}

async fn put_rules(State(desk): State<Desk>, headers: HeaderMap, text: String) -> Result<Response, Trouble> {
    let version = desk.put_rules(bearer(&headers)?, text).await?;
    Ok(Json(serde_json::json!({ "version": version })).into_response())
}

#[derive(serde::Deserialize)]
struct About {
    url: Url,
}

async fn map(
    State(desk): State<Desk>,
    Query(About { url }): Query<About>,
    headers: HeaderMap,
) -> Result<Response, Trouble> {
    let said = desk.map(&url).await?;
    desk.counters().answers[usize::from(index_of(&said))].fetch_add(1, Ordering::Relaxed);
    Ok(match said {
        Said::Answer(answer) => {
            let mut response = told(&desk, Kind::Map, &answer);
            let age = format!("public, max-age={}, stale-while-revalidate=86400", answer.ttl_s);
            let etag = etag_of(&answer);
            cached(&mut response, &headers, &etag, &age);
            response
        }
        Said::Wait(answer, again) => {
            let mut response = told(&desk, Kind::Map, &answer);
            *response.status_mut() = StatusCode::ACCEPTED;
            later(&mut response, again);
            response
        }
        Said::Unknown(why, again) => {
            let mut response = problem(StatusCode::NOT_FOUND, why);
            let age = format!("public, max-age={}", again.as_secs().clamp(1, 30));
            response.headers_mut().insert(header::CACHE_CONTROL, value(&age));
            response
        }
        Said::Busy(again) => {
            let mut response =
                problem(StatusCode::SERVICE_UNAVAILABLE, "too many contents wait to be read".into());
            later(&mut response, again);
            response
        }
    })
}

fn index_of(said: &Said) -> u8 {
    match said {
        Said::Answer(_) => 0,
        Said::Wait(..) => 1,
        Said::Unknown(..) => 2,
        Said::Busy(_) => 3,
    }
}

async fn batch(State(desk): State<Desk>, Json(body): Json<BatchBody>) -> Result<Response, Trouble> {
    within(body.urls.len())?;
    let mut answers = Vec::with_capacity(body.urls.len());
    for url in &body.urls {
        answers.push(match desk.map(url).await {
            Ok(Said::Answer(answer) | Said::Wait(answer, _)) => Some(answer),
            // A URL that is none is nobody's answer, and no reason to say nothing of the others.
            Ok(Said::Unknown(..) | Said::Busy(_)) | Err(DeskError::Map(_)) => None,
            Err(error) => return Err(error.into()),
        });
    }
    Ok(told(&desk, Kind::Batch, &BatchAnswer { answers }))
}

async fn by_rid(
    State(desk): State<Desk>,
    Path(rid): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Trouble> {
    let entry = desk.entry(&parse(&rid)?).await?.ok_or_else(unknown)?;
    let answer = desk.answer(&entry, None);
    let mut response = told(&desk, Kind::Map, &answer);
    cached(&mut response, &headers, &etag_of(&answer), &format!("public, max-age={NEWEST_AGE_S}"));
    Ok(response)
}

async fn newest(
    State(desk): State<Desk>,
    Path(rid): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Trouble> {
    let rid = parse(&rid)?;
    let entry = desk.entry(&rid).await?;
    let current = entry.as_ref().and_then(|entry| entry.current.as_ref());
    let Some(current) = current else {
        if desk.is_looked_at(&rid) {
            let mut response = problem(StatusCode::ACCEPTED, "the content is being read".into());
            later(&mut response, Duration::from_secs(1));
            return Ok(response);
        }
        return Err(unknown());
    };
    let bytes = desk.manifest(&rid, &current.id).await?.ok_or_else(unknown)?;
    let mut response = octets(bytes);
    cached(
        &mut response,
        &headers,
        &format!("\"{}\"", current.id),
        &format!("public, max-age={NEWEST_AGE_S}"),
    );
    Ok(response)
}

async fn manifest(
    State(desk): State<Desk>,
    Path((rid, generation)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<Response, Trouble> {
    if generation.len() != 32 || !generation.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err(Trouble::bad("a generation has 32 hex digits".into()));
    }
    let bytes = desk.manifest(&parse(&rid)?, &generation).await?.ok_or_else(unknown)?;
    let mut response = octets(bytes);
    cached(
        &mut response,
        &headers,
        &format!("\"{generation}\""),
        &format!("public, max-age={FOR_EVER_S}, immutable"),
    );
    Ok(response)
}

async fn publish(
    State(desk): State<Desk>,
    headers: HeaderMap,
    Json(body): Json<PublishBody>,
) -> Result<Response, Trouble> {
    let answer = desk.publish(bearer(&headers)?, body).await?;
    Ok(told(&desk, Kind::Map, &answer))
}

async fn purge(
    State(desk): State<Desk>,
    headers: HeaderMap,
    Json(body): Json<PurgeBody>,
) -> Result<Response, Trouble> {
    within(body.urls.len())?;
    let purged = desk.purge(bearer(&headers)?, &body.urls).await?;
    Ok(Json(serde_json::json!({ "purged": purged })).into_response())
}

async fn authority(State(desk): State<Desk>) -> Response {
    Json(desk.authority(None)).into_response()
}

async fn openapi() -> Response {
    let body = include_str!("http/openapi.json");
    ([(header::CONTENT_TYPE, "application/json")], body).into_response()
}

async fn exposition(State(desk): State<Desk>) -> Response {
    ([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], metrics::text(&desk).await).into_response()
}

async fn ready(State(desk): State<Desk>) -> Response {
    match desk.is_ready().await {
        true => "ok\n".into_response(),
        false => (StatusCode::SERVICE_UNAVAILABLE, "the store does not answer\n").into_response(),
    }
}
