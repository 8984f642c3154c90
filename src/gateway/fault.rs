//! Errors as statuses with one line of text.

use http::{HeaderValue, Response, StatusCode, header};
use pcdn_core::origin::OriginError;

use super::route::NoRoute;
use crate::http::{Body, text};
use crate::node::OpenError;

/// The answer to a request whose resource cannot be opened or read.
pub(super) fn of_open(error: &OpenError) -> Response<Body> {
    match error {
        OpenError::Origin(error) => of_origin(error),
        OpenError::Url(_) => text(StatusCode::BAD_REQUEST, error.to_string()),
        OpenError::Fragment(_) | OpenError::Integrity(_) => text(StatusCode::BAD_GATEWAY, error.to_string()),
        OpenError::Closed => text(StatusCode::SERVICE_UNAVAILABLE, error.to_string()),
        OpenError::Store(_) => text(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
    }
}

/// The origin's own status where it gave one: a player treats 404, 403 and 410 differently, and so must see them.
pub(super) fn of_origin(error: &OriginError) -> Response<Body> {
    match error {
        OriginError::Status { status, retry_after } => {
            let status = StatusCode::from_u16(*status).ok().filter(|s| s.as_u16() >= 300);
            let mut response = text(status.unwrap_or(StatusCode::BAD_GATEWAY), error.to_string());
            if let Some(after) = retry_after {
                response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(after.as_secs()));
            }
            response
        }
        OriginError::Silent(_) => text(StatusCode::GATEWAY_TIMEOUT, error.to_string()),
        OriginError::Forbidden { .. } => text(StatusCode::FORBIDDEN, error.to_string()),
        _ => text(StatusCode::BAD_GATEWAY, error.to_string()),
    }
}

/// The answer to a request that means no URL.
pub(super) fn of_route(no_route: NoRoute) -> Response<Body> {
    match no_route {
        NoRoute::TooLong => text(StatusCode::URI_TOO_LONG, "the URL is longer than 8 KiB"),
        NoRoute::Bad => text(StatusCode::BAD_REQUEST, "no URL of an origin comes out of this path"),
        NoRoute::Unknown => text(
            StatusCode::NOT_FOUND,
            "this is the pcdn gateway: open /http/HOST/PATH or /https/HOST/PATH, or start it with --upstream",
        ),
    }
}
