//! Requests of operators.

use std::net::SocketAddr;
use std::sync::PoisonError;

use futures_util::StreamExt as _;
use http::request::Parts;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};

use super::api;
use super::snapshot::Snapshots;
use crate::http::guard::{self, Names};
use crate::http::{Body, full, streamed, text};
use crate::metrics;
use crate::node::P2p;

/// The dashboard, whole: it works without any network but this server.
const PAGE: &str = include_str!("dashboard.html");
/// What the page may do: its own inline script and style, and calls to this server. Nothing loads from elsewhere, and no
/// other page can frame it.
const PAGE_POLICY: &str = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; connect-src 'self'; \
                           frame-ancestors 'none'; base-uri 'none'; form-action 'none'";

/// Everything a request is answered from.
#[derive(Debug)]
pub(super) struct Routes {
    pub(super) snapshots: Snapshots,
    pub(super) config: serde_json::Value,
    pub(super) token: Option<String>,
    pub(super) names: Names,
}

impl Routes {
    pub(super) async fn answer<B>(&self, request: Request<B>, local: SocketAddr) -> Response<Body> {
        if let Err(refusal) = guard::check(&request, &self.names, local) {
            return *refusal;
        }
        let (request, _) = request.into_parts();
        let path = request.uri.path();
        let mut response = match request.method {
            Method::GET | Method::HEAD => self.show(path).await,
            Method::POST => match self.may_change(&request, local) {
                Ok(()) => self.change(path).await,
                Err(refusal) => *refusal,
            },
            _ => text(StatusCode::METHOD_NOT_ALLOWED, "only GET, HEAD and POST are answered"),
        };
        let headers = response.headers_mut();
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        response
    }

    async fn show(&self, path: &str) -> Response<Body> {
        match path {
            "/" => {
                let mut page = typed("text/html; charset=utf-8", PAGE);
                let policy = HeaderValue::from_static(PAGE_POLICY);
                page.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy);
                page
            }
            "/healthz" => text(StatusCode::OK, "ok"),
            "/readyz" => json(
                &serde_json::json!({ "ready": true, "listening": true, "swarms": self.snapshots.now().await.len() }),
            ),
            "/metrics" => typed(metrics::CONTENT_TYPE, self.metrics().await),
            _ => match path.strip_prefix("/api/v1") {
                Some(call) => self.api(call).await,
                None => {
                    text(StatusCode::NOT_FOUND, "try /, /healthz, /readyz, /metrics or /api/v1/openapi.json")
                }
            },
        }
    }

    async fn api(&self, call: &str) -> Response<Body> {
        let snapshots = &self.snapshots;
        match call {
            "" | "/" => json(&api::index()),
            "/openapi.json" => json(&api::openapi()),
            "/status" => json(&api::status(snapshots).await),
            "/swarms" => json(&api::swarms(&snapshots.now().await)),
            "/peers" => json(&api::peers(&snapshots.now().await)),
            "/config" => json(&self.config),
            "/events" => self.events().await,
            _ => {
                let key = call.strip_prefix("/swarms/").unwrap_or_default();
                match snapshots.now().await.iter().find(|swarm| swarm.swarm.to_string() == key) {
                    Some(swarm) => json(swarm),
                    None => text(
                        StatusCode::NOT_FOUND,
                        "no such call or swarm; /api/v1/openapi.json lists the calls",
                    ),
                }
            }
        }
    }

    async fn metrics(&self) -> String {
        let snapshots = &self.snapshots;
        let swarms = snapshots.now().await;
        let totals = snapshots.ledger.lock().unwrap_or_else(PoisonError::into_inner).totals();
        let uptime_s = snapshots.started.elapsed().as_secs_f64();
        let (counted, p2p) = (&snapshots.counted, snapshots.node.p2p());
        metrics::render(&totals, &swarms, counted.gateway.as_deref(), &counted.traffic(), p2p, uptime_s)
    }

    /// Server-sent events: `status` once a second, and whatever the node tells.
    async fn events(&self) -> Response<Body> {
        let sse = |name: &str, data: &str| Ok(bytes::Bytes::from(format!("event: {name}\ndata: {data}\n\n")));
        let following = api::follow(&self.snapshots).await;
        let told = api::told(self.snapshots.node.events());
        let stream = futures_util::stream::select(
            following.map(move |status| sse("status", &status)),
            told.map(move |line| sse("event", &line)),
        );
        let mut response = Response::new(streamed(stream.boxed()));
        let kind = HeaderValue::from_static("text/event-stream; charset=utf-8");
        response.headers_mut().insert(header::CONTENT_TYPE, kind);
        response
    }

    /// Whether a changing call is let in. A browser tells where a page came from, and sends a foreign page's POST without
    /// asking, so another origin than our own is refused before the token is looked at.
    fn may_change(&self, request: &Parts, local: SocketAddr) -> Result<(), Box<Response<Body>>> {
        let refuse = |status, why: &str| Err(Box::new(text(status, why)));
        if let Some(page) = request.headers.get(header::ORIGIN) {
            let own = page.to_str().ok().and_then(|page| page.strip_prefix("http://"));
            if !own.is_some_and(|host| self.names.own(host, local)) {
                return refuse(StatusCode::FORBIDDEN, "changing calls are not for other pages");
            }
        }
        let given = request.headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let given = given.and_then(|value| value.strip_prefix("Bearer "));
        match (&self.token, given) {
            (Some(token), Some(given)) if same(token, given) => Ok(()),
            (None, _) if local.ip().to_canonical().is_loopback() => Ok(()),
            (None, _) => refuse(
                StatusCode::FORBIDDEN,
                "changing calls need a token here: start with --admin-token FILE",
            ),
            (Some(_), _) => {
                let mut refusal =
                    text(StatusCode::UNAUTHORIZED, "changing calls need Authorization: Bearer TOKEN");
                let scheme = HeaderValue::from_static("Bearer");
                refusal.headers_mut().insert(header::WWW_AUTHENTICATE, scheme);
                Err(Box::new(refusal))
            }
        }
    }

    async fn change(&self, path: &str) -> Response<Body> {
        let node = &self.snapshots.node;
        let p2p = match path {
            "/api/v1/p2p/on" => P2p::On,
            "/api/v1/p2p/off" => P2p::Off,
            "/api/v1/p2p/download-only" => P2p::DownloadOnly,
            _ => {
                let key = path.strip_prefix("/api/v1/swarms/").and_then(|rest| rest.strip_suffix("/forget"));
                let Some(Ok(key)) = key.map(str::parse) else {
                    return text(StatusCode::NOT_FOUND, "no such call; /api/v1/openapi.json lists the calls");
                };
                let forgotten = node.forget(&key).await;
                let status = if forgotten { StatusCode::OK } else { StatusCode::NOT_FOUND };
                let mut response = json(&serde_json::json!({ "forgotten": forgotten }));
                *response.status_mut() = status;
                return response;
            }
        };
        node.set_p2p(p2p);
        json(&serde_json::json!({ "p2p": node.p2p() }))
    }
}

/// Compares without telling by its time how much was right.
fn same(token: &str, given: &str) -> bool {
    let differs = token.bytes().zip(given.bytes()).fold(0, |all, (a, b)| all | (a ^ b));
    token.len() == given.len() && differs == 0
}

fn typed(kind: &'static str, body: impl Into<bytes::Bytes>) -> Response<Body> {
    let mut response = Response::new(full(body));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

fn json(value: &impl serde::Serialize) -> Response<Body> {
    typed("application/json", serde_json::to_vec(value).expect("answers are plain values"))
}
