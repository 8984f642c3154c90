//! How answers are written: signed, cached, refused.

use std::time::Duration;

use axum::Json;
use axum::body::Bytes;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use pcdn_core::id::Rid;
use pcdn_core::mapping::MapError;
use serde::Serialize;

use crate::answer::{BATCH_MAX, MapAnswer, Problem};
use crate::node::desk::{Desk, DeskError};
use crate::signed::{KEY_HEADER, Kind, SIGNATURE_HEADER, Signature};

/// A body in JSON, signed.
pub(super) fn told(desk: &Desk, kind: Kind, body: &impl Serialize) -> Response {
    let body = Bytes::from(serde_json::to_vec(body).expect("answers are plain values"));
    let signature = desk.sign(kind, &body);
    signed(body, "application/json", &signature)
}

/// The generation, and what else is said of it.
pub(super) fn etag_of(answer: &MapAnswer) -> String {
    let body = serde_json::to_vec(answer).expect("answers are plain values");
    let generation = answer.generation.as_deref().unwrap_or("none");
    format!("\"{generation}-{}\"", &blake3::hash(&body).to_hex().as_str()[..8])
}

pub(super) fn signed(body: Bytes, content_type: &'static str, signature: &Signature) -> Response {
    let mut response = body.into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(KEY_HEADER, value(&signature.key.to_string()));
    headers.insert(SIGNATURE_HEADER, value(&signature.text));
    response
}

pub(super) fn octets(bytes: Vec<u8>) -> Response {
    ([(header::CONTENT_TYPE, "application/octet-stream")], bytes).into_response()
}

/// Says how long it may be believed, and leaves the body out if the asker has it.
pub(super) fn cached(response: &mut Response, asked: &HeaderMap, etag: &str, control: &str) {
    let headers = response.headers_mut();
    headers.insert(header::ETAG, value(etag));
    headers.insert(header::CACHE_CONTROL, value(control));
    let known = asked.get(header::IF_NONE_MATCH).and_then(|known| known.to_str().ok()).unwrap_or_default();
    if known.split(',').map(|tag| tag.trim().trim_start_matches("W/")).any(|tag| tag == etag || tag == "*") {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        *response.body_mut() = axum::body::Body::empty();
        response.headers_mut().remove(header::CONTENT_LENGTH);
    }
}

pub(super) fn later(response: &mut Response, again: Duration) {
    let seconds = again.as_secs().max(1).to_string();
    response.headers_mut().insert(header::RETRY_AFTER, value(&seconds));
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
}

/// Header values that this node made itself.
pub(super) fn value(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).expect("visible ASCII")
}

pub(super) fn bearer(headers: &HeaderMap) -> Result<&str, Trouble> {
    let shown = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let token = shown.and_then(|text| text.strip_prefix("Bearer "));
    token.ok_or(Trouble(StatusCode::UNAUTHORIZED, "say Authorization: Bearer TOKEN".into()))
}

pub(super) fn within(count: usize) -> Result<(), Trouble> {
    match count {
        1..=BATCH_MAX => Ok(()),
        _ => Err(Trouble::bad(format!("1 to {BATCH_MAX} URLs"))),
    }
}

pub(super) fn parse(rid: &str) -> Result<Rid, Trouble> {
    rid.parse().map_err(|error: pcdn_core::id::HexError| Trouble::bad(error.to_string()))
}

pub(super) fn unknown() -> Trouble {
    Trouble(StatusCode::NOT_FOUND, "nothing is known of it".into())
}

pub(super) fn problem(status: StatusCode, error: String) -> Response {
    (status, Json(Problem { error })).into_response()
}

/// An answer that is no success.
#[derive(Debug)]
pub(super) struct Trouble(pub(super) StatusCode, pub(super) String);

impl Trouble {
    pub(super) fn bad(why: String) -> Self {
        Self(StatusCode::BAD_REQUEST, why)
    }
}

impl From<DeskError> for Trouble {
    fn from(error: DeskError) -> Self {
        let status = match &error {
            DeskError::Catalog(_) => StatusCode::INTERNAL_SERVER_ERROR,
            DeskError::Map(MapError::NotHttp(_)) | DeskError::Rules(_) | DeskError::Bounds(_) => {
                StatusCode::BAD_REQUEST
            }
            DeskError::Map(_) => StatusCode::NOT_FOUND,
            DeskError::Old { .. } => StatusCode::CONFLICT,
            DeskError::Token(_) => StatusCode::FORBIDDEN,
        };
        if status.is_server_error() {
            tracing::error!(%error, "a request is not answered");
        }
        Self(status, error.to_string())
    }
}

impl IntoResponse for Trouble {
    fn into_response(self) -> Response {
        problem(self.0, self.1)
    }
}
